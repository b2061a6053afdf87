"""Helpers of tests that train: a training run to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ae_sweep import training
    from ae_sweep.records import EpochResult, TrialResult


def consume(running: training.Training) -> tuple[list[EpochResult], TrialResult]:
    """Train to the end; return every validation, and the result."""
    epochs = []
    while True:
        try:
            epochs.append(next(running))
        except StopIteration as end:
            return epochs, end.value
