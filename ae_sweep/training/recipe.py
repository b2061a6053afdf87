"""The recipe: everything about a training that no sweep varies."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ae_sweep.config import CURRENT_RECIPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ae_sweep.config import RecipeVersion, SweepConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained, given its hyperparameters and a seed."""

    version: RecipeVersion
    """Part of a point's identity: another number where results would differ."""
    descent: Literal["cosine", "linear"]
    """How the learning rate falls from its peak to zero."""
    wide_in_factors: bool
    """Whether Muon takes layers that are too wide for it by the factors of their gradients."""
    warmup: float
    """Share of the schedule in which the learning rate rises linearly to its peak."""
    betas: tuple[float, float]
    """Adam's decay rates of the running mean of gradients and of their squares."""
    muon_lr_ratio: float
    """Muon's learning rate as a multiple of Adam's, which is the one a sweep searches."""
    muon_momentum: float
    """Muon's decay rate of the running mean of gradients."""


RECIPE = Recipe(
    version=CURRENT_RECIPE,
    descent="linear",
    wide_in_factors=True,
    warmup=0.25,
    betas=(0.9, 0.99),
    muon_lr_ratio=20.0,
    muon_momentum=0.9,
)
RECIPES: Mapping[RecipeVersion, Recipe] = {
    "2": dataclasses.replace(RECIPE, version="2", descent="cosine", wide_in_factors=False),
    CURRENT_RECIPE: RECIPE,
}
"""All that sweeps may be completed with."""


def recipe_name(config: SweepConfig) -> str:
    """Return the recipe's name in the identity of a sweep's trials.

    The dims of a nested training share their weights, so that all of them decide each result.
    """
    if config.method == "nested":
        return f"{config.recipe} nested {' '.join(map(str, config.dims))}"
    return config.recipe


def lr_factor(
    progress: float, *, warmup: float, descent: Literal["cosine", "linear"] = "linear"
) -> float:
    """Return the learning rate as a share of its peak: linear warm-up, then a descent to 0.

    The one-cycle policy of Smith and Topin (2018, arXiv:1708.07120).

    Parameters
    ----------
    progress
        Share of the schedule that is done, from 0 to 1.
    warmup
        Share of the schedule in which the rate rises.
    descent
        Along a line, or half a cosine.
    """
    floor = 0.04  # of the peak, where the warm-up begins: a first step of size 0 is wasted
    if progress < warmup:
        return floor + (1 - floor) * progress / warmup
    left = (1 - progress) / (1 - warmup)
    return left if descent == "linear" else 0.5 * (1 - math.cos(math.pi * left))
