"""Helpers of the tests of checkpoints: a training killed after any step, and what it ends with."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

from ae_sweep import interruption
from ae_sweep.training.checkpoints import Checkpoints, Pace
from ae_sweep.training.loop import TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from ae_sweep.records import EpochResult, TrialResult

ALWAYS = Pace(share=float("inf"), seconds_between=0.0)
"""Saves after every step."""
TIMING = {"images_per_second", "epoch_seconds", "train_seconds"}
ABOUT_CHECKPOINTS = {"restored", "note"}


class Killed(BaseException):
    """Ends a training as a signal does: nothing of it can tidy up, since nothing catches it."""


def checkpoints(folder: Path, *, recipe: str = "2", pace: Pace = ALWAYS) -> Checkpoints:
    return Checkpoints(folder=folder, dataset_digest="0123456789abcdef", recipe=recipe, pace=pace)


NEVER = Pace(share=0.0)
"""Saves nothing by itself."""


@contextlib.contextmanager
def interrupted_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[list[int]]:
    """Interrupt the training in the step of that number, counted from 1; count its steps."""
    take_step, taken = TrainingLoop.take_step, [0]

    def take(loop: Any) -> Any:
        taken[0] += 1
        if taken[0] == step:
            interruption.request()
        return take_step(loop)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "take_step", take)
        try:
            yield taken
        finally:
            interruption.withdraw()


@contextlib.contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[None]:
    """Kill the training that is about to take the step of that number, counted from now."""
    take_step, taken = TrainingLoop.take_step, [0]

    def take(loop: Any) -> Any:
        if taken[0] == step:
            raise Killed
        taken[0] += 1
        return take_step(loop)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "take_step", take)
        with contextlib.suppress(Killed):
            yield


def numbers(trained: tuple[list[EpochResult], TrialResult]) -> dict[str, Any]:
    """Everything that a training hands over but its timing and what is said of its checkpoint."""
    epochs, result = trained
    final = dataclasses.asdict(result)
    final["weights"] = hashlib.sha256(final["weights"]).hexdigest()
    left_out = TIMING | ABOUT_CHECKPOINTS
    return {
        "epochs": [_without(dataclasses.asdict(epoch), left_out) for epoch in epochs],
        "result": _without(final, left_out),
    }


def _without(values: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
