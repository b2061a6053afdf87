"""Dimension at a quality: how many numbers a code needs near a given PSNR.

m equal Gaussian components of variance σ² at a distortion D below it have R = (m/2)·log2(σ²/D), so
that dR/dPSNR = m·log2(10)/20 bits per dB, and m = 6.02·dR/dPSNR. For the distortion going to 0 it
is the rate-distortion dimension (Geiger and Koch, "On the information dimension of stochastic
processes", IEEE Transactions on Information Theory 65(10), 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.analysis.distortion import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis.rate_curve import RateCurve

DB_PER_BIT = 20 / math.log2(10)
"""6.02: dB of PSNR for each bit of each component."""
WINDOW_DB = 1.5
"""The slope at a quality is that of a line through the points at most this far from it."""
WIDEST_DB = 3.0
"""How far the three nearest may lie where that window has fewer; operating points are mostly 1.5 to
2 dB apart."""
LEAST_POINTS = 3
LEAST_SPREAD_DB = 1.0
"""Least distance of the outermost of those points."""
STEP_DB = 2
"""Between the qualities at which the dimension is computed."""


@dataclass(frozen=True, kw_only=True)
class QualityDimension:
    """The dimension at one quality."""

    psnr: float
    """In dB, of the mean MSE."""
    bits: float
    """Per image, at that quality."""
    dimension: float
    """6.02·dR/dPSNR."""
    points: int
    """Of the curve, that the slope was computed from."""


def quality_dimensions(curve: RateCurve) -> tuple[QualityDimension, ...] | NotApplicable:
    """Compute the dimension at every even number of dB that the curve has points around.

    The slope is that of the least-squares line of bits over PSNR through the points within 1.5 dB,
    or through the three nearest ones within 3 dB.

    Returns
    -------
    tuple of QualityDimension or NotApplicable
        Ascending by quality; the latter where no quality has three points on both sides of it.
    """
    pairs = [(point.psnr, point.bits) for point in curve.points if point.psnr is not None]
    psnr_N = np.array([psnr for psnr, _ in pairs])
    bits_N = np.array([bits for _, bits in pairs])
    found = []
    if pairs:
        first = math.ceil(psnr_N.min() / STEP_DB) * STEP_DB
        for quality in np.arange(first, psnr_N.max() + 1e-9, STEP_DB):
            measured = _at(float(quality), psnr_N, bits_N)
            if measured is not None:
                found.append(measured)
    if not found:
        return NotApplicable(
            f"{curve.name} has no {LEAST_POINTS} points within {WIDEST_DB:g} dB of any quality"
        )
    return tuple(found)


def qualities_in_words(found: Sequence[QualityDimension] | NotApplicable) -> str:
    """Write the dimension at each quality in one line."""
    name = "dimension at a quality, 6.02 · dR/dPSNR"
    if isinstance(found, NotApplicable):
        return f"{name}: none; {found.reason}"
    return f"{name}: {', '.join(f'{at.dimension:.1f} at {at.psnr:g} dB' for at in found)}"


def _at(quality: float, psnr_N: np.ndarray, bits_N: np.ndarray) -> QualityDimension | None:
    distance_N = np.abs(psnr_N - quality)
    nearest = np.sort(distance_N)[:LEAST_POINTS][-1]
    near_N = distance_N <= (WINDOW_DB if nearest <= WINDOW_DB else min(nearest, WIDEST_DB))
    near = psnr_N[near_N]
    if (
        len(near) < LEAST_POINTS
        or np.ptp(near) < LEAST_SPREAD_DB
        or not near.min() <= quality <= near.max()
    ):
        return None
    slope, at_quality = np.polyfit(near - quality, bits_N[near_N], 1)
    if slope <= 0:
        return None
    return QualityDimension(
        psnr=quality,
        bits=float(at_quality),
        dimension=float(slope * DB_PER_BIT),
        points=len(near),
    )
