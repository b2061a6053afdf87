"""An engine whose trainings are faked: a whole sweep, with its stores, in a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ae_sweep import training
from ae_sweep.sweep import InlineWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fakes import FakeTraining

    from ae_sweep.runner.setup import SweepSetup
    from ae_sweep.sweep import Train, Worker

SMALL: Mapping[str, Any] = {"dataset": "shapes", "train_limit": 256}
SPEED = training.Speed(epoch_seconds=1.0, validation_seconds=0.1, test_seconds=0.1)


@dataclass(frozen=True)
class FakeEngine:
    """Trains nothing, at a known speed."""

    setup: SweepSetup
    train: Train
    workers: int = 1
    threads: int = 1
    speeds: Mapping[int, training.Speed] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "speeds", dict.fromkeys(self.setup.config.dims, SPEED))

    def parameters(self) -> dict[str, str | int]:
        return {"threads": 1, "device": "none", "device_name": "none"}

    def open(self) -> Worker:
        return InlineWorker(self.train)


def faking(fake: FakeTraining) -> Callable[..., FakeEngine]:
    return lambda setup, _trials, _announce: FakeEngine(setup, fake)
