"""Choice of an operating point, by what was measured on validation images alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.analysis.distortion import NotApplicable, mse_of_psnr, psnr_db

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ae_sweep.analysis.rate_curve import RateCurve, RatePoint

NEAR_BEST_DB = 0.5
"""How far below the best quality the point that is taken by default may lie."""


def choose_point(
    curves: Iterable[RateCurve], *, bits: float | None = None, psnr: float | None = None
) -> RatePoint | NotApplicable:
    """Choose the point to code with, by the bits and the error of validation images.

    Parameters
    ----------
    curves
        Coded ones; points without measurements on validation images are left out.
    bits
        The point of the least error with at most that many bits per image.
    psnr
        The point of the fewest bits that reaches that PSNR in dB. Without either, the point of
        the fewest bits within ``NEAR_BEST_DB`` of the best PSNR.

    Raises
    ------
    ConfigError
        If no image can have that PSNR.
    """
    points = [
        point
        for curve in curves
        for point in curve.points
        if point.val_bits is not None and point.val_mse is not None
    ]
    if not points:
        return NotApplicable("no point was measured on validation images")
    if bits is not None:
        affordable = [point for point in points if _bits(point) <= bits]
        if not affordable:
            least = min(map(_bits, points))
            return NotApplicable(
                f"no point has at most {bits:g} bits per image; the least is {least:.1f}"
            )
        return min(affordable, key=lambda point: (_mse(point), _bits(point)))
    best = min(map(_mse, points))
    wanted = best * 10 ** (NEAR_BEST_DB / 10) if psnr is None else mse_of_psnr(psnr)
    reaching = [point for point in points if _mse(point) <= wanted]
    if not reaching:
        return NotApplicable(f"no point reaches {psnr:g} dB; the best has {psnr_db(best):.2f} dB")
    return min(reaching, key=lambda point: (_bits(point), _mse(point)))


def efficient_on_validation(points: Sequence[RatePoint]) -> list[RatePoint]:
    """Return the points that no other beats in bits and error of validation images, by bits."""
    front: list[RatePoint] = []
    for point in sorted(points, key=lambda each: (_bits(each), _mse(each))):
        if not front or _mse(point) < _mse(front[-1]):
            front.append(point)
    return front


def _bits(point: RatePoint) -> float:
    assert point.val_bits is not None  # noqa: S101 - others are left out before
    return point.val_bits


def _mse(point: RatePoint) -> float:
    assert point.val_mse is not None  # noqa: S101
    return point.val_mse
