"""A sweep's time is estimated from short measurements that other programs hardly disturb."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import torch
from fakes import tiny_images, trial_config

from ae_sweep import training
from ae_sweep.models.factored import FactoredLinear
from ae_sweep.training import speed
from ae_sweep.training.trainer import Trainer

if TYPE_CHECKING:
    from ae_sweep.config import RecipeVersion

pytestmark = pytest.mark.usefixtures("one_thread")

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Machine:
    """Clocks of a machine on which some rounds of work get a share of the processor only."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, shares: list[float], *, work: float
    ) -> None:
        self.clock = self.computing = 0.0
        self._shares = iter(shares)
        self._work = work
        monkeypatch.setattr(time, "perf_counter", lambda: self.clock)
        monkeypatch.setattr(time, "thread_time", lambda: self.computing)

    def do(self) -> None:
        """Compute for as long as always, and wait for the processor meanwhile."""
        self.computing += self._work
        self.clock += self._work / next(self._shares)


@pytest.mark.parametrize(
    "shares",
    [[1, 1, 1, 1], [0.1, 0.1, 0.1, 1], [1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1]],
    ids=["quiet", "busy at first", "busy later", "busy all the time"],
)
def test_other_programs_do_not_change_the_time_of_a_processor(
    monkeypatch: pytest.MonkeyPatch, shares: list[float]
) -> None:
    machine = Machine(monkeypatch, shares, work=0.5)
    rounds = speed._best_of(4, machine.do, device=CPU)
    assert rounds.best_seconds == pytest.approx(0.5)
    assert rounds.slowest_seconds == pytest.approx(0.5 / min(shares))


def test_a_gpu_is_timed_by_the_clock_and_the_best_round_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, [0.1, 0.25, 0.2], work=0.5)
    assert speed._best_of(3, machine.do, device=GPU).best_seconds == pytest.approx(2.0)


def test_an_epoch_is_as_long_as_its_steps_in_the_best_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = tiny_images(train=1_280)  # ten steps of 128
    machine = Machine(monkeypatch, [0.2] * 7 + [0.5] * 9 + [1.0] * 99, work=0.25)
    monkeypatch.setattr(Trainer, "take_step", lambda _self: (machine.do(), torch.zeros(()))[1])
    for evaluation in ("validation", "_measure_test"):
        monkeypatch.setattr(speed, evaluation, lambda *_, **__: machine.do())
    measured = training.measure_speed(trial_config(batch_size=128), images, precision=training.FP32)
    assert measured.epoch_seconds == pytest.approx(10 * 0.25)
    assert measured.validation_seconds == measured.test_seconds == pytest.approx(0.25)
    # Steps 5 to 7 are the first round: a fifth of the processor was theirs.
    assert measured.spread == pytest.approx(4.0)


@pytest.mark.parametrize(("recipe", "in_factors"), [("2", 0), ("3", 2)])
def test_steps_are_those_of_the_recipe_that_the_training_names(
    monkeypatch: pytest.MonkeyPatch, recipe: RecipeVersion, in_factors: int
) -> None:
    config = trial_config(
        latent_dim=300,  # wider than Muon takes as a whole
        recipe=recipe,
        batch_size=8,
    )
    timed: list[Trainer] = []
    take = Trainer.take_step
    monkeypatch.setattr(Trainer, "take_step", lambda self: (timed.append(self), take(self))[1])
    training.measure_speed(config, tiny_images(), precision=training.FP32)
    layers = [each for each in timed[0].model.modules() if isinstance(each, FactoredLinear)]
    assert sum(layer.keeps_factors for layer in layers) == in_factors


def test_the_spread_between_two_dims_is_the_larger_one() -> None:
    quiet, busy = (
        training.Speed(epoch_seconds=1, validation_seconds=1, test_seconds=1, spread=spread)
        for spread in (0.1, 0.9)
    )
    assert training.between(quiet, busy, 0.5).spread == 0.9
    assert training.between(busy, quiet, 0.5).spread == 0.9


@pytest.mark.slow
def test_an_epoch_takes_about_as_long_as_was_measured() -> None:
    images = tiny_images(train=1_280, side=28)
    config = trial_config(latent_dim=8)
    measured = training.measure_speed(config, images, precision=training.FP32)
    trainer = Trainer(config, images)
    trainer.train_until(4)
    started = time.thread_time()
    trainer.train_until(14)
    validation = measured.validation_seconds
    assert time.thread_time() - started - validation == pytest.approx(
        measured.epoch_seconds, rel=0.5
    )
