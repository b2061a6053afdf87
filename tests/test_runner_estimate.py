"""The time left of a nested sweep counts its network once, for the dim that waits for it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import epoch_result, sweep_config, trial_config, trial_result

from ae_sweep import sweep, training
from ae_sweep.config import Choices, SearchSpace
from ae_sweep.records import Outcome, Role
from ae_sweep.runner.estimate import SECONDS_PER_TRIAL, Estimate
from ae_sweep.sweep import Trial, TrialEnded, TrialStarted, TrialValidated

DIMS = (2, 8, 32)
SPEEDS = {
    dim: training.Speed(epoch_seconds=10 + dim, validation_seconds=0.5, test_seconds=1.0)
    for dim in DIMS
}
EPOCHS = 4


def estimate(*, method: str = "nested", repeats: int = 1) -> Estimate:
    space = SearchSpace(lr=Choices((4e-3,)), epochs=Choices((EPOCHS,)))
    config = sweep_config(
        dims=DIMS, space=space, trials=1, repeats=repeats, method=method, pruner="none"
    )
    nothing: Any = None
    engine: Any = SimpleNamespace(speeds=SPEEDS, workers=1)
    plan = sweep.make_plan(config, filled={})
    return Estimate(plan=plan, setup=nothing, engine=engine, store=nothing)


def trials(repeats: int) -> list[Trial]:
    return [
        Trial(
            name=f"d={dim} {seed}",
            config=trial_config(latent_dim=dim, lr=4e-3, epochs=EPOCHS, seed=seed),
            role=Role.REPEAT if seed else Role.SEARCH,
        )
        for seed in range(repeats + 1)
        for dim in DIMS
    ]


@pytest.mark.parametrize("method", ["nested", "separate"])
def test_the_forecast_begins_with_the_plans_estimate(method: str) -> None:
    whole = estimate(method=method)
    assert whole.forecast().seconds_left == pytest.approx(whole.expected_seconds)


@pytest.mark.parametrize("slower", [1.0, 5.0])
def test_a_nested_sweep_is_estimated_rightly_all_along(slower: float) -> None:
    forecast = estimate().forecast()
    network = training.nested_network_seconds(SPEEDS, EPOCHS)
    now, events = 0.0, []
    for number, trial in enumerate(trials(1)):
        forecast.take(TrialStarted(trial), now=now)
        if number % len(DIMS) == 0:  # the network is trained meanwhile
            for quarter in (1, 2, 3, 4):
                now += slower * network / 4
                validated = dataclasses.replace(epoch_result(quarter, 0.5), quarter=None)
                forecast.take(TrialValidated(trial, validated), now=now)
                events.append((now, forecast.seconds_left))
        now += slower * (
            training.fine_tuning_seconds(SPEEDS[trial.config.latent_dim]) + SECONDS_PER_TRIAL
        )
        forecast.take(
            TrialEnded(trial, Outcome.FINISHED, result=trial_result(trial.config)), now=now
        )
        events.append((now, forecast.seconds_left))
    for time, left in events:
        if time > 0.2 * now:
            assert left == pytest.approx(now - time, rel=0.2, abs=0.06 * now), time
    assert events[-1][1] == pytest.approx(0, abs=1e-9)


def test_the_shares_of_a_nested_sweep_add_up_to_its_network_and_fine_tunings() -> None:
    expected = training.nested_network_seconds(SPEEDS, EPOCHS) + sum(
        training.fine_tuning_seconds(speed) for speed in SPEEDS.values()
    )
    shares = [training.nested_trial_seconds(SPEEDS, dim, EPOCHS) for dim in DIMS]
    assert sum(shares) == pytest.approx(expected)
