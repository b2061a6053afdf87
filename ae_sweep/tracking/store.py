"""An open tracking store: starts, resumes, publishes and deletes sweeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from ae_sweep.config import changed_settings
from ae_sweep.errors import ConflictError
from ae_sweep.isolation import SHIELDED, unless_set
from ae_sweep.messages import ignore
from ae_sweep.records import Outcome
from ae_sweep.tracking import names, reader, server_owner, validity
from ae_sweep.tracking.entries import SWEEP_RUN
from ae_sweep.tracking.errors import translated
from ae_sweep.tracking.journal import Journal, JournalHeader, place_of
from ae_sweep.tracking.mlflow_env import forget_place
from ae_sweep.tracking.outbox import DELIVERY_SECONDS, Outbox
from ae_sweep.tracking.publisher import Publisher
from ae_sweep.tracking.reach import check_reachable
from ae_sweep.tracking.runs import RUN_STATUS, add_once, create_sweep_run, reopen_sweep_run
from ae_sweep.tracking.server_owner import SignOfLife
from ae_sweep.tracking.stored_sweeps import StoredSweeps
from ae_sweep.tracking.tries import Tries
from ae_sweep.tracking.views import missing_views
from ae_sweep.tracking.writer import SweepWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities import Run

    from ae_sweep.config import SweepConfig
    from ae_sweep.records import DatasetCard, SweepRecord
    from ae_sweep.tracking.kept import KeptSweep

Announce: TypeAlias = Callable[[str], None]
"""Called with one line of text."""


class TrackingStore(StoredSweeps):
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
            If a sweep of that name is stored, or another process that uses the same tracking server
            begins one at the same moment.
        """
        with unless_set(SHIELDED), translated(self._place):
            asked_at = time.monotonic()
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
                owner=self._owner_tag(),
            )
            if self._is_shared:
                self._settle(run_id, config.name, asked_seconds=time.monotonic() - asked_at)
        return self._sweep_writer(
            run_id, config, card, commands, journal, sign=self._sign(run_id, config.name)
        )

    def resume_sweep(
        self,
        config: SweepConfig,
        *,
        card: DatasetCard,
        commands: Mapping[str, str] = MappingProxyType({}),
        journal: Announce | None = None,
        take_over_command: str | None = None,
        take_over: bool = False,
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
        take_over_command, take_over
            Takes the sweep over from another machine that uses the same tracking server; whether to
            do so.

        Raises
        ------
        NotStoredError
            If no sweep of that name is stored.
        ConflictError
            If it is stored with other settings or another data set, or another process that uses
            the same tracking server runs it.
        """
        with unless_set(SHIELDED), translated(self._place):
            run = self._runs.parent(config.name)
            server_owner.refuse_another(
                run, sweep=config.name, take_over_command=take_over_command, take_over=take_over
            )
            self._artifacts.find(run.info.artifact_uri)
            forget_place(run.info.run_id)
            _refuse_other(reader.sweep_record(run), config, card)
            self._add_views()
            reopen_sweep_run(
                self._client,
                run,
                config=config,
                card=card,
                commands=commands,
                owner=self._owner_tag(),
            )
            tries = self._end_abandoned(config.name)
        run_id = run.info.run_id
        sign = self._sign(run_id, config.name)
        return self._sweep_writer(run_id, config, card, commands, journal, tries=tries, sign=sign)

    def delete_sweep(self, sweep: str) -> None:
        """Move all runs of a sweep's name to MLflow's deleted runs, the sweep's own the last.

        Raises
        ------
        ConflictError
            If another process that uses the same tracking server runs it.
        StoreError
            If it cannot be written.
        """
        if self._refusal is not None:
            raise self._refusal
        with translated(self._place):
            if (run := self._runs.find(sweep)) is not None:
                server_owner.refuse_another(run, sweep=sweep)
            for run in list(self._runs.trials(sweep)):
                self._client.delete_run(run.info.run_id)
            half_imported = self._runs.imports(sweep)
            parents = (run for run in self._runs.parents() if run.data.tags[names.SWEEP] == sweep)
            for run in [*half_imported, *parents]:
                self._client.delete_run(run.info.run_id)

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
        *,
        tries: Tries | None = None,
        sign: SignOfLife | None = None,
    ) -> SweepWriter:
        journal = None
        if announce is not None:
            place = place_of(self._store)
            header = JournalHeader(sweep=config.name, run_id=run_id, place=place)
            journal = Journal(self._store.running(config.name), header)
        outbox = self._outbox(config.name, journal, announce or ignore)
        outbox.publisher.know(SWEEP_RUN, run_id)
        if sign is not None:
            sign.start()
        return SweepWriter(
            outbox,
            config=config,
            card=card,
            commands=commands,
            tries=tries,
            on_server=self._is_shared,
            sign=sign,
        )

    @property
    def _is_shared(self) -> bool:
        """Whether other directories' sweeps are in it too, whose owners have no record here."""
        return self._store.tracking_override is not None

    def _owner_tag(self) -> dict[str, str]:
        return server_owner.own_tag() if self._is_shared else {}

    def _settle(self, run_id: str, sweep: str, *, asked_seconds: float) -> None:
        try:
            server_owner.refuse_later(
                partial(self._runs.all_named, sweep),
                run_id,
                sweep=sweep,
                asked_seconds=asked_seconds,
            )
        except ConflictError:
            self._client.delete_run(run_id)
            raise

    def _sign(self, run_id: str, sweep: str) -> SignOfLife | None:
        if not self._is_shared:
            return None
        return SignOfLife(self._client, run_id, sweep=sweep, place=self._place)

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
        """End the trials of a killed process, and those that do not count; return all to try again.

        A finished trial whose model was deleted, or that was edited, has failed: it is trained
        again.
        """
        tries, there = Tries(), self._models_there(sweep)
        for run in self._runs.trials(sweep):
            outcome = reader.trial_outcome(run)
            if outcome is Outcome.RUNNING:
                self._end(run, Outcome.INTERRUPTED)
            elif why := validity.objection(run, reader.trial_record(run), there):
                outcome = Outcome.FAILED
                self._client.set_tag(run.info.run_id, names.FAILURE, why)
                self._end(run, outcome)
            # A pruned one is tried again if its process was killed before the study heard of it.
            if outcome is not Outcome.FINISHED:
                tries.add(run)
        return tries

    def _end(self, run: Run, outcome: Outcome) -> None:
        self._client.set_tag(run.info.run_id, names.OUTCOME, outcome)
        self._client.set_terminated(run.info.run_id, status=RUN_STATUS[outcome])


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
