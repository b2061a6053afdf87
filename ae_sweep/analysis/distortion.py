"""Measures of distortion, and the result of an analysis whose preconditions fail."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ae_sweep.errors import ConfigError

MOST_PSNR_DB = 200.0
"""Beyond what 8-bit images can have: a single wrong grey level in a trillion numbers is 168 dB."""


@dataclass(frozen=True)
class NotApplicable:
    """Result of an analysis whose preconditions fail: a reason instead of a value, not an error."""

    reason: str
    """The reason: one clause without a full stop."""


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
        In dB; None for a perfect reconstruction, whose ratio is infinite.

    Raises
    ------
    ValueError
        If ``mse`` is negative, infinite or NaN.
    """
    if not (math.isfinite(mse) and mse >= 0):
        raise ValueError(f"a mean squared error is a finite number of at least 0, got {mse}")
    return -10.0 * math.log10(mse) if mse > 0 else None


def mse_of_psnr(psnr: float) -> float:
    """Convert a PSNR in dB, of images in [0, 1], to the mean squared error.

    Raises
    ------
    ConfigError
        If it is below 0, which every image reaches, or above ``MOST_PSNR_DB``, or NaN.
    """
    if not 0 <= psnr <= MOST_PSNR_DB:
        raise ConfigError(f"a PSNR lies between 0 and {MOST_PSNR_DB:g} dB, got {psnr:g}")
    return float(10 ** (-psnr / 10))
