"""The time left is right from the start where the plan is, and soon where it is not."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Any

import pytest
from fakes import epoch_result, sweep_config, trial_result

from ae_sweep import sweep
from ae_sweep.config import Choices, Hyperparameters, Range, SearchSpace, TrialConfig
from ae_sweep.records import Outcome, Role
from ae_sweep.sweep import Forecast, Trial, TrialEnded, TrialStarted, TrialValidated
from ae_sweep.sweep.plan import PRUNED_SHARE

if TYPE_CHECKING:
    from ae_sweep.config import SweepConfig
    from ae_sweep.sweep import Plan

SPACE = SearchSpace(lr=Range(1e-3, 1e-2), epochs=Choices((2, 4)))
DIMS = (2, 8, 32, 128, 1024)


def planned(dim: int, epochs: int) -> float:
    """Wide bottlenecks take longer; a trial has a second of its own."""
    return epochs * (5 + dim / 100) + 1


def whole(trial: Trial) -> float:
    return planned(trial.config.latent_dim, trial.config.hyperparameters.epochs)


def forecast_of(plan: Plan, workers: int = 1, *, in_turn: bool = False) -> Forecast:
    return Forecast(
        plan.expected_trials(planned), trial_seconds=whole, workers=workers, in_turn=in_turn
    )


def trials_of(config: SweepConfig, rng: random.Random) -> list[tuple[Trial, int]]:
    """The trials of a sweep in their order, with the quarter after which each is pruned, or 4."""
    drawn = []
    rounds = [(number, Role.SEARCH) for number in range(config.wanted_trials)]
    rounds += [(number, Role.REPEAT) for number in range(1, config.repeats + 1)]
    for number, role in rounds:
        for condition in config.conditions:
            may_be_pruned = role is Role.SEARCH and number and config.pruner != "none"
            trial = Trial(
                name=f"{condition} {role} {number}",
                config=TrialConfig(
                    latent_dim=condition.latent_dim,
                    model=condition.model,
                    hyperparameters=Hyperparameters(
                        lr=4e-3, epochs=rng.choice((2, 4)) if may_be_pruned else 4
                    ),
                    seed=number,
                ),
                role=role,
            )
            # On average 0.4 of a schedule, as the plan has it.
            drawn.append((trial, rng.choice((1, 1, 1, 1, 1, 1, 2, 2, 4)) if may_be_pruned else 4))
    return drawn


def simulate(
    config: SweepConfig, *, slower: float, workers: int = 1, seed: int = 0
) -> list[tuple[float, float]]:
    """Run a sweep on a clock of its own.

    Returns
    -------
    list
        After each event, the time and the estimated time left; the last time is the sweep's end.
    """
    forecast = forecast_of(sweep.make_plan(config, filled={}), workers)
    waiting = trials_of(config, random.Random(seed))
    running: list[list[Any]] = []  # time of the next event, trial, last quarter, quarters done
    now, estimates = 0.0, [(0.0, forecast.seconds_left)]
    while waiting or running:
        while waiting and len(running) < workers:
            trial, last = waiting.pop(0)
            forecast.take(TrialStarted(trial), now=now)
            running.append([now + slower * whole(trial) / 4, trial, last, 0])
        running.sort(key=lambda each: each[0])
        now, trial, last, quarter = running[0]
        quarter += 1
        epoch = quarter / 4 * trial.config.hyperparameters.epochs
        validated = epoch_result(quarter, 0.5)
        seconds = slower * whole(trial) / trial.config.hyperparameters.epochs
        validated = dataclasses.replace(validated, epoch=epoch, epoch_seconds=seconds)
        forecast.take(TrialValidated(trial, validated), now=now)
        running[0] = [now + slower * whole(trial) / 4, trial, last, quarter]
        if quarter == last:
            running.pop(0)
            outcome = Outcome.FINISHED if last == 4 else Outcome.PRUNED
            result = trial_result(trial.config) if last == 4 else None
            forecast.take(TrialEnded(trial, outcome, result=result), now=now)
        estimates.append((now, forecast.seconds_left))
    return estimates


def error_at(estimates: list[tuple[float, float]], share: float) -> float:
    """The relative error of the time left once a share of the time is over."""
    end = estimates[-1][0]
    now, left = next(each for each in estimates if each[0] >= share * end)
    return abs(left - (end - now)) / (end - now)


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_before_anything_has_run_it_says_what_the_plan_says(workers: int, in_turn: bool) -> None:
    config = sweep_config(dims=DIMS, trials=7, repeats=2, space=SPACE)
    plan = sweep.make_plan(config, filled={})
    forecast = forecast_of(plan, workers, in_turn=in_turn)
    expected = plan.expected_seconds(planned, workers=workers, in_turn=in_turn)
    assert forecast.seconds_left == pytest.approx(expected)
    assert forecast.pace == 1


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("slower", [0.2, 1, 5, 10])
def test_a_wrong_speed_is_corrected_within_a_tenth_of_the_sweep(
    slower: float, workers: int
) -> None:
    space = SearchSpace(lr=Range(1e-3, 1e-2), epochs=Choices((4,)))
    config = sweep_config(dims=DIMS, trials=8, repeats=2, space=space, pruner="none")
    estimates = simulate(config, slower=slower, workers=workers)
    before = error_at(estimates, 0.0)
    assert before == pytest.approx(abs(1 / slower - 1), rel=0.1, abs=0.15)
    # The prior has the weight of 2 % of the work: at a tenth a sixth of the error is left.
    for share, most in ((0.05, 0.45), (0.1, 0.3), (0.25, 0.15), (0.5, 0.12)):
        # Of several workers, one may train the longest trial while the others have nothing to do:
        # that is counted beforehand, and may not come to pass.
        assert error_at(estimates, share) <= max(before * most, 0.15), share


def test_a_sweep_five_times_slower_than_measured_with_pruning_is_soon_estimated_well() -> None:
    config = sweep_config(dims=DIMS, trials=10, repeats=1, space=SPACE)
    errors: dict[float, list[float]] = {share: [] for share in (0.0, 0.1, 0.25, 0.5)}
    for seed in range(20):
        estimates = simulate(config, slower=5, seed=seed)
        for share, seen in errors.items():
            seen.append(error_at(estimates, share))
    mean = {share: sum(seen) / len(seen) for share, seen in errors.items()}
    assert mean[0.0] > 0.75
    assert mean[0.1] < 0.25
    assert mean[0.25] < 0.15
    assert mean[0.5] < 0.15


@pytest.mark.parametrize("slower", [0.2, 1, 5])
def test_at_the_end_nothing_is_left(slower: float) -> None:
    config = sweep_config(dims=DIMS, trials=3, repeats=1, space=SPACE)
    assert simulate(config, slower=slower)[-1][1] == pytest.approx(0, abs=1e-9)


def test_trials_that_were_found_finished_are_no_longer_waited_for() -> None:
    config = sweep_config(dims=(2,), trials=5, repeats=1, space=SPACE)
    forecast = forecast_of(sweep.make_plan(config, filled={}))
    (first, _), *_, (repeat, _) = trials_of(config, random.Random(0))
    forecast.take(TrialStarted(first), now=0.0)
    forecast.take(TrialEnded(first, Outcome.FAILED, reason="out of memory"), now=1.0)
    forecast.take(TrialStarted(repeat), now=1.0)
    assert forecast.seconds_left == pytest.approx(forecast.pace * whole(repeat))


def test_a_trial_that_is_tried_again_is_waited_for_once_more() -> None:
    config = sweep_config(dims=(2,), trials=1, repeats=0, space=SPACE)
    forecast = forecast_of(sweep.make_plan(config, filled={}))
    ((trial, _),) = trials_of(config, random.Random(0))
    forecast.take(TrialStarted(trial), now=0.0)
    forecast.take(TrialEnded(trial, Outcome.FAILED, reason="killed", again=True), now=0.0)
    assert forecast.seconds_left == pytest.approx(whole(trial))
    forecast.take(TrialStarted(trial), now=0.0)
    forecast.take(TrialEnded(trial, Outcome.FAILED, reason="killed"), now=0.0)
    assert forecast.seconds_left == 0


def test_the_width_of_the_first_trials_does_not_pass_for_speed() -> None:
    """Trials of d=2 first: counted by trials, the sweep would seem to be quick."""
    config = sweep_config(dims=(2, 4096), trials=1, repeats=0, space=SPACE)
    forecast = forecast_of(sweep.make_plan(config, filled={}))
    (narrow, _), (wide, _) = trials_of(config, random.Random(0))
    forecast.take(TrialStarted(narrow), now=0.0)
    forecast.take(
        TrialEnded(narrow, Outcome.FINISHED, result=trial_result(narrow.config)), now=whole(narrow)
    )
    assert forecast.seconds_left == pytest.approx(whole(wide))


def validated(trial: Trial, *, quarter: int, restored: bool = False) -> TrialValidated:
    epochs, seconds = trial.config.hyperparameters.epochs, whole(trial)
    result = dataclasses.replace(
        epoch_result(quarter, 0.5), epoch=quarter / 4 * epochs, epoch_seconds=seconds / epochs,
        restored=restored,
    )  # fmt: skip
    return TrialValidated(trial, result)


def first_trials(count: int, *, workers: int) -> tuple[Forecast, list[Trial]]:
    """Begin some trials of a long sweep at 0."""
    config = sweep_config(dims=DIMS, trials=2, repeats=0, space=SPACE, pruner="none")
    forecast = forecast_of(sweep.make_plan(config, filled={}), workers)
    begun = [trial for trial, _ in trials_of(config, random.Random(0))[:count]]
    for trial in begun:
        forecast.take(TrialStarted(trial), now=0.0)
    return forecast, begun


@pytest.mark.parametrize("workers", [1, 2])
def test_the_start_of_worker_processes_does_not_pass_for_training(workers: int) -> None:
    forecast, trials = first_trials(workers, workers=workers)
    begun = 60.0
    for trial in trials:
        forecast.take(validated(trial, quarter=1), now=begun + whole(trial) / 4)
    # One worker trains in this process, which has started: what it takes longer, it takes longer.
    assert (forecast.pace == pytest.approx(1)) == (workers > 1)
    result = trial_result(trials[0].config)
    ended = TrialEnded(trials[0], Outcome.FINISHED, result=result)
    forecast.take(ended, now=begun + whole(trials[0]))
    assert (forecast.pace == pytest.approx(1)) == (workers > 1)


def test_a_slow_start_of_one_process_does_not_pass_for_training_either() -> None:
    """The other process has validated two trials by then."""
    forecast, (slow, quick) = first_trials(2, workers=2)
    now = whole(quick)
    forecast.take(validated(quick, quarter=4), now=now)
    forecast.take(TrialEnded(quick, Outcome.FINISHED, result=trial_result(quick.config)), now=now)
    again = dataclasses.replace(quick, name="the next")
    forecast.take(TrialStarted(again), now=now)
    forecast.take(validated(again, quarter=2), now=now + whole(again) / 2)
    forecast.take(validated(slow, quarter=1), now=600.0 + whole(slow) / 4)
    assert forecast.pace == pytest.approx(1)


@pytest.mark.parametrize("workers", [1, 2])
def test_loading_a_checkpoint_does_not_pass_for_training(workers: int) -> None:
    forecast, trials = first_trials(workers, workers=workers)
    for trial in trials:
        forecast.take(validated(trial, quarter=2, restored=True), now=60.0)
    assert forecast.pace == 1
    for trial in trials:
        forecast.take(validated(trial, quarter=3), now=60.0 + whole(trial) / 4)
    assert forecast.pace == pytest.approx(1)


def test_the_silence_of_a_trial_that_hangs_does_not_pass_for_training() -> None:
    forecast, (trial,) = first_trials(1, workers=1)
    forecast.take(validated(trial, quarter=1), now=whole(trial) / 4)
    forecast.take(TrialEnded(trial, Outcome.FAILED, reason="no sign of life"), now=3_600.0)
    assert forecast.pace == pytest.approx(1)


def test_a_trial_that_fails_before_it_trains_says_nothing_of_the_pace() -> None:
    config = sweep_config(dims=(2, 8), trials=3, repeats=0, space=SPACE)
    forecast = forecast_of(sweep.make_plan(config, filled={}))
    (trial, _), *_ = trials_of(config, random.Random(0))
    forecast.take(TrialStarted(trial), now=0.0)
    forecast.take(TrialEnded(trial, Outcome.FAILED, reason="diverged"), now=500.0)
    assert forecast.pace == 1


def test_an_empty_sweep_has_nothing_left() -> None:
    assert Forecast({}, trial_seconds=whole).seconds_left == 0
    assert Forecast({}, trial_seconds=whole).pace == 1


def test_the_planned_share_of_a_pruned_schedule_is_that_of_the_simulation() -> None:
    config = sweep_config(dims=DIMS, trials=400, space=SPACE)
    quarters = [q for trial, q in trials_of(config, random.Random(1)) if trial.config.seed]
    assert sum(quarters) / len(quarters) / 4 == pytest.approx(PRUNED_SHARE, abs=0.02)
