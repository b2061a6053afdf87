"""An open tracking store: starts and resumes sweeps, reads what is stored."""

from __future__ import annotations

import contextlib
import difflib
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ae_sweep.config import NAME_PATTERN, changed_settings
from ae_sweep.errors import ConflictError, NotStoredError, StoreError
from ae_sweep.messages import shorten
from ae_sweep.records import Outcome
from ae_sweep.tracking import models, names, reader
from ae_sweep.tracking.curve import write_curves
from ae_sweep.tracking.errors import nothing_stored, translated
from ae_sweep.tracking.runs import (
    RUN_STATUS,
    add_to_run,
    create_sweep_run,
    now_ms,
    reopen_sweep_run,
    table_tag,
)
from ae_sweep.tracking.views import missing_views, stored_views
from ae_sweep.tracking.writer import SweepWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from ae_sweep.config import SweepConfig
    from ae_sweep.locations import Store
    from ae_sweep.records import DatasetCard, SweepRecord, TrialRecord
    from ae_sweep.tracking.views import View


class RunOfCodec(NamedTuple):
    """A run that has a codec."""

    run_id: str
    sweep: str
    """The name of its sweep."""


class TrackingStore:
    """An open store of sweeps and trials."""

    def __init__(
        self,
        client: MlflowClient,
        *,
        store: Store,
        experiment_id: str,
        refusal: StoreError | None = None,
        relocation: models.Relocation | None = None,
    ) -> None:
        self._client = client
        self._store = store
        self._place = store.runs_place
        self._experiment_id = experiment_id
        self._refusal = refusal
        self._relocation = relocation

    @property
    def experiment_id(self) -> str:
        """MLflow's id of the experiment that all runs are in."""
        return self._experiment_id

    def start_sweep(
        self,
        config: SweepConfig,
        *,
        card: DatasetCard,
        environment: Mapping[str, str],
        commands: Mapping[str, str] = MappingProxyType({}),
    ) -> SweepWriter:
        """Make a sweep's parent run.

        Parameters
        ----------
        environment
            Versions of packages and the like, logged as parameters; ``git_commit``, if there
            is one, becomes MLflow's tag as well.
        commands
            Purpose → command, for the description of the run.

        Raises
        ------
        ConflictError
            If a sweep of that name is stored.
        """
        with translated(self._place):
            if self._find(config.name) is not None:
                raise ConflictError(
                    f"a sweep named {config.name} is stored already; continue it with --resume, "
                    "or choose another --name"
                )
            self._add_views()
            run_id = create_sweep_run(
                self._client,
                experiment_id=self._experiment_id,
                config=config,
                card=card,
                environment=environment,
                commands=commands,
            )
        return self._sweep_writer(run_id, config, card, commands)

    def resume_sweep(
        self,
        config: SweepConfig,
        *,
        card: DatasetCard,
        commands: Mapping[str, str] = MappingProxyType({}),
    ) -> SweepWriter:
        """Open a stored sweep again; dims, trials and repeats may have grown.

        Trials that a killed process left running are ended as interrupted, so no other process
        may be at this sweep.

        Parameters
        ----------
        commands
            Purpose → command, for the description of the run.

        Raises
        ------
        NotStoredError
            If no sweep of that name is stored.
        ConflictError
            If it is stored with other settings or another data set.
        """
        with translated(self._place):
            run = self._parent(config.name)
            _refuse_other(reader.sweep_record(run), config, card)
            self._add_views()
            reopen_sweep_run(self._client, run, config=config, card=card, commands=commands)
            self._end_abandoned(config.name)
        return self._sweep_writer(run.info.run_id, config, card, commands)

    def sweeps(self) -> list[SweepRecord]:
        """Return all sweeps, the newest first."""
        with translated(self._place):
            counts: dict[str, Counter[Outcome]] = defaultdict(Counter)
            for run in self._search(names.trials_filter()):
                counts[run.data.tags[names.SWEEP]][reader.trial_outcome(run)] += 1
            return [
                reader.sweep_record(run, counts[run.data.tags[names.SWEEP]])
                for run in self._search(names.sweeps_filter(), newest_first=True)
            ]

    def sweep(self, name: str | None = None) -> SweepRecord:
        """Return one sweep, the latest if none is named.

        Raises
        ------
        NotStoredError
            If there is none of that name, or none at all.
        """
        return self.sweep_with_trials(name)[0]

    def sweep_settings(self, name: str | None = None) -> SweepRecord:
        """Return one sweep, the latest if none is named, without reading its trials.

        Its ``counts`` are empty. Reading thousands of trials takes seconds.

        Raises
        ------
        NotStoredError
            If there is none of that name, or none at all.
        """
        with translated(self._place):
            parent = self._latest() if name is None else self._parent(name)
            _refuse_foreign_name(parent)
            return reader.sweep_record(parent)

    def trials(self, sweep: str) -> list[TrialRecord]:
        """Return all trials of a sweep, in the order they were started.

        Raises
        ------
        NotStoredError
            If there is no sweep of that name.
        """
        return self.sweep_with_trials(sweep)[1]

    def sweep_with_trials(self, name: str | None = None) -> tuple[SweepRecord, list[TrialRecord]]:
        """Return one sweep, the latest if none is named, and its trials as they were started.

        Both at once, since each needs all trials to be read: seconds where there are thousands.

        Raises
        ------
        NotStoredError
            If there is none of that name, or none at all.
        """
        counts: Counter[Outcome] = Counter()
        trials = []
        with translated(self._place):
            parent = self._latest() if name is None else self._parent(name)
            _refuse_foreign_name(parent)
            for run in self._search(names.trials_filter(parent.data.tags[names.SWEEP])):
                counts[reader.trial_outcome(run)] += 1
                if (record := reader.trial_record(run)) is not None:
                    trials.append(record)
            return reader.sweep_record(parent, counts), trials

    def finished_points(self, sweep: str) -> dict[str, float]:
        """Return the validation objective of each finished point, by the point's key.

        Raises
        ------
        NotStoredError
            If there is no sweep of that name.
        """
        return reader.finished_points(self.trials(sweep))

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
            outputs = self._client.get_run(run_id).outputs
            logged = outputs.model_outputs if outputs is not None else []
            if not logged:
                raise NotStoredError(
                    f"run {shorten(run_id)} has no model; resume the sweep, or restore the model "
                    "in the MLflow UI"
                )
        with tempfile.TemporaryDirectory(prefix="ae-sweep-model-") as scratch:
            with translated(self._place):
                file = models.fetch_weights(
                    self._client,
                    model_id=logged[-1].model_id,
                    scratch=Path(scratch),
                    relocation=self._relocation,
                )
            yield file

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
                relocation=self._relocation,
            )
            if file is None:
                return None
            if (size := file.stat().st_size) > names.MAX_FILE_BYTES:
                raise StoreError(
                    f"{name} of run {shorten(run_id)} has {size:,} bytes, more than any that "
                    "ae-sweep writes; delete it there"
                )
            return file.read_bytes()

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
                for run in self._search(names.codec_filter(digest), newest_first=True)
                if names.SWEEP in run.data.tags
            ]

    def parameters(self, run_id: str) -> dict[str, str]:
        """Return what a run was started with: settings, versions, device.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        with translated(self._place):
            return dict(self._client.get_run(run_id).data.params)

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
            would go where it was.
        """
        if self._refusal is not None:
            raise self._refusal
        if curves:
            with translated(self._place):
                write_curves(
                    self._client,
                    run_id,
                    {names.CODED_METRICS + name: dict(curve) for name, curve in curves.items()},
                    timestamp_ms=now_ms(),
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

    def views(self) -> list[View]:
        """Return the views of the UI's table of runs that the store has.

        One in which no sweep was run since they exist has none.
        """
        with translated(self._place):
            return stored_views(self._client.get_experiment(self._experiment_id).tags)

    def _add_views(self) -> None:
        tags = self._client.get_experiment(self._experiment_id).tags
        for key, value in missing_views(tags).items():
            self._client.set_experiment_tag(self._experiment_id, key, value)

    def _sweep_writer(
        self, run_id: str, config: SweepConfig, card: DatasetCard, commands: Mapping[str, str]
    ) -> SweepWriter:
        return SweepWriter(
            self._client,
            place=self._place,
            experiment_id=self._experiment_id,
            run_id=run_id,
            config=config,
            card=card,
            commands=commands,
        )

    def _search(self, filter_string: str, *, newest_first: bool = False) -> Iterator[Run]:
        return reader.search(
            self._client,
            experiment_id=self._experiment_id,
            filter_string=filter_string,
            newest_first=newest_first,
        )

    def _find(self, name: str) -> Run | None:
        if not NAME_PATTERN.fullmatch(name):  # it would not be safe inside a filter
            return None
        return next(self._search(names.sweep_filter(name), newest_first=True), None)

    def _parent(self, name: str) -> Run:
        if (run := self._find(name)) is not None:
            return run
        parents = self._search(names.sweeps_filter(), newest_first=True)
        raise _no_such_sweep(name, [run.data.tags[names.SWEEP] for run in parents], self._store)

    def _latest(self) -> Run:
        latest = next(self._search(names.sweeps_filter(), newest_first=True), None)
        if latest is None:
            raise nothing_stored(self._store)
        return latest

    def _end_abandoned(self, sweep: str) -> None:
        running = f"{names.trials_filter(sweep)} AND attributes.status = 'RUNNING'"
        for run in list(self._search(running)):  # all of them first: each one ended moves the pages
            self._client.set_tag(run.info.run_id, names.OUTCOME, Outcome.INTERRUPTED)
            self._client.set_terminated(run.info.run_id, status=RUN_STATUS[Outcome.INTERRUPTED])


def _refuse_foreign_name(parent: Run) -> None:
    name = parent.data.tags[names.SWEEP]
    if not NAME_PATTERN.fullmatch(name):  # it would not be safe inside a filter
        raise StoreError(
            f"the latest sweep is named {shorten(name)}, which ae-sweep gives none; name another "
            "sweep, or mend its tag in the MLflow UI"
        )


def _no_such_sweep(name: str, stored: list[str], store: Store) -> NotStoredError:
    if not stored:
        return nothing_stored(store)
    near = difflib.get_close_matches(name, stored, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"the latest is {stored[0]};"
    return NotStoredError(
        f"no sweep is named {shorten(name)}; {hint} `{store.command('list')}` lists all"
    )


def _refuse_other(stored: SweepRecord, config: SweepConfig, card: DatasetCard) -> None:
    if changes := changed_settings(stored.config, config.identity()):
        raise ConflictError(
            f"the sweep {config.name} is stored with other settings: {'; '.join(changes)}; resume "
            "it with the same settings, or choose another --name"
        )
    if stored.dataset_digest != card.digest:
        raise ConflictError(
            f"the sweep {config.name} was measured on other images of {card.name} (digest "
            f"{stored.dataset_digest}, now {card.digest}); choose another --name"
        )
