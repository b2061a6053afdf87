"""Mean difference between two rate-distortion curves (Bjøntegaard deltas)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ae_sweep.analysis.distortion import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

MIN_POINTS = 4
MIN_OVERLAP = 0.75
"""Shared share of the range of both curves below which the difference is of a part of them."""


class Interpolation(StrEnum):
    """How a curve is drawn through its points."""

    PCHIP = "pchip"
    """Monotone piecewise cubics, as JCT-VC's."""
    AKIMA = "akima"
    """Piecewise cubics that a single outlier bends less far (Akima 1970)."""


@dataclass(frozen=True, kw_only=True)
class RateQuality:
    """One measured curve: bits per image (or per pixel), and PSNR."""

    bits: tuple[float, ...]
    psnrs_db: tuple[float, ...]
    """None of them infinite: a perfect reconstruction has no PSNR and is left out."""


@dataclass(frozen=True, kw_only=True)
class BjontegaardDelta:
    """How one curve differs from another, the anchor, over what both of them cover."""

    rate_percent: float
    """BD-rate: mean difference in bits at equal PSNR; negative where fewer are needed."""
    psnr_db: float
    """BD-PSNR: mean difference in dB at equal rate; positive where the picture is better."""
    rate_range: tuple[float, float] | None
    """Smallest and largest BD-rate over all pairs of seeds; None for one pair."""
    psnr_range: tuple[float, float] | None
    """Smallest and largest BD-PSNR over all pairs of seeds; None for one pair."""
    pairs: int
    """Pairs of seeds of both sides."""
    psnr_overlap: float
    """Share of the PSNRs of both curves that both cover: the smallest over the pairs."""
    rate_overlap: float
    """The same share of their rates, in logarithms."""
    interpolation: Interpolation
    warning: str | None
    """Said wherever the numbers are shown; None if the curves overlap enough."""


def bjontegaard(
    anchor: Sequence[RateQuality],
    test: Sequence[RateQuality],
    *,
    interpolation: Interpolation = Interpolation.PCHIP,
) -> BjontegaardDelta | NotApplicable:
    """Compute BD-rate and BD-PSNR of a curve against an anchor.

    Curves are interpolated in (PSNR, log10 rate) for BD-rate and in (log10 rate, PSNR) for
    BD-PSNR, and the mean difference over the shared range is an exact integral (Bjøntegaard,
    VCEG-M33, 2001; Herglotz et al., "Beyond Bjøntegaard: limits of video compression performance
    comparisons", 2022). Of several seeds, the mean over all pairs of an anchor's and a test's
    curve is taken, for BD-rate that of the logarithms.

    Parameters
    ----------
    anchor, test
        The curves of each seed, at least one.

    Returns
    -------
    BjontegaardDelta or NotApplicable
        `NotApplicable` for curves under four points, that do not rise strictly, or that share no
        range of PSNR or of rate.
    """
    if not anchor or not test:
        return NotApplicable("there is no curve to compare")
    for curve in (*anchor, *test):
        refusal = _refuse(curve)
        if refusal is not None:
            return refusal
    pairs = [(_logged(one), _logged(other)) for one in anchor for other in test]
    psnr_overlap = min(_overlap(one[1], other[1]) for one, other in pairs)
    rate_overlap = min(_overlap(one[0], other[0]) for one, other in pairs)
    if psnr_overlap == 0:
        return NotApplicable("the curves share no range of PSNR")
    if rate_overlap == 0:
        return NotApplicable("the curves share no range of rates")
    log_rates = [_mean_difference(one[::-1], other[::-1], interpolation) for one, other in pairs]
    gains = [_mean_difference(one, other, interpolation) for one, other in pairs]
    several = len(pairs) > 1
    return BjontegaardDelta(
        rate_percent=_percent(float(np.mean(log_rates))),
        psnr_db=float(np.mean(gains)),
        rate_range=(_percent(min(log_rates)), _percent(max(log_rates))) if several else None,
        psnr_range=(min(gains), max(gains)) if several else None,
        pairs=len(pairs),
        psnr_overlap=psnr_overlap,
        rate_overlap=rate_overlap,
        interpolation=interpolation,
        warning=_warning(psnr_overlap, rate_overlap),
    )


def _refuse(curve: RateQuality) -> NotApplicable | None:
    bits, psnrs = np.asarray(curve.bits), np.asarray(curve.psnrs_db)
    if len(bits) != len(psnrs):
        return NotApplicable(f"a curve has {len(bits)} rates and {len(psnrs)} PSNRs")
    if len(bits) < MIN_POINTS:
        return NotApplicable(f"a curve needs at least {MIN_POINTS} points, got {len(bits)}")
    if not (np.all(np.isfinite(bits)) and np.all(np.isfinite(psnrs))):
        return NotApplicable("a curve has a rate or a PSNR that is not finite")
    if bits.min() <= 0:
        return NotApplicable("a rate of 0 has no logarithm")
    rising = psnrs[np.argsort(bits)]
    if np.any(np.diff(np.sort(bits)) <= 0) or np.any(np.diff(rising) <= 0):
        return NotApplicable("the PSNR of a curve does not rise with every step of its rate")
    return None


def _logged(curve: RateQuality) -> tuple[Floats, Floats]:
    order = np.argsort(curve.bits)
    return np.log10(np.asarray(curve.bits)[order]), np.asarray(curve.psnrs_db)[order]


def _overlap(one: Floats, other: Floats) -> float:
    shared = min(one[-1], other[-1]) - max(one[0], other[0])
    return max(float(shared), 0.0) / float(max(one[-1], other[-1]) - min(one[0], other[0]))


def _mean_difference(
    one: tuple[Floats, Floats], other: tuple[Floats, Floats], interpolation: Interpolation
) -> float:
    """Return the mean of the second curve less the first over the shared range."""
    from scipy.interpolate import (  # noqa: PLC0415 - half a second
        Akima1DInterpolator,
        PchipInterpolator,
    )

    low, high = max(one[0][0], other[0][0]), min(one[0][-1], other[0][-1])
    draw = PchipInterpolator if interpolation is Interpolation.PCHIP else Akima1DInterpolator
    areas = [float(draw(*curve).integrate(low, high)) for curve in (one, other)]
    return (areas[1] - areas[0]) / float(high - low)


def _percent(log_ratio: float) -> float:
    return (math.pow(10, log_ratio) - 1) * 100


def _warning(psnr_overlap: float, rate_overlap: float) -> str | None:
    few = [
        f"{share:.0%} of their {name}"
        for share, name in ((psnr_overlap, "PSNRs (BD-rate)"), (rate_overlap, "rates (BD-PSNR)"))
        if share < MIN_OVERLAP
    ]
    if not few:
        return None
    return f"the curves share only {' and '.join(few)}, and say nothing about the rest"
