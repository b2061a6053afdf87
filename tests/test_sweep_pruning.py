"""Trials are stopped early where they are worse than others at the same quarter of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes import fresh_optuna_file, sweep_config
from study_support import open_one

from ae_sweep.config import Choices, Range, SearchSpace
from ae_sweep.sweep import open_studies

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("careless")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return fresh_optuna_file(tmp_path)


def test_pruner_never_compares_two_latent_dims(in_memory: None, path: Path) -> None:
    config = sweep_config(pruner="median")
    low, high = open_studies(path, config, identity=config.identity())
    good = high.ask(0)
    for quarter in range(1, 5):
        assert not high.report(good, quarter=quarter, val_objective=0.001)
    high.complete(good, val_objective=0.001)
    # A hundred times worse than anything at d=8, and the best there is at d=2.
    only = low.ask(0)
    assert not any(low.report(only, quarter=quarter, val_objective=0.1) for quarter in range(1, 5))
    low.complete(only, val_objective=0.1)
    worse = high.ask(1)
    assert high.report(worse, quarter=1, val_objective=0.01)
    better = low.ask(1)
    assert not low.report(better, quarter=1, val_objective=0.09)


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_trial_is_compared_at_equal_quarters_alone(
    in_memory: None, path: Path, pruner: str
) -> None:
    # Errors fall from quarter to quarter. Were last values compared with first ones, the second
    # trial, better at each quarter, would look hopeless.
    study = open_one(path, pruner=pruner, trials=6)
    for slot, factor in enumerate((1.0, 0.9, 0.8)):
        ask = study.ask(slot)
        for quarter, error in enumerate((1.0, 0.5, 0.3, 0.2), start=1):
            assert not study.report(ask, quarter=quarter, val_objective=error * factor)
        study.complete(ask, val_objective=0.2 * factor)


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_pruner_stops_what_is_worse_at_each_quarter(
    in_memory: None, path: Path, pruner: str
) -> None:
    space = SearchSpace(lr=Range(1e-4, 1e-1), epochs=Choices((2,)))
    study = open_one(path, pruner=pruner, trials=40, space=space)
    stopped_at = []
    for slot in range(20):
        ask = study.ask(slot)
        for quarter in range(1, 5):
            if study.report(ask, quarter=quarter, val_objective=slot + 1 / quarter) and quarter < 4:
                study.prune(ask)
                stopped_at.append(quarter)
                break
        else:
            study.complete(ask, val_objective=slot)
    assert stopped_at
    if pruner == "median":
        assert stopped_at == [1] * 19
    else:
        assert set(stopped_at) == {1, 2}
        assert len(stopped_at) < 19, "a bracket of hyperband stops nothing early"


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_trial_that_failed_is_nothing_to_be_compared_with(
    in_memory: None, path: Path, pruner: str
) -> None:
    study = open_one(path, pruner=pruner, trials=6)
    first = study.ask(0)
    assert not any(
        study.report(first, quarter=quarter, val_objective=1.0) for quarter in range(1, 5)
    )
    study.complete(first, val_objective=1.0)
    failed = study.ask(2)
    study.report(failed, quarter=1, val_objective=0.1)
    study.fail(failed, reason="interrupted")
    better_than_the_first = study.ask(3)
    assert not study.report(better_than_the_first, quarter=1, val_objective=0.9)


def test_without_a_pruner_nothing_is_stopped(in_memory: None, path: Path) -> None:
    study = open_one(path, pruner="none", trials=6)
    for slot in range(6):
        ask = study.ask(slot)
        for quarter in range(1, 5):
            assert not study.report(ask, quarter=quarter, val_objective=10.0**slot)
        study.complete(ask, val_objective=10.0**slot)
