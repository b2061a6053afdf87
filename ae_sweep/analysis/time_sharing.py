"""Time sharing between operating points: the lower convex hull in bits and MSE."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def lower_hull(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Return which points are corners of the lower convex hull in (bits, MSE).

    Every point of the hull can be reached by time sharing: some images coded one way, the others
    another (Cover & Thomas 2006, section 10.4). In (bits, PSNR) that would not hold. The hull
    ends at the smallest MSE: more bits for more error are no trade.

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
