"""An open tracking store: starts and resumes sweeps, reads what is stored."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from ae_sweep.config import changed_settings
from ae_sweep.errors import ConflictError
from ae_sweep.isolation import SHIELDED, unless_set
from ae_sweep.messages import ignore
from ae_sweep.records import Outcome
from ae_sweep.tracking import models, names, reader
from ae_sweep.tracking.entries import SWEEP_RUN
from ae_sweep.tracking.errors import translated
from ae_sweep.tracking.journal import Journal, JournalHeader, place_of
from ae_sweep.tracking.liveness import as_it_is, trials_as_they_are
from ae_sweep.tracking.mlflow_env import forget_place
from ae_sweep.tracking.outbox import DELIVERY_SECONDS, Outbox
from ae_sweep.tracking.publisher import Publisher
from ae_sweep.tracking.reach import check_reachable
from ae_sweep.tracking.runs import RUN_STATUS, add_once, create_sweep_run, reopen_sweep_run
from ae_sweep.tracking.stored_runs import StoredRuns
from ae_sweep.tracking.tries import Tries
from ae_sweep.tracking.views import missing_views, stored_views
from ae_sweep.tracking.writer import SweepWriter

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mlflow.entities import Run

    from ae_sweep.config import SweepConfig
    from ae_sweep.records import DatasetCard, SweepRecord, TrialRecord
    from ae_sweep.tracking.kept import KeptSweep
    from ae_sweep.tracking.views import View

Announce: TypeAlias = Callable[[str], None]
"""Called with one line of text."""


class TrackingStore(StoredRuns):
    """An open store of sweeps and trials."""

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
        journal: Announce | None = None,
    ) -> SweepWriter:
        """Make a sweep's parent run.

        A signal waits until it is made: a server that hangs is given up after seconds.

        Parameters
        ----------
        environment
            Versions of packages and the like, logged as parameters; ``git_commit``, if there
            is one, becomes MLflow's tag as well.
        commands
            Purpose → command, for the description of the run.
        journal
            Called with a line where the store fails later and a journal begins to keep what is
            logged; without it, such a failure is an error.

        Raises
        ------
        ConflictError
            If a sweep of that name is stored.
        """
        with unless_set(SHIELDED), translated(self._place):
            if self._runs.find(config.name) is not None:
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
        return self._sweep_writer(run_id, config, card, commands, journal)

    def resume_sweep(
        self,
        config: SweepConfig,
        *,
        card: DatasetCard,
        commands: Mapping[str, str] = MappingProxyType({}),
        journal: Announce | None = None,
    ) -> SweepWriter:
        """Open a stored sweep again; dims, trials and repeats may have grown.

        Trials that a killed process left running are ended as interrupted, so no other process
        may be at this sweep. A signal waits until that is done: a server that hangs is given up
        after seconds.

        Parameters
        ----------
        commands
            Purpose → command, for the description of the run.
        journal
            Called with a line where the store fails later and a journal begins to keep what is
            logged; without it, such a failure is an error.

        Raises
        ------
        NotStoredError
            If no sweep of that name is stored.
        ConflictError
            If it is stored with other settings or another data set.
        """
        with unless_set(SHIELDED), translated(self._place):
            run = self._runs.parent(config.name)
            self._artifacts.find(run.info.artifact_uri)
            forget_place(run.info.run_id)
            _refuse_other(reader.sweep_record(run), config, card)
            self._add_views()
            reopen_sweep_run(self._client, run, config=config, card=card, commands=commands)
            tries = self._end_abandoned(config.name)
        return self._sweep_writer(run.info.run_id, config, card, commands, journal, tries)

    def sweeps(self) -> list[SweepRecord]:
        """Return all sweeps, the newest first."""
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
            parent = self._runs.parent(name)
            for run in self._runs.trials(parent.data.tags[names.SWEEP]):
                counts[reader.trial_outcome(run)] += 1
                if (record := reader.trial_record(run)) is not None:
                    trials.append(record)
            sweep = reader.sweep_record(parent, counts)
        return as_it_is(sweep, self._store), trials_as_they_are(sweep, trials, self._store)

    def trials_to_keep(self, sweep: str) -> list[TrialRecord]:
        """Return the trials of a sweep for its resumption: without their model they have failed.

        Raises
        ------
        NotStoredError
            If there is no sweep of that name.
        """
        trials = []
        with translated(self._place):
            self._runs.parent(sweep)
            there = self._models_of(sweep)
            for run in self._runs.trials(sweep):
                if (record := reader.trial_record(run)) is not None:
                    lacks = _lacks_model(run, there)
                    trials.append(
                        dataclasses.replace(record, outcome=Outcome.FAILED) if lacks else record
                    )
        return trials

    def count_runs(self, sweep: str) -> tuple[int, int]:
        """Count the runs of a sweep's name: of sweeps, and of trials; deleted ones do not count."""
        with translated(self._place):
            parents = sum(run.data.tags[names.SWEEP] == sweep for run in self._runs.parents())
            return parents, sum(1 for _ in self._runs.trials(sweep))

    def delete_sweep(self, sweep: str) -> None:
        """Move all runs of a sweep's name to MLflow's deleted runs, the sweep's own the last.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        if self._refusal is not None:
            raise self._refusal
        with translated(self._place):
            for run in list(self._runs.trials(sweep)):
                self._client.delete_run(run.info.run_id)
            half_imported = self._runs.imports(sweep)
            parents = (run for run in self._runs.parents() if run.data.tags[names.SWEEP] == sweep)
            for run in [*half_imported, *parents]:
                self._client.delete_run(run.info.run_id)

    def views(self) -> list[View]:
        """Return the views of the UI's table of runs that the store has.

        One in which no sweep was run since they exist has none.
        """
        with translated(self._place):
            return stored_views(self._client.get_experiment(self._experiment_id).tags)

    def _add_views(self) -> None:
        tags = self._client.get_experiment(self._experiment_id).tags
        for key, value in missing_views(tags).items():
            add_once(partial(self._client.set_experiment_tag, self._experiment_id, key, value))

    def finish_of(
        self,
        run_id: str,
        config: SweepConfig,
        *,
        card: DatasetCard,
        commands: Mapping[str, str],
    ) -> SweepWriter:
        """Open a sweep whose trials have all ended, to finish it."""
        return self._sweep_writer(run_id, config, card, commands, None)

    def publish(self, kept: KeptSweep, *, announce: Announce) -> Journal:
        """Publish the trials that a journal keeps, each once, and return the journal.

        It is empty then, but for the end of the sweep if that waits too.

        Raises
        ------
        ConflictError
            If the sweep is running, or the journal is another store's.
        StoreError
            If the store fails, or the journal is damaged.
        """
        with translated(self._place):
            run = self._runs.find(kept.name)
        header = JournalHeader(
            sweep=kept.name,
            run_id="" if run is None else run.info.run_id,
            place=place_of(self._store),
        )
        journal = Journal(self._store.running(kept.name), header)
        journal.open()
        try:
            outbox = self._outbox(kept.name, journal, announce)
            outbox.publisher.know(SWEEP_RUN, header.run_id)
            outbox.flush()
        except BaseException:
            journal.close()
            raise
        return journal

    def _sweep_writer(
        self,
        run_id: str,
        config: SweepConfig,
        card: DatasetCard,
        commands: Mapping[str, str],
        announce: Announce | None,
        tries: Tries | None = None,
    ) -> SweepWriter:
        journal = None
        if announce is not None:
            place = place_of(self._store)
            header = JournalHeader(sweep=config.name, run_id=run_id, place=place)
            journal = Journal(self._store.running(config.name), header)
        outbox = self._outbox(config.name, journal, announce or ignore)
        outbox.publisher.know(SWEEP_RUN, run_id)
        return SweepWriter(outbox, config=config, card=card, commands=commands, tries=tries)

    def _outbox(self, sweep: str, journal: Journal | None, announce: Announce) -> Outbox:
        publisher = Publisher(
            self._client, place=self._place, experiment_id=self._experiment_id, sweep=sweep
        )
        uri = self._store.tracking_uri
        return Outbox(
            publisher,
            journal=journal,
            knock=partial(check_reachable, uri, self._place),
            announce=announce,
            # Our own database is on the disk that the journal would be on.
            seconds=DELIVERY_SECONDS if self._store.tracking_override else None,
        )

    def _end_abandoned(self, sweep: str) -> Tries:
        """End the trials of a killed process, and those without a model; return all to try again.

        A finished trial whose model was deleted has failed: it is trained again.
        """
        tries, there = Tries(), self._models_of(sweep)
        for run in self._runs.trials(sweep):
            outcome = reader.trial_outcome(run)
            if outcome is Outcome.RUNNING:
                self._end(run, Outcome.INTERRUPTED)
            elif _lacks_model(run, there):
                outcome = Outcome.FAILED
                self._client.set_tag(run.info.run_id, names.FAILURE, "its model was deleted")
                self._end(run, outcome)
            # A pruned one is tried again if its process was killed before the study heard of it.
            if outcome is not Outcome.FINISHED:
                tries.add(run)
        return tries

    def _end(self, run: Run, outcome: Outcome) -> None:
        self._client.set_tag(run.info.run_id, names.OUTCOME, outcome)
        self._client.set_terminated(run.info.run_id, status=RUN_STATUS[outcome])

    def _models_of(self, sweep: str) -> set[str]:
        return models.there(
            self._client,
            experiment_id=self._experiment_id,
            sweep=sweep,
            place=self._artifacts,
            local=self._store.artifact_root is not None,
        )


def _lacks_model(run: Run, there: Collection[str]) -> bool:
    """Return whether a trial has finished and its logged model was deleted since."""
    logged = [] if run.outputs is None else run.outputs.model_outputs
    gone = bool(logged) and not any(output.model_id in there for output in logged)
    return gone and reader.trial_outcome(run) is Outcome.FINISHED


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
