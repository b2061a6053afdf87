"""Sweeps of an open tracking store, read as records."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from ae_sweep.messages import ignore, shorten
from ae_sweep.records import Outcome
from ae_sweep.tracking import models, names, reader, validity
from ae_sweep.tracking.errors import translated
from ae_sweep.tracking.liveness import as_it_is, trials_as_they_are
from ae_sweep.tracking.stored_runs import StoredRuns
from ae_sweep.tracking.views import stored_views

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities import Run

    from ae_sweep.records import SweepRecord, TrialRecord
    from ae_sweep.tracking.views import View


class StoredSweeps(StoredRuns):
    """The sweeps of an open store, by their names."""

    def sweeps(self) -> list[SweepRecord]:
        """Return all sweeps, the newest first, and how MLflow says that their trials ended."""
        with translated(self._place):
            counts: dict[str, Counter[Outcome]] = defaultdict(Counter)
            for run in self._runs.trials():
                counts[run.data.tags[names.SWEEP]][reader.trial_outcome(run)] += 1
            records = [
                reader.sweep_record(run, counts[run.data.tags[names.SWEEP]])
                for run in self._runs.parents()
            ]
        return [as_it_is(record, self._store) for record in records]

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
            record = reader.sweep_record(self._runs.parent(name))
        return as_it_is(record, self._store)

    def trials(self, sweep: str) -> list[TrialRecord]:
        """Return all trials of a sweep, in the order they were started.

        Raises
        ------
        NotStoredError
            If there is no sweep of that name.
        """
        return self.sweep_with_trials(sweep)[1]

    def sweep_with_trials(
        self, name: str | None = None, *, announce: Callable[[str], None] = ignore
    ) -> tuple[SweepRecord, list[TrialRecord]]:
        """Return one sweep, the latest if none is named, and its trials as they were started.

        Both at once, since each needs all trials to be read: seconds where there are thousands.
        Trials whose settings or numbers were edited since they ended have failed.

        Parameters
        ----------
        announce
            Called with a line on each of those.

        Raises
        ------
        NotStoredError
            If there is none of that name, or none at all.
        """
        counts: Counter[Outcome] = Counter()
        trials = []
        with translated(self._place):
            parent = self._runs.parent(name)
            for run in self._runs.trials(parent.data.tags[names.SWEEP]):
                outcome, record = _as_counted(run, announce)
                counts[outcome] += 1
                if record is not None:
                    trials.append(record)
            sweep = reader.sweep_record(parent, counts)
        return as_it_is(sweep, self._store), trials_as_they_are(sweep, trials, self._store)

    def trials_to_keep(
        self, sweep: str, *, announce: Callable[[str], None] = ignore
    ) -> list[TrialRecord]:
        """Return the trials of a sweep for its resumption.

        Those without their model have failed, and so have those whose settings or numbers were
        edited since they ended.

        Parameters
        ----------
        announce
            Called with a line on each of them.

        Raises
        ------
        NotStoredError
            If there is no sweep of that name.
        """
        trials = []
        with translated(self._place):
            self._runs.parent(sweep)
            there = self._models_there(sweep)
            for run in self._runs.trials(sweep):
                if (record := reader.trial_record(run)) is None:
                    continue
                why = validity.objection(run, record, there)
                if why:
                    announce(
                        f"{shorten(record.name)} (run {run.info.run_id!r}) does not count, since "
                        f"{why}: it is trained again"
                    )
                trials.append(
                    dataclasses.replace(record, outcome=Outcome.FAILED) if why else record
                )
        return trials

    def count_runs(self, sweep: str) -> tuple[int, int]:
        """Count the runs of a sweep's name: of sweeps, and of trials; deleted ones do not count."""
        with translated(self._place):
            parents = sum(run.data.tags[names.SWEEP] == sweep for run in self._runs.parents())
            return parents, sum(1 for _ in self._runs.trials(sweep))

    def views(self) -> list[View]:
        """Return the views of the UI's table of runs that the store has.

        One in which no sweep was run since they exist has none.
        """
        with translated(self._place):
            return stored_views(self._client.get_experiment(self._experiment_id).tags)

    def _models_there(self, sweep: str) -> set[str]:
        return models.there(
            self._client,
            experiment_id=self._experiment_id,
            sweep=sweep,
            place=self._artifacts,
            local=self._store.artifact_root is not None,
        )


def _as_counted(run: Run, announce: Callable[[str], None]) -> tuple[Outcome, TrialRecord | None]:
    """Return a trial's outcome and record; one that was edited since it ended has failed."""
    record = reader.trial_record(run)
    edited = "" if record is None else validity.edits(run, record)
    if record is None or not edited:
        return reader.trial_outcome(run), record
    announce(
        f"{shorten(record.name)} of {run.data.tags[names.SWEEP]} (run {run.info.run_id!r}) does "
        f"not count, since its {edited} were edited in MLflow; `run --resume` trains it again"
    )
    return Outcome.FAILED, dataclasses.replace(record, outcome=Outcome.FAILED)
