"""Writers of a sweep and of its trials, from the start of a run to one of its ends."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from ae_sweep.config import as_flat_dict
from ae_sweep.records import Outcome, Role
from ae_sweep.tracking import names
from ae_sweep.tracking.curve import curve_metrics, write_curves
from ae_sweep.tracking.description import describe
from ae_sweep.tracking.entries import (
    SWEEP_RUN,
    EndRun,
    FinishSweep,
    LogFiles,
    LogMetrics,
    LogModel,
    Measurement,
    StartRun,
)
from ae_sweep.tracking.errors import translated
from ae_sweep.tracking.runs import (
    RUN_STATUS,
    commit_tag,
    finite,
    log_files,
    now_ms,
    objective_metrics,
    table_csv,
    table_json,
    table_tag,
    trial_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlflow import MlflowClient

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.config import SweepConfig
    from ae_sweep.records import DatasetCard, EpochResult, TrialIdentity, TrialResult
    from ae_sweep.tracking.outbox import Outbox


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """What waits in a journal when a sweep has ended."""

    trials: int
    folder: Path


class RunWriter:
    """Writer of one run: what sweeps and trials have in common.

    A run ends once. To end it again does nothing; to write anything else to it then is a bug.

    Parameters
    ----------
    outbox
        Delivers what is written, or keeps it until it can be delivered.
    run
        The word for the run there.
    """

    def __init__(self, outbox: Outbox, *, run: str) -> None:
        self._outbox = outbox
        self._run = run
        self._ended = False

    @property
    def run_id(self) -> str:
        """MLflow's id of the run.

        Raises
        ------
        RuntimeError
            If the run waits to be created.
        """
        run_id = self._outbox.publisher.run_id(self._run)
        if run_id is None:
            raise RuntimeError(f"the run {self._run} is not in the tracking store yet")
        return run_id

    @property
    def _client(self) -> MlflowClient:
        return self._outbox.publisher.client

    @property
    def _place(self) -> str:
        return self._outbox.publisher.place

    def _check_open(self) -> None:
        """Refuse to write to a run that has ended.

        Raises
        ------
        RuntimeError
            If it has.
        """
        if self._ended:
            raise RuntimeError(f"run {self._run} has ended; nothing more can be written to it")

    def fail(self, reason: str) -> None:
        """End the run as failed, with the reason as a tag."""
        self._end(Outcome.FAILED, {names.FAILURE: reason[: names.MAX_TAG_CHARACTERS]})

    def interrupt(self) -> None:
        """End the run as interrupted."""
        self._end(Outcome.INTERRUPTED)

    def _end(self, outcome: Outcome, tags: Mapping[str, str] | None = None) -> None:
        """Close the run; an ended run stays as it is."""
        if self._ended:
            return
        self._outbox.put(self._end_entry(outcome, tags))
        self._ended = True

    def _end_entry(
        self,
        outcome: Outcome,
        tags: Mapping[str, str] | None = None,
        metrics: Sequence[Measurement] = (),
    ) -> EndRun:
        return EndRun(
            run=self._run,
            status=RUN_STATUS[outcome],
            tags={**(tags or {}), names.OUTCOME: str(outcome)},
            end_ms=now_ms(),
            metrics=tuple(metrics),
        )


class TrialWriter(RunWriter):
    """Writer of one trial, a child run."""

    def __init__(self, outbox: Outbox, start: StartRun, *, tags: Mapping[str, str]) -> None:
        super().__init__(outbox, run=start.run)
        self._tags = tags
        self._parameters = start.parameters
        self._last_epoch_ms: dict[int, int] = {}

    def log_epoch(self, result: EpochResult) -> None:
        """Write the metrics of one validation.

        Raises
        ------
        TrainingDivergedError
            If a number is not finite; then nothing is written.
        RuntimeError
            If the trial has ended.
        """
        self._check_open()
        values = {
            "epoch": result.epoch,
            "train_mse": result.train_mse,
            "val_mse": result.val_mse,
            "val_psnr": result.val_psnr,
            **objective_metrics(result),
            "images_per_second": result.images_per_second,
            "epoch_seconds": result.epoch_seconds,
        }
        timestamp_ms = now_ms()
        metrics = _measurements(values, step=result.step, timestamp_ms=timestamp_ms)
        self._outbox.put(LogMetrics(run=self._run, metrics=metrics))
        self._last_epoch_ms = {result.step: timestamp_ms}

    def finish(self, result: TrialResult, *, picture: bytes) -> str | None:
        """Write the result, the picture and the model, and end the run as finished.

        Parameters
        ----------
        picture
            A PNG of original and reconstructed test images.

        Returns
        -------
        str | None
            MLflow's id of the logged model; None if that waits to be published.

        Raises
        ------
        TrainingDivergedError
            If a number is not finite; then nothing is written.
        RuntimeError
            If the trial has ended.
        """
        self._check_open()
        values = {
            "val_mse": result.val_mse,
            **objective_metrics(result),
            "test_mse": result.test_mse,
            "test_psnr": result.test_psnr,
            "compression_ratio": result.compression_ratio,
            "parameters": result.parameters,
            "train_seconds": result.train_seconds,
            **{names.RATE_METRICS + key: value for key, value in result.rate.items()},
        }
        # At the last epoch's time, a val_mse that is logged already is linked, not logged twice.
        timestamp_ms = self._last_epoch_ms.get(result.step, now_ms())
        metrics = _measurements(values, step=result.step, timestamp_ms=timestamp_ms)
        self._outbox.put(
            self._model_entry(result),
            LogFiles(run=self._run, files={names.PICTURE: _content(picture)}),
            self._end_entry(Outcome.FINISHED, metrics=metrics),
        )
        self._ended = True
        return self._outbox.publisher.model_id(self._run)

    def prune(self) -> None:
        """End the run as pruned."""
        self._end(Outcome.PRUNED)

    def _model_entry(self, result: TrialResult) -> LogModel:
        _, channels, height, width = result.pictures.shape
        return LogModel(
            run=self._run,
            step=result.step,
            weights=_content(result.weights),
            image_shape=(channels, height, width),
            parameters=self._parameters,
            tags=self._tags,
        )


class SweepWriter(RunWriter):
    """Writer of one sweep, the parent run of its trials.

    Parameters
    ----------
    commands
        Purpose → command, for the description of the run.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        config: SweepConfig,
        card: DatasetCard,
        commands: Mapping[str, str],
    ) -> None:
        super().__init__(outbox, run=SWEEP_RUN)
        self._config = config
        self._card = card
        self._commands = commands
        self._last_start_ms = 0

    def start_trial(
        self,
        *,
        name: str,
        point: TrialIdentity,
        role: Role,
        parameters: Mapping[str, str | int | float],
    ) -> TrialWriter:
        """Start a trial's run.

        Parameters
        ----------
        name
            Name of the run in the UI.
        point
            Its fields become parameters, its key a tag.
        parameters
            What else decides the result or says where it came from: batch_size, precision,
            device, versions; ``git_commit``, if there is one, becomes MLflow's tag as well.

        Raises
        ------
        RuntimeError
            If the sweep has ended.
        """
        self._check_open()
        texts = trial_parameters(point, card=self._card, parameters=parameters)
        tags = {
            names.SWEEP: self._config.name,
            names.POINT: point.key,
            names.ROLE: str(role),
            names.METHOD: self._config.method,
        }
        # Later than the one before: point and start are how a run is found again.
        self._last_start_ms = max(now_ms(), self._last_start_ms + 1)
        start = StartRun(
            run=f"{self._last_start_ms}-{point.key}",
            name=name,
            tags={
                **tags,
                **commit_tag(texts),
                names.KIND: names.KIND_TRIAL,
                names.PARENT: self.run_id,
            },
            parameters=texts,
            card=self._card,
            start_ms=self._last_start_ms,
        )
        self._outbox.put(start)
        return TrialWriter(self._outbox, start, tags=tags)

    def flush(self) -> None:
        """Publish all that waits.

        Raises
        ------
        StoreError
            If it fails; what is not published waits on.
        """
        self._outbox.flush()

    def keep(self, *, linear_mse: Mapping[int, float]) -> Kept:
        """Leave the frontier to whoever publishes what waits; the run ends with that.

        Parameters
        ----------
        linear_mse
            Test MSE of principal components by their number, if it was measured.

        Raises
        ------
        StoreError
            If that cannot be kept.
        """
        self._outbox.keep_finish(
            FinishSweep(
                config=as_flat_dict(self._config),
                card=self._card,
                commands=self._commands,
                linear_mse=linear_mse,
            )
        )
        self._ended = True
        journal = self._outbox.journal
        assert journal is not None, "the entry above is in it"  # noqa: S101
        kept = Kept(trials=journal.trials, folder=journal.folder)
        journal.close()
        return kept

    def finish(
        self,
        *,
        figures: Mapping[str, bytes],
        table: Sequence[Mapping[str, object]],
        document: Mapping[str, object],
        points: Sequence[FrontierPoint] = (),
        findings: Sequence[str] = (),
        linear_mse: Mapping[int, float] | None = None,
    ) -> None:
        """Write the frontier and its description, and end the run as finished.

        Parameters
        ----------
        figures
            File name → content.
        table
            Rows with the same columns; None and NaN are cells without a value.
        document
            The frontier as a JSON-able value without NaN.
        points
            Of the frontier: they become metrics whose step is the latent_dim.
        findings
            Sentences on the frontier, for the description.
        linear_mse
            Test MSE of principal components by their number, if it was measured.

        Raises
        ------
        RuntimeError
            If the sweep has ended.
        """
        self._check_open()
        files = {
            **figures,
            names.TABLE_JSON: table_json(table),
            names.TABLE_CSV: table_csv(table).encode(),
            names.DOCUMENT: json.dumps(document, indent=2, allow_nan=False).encode(),
        }
        shown = table_tag(names.TABLE_JSON)
        with translated(self._place):
            log_files(self._client, self.run_id, files)
            curves = curve_metrics(points)
            write_curves(self._client, self.run_id, curves, timestamp_ms=now_ms())
            stored = self._client.get_run(self.run_id).data.tags.get(names.NOTE, "")
        note = describe(
            self._config,
            self._card,
            commands=self._commands,
            table=table,
            findings=findings,
            stored=stored,
        )
        linear = {names.LINEAR_MSE: json.dumps(dict(linear_mse))} if linear_mse else {}
        tags = {names.TABLES: shown, names.NOTE: note, **linear}
        # Never left to the journal: the run has not finished unless all of the above is there.
        self._outbox.publisher.apply(self._end_entry(Outcome.FINISHED, tags))
        self._ended = True


def _measurements(
    values: Mapping[str, float | None], *, step: int, timestamp_ms: int
) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(key=key, value=value, step=step, timestamp_ms=timestamp_ms)
        for key, value in finite(values, step=step).items()
    )


def _content(content: bytes) -> Callable[[], bytes]:
    return lambda: content
