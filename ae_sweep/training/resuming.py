"""Trainings that go on from the checkpoint of an interrupted one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ae_sweep.training.loop import TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.config import TrialConfig
    from ae_sweep.training.checkpoints import Checkpoints

Loop = TypeVar("Loop", bound=TrainingLoop)


def resumable(
    make: Callable[[], Loop],
    checkpoints: Checkpoints | None,
    *,
    config: TrialConfig,
    part: str = "",
) -> Loop:
    """Return a training that goes on from its checkpoint, if there is one that can be used.

    Parameters
    ----------
    make
        Makes it as it is before the first step.
    checkpoints
        Where it is saved from now on; None saves nothing.
    config, part
        By which its checkpoint is found.
    """
    loop = make()
    if checkpoints is None:
        return loop
    keeper = checkpoints.keeper(config, part=part, numerics=loop.numerics)
    taken = keeper.load()
    if taken is not None:
        try:
            loop.restore(taken)
            keeper.notes.append(
                f"goes on from step {loop.step} of {loop.total_steps}, where it was interrupted"
            )
        except (KeyError, RuntimeError, TypeError, ValueError):
            keeper.reject("it was written for another model")
            loop = make()
    loop.keeper = keeper
    return loop
