"""Rate-distortion function of a Gaussian source by reverse water-filling.

A coordinate of variance σ² above the water level θ is coded with ½·log2(σ²/θ) bits and error θ, the
others not at all, with error σ² (Cover and Thomas 2006, section 10.3.3). For other sources with the
same covariance it is an upper bound on the rate-distortion function, and a code may lie below it.

Shapes: K coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ae_sweep.errors import ConfigError

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class GaussianPoint:
    """A point of the rate-distortion function of a Gaussian source."""

    bits: float
    """Per image."""
    squared_error: float
    """Of an image, summed over its coordinates, in the unit of the variances."""
    active: int
    """Coordinates above the water level."""
    level: float
    """θ, the error of each active coordinate."""


def at_level(variances_K: Array, level: float) -> GaussianPoint:
    """Return the point of a water level.

    Raises
    ------
    ConfigError
        If a variance is negative or not finite, or the level is not a positive number.
    """
    variances_K = _checked(variances_K)
    if not (math.isfinite(level) and level > 0):
        raise ConfigError(f"a water level must be a positive number, got {level}")
    active_K = variances_K > level
    return GaussianPoint(
        bits=float(0.5 * np.log2(variances_K[active_K] / level).sum()),
        squared_error=float(np.minimum(variances_K, level).sum()),
        active=int(active_K.sum()),
        level=level,
    )


def water_level(variances_K: Array, squared_error: float) -> float:
    """Return θ for which the sum of min(σ², θ) is ``squared_error``; the widest σ² if none is."""
    ascending_K = np.sort(np.asarray(variances_K, np.float64))
    below_K = np.concatenate([[0.0], np.cumsum(ascending_K)[:-1]])
    levels_K = (squared_error - below_K) / np.arange(len(ascending_K), 0, -1)
    fitting_K = np.flatnonzero(levels_K <= ascending_K)
    return float(levels_K[fitting_K[0]] if len(fitting_K) else ascending_K[-1])


def _checked(variances_K: Array) -> Array:
    variances_K = np.asarray(variances_K, np.float64)
    if not variances_K.size or not np.isfinite(variances_K).all() or (variances_K < 0).any():
        raise ConfigError("variances of a Gaussian source are numbers of at least 0")
    return variances_K
