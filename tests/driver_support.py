"""What a sweep leaves in Optuna's storage and in a tracker, for tests of the driver."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from ae_sweep.config import Range, SearchSpace
from ae_sweep.records import Outcome

if TYPE_CHECKING:
    from fakes import (
        FakeTracker,
    )

    from ae_sweep.config import TrialConfig

ENDS = (1e-4, 1e-1)
"""Of the learning rates."""
CONTINUOUS = SearchSpace(lr=Range(*ENDS), epochs=Range(2, 9))


def all_trials(storage: Any) -> dict[str, list[Any]]:
    """Trials by study, of a storage or a database file."""
    source = storage if isinstance(storage, optuna.storages.BaseStorage) else f"sqlite:///{storage}"
    names = optuna.get_all_study_names(source)
    return {name: optuna.load_study(study_name=name, storage=source).get_trials() for name in names}


def suggestions(storage: Any) -> dict[str, dict[int, tuple[str, str]]]:
    """What each slot of each study was filled with, and how it ended."""
    return {
        name: {
            trial.user_attrs["slot"]: (str(trial.params), trial.state.name)
            for trial in trials
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
            and "duplicate_of" not in trial.user_attrs
        }
        for name, trials in all_trials(storage).items()
    }


def states(storage: Any) -> set[TrialState]:
    return {trial.state for trials in all_trials(storage).values() for trial in trials}


def finished(tracker: FakeTracker) -> collections.Counter[TrialConfig]:
    return collections.Counter(
        log.config for log in tracker.logs if log.outcome is Outcome.FINISHED
    )
