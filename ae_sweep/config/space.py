"""The search space of a study: learning rates and epochs to choose from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ae_sweep.config.values import Choices, Range, bounds, check_count
from ae_sweep.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """The nuisance parameters, which each study tunes away."""

    lr: Choices[float] | Range[float]
    """Peak learning rate; a range is log-uniform."""
    epochs: Choices[int] | Range[int]
    """Passes over the training images; a range is uniform over its integers."""

    def __post_init__(self) -> None:
        for lr in bounds(self.lr):
            check_lr(lr)
        for epochs in bounds(self.epochs):
            check_count("epochs", epochs)

    @property
    def max_epochs(self) -> int:
        """The longest training this space allows, in epochs."""
        return max(bounds(self.epochs))

    @property
    def size(self) -> int | None:
        """How many distinct (lr, epochs) there are; None where lr is a continuous range."""
        if isinstance(self.lr, Range):
            return None
        epochs = self.epochs
        counts = epochs.high - epochs.low + 1 if isinstance(epochs, Range) else len(epochs.values)
        return len(self.lr.values) * counts


def check_lr(lr: float) -> None:
    """Refuse a learning rate that is not positive and finite.

    Raises
    ------
    ConfigError
        With the value.
    """
    if not (math.isfinite(lr) and lr > 0):
        raise ConfigError(f"lr must be a positive finite number, got {lr:g}")
