"""Time sharing between operating points: the lower convex hull in bits and MSE.

Some images coded one way and the others another have, on average, the bits and the squared error on
the line between the two points (Cover & Thomas 2006, section 10.4). In (bits, PSNR) that would not
hold.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis.rate_curve import RateCurve, RatePoint

ROUNDING = 1e-12


def mse_within(curve: RateCurve, *, bits: float) -> float | None:
    """Return the least MSE of a curve for at most some bits per image, by time sharing.

    Where its points were chosen on validation images, these also choose between which of them time
    is shared; the MSE is that of test images.

    Returns
    -------
    float or None
        None if every point has more bits.
    """
    corners = _corners(curve)
    if bits < corners[0].bits:
        return None
    return float(
        np.interp(bits, [point.bits for point in corners], [point.mse for point in corners])
    )


def bits_for(curve: RateCurve, *, mse: float) -> float | None:
    """Return the least bits per image at which a curve has an MSE, by time sharing.

    Returns
    -------
    float or None
        None if no point has so small an MSE.
    """
    corners = _corners(curve)
    # PSNR and back is not exact: a point at the target reaches it.
    allowed = mse * (1 + ROUNDING)
    reaching = next((at for at, point in enumerate(corners) if point.mse <= allowed), None)
    if reaching is None:
        return None
    better = corners[reaching]
    if reaching == 0 or better.mse >= mse:
        return better.bits
    worse = corners[reaching - 1]
    share = (worse.mse - mse) / (worse.mse - better.mse)
    return worse.bits + share * (better.bits - worse.bits)


def _corners(curve: RateCurve) -> list[RatePoint]:
    """Return the points between which time is shared, ascending by bits."""
    known = [
        (point.val_bits, point.val_mse)
        for point in curve.points
        if point.val_bits is not None and point.val_mse is not None
    ]
    if len(known) < len(curve.points):
        known = [(point.bits, point.mse) for point in curve.points]
    corners = [curve.points[index] for index in lower_hull(known)]
    return sorted(corners, key=lambda point: (point.bits, point.mse))


def lower_hull(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Return which points are corners of the lower convex hull in (bits, MSE).

    The hull ends at the smallest MSE: nobody trades more bits for more error.

    Parameters
    ----------
    points
        Pairs of bits and MSE, in any order.

    Returns
    -------
    tuple of int
        Indices, ascending by bits; of equal points the first.
    """
    hull: list[int] = []
    lowest = math.inf
    for index in sorted(range(len(points)), key=lambda each: points[each]):
        if points[index][1] >= lowest:
            continue
        lowest = points[index][1]
        # Andrew's monotone chain (1979): corners at or above the new edge are none.
        while len(hull) > 1 and _turn(points[hull[-2]], points[hull[-1]], points[index]) <= 0:
            hull.pop()
        hull.append(index)
    return tuple(hull)


def _turn(
    first: tuple[float, float], second: tuple[float, float], third: tuple[float, float]
) -> float:
    """Return a positive number where the path turns left, upwards."""
    return (second[0] - first[0]) * (third[1] - first[1]) - (second[1] - first[1]) * (
        third[0] - first[0]
    )
