"""Runs of an open tracking store: their models, files and parameters, and what is added later."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlflow.exceptions import MlflowException

from ae_sweep.errors import NotStoredError, StoreError
from ae_sweep.messages import shorten
from ae_sweep.records import Outcome
from ae_sweep.tracking import models, names
from ae_sweep.tracking.access import StoreAccess
from ae_sweep.tracking.archive_reader import ArchiveReader
from ae_sweep.tracking.archive_writer import ArchiveWriter
from ae_sweep.tracking.clock import system_ms
from ae_sweep.tracking.curve import write_curves
from ae_sweep.tracking.errors import translated
from ae_sweep.tracking.mlflow_env import forget_place
from ae_sweep.tracking.reader import trial_outcome
from ae_sweep.tracking.runs import add_to_run, table_tag
from ae_sweep.tracking.sweep_runs import SweepRuns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from ae_sweep.locations import Store
    from ae_sweep.tracking.artifact_place import ArtifactPlace

NO_SUCH_RUN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's codes for an id that no run has, and for one that no run can have."""


class RunOfCodec(NamedTuple):
    """A run that has a codec."""

    run_id: str
    sweep: str
    """The name of its sweep."""


class StoredRuns:
    """The runs of an open store, by their ids."""

    def __init__(
        self,
        client: MlflowClient,
        *,
        store: Store,
        experiment_id: str,
        artifacts: ArtifactPlace,
        refusal: StoreError | None = None,
    ) -> None:
        self._client = client
        self._store = store
        self._place = store.runs_place
        self._experiment_id = experiment_id
        self._runs = SweepRuns(client=client, store=store, experiment_id=experiment_id)
        self._refusal = refusal
        self._artifacts = artifacts

    @property
    def refusal(self) -> StoreError | None:
        """Why nothing can be written here; None if it can."""
        return self._refusal

    @property
    def access(self) -> StoreAccess:
        """What moving a sweep works with."""
        return StoreAccess(
            client=self._client,
            experiment_id=self._experiment_id,
            place=self._place,
            runs=self._runs,
            artifacts=self._artifacts,
            is_local=self._store.artifact_root is not None,
        )

    def archive_reader(self, sweep: str, *, private_paths: Iterable[str]) -> ArchiveReader:
        """Open a sweep to be exported.

        Raises
        ------
        NotStoredError
            If there is no sweep of that name.
        StoreError
            If it cannot be read.
        """
        return ArchiveReader(self.access, sweep, private_paths=private_paths)

    def archive_writer(self, name: str, *, commands: Mapping[str, str]) -> ArchiveWriter:
        """Begin to import a sweep.

        Raises
        ------
        StoreError
            If nothing can be written here.
        """
        if self._refusal is not None:
            raise self._refusal
        return ArchiveWriter(self.access, name, commands=commands)

    @contextlib.contextmanager
    def model_file(self, run_id: str) -> Iterator[Path]:
        """Provide the weights of a finished trial as a file, for the length of a ``with`` block.

        Those of a remote store are downloaded, and removed with the end of the block.

        Raises
        ------
        NotStoredError
            If the run has no model: it was deleted, or the trial has not finished.
        StoreError
            If it cannot be read.
        """
        with translated(self._place):
            run = self._client.get_run(run_id)
        logged = run.outputs.model_outputs if run.outputs is not None else []
        if not logged:
            raise self._no_model(run)
        with tempfile.TemporaryDirectory(prefix="ae-sweep-model-") as scratch:
            with translated(self._place):
                try:
                    file = models.fetch_weights(
                        self._client,
                        model_id=logged[-1].model_id,
                        scratch=Path(scratch),
                        place=self._artifacts,
                    )
                except FileNotFoundError:
                    raise self._no_model(run) from None
            yield file

    def _no_model(self, run: Run) -> NotStoredError:
        sweep = run.data.tags.get(names.SWEEP, "")
        again = self._store.command("run", "--name", sweep, "--resume")
        trial = f"{shorten(run.info.run_name)} of the sweep {shorten(sweep)}"
        run_id = shorten(run.info.run_id)
        if (outcome := trial_outcome(run)) is not Outcome.FINISHED:
            return NotStoredError(f"{trial} (run {run_id}) has no model: it is {outcome}")
        return NotStoredError(
            f"the model of {trial} (run {run_id}) was deleted; to train it again: `{again}`"
        )

    def parameters(self, run_id: str) -> dict[str, str]:
        """Return what a run was started with: settings, versions, device.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        with translated(self._place):
            return dict(self._client.get_run(run_id).data.params)

    def run_file(self, run_id: str, name: str) -> bytes | None:
        """Return the content of a file that was added to a run; None if it has none of that name.

        Raises
        ------
        StoreError
            If it cannot be read, or is larger than any file that is added.
        """
        with (
            tempfile.TemporaryDirectory(prefix="ae-sweep-file-") as scratch,
            translated(self._place),
        ):
            file = models.fetch_file(
                self._client,
                run_id=run_id,
                name=name,
                scratch=Path(scratch),
                place=self._artifacts,
            )
            if file is None:
                return None
            if (size := file.stat().st_size) > names.MAX_FILE_BYTES:
                raise StoreError(
                    f"{name} of run {shorten(run_id)} has {size:,} bytes, more than any that "
                    "ae-sweep writes; delete it there"
                )
            return file.read_bytes()

    def sweep_of(self, run_id: str) -> str:
        """Return the name of the sweep that a trial's run is of.

        Raises
        ------
        NotStoredError
            If there is no such run, or it is not a trial's.
        """
        with translated(self._place):
            try:
                tags = self._client.get_run(run_id).data.tags
            except MlflowException as error:
                if error.error_code not in NO_SUCH_RUN:
                    raise
                tags = {}
        if tags.get(names.KIND) != names.KIND_TRIAL or names.SWEEP not in tags:
            raise NotStoredError(
                f"no trial has the run {shorten(run_id)}; "
                f"`{self._store.command('show', '--json')}` has the runs of the latest sweep"
            )
        return str(tags[names.SWEEP])

    def runs_with_codec(self, digest: str) -> list[RunOfCodec]:
        """Return the runs that have a codec, the newest first; there are several in no sane store.

        Parameters
        ----------
        digest
            32 hexadecimal digits.
        """
        with translated(self._place):
            return [
                RunOfCodec(run.info.run_id, run.data.tags[names.SWEEP])
                for run in self._runs.with_codec(digest)
                if names.SWEEP in run.data.tags
            ]

    def add_to_run(
        self,
        run_id: str,
        *,
        metrics: Mapping[str, float] | None = None,
        curves: Mapping[str, Mapping[int, float]] | None = None,
        files: Mapping[str, bytes] | None = None,
        table: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add later findings to a run that has ended; files of the same name are replaced.

        Parameters
        ----------
        metrics
            Name → finite number.
        curves
            Name → step → finite number: those of the run's codec, in place of earlier ones.
        files
            File name → content.
        table
            Which of the files the UI shows as a table.
        tags
            Name → text, written when all else is there.

        Raises
        ------
        StoreError
            If it cannot be written: the store is read-only, or was moved or copied, and files
            would go where it was, or anywhere else.
        """
        if self._refusal is not None:
            raise self._refusal
        with translated(self._place):
            self._artifacts.find(self._client.get_run(run_id).info.artifact_uri)
        forget_place(run_id)
        if curves:
            with translated(self._place):
                write_curves(
                    self._client,
                    run_id,
                    {names.CODED_METRICS + name: dict(curve) for name, curve in curves.items()},
                    timestamp_ms=system_ms(),
                    prefix=names.CODED_METRICS,
                )
        shown = {} if table is None else {names.TABLES: table_tag(table)}
        add_to_run(
            self._client,
            run_id,
            place=self._place,
            metrics=metrics or {},
            files=files or {},
            tags={**shown, **(tags or {})},
        )
