"""Owns the measures of distortion and the word for an analysis that does not apply."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class NotApplicable:
    """Why something was not computed: an answer for degenerate data, not an error."""

    reason: str
    """One clause in words, without a full stop."""


def psnr_db(mse: float) -> float | None:
    """Convert a mean squared error of images in [0, 1] to a peak signal-to-noise ratio.

    PSNR = 10·log10(peak² / MSE) with a peak of 1 (Huynh-Thu & Ghanbari, "Scope of validity of
    PSNR in image/video quality assessment", Electronics Letters 44(13), 2008).

    Parameters
    ----------
    mse
        Mean squared error per pixel.

    Returns
    -------
    float or None
        In dB; None for a perfect reconstruction, whose ratio is no number.

    Raises
    ------
    ValueError
        If ``mse`` is negative or no finite number: no measurement.
    """
    if not (math.isfinite(mse) and mse >= 0):
        raise ValueError(f"a mean squared error is a finite number of at least 0, got {mse}")
    return -10.0 * math.log10(mse) if mse > 0 else None
