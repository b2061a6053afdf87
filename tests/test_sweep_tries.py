"""Failed trials are tried again a number of times, and lost results are trained anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from driver_support import finished
from fakes import (
    FakeTracker,
    FakeTraining,
    fresh_optuna_file,
    of_conv,
    optuna_trials,
    run_sweep,
    sweep_config,
)
from study_support import error_of, fill, open_one

from ae_sweep.config import Condition
from ae_sweep.errors import ConfigError, ConflictError, TrainingDivergedError, TrainingFailedError
from ae_sweep.records import Outcome, Role
from ae_sweep.sweep import Tries, filled_slots, given_up, open_studies

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.config import SweepConfig, TrialConfig

pytestmark = pytest.mark.usefixtures("careless")

DIM_2 = Condition(2, "conv")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return fresh_optuna_file(tmp_path)


def always(error: Exception, *, seed: int = 0) -> FakeTraining:
    """A training of which every one with a seed fails."""
    return FakeTraining(error=lambda config: error if config.seed == seed else None)


def times_tried(path: Path, error: Exception, config: SweepConfig, resumptions: int = 6) -> int:
    tracker = FakeTracker()
    for _ in range(resumptions):
        run_sweep(path, config, training=always(error), tracker=tracker)
    assert {log.outcome for log in tracker.logs} == {Outcome.FAILED}
    return len(tracker.logs)


@pytest.mark.parametrize(
    ("error", "retries", "tries"),
    [
        (TrainingFailedError("out of memory"), 2, 3),
        (TrainingFailedError("out of memory"), 0, 1),
        (TrainingFailedError("out of memory"), 4, 5),
        (TrainingDivergedError("loss nan at step 7"), 2, 2),
        (TrainingDivergedError("loss nan at step 7"), 4, 2),
        (TrainingDivergedError("loss nan at step 7"), 0, 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_failed_trial_is_tried_again_so_often_and_one_that_diverges_never_a_third_time(
    path: Path, error: Exception, retries: int, tries: int
) -> None:
    config = sweep_config(dims=(2,), trials=1, retries=retries)
    assert times_tried(path, error, config) == tries
    assert given_up(path, config) == {DIM_2: Tries(1, 0)}
    assert filled_slots(path, config) == of_conv({2: 1}), "it needs no training"


@pytest.mark.parametrize(
    ("error", "tries"),
    [(TrainingFailedError("out of memory"), 3), (TrainingDivergedError("loss nan at step 7"), 1)],
    ids=["fails", "diverges"],
)
def test_a_run_tries_again_by_itself_what_failed_but_not_what_diverged(
    path: Path, error: Exception, tries: int
) -> None:
    """On the same machine it would diverge again; a resumed sweep may be on another."""
    config = sweep_config(dims=(2,), trials=1)
    assert times_tried(path, error, config, resumptions=1) == tries


def test_tries_of_an_earlier_run_count(path: Path) -> None:
    failure = TrainingFailedError("out of memory")
    assert times_tried(path, failure, sweep_config(dims=(2,), trials=1, retries=1), 1) == 2
    assert times_tried(path, failure, sweep_config(dims=(2,), trials=1, retries=3), 1) == 2


def test_more_retries_try_again_what_was_given_up(path: Path) -> None:
    config = sweep_config(dims=(2,), trials=1)
    assert times_tried(path, TrainingFailedError("out of memory"), config) == 3
    more = sweep_config(dims=(2,), trials=1, retries=3)
    tracker = FakeTracker()
    run_sweep(path, more, training=FakeTraining(), tracker=tracker)
    assert tracker.outcomes() == [Outcome.FINISHED]
    assert given_up(path, config) == {DIM_2: Tries(0, 0)}


def test_interrupted_and_killed_trials_are_tried_again_without_end(path: Path) -> None:
    config = sweep_config(dims=(2,), trials=1, retries=0)
    tracker = FakeTracker()
    for killed in (True, False, True, False):
        run_sweep(path, config, training=FakeTraining(), tracker=tracker, events=2, killed=killed)
    run_sweep(path, config, training=FakeTraining(), tracker=tracker)
    assert len(finished(tracker)) == 1
    assert len({log.config for log in tracker.logs}) == 1, "the same point each time"


@pytest.mark.parametrize(
    ("error", "tries"),
    [(TrainingFailedError("out of memory"), 3), (TrainingDivergedError("loss nan at step 7"), 2)],
    ids=["fails", "diverges"],
)
def test_a_repeat_that_fails_is_tried_as_often_as_any_trial(
    path: Path, error: Exception, tries: int
) -> None:
    config = sweep_config(dims=(2,), trials=1, repeats=2)
    tracker = FakeTracker()
    for _ in range(5):
        run_sweep(path, config, training=always(error, seed=1), tracker=tracker)
    repeats = [log for log in tracker.logs if log.role is Role.REPEAT]
    assert [log.outcome for log in repeats if log.config.seed == 1] == [Outcome.FAILED] * tries
    assert [log.outcome for log in repeats if log.config.seed == 2] == [Outcome.FINISHED]
    assert given_up(path, config) == {DIM_2: Tries(0, 1)}


def test_a_number_of_retries_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"retries .*-1"):
        sweep_config(retries=-1)


def test_the_default_retries_leave_a_stored_configuration_as_it_was() -> None:
    from ae_sweep.config import as_flat_dict

    assert "retries" not in as_flat_dict(sweep_config())
    assert as_flat_dict(sweep_config(retries=5))["retries"] == "5"
    assert sweep_config(retries=5).identity() == sweep_config().identity()


def _resume(path: Path, config: SweepConfig, held: Any) -> list[TrialConfig]:
    studies = open_studies(path, config, identity=config.identity(), held=held)
    trained = []
    for study in studies:
        for slot in study.open_slots():
            ask = study.ask(slot)
            trained.append(ask.params)
            study.complete(ask, val_objective=error_of(ask))
    return trained


def test_a_slot_whose_result_is_gone_is_trained_again_with_the_same_configuration(
    path: Path,
) -> None:
    study = open_one(path, trials=3)
    first = fill(study)
    config = sweep_config(dims=(2,), trials=3)
    held = {DIM_2: {first[0], first[2]}}
    assert filled_slots(path, config, held=held) == of_conv({2: 2})
    assert filled_slots(path, config) == of_conv({2: 3}), "Optuna alone does not know"
    before = optuna_trials(path, "first/d=2")
    assert _resume(path, config, held) == [first[1]]
    assert optuna_trials(path, "first/d=2")[: len(before)] == before
    assert _resume(path, config, {DIM_2: set(first)}) == [], "once is enough"


def test_all_slots_of_a_study_whose_results_are_gone_are_trained_again_in_order(
    path: Path,
) -> None:
    first = fill(open_one(path, trials=3))
    assert _resume(path, sweep_config(dims=(2,), trials=3), {DIM_2: set()}) == first


def test_the_best_of_a_study_is_one_whose_result_is_stored(path: Path) -> None:
    study = open_one(path, trials=3)
    first = fill(study)
    best = study.best()
    assert best is not None
    config = sweep_config(dims=(2,), trials=3)
    held = {DIM_2: {params for params in first if params != best.params}}
    (opened,) = open_studies(path, config, identity=config.identity(), held=held)
    left = opened.best()
    assert left is not None
    assert left.params != best.params
    assert left.val_objective > best.val_objective


def test_what_was_measured_anew_replaces_what_is_gone_even_if_that_comes_back(
    path: Path,
) -> None:
    study = open_one(path, trials=1)
    (params,) = fill(study, error=lambda _: 0.1)
    config = sweep_config(dims=(2,), trials=1)
    (opened,) = open_studies(path, config, identity=config.identity(), held={DIM_2: set()})
    ask = opened.ask(0)
    opened.complete(ask, val_objective=0.3)
    (again,) = open_studies(path, config, identity=config.identity(), held={DIM_2: {params}})
    best = again.best()
    assert best is not None
    assert best.val_objective == 0.3
    assert again.open_slots() == []


def test_a_result_that_was_restored_before_it_was_trained_anew_counts_again(path: Path) -> None:
    study = open_one(path, trials=2)
    first = fill(study)
    config = sweep_config(dims=(2,), trials=2)
    open_studies(path, config, identity=config.identity(), held={DIM_2: set()})
    assert _resume(path, config, {DIM_2: set(first)}) == []


def test_a_trial_that_another_process_has_ended_is_a_conflict_and_no_bug(path: Path) -> None:
    mine = open_one(path, trials=1)
    ask = mine.ask(0)
    open_one(path, trials=1)  # a process that takes over fails what runs
    for end in (
        lambda: mine.complete(ask, val_objective=0.1),
        lambda: mine.fail(ask, reason="interrupted"),
        lambda: mine.prune(ask),
    ):
        with pytest.raises(ConflictError, match="was ended by another process"):
            end()
