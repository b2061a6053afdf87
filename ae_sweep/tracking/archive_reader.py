"""A stored sweep, read to be exported: its runs as values, and the files of each."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.artifacts

from ae_sweep.errors import StoreError
from ae_sweep.messages import shorten, visible
from ae_sweep.records import DatasetCard, Outcome
from ae_sweep.tracking import models, names, reader
from ae_sweep.tracking.archive import ArchivedModel, ArchivedRun, ArchivedSweep, ArchivedTrial
from ae_sweep.tracking.clock import system_ms
from ae_sweep.tracking.entries import Measurement
from ae_sweep.tracking.errors import translated
from ae_sweep.tracking.private_text import PrivateText
from ae_sweep.tracking.runs import RUN_STATUS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mlflow.entities import Metric, Run

    from ae_sweep.tracking.access import StoreAccess


class ArchiveReader:
    """Reads one sweep.

    Parameters
    ----------
    access
        Of the open store.
    sweep
        Name of the sweep.
    private_paths
        Directories that are left out of every text.

    Raises
    ------
    NotStoredError
        If there is no sweep of that name.
    StoreError
        If the store cannot be read, or the sweep's run has no data set.
    """

    def __init__(self, access: StoreAccess, sweep: str, *, private_paths: Iterable[str]) -> None:
        self._access = access
        self._sweep = sweep
        with translated(access.place):
            self._parent = access.runs.parent(sweep)
        card = self._card()
        dataset = reader.sweep_record(self._parent).config.get("dataset", "")
        self.private = PrivateText([dataset, *private_paths])
        clean = self.private.source(card.source)
        self._card_here = DatasetCard(**{**vars(card), "source": clean})
        self._private_source = (card.source, clean)

    def sweep(self) -> ArchivedSweep:
        """Return the sweep's own run."""
        with translated(self._access.place):
            run = self._run(self._parent, reader.outcome_of(self._parent))
        return ArchivedSweep(name=self._sweep, run=run, card=self._card_here)

    def trials(self) -> Iterator[ArchivedTrial]:
        """Yield the trials in the order they were started.

        One that is marked as running has been interrupted: nobody runs the sweep. One whose model
        was deleted has failed, as it has to `--resume`. Runs that never said what they train are
        left out.
        """
        access = self._access
        with translated(access.place):
            there = models.there(
                access.client,
                experiment_id=access.experiment_id,
                sweep=self._sweep,
                place=access.artifacts,
                local=access.is_local,
            )
            runs = list(access.runs.trials(self._sweep))
        for run in runs:
            if reader.trial_record(run) is not None:
                with translated(access.place):
                    yield self._trial(run, there)

    @contextlib.contextmanager
    def files(self, run_id: str) -> Iterator[dict[str, Path]]:
        """Provide a run's files by their names, for the length of a ``with`` block.

        Those of a remote store are downloaded, and removed with the end of the block.

        Raises
        ------
        StoreError
            If one is a link or a pipe, or lies outside of the store.
        """
        access = self._access
        with tempfile.TemporaryDirectory(prefix="ae-sweep-export-") as scratch:
            with translated(access.place):
                root = self._folder(run_id, scratch)
                found = _regular_files(root)
            yield found

    def _folder(self, run_id: str, scratch: str) -> Path:
        access = self._access
        found = access.artifacts.find(access.client.get_run(run_id).info.artifact_uri)
        if isinstance(found, Path):
            return found
        if not access.client.list_artifacts(run_id):
            return Path(scratch)
        return Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=found, tracking_uri=access.client.tracking_uri, dst_path=scratch
            )
        )

    def _trial(self, run: Run, there: set[str]) -> ArchivedTrial:
        logged = [] if run.outputs is None else run.outputs.model_outputs
        kept = [output for output in logged if output.model_id in there]
        outcome, failure = reader.trial_outcome(run), {}
        if logged and not kept and outcome is Outcome.FINISHED:
            outcome, failure = Outcome.FAILED, {names.FAILURE: "its model was deleted"}
        model = self._model(kept[-1].model_id, kept[-1].step) if kept else None
        return ArchivedTrial(run=self._run(run, outcome, failure), model=model)

    def _run(
        self, run: Run, outcome: Outcome, failure: Mapping[str, str] | None = None
    ) -> ArchivedRun:
        if outcome is Outcome.RUNNING:
            outcome = Outcome.INTERRUPTED
        tags = {**run.data.tags, names.OUTCOME: str(outcome), **(failure or {})}
        metrics = [
            each
            for key in sorted(run.data.metrics)
            for each in self._access.client.get_metric_history(run.info.run_id, key)
        ]
        return ArchivedRun(
            run_id=run.info.run_id,
            name=self.private.clean(str(run.info.run_name)),
            status=RUN_STATUS[outcome],
            start_ms=int(run.info.start_time),
            end_ms=int(run.info.end_time or max(_latest(metrics), run.info.start_time)),
            tags=self.private.tags(self._without_source(tags)),
            parameters=self.private.parameters(run.data.params),
            metrics=_measurements(metrics),
        )

    def _without_source(self, tags: Mapping[str, str]) -> dict[str, str]:
        before, after = self._private_source
        return {key: text.replace(before, after) for key, text in tags.items()}

    def _model(self, model_id: str, step: int) -> ArchivedModel:
        logged = self._access.client.get_logged_model(model_id)
        return ArchivedModel(
            step=int(step),
            image_shape=self._card_here.image_shape,
            parameters=self.private.parameters(logged.params or {}),
            tags=self.private.tags(logged.tags or {}),
            metrics=_measurements(logged.metrics or []),
        )

    def _card(self) -> DatasetCard:
        """Return the data set that the sweep's run was given as an input."""
        run = self._parent
        try:
            inputs: Any = run.inputs  # None of a run without any
            dataset = inputs.dataset_inputs[0].dataset
            profile: dict[str, Any] = json.loads(dataset.profile)
            channels, height, width = map(int, profile["image_shape"])
            return DatasetCard(
                name=str(dataset.name),
                digest=str(dataset.digest),
                source=str(json.loads(dataset.source)["description"]),
                image_shape=(channels, height, width),
                leaks=int(run.data.tags.get(names.LEAKS, 0)),
                classes=int(profile.get("classes", 0)),
                **{f"{part}_images": int(profile[f"{part}_images"])
                   for part in ("train", "val", "test")},
            )  # fmt: skip
        except (
            AttributeError,
            IndexError,
            KeyError,
            OverflowError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise StoreError(
                f"the run {shorten(run.info.run_id)} of the sweep {shorten(self._sweep)} does not "
                "say which images it was measured on; its data set was changed in MLflow: restore "
                "the store from a copy, or export another sweep"
            ) from error


def _regular_files(root: Path) -> dict[str, Path]:
    """Return the files below a directory by their names, in order."""
    found = {}
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise StoreError(
                f"{visible(path)} is a link or not a regular file, which ae-sweep does not follow; "
                "delete it, or put the file there"
            )
        if path.is_file():
            found[path.relative_to(root).as_posix()] = path
    return found


def _measurements(metrics: Iterable[Metric]) -> tuple[Measurement, ...]:
    found = [
        Measurement(
            key=str(each.key),
            value=float(each.value),
            step=int(each.step),
            timestamp_ms=int(each.timestamp),
        )
        for each in metrics
    ]
    return tuple(sorted(found, key=lambda each: (each.key, each.step, each.timestamp_ms)))


def _latest(metrics: Iterable[Metric]) -> int:
    return max((int(each.timestamp) for each in metrics), default=system_ms())
