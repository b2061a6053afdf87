"""The state of sweeps whose process was killed: MLflow has them as running for ever."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ae_sweep import ownership
from ae_sweep.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ae_sweep.locations import Store
    from ae_sweep.records import SweepRecord, TrialRecord


def as_it_is(record: SweepRecord, store: Store) -> SweepRecord:
    """Return a sweep as interrupted if it has not ended and no process runs it any more."""
    if not _is_over(record, store):
        return record
    counts = dict(record.counts)
    if counts:
        counts[Outcome.INTERRUPTED] += counts[Outcome.RUNNING]
        counts[Outcome.RUNNING] = 0
    outcome = Outcome.INTERRUPTED if record.outcome is Outcome.RUNNING else record.outcome
    return dataclasses.replace(record, outcome=outcome, counts=counts)


def trials_as_they_are(
    record: SweepRecord, trials: Iterable[TrialRecord], store: Store
) -> list[TrialRecord]:
    """Return the trials of a sweep, those that no process trains any more as interrupted."""
    over = _is_over(record, store)
    return [
        dataclasses.replace(trial, outcome=Outcome.INTERRUPTED)
        if over and trial.outcome is Outcome.RUNNING
        else trial
        for trial in trials
    ]


def _is_over(record: SweepRecord, store: Store) -> bool:
    if record.outcome is not Outcome.RUNNING:
        return True
    found = ownership.find(store.running(record.name))
    if found is not None:
        return found.state is ownership.State.DEAD
    # A server's runs may be those of a process that keeps its studies elsewhere.
    return store.tracking_override is None
