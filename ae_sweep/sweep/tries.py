"""What a study's trials say of a slot: whether its result is lost, whether to try it again."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from optuna.trial import FrozenTrial, TrialState

from ae_sweep.config import Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

FILLED = (TrialState.COMPLETE, TrialState.PRUNED)
MOST_DIVERGED = 2
"""Trainings of one configuration that diverged, after which it is not trained again: it does so
each time."""
FAILURE = "failure"
DIVERGED = "diverged"
NO_FAULT = frozenset({"interrupted", "not started: the tracker failed"})
"""Reasons of trials that did not fail by themselves."""
LOST = "lost"
"""Attribute of a study: numbers of filled trials whose results are gone."""
FAILED_REPEATS = "failed_repeats"
"""Attribute of a study: failures and divergences of repeats, which are no trials of it."""


def slot_of(trial: FrozenTrial) -> int:
    """Return the slot that a trial was asked for."""
    return cast("int", trial.user_attrs.get("slot", -1))


def configuration(trial: FrozenTrial) -> Hyperparameters:
    """Return what a trial trains with."""
    return Hyperparameters(**trial.params)


def is_duplicate(trial: FrozenTrial) -> bool:
    """Return whether a trial only stands for another of the same configuration."""
    return "duplicate_of" in trial.user_attrs


def lost_numbers(
    trials: Sequence[FrozenTrial],
    *,
    held: Collection[Hyperparameters] | None,
    known: Collection[int],
) -> list[int]:
    """Return the numbers of the filled trials whose results are gone.

    A trial that was lost once stays so if another has filled its slot since.

    Parameters
    ----------
    trials
        Of the study.
    held
        Configurations whose results the tracking store has; None does not ask it.
    known
        Numbers that were lost before.
    """
    filled = [trial for trial in trials if trial.state in FILLED and not is_duplicate(trial)]
    latest = {slot_of(trial): trial.number for trial in filled}
    return [
        trial.number
        for trial in filled
        if (held is not None and configuration(trial) not in held)
        or (trial.number in known and trial.number < latest[slot_of(trial)])
    ]


def given_up_slots(trials: Sequence[FrozenTrial], *, retries: int) -> frozenset[int]:
    """Return the slots that have failed so often that they are not tried again.

    Parameters
    ----------
    retries
        How often a failed trial is tried again.
    """
    failed: Counter[int] = Counter()
    diverged: Counter[int] = Counter()
    for trial in trials:
        reason = trial.user_attrs.get(FAILURE)
        if trial.state is TrialState.FAIL and reason is not None and reason not in NO_FAULT:
            failed[slot_of(trial)] += 1
            diverged[slot_of(trial)] += bool(trial.user_attrs.get(DIVERGED))
    return frozenset(
        slot for slot in failed if not worth_trying(failed[slot], diverged[slot], retries=retries)
    )


def worth_trying(failed: int, diverged: int, *, retries: int) -> bool:
    """Return whether a configuration that has failed so often is tried again."""
    return failed <= retries and diverged < MOST_DIVERGED


def repeat_key(params: Hyperparameters, *, seed: int) -> str:
    """Return the name of a repeat in `FAILED_REPEATS`."""
    return json.dumps([seed, params.written()], sort_keys=True)


def with_failed_repeat(
    failures: Mapping[str, Any], key: str, *, diverged: bool
) -> dict[str, list[int]]:
    """Return the failures of repeats with one more."""
    failed, times = failures.get(key, (0, 0))
    return {**failures, key: [failed + 1, times + diverged]}
