"""Side information of a code: header, tables and decoder, and from how many images on it pays.

A rate that counts the coded images alone flatters a learned code, whose decoder has to reach the
reader as well. Spread over n images, the rate of a point is R + 8·(header + tables + decoder) / n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.rate_comparison import BITS_OF_A_BYTE

if TYPE_CHECKING:
    from ae_sweep.analysis.rate_curve import RateCurve, RatePoint

COUNTS = (1, 10_000)
"""Images of one file for which the rate with side information is listed, besides infinitely many,
where it is the rate without."""


@dataclass(frozen=True, kw_only=True)
class Payoff:
    """From how many images on a code needs fewer bits than a reference of the same distortion."""

    point: RatePoint
    """Of the code."""
    reference_bits: float
    """What the reference needs per image for the point's distortion, without side information."""
    images: int | None
    """The least number; None if the code needs more bits however many images there are."""


def side_bytes(curve: RateCurve, point: RatePoint) -> int:
    """Return all that a decoder needs besides the coded images, in bytes."""
    return curve.header_bytes + point.table_bytes + decoder_bytes(curve, point)


def decoder_bytes(curve: RateCurve, point: RatePoint) -> int:
    """Return the size of the decoder's weights, in bytes."""
    return curve.decoder_bytes if point.decoder_bytes is None else point.decoder_bytes


def amortised_bits(curve: RateCurve, point: RatePoint, *, images: int) -> float:
    """Return bits per image of a file of some images, its side information included."""
    return point.bits + BITS_OF_A_BYTE * side_bytes(curve, point) / images


def bits_at(curve: RateCurve, *, mse: float) -> tuple[float, float] | None:
    """Return bits per image and side bytes that a code needs for a distortion, interpolated.

    Bits are interpolated linearly in the PSNR between the two points around it, of those that no
    other point beats in both bits and distortion.

    Returns
    -------
    tuple or None
        None if the distortion is outside what was measured.
    """
    front = _efficient(curve)
    exact = next((point for point in front if point.mse == mse), None)
    if exact is not None:
        return exact.bits, side_bytes(curve, exact)
    above = [point for point in front if point.mse > mse]
    below = [point for point in front if point.mse < mse]
    if not above or not below:
        return None
    worse, better = above[-1], below[0]
    side = float(side_bytes(curve, better))
    if better.mse == 0:
        return better.bits, side
    share = math.log(worse.mse / mse) / math.log(worse.mse / better.mse)
    return worse.bits + share * (better.bits - worse.bits), side


def payoff(curve: RateCurve, point: RatePoint, reference: RateCurve) -> Payoff | NotApplicable:
    """Compute from how many images on a point pays against a reference of the same distortion.

    With R and S the bits per image and the side information of the code, and R' and S' those of
    the reference, R + S/n ≤ R' + S'/n holds from n = (S - S') / (R' - R) on.

    Parameters
    ----------
    curve, point
        The code and one of its points.

    Returns
    -------
    Payoff or NotApplicable
        The latter where the reference was not measured around the point's distortion.
    """
    found = bits_at(reference, mse=point.mse)
    if found is None:
        return NotApplicable(f"{reference.name} was not measured at this distortion")
    bits, side = found
    more = BITS_OF_A_BYTE * (side_bytes(curve, point) - side)
    images: int | None
    if point.bits < bits:
        images = max(1, math.ceil(more / (bits - point.bits)))
    else:
        # Fewer bits of side information pay for few images, not from some number on.
        images = 1 if more <= 0 and point.bits == bits else None
    return Payoff(point=point, reference_bits=bits, images=images)


def best_payoff(curve: RateCurve, reference: RateCurve) -> Payoff | NotApplicable:
    """Return the payoff of the point that pays for the fewest images; see `payoff`."""
    found = [payoff(curve, point, reference) for point in curve.points]
    measured = [each for each in found if isinstance(each, Payoff)]
    if not measured:
        return NotApplicable(f"{reference.name} and {curve.name} share no distortion")
    return min(measured, key=lambda each: math.inf if each.images is None else each.images)


def _efficient(curve: RateCurve) -> list[RatePoint]:
    """Return the points that no other beats in both bits and distortion, ascending by bits."""
    front: list[RatePoint] = []
    for point in sorted(curve.points, key=lambda each: (each.bits, each.mse)):
        if not front or point.mse < front[-1].mse:
            front.append(point)
    return front
