"""Uniform quantisation: one step for all coordinates, cells rebuilt at their centroids.

A cell is rebuilt at the mean of the training values in it, which minimises their squared error.
At high rates it costs 0.2546 bit (1.53 dB) more than the rate-distortion function of each
coordinate (Gish and Pierce 1968).

Shapes: N images, K coordinates, S symbols of all coordinates one after the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from ae_sweep.analysis.gaussian_source import water_level
from ae_sweep.errors import ConfigError

Array: TypeAlias = np.ndarray[Any, Any]

LOWEST, HIGHEST = -(2**15), 2**15 - 1
"""Symbols are 16-bit numbers; values beyond are clamped."""
CENTROID_PARTS = 254
"""A centroid is stored in 254ths of a step from its cell's centre, within the cell: the error is
below 1/500 step, 1.6e-5 of the quantiser's own."""
LEAST_STEPS, MOST_STEPS = 12, 13
"""Each decodes all test and validation images. With half of 16 steps, bits between two points were
interpolated 1 to 2 % away from those of all."""
COARSEST = 4.0
"""Largest step, in standard deviations of the widest coordinate: 95 % of it lies in one cell, and
all others are coded as nearly nothing."""
FINEST_SHARE = 0.01
"""Of the float model's squared error, what quantisation with the finest step adds: 0.04 dB."""
LADDER_RATIO = math.sqrt(2)
"""Of two neighbouring steps, half a bit for each active coordinate; more with ``MOST_STEPS``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Alphabet:
    """Symbols of each coordinate: all integers from ``low_K`` to ``high_K``."""

    low_K: Array
    high_K: Array

    @cached_property
    def sizes(self) -> Array:
        """How many symbols each coordinate has; with one, nothing is coded."""
        return self.high_K.astype(np.int64) - self.low_K + 1

    @cached_property
    def starts(self) -> Array:
        """Where the symbols of each coordinate start among all."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)

    @property
    def coordinates(self) -> int:
        """K."""
        return len(self.low_K)

    @property
    def symbols(self) -> int:
        """S, of all coordinates together."""
        return int(self.sizes.sum())

    def clamp(self, symbols_NK: Array) -> Array:
        """Return symbols moved into the alphabet, int32."""
        clamped_NK: Array = np.clip(symbols_NK, self.low_K, self.high_K).astype(np.int32)
        return clamped_NK

    def part(self, coordinate: int) -> slice:
        """Return where a coordinate's symbols are among all."""
        start = int(self.starts[coordinate])
        return slice(start, start + int(self.sizes[coordinate]))


@dataclass(frozen=True, kw_only=True, eq=False)
class UniformQuantiser:
    """Coordinates to symbols and back."""

    step: float
    """Δ, the width of a cell; float32."""
    alphabet: Alphabet
    offsets_S: Array
    """Of each cell's centroid from its centre, in 254ths of a step; int8."""

    def quantise(self, y_NK: Array) -> Array:
        """Return the symbols of coordinates: the nearest cell of the alphabet, int32."""
        low_K, high_K = (
            each.astype(np.float32) for each in (self.alphabet.low_K, self.alphabet.high_K)
        )
        scaled_NK = np.asarray(y_NK, np.float32) / np.float32(self.step)
        np.rint(scaled_NK, out=scaled_NK)
        symbols_NK: Array = np.clip(scaled_NK, low_K, high_K, out=scaled_NK).astype(np.int32)
        return symbols_NK

    def dequantise(self, symbols_NK: Array) -> Array:
        """Return the centroids of symbols, float32."""
        alphabet = self.alphabet
        places_NK = symbols_NK - alphabet.low_K + alphabet.starts
        offsets_NK = self.offsets_S[places_NK] / np.float32(CENTROID_PARTS)
        y_NK: Array = (symbols_NK.astype(np.float32) + offsets_NK) * np.float32(self.step)
        return y_NK


def fit_quantiser(y_NK: Array, step: float) -> UniformQuantiser:
    """Return the quantiser of a step, with the range and the centroids of training values.

    Parameters
    ----------
    y_NK
        Coordinates of training images; Fortran order is fastest.
    step
        Δ, in the unit of the coordinates.

    Raises
    ------
    ConfigError
        If there are no images, or the step is not a positive number.
    """
    if not (math.isfinite(step) and step > 0):
        raise ConfigError(f"a quantiser's step must be a positive number, got {step}")
    if not y_NK.size:
        raise ConfigError("a quantiser needs the coordinates of at least one training image")
    step = float(np.float32(step))
    lows, highs, offsets = [], [], []
    for y_N in np.asarray(y_NK, np.float32).T:
        scaled_N = y_N / np.float32(step)
        symbols_N = np.clip(np.rint(scaled_N), LOWEST, HIGHEST).astype(np.int64)
        low = int(symbols_N.min())
        counts = np.bincount(symbols_N - low)
        sums = np.bincount(symbols_N - low, weights=scaled_N - symbols_N)
        parts = np.rint(sums / np.maximum(counts, 1) * CENTROID_PARTS)
        lows.append(low)
        highs.append(low + len(counts) - 1)
        offsets.append(np.clip(parts, -CENTROID_PARTS // 2, CENTROID_PARTS // 2).astype(np.int8))
    return UniformQuantiser(
        step=step,
        alphabet=Alphabet(low_K=np.array(lows, np.int32), high_K=np.array(highs, np.int32)),
        offsets_S=np.concatenate(offsets),
    )


def step_ladder(variances_K: Array, squared_error: float) -> tuple[float, ...]:
    """Return steps from where nearly nothing is coded to where finer ones gain nothing.

    The coarsest is ``COARSEST`` standard deviations of the widest coordinate. The finest adds
    ``FINEST_SHARE`` of the model's own error, by reverse water-filling: a coordinate adds Δ²/12, or
    its variance if that is less. Between them the steps are in a geometric progression.

    Parameters
    ----------
    variances_K
        Of the coordinates, in squared error of an image, summed over its numbers.
    squared_error
        Of an image rebuilt from its float latents, summed over its numbers, mean over images.

    Returns
    -------
    tuple of float
        ``LEAST_STEPS`` to ``MOST_STEPS`` of them, descending.

    Raises
    ------
    ConfigError
        If the variances are all zero, or the error is not a positive number.
    """
    widest = float(np.max(variances_K, initial=0.0))
    if not (math.isfinite(widest) and widest > 0):
        raise ConfigError("the coordinates do not vary, so that there is nothing to quantise")
    if not (math.isfinite(squared_error) and squared_error > 0):
        raise ConfigError(f"a model's squared error must be a positive number, got {squared_error}")
    coarsest = COARSEST * math.sqrt(widest)
    finest = math.sqrt(12 * water_level(variances_K, FINEST_SHARE * squared_error))
    # A model worse than its own latents' variance still gets a ladder of some length.
    finest = min(finest, coarsest / LADDER_RATIO ** (LEAST_STEPS - 1))
    count = 1 + math.ceil(math.log(coarsest / finest) / math.log(LADDER_RATIO))
    count = max(LEAST_STEPS, min(MOST_STEPS, count))
    return tuple(float(np.float32(each)) for each in np.geomspace(coarsest, finest, count))
