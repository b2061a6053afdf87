"""The recipe: everything about a training that no sweep varies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ae_sweep.config import SweepConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained, given its hyperparameters and a seed."""

    version: str
    """Part of a point's identity: another number where results would differ."""
    warmup: float
    """Share of the schedule in which the learning rate rises linearly to its peak."""
    betas: tuple[float, float]
    """Adam's decay rates of the running mean of gradients and of their squares."""
    muon_lr_ratio: float
    """Muon's learning rate as a multiple of Adam's, which is the one a sweep searches."""
    muon_momentum: float
    """Muon's decay rate of the running mean of gradients."""


RECIPE = Recipe(
    version="2",
    warmup=0.25,
    betas=(0.9, 0.99),
    muon_lr_ratio=20.0,
    muon_momentum=0.9,
)


def recipe_name(config: SweepConfig) -> str:
    """Return the recipe's name in the identity of a sweep's trials.

    The dims of a nested training share their weights, so that all of them decide each result.
    """
    if config.method == "nested":
        return f"{RECIPE.version} nested {' '.join(map(str, config.dims))}"
    return RECIPE.version


def lr_factor(progress: float, *, warmup: float) -> float:
    """Return the learning rate as a share of its peak: linear warm-up, then half a cosine to 0.

    The one-cycle policy of Smith and Topin (2018, arXiv:1708.07120) with a cosine descent.

    Parameters
    ----------
    progress
        Share of the schedule that is done, from 0 to 1.
    warmup
        Share of the schedule in which the rate rises.
    """
    floor = 0.04  # of the peak, where the warm-up begins: a first step of size 0 is wasted
    if progress < warmup:
        return floor + (1 - floor) * progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
