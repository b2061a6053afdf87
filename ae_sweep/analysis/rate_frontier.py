"""Choice of operating points in bits: on validation images, reported on test images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True)
class RateCandidate(Generic[Key]):
    """One way to code images: a model, a step and an entropy model."""

    key: Key
    """What identifies it to the caller."""
    val_bits: float
    """Per image, of validation images."""
    val_mse: float
    test_bits: float
    test_mse: float


@dataclass(frozen=True, kw_only=True)
class ChosenRate(Generic[Key]):
    """A candidate that no other beats on validation images."""

    candidate: RateCandidate[Key]
    on_hull: bool
    """Whether no mixture of other candidates, by time sharing, beats it on validation images."""


def frontier_in_bits(candidates: Sequence[RateCandidate[Key]]) -> tuple[ChosenRate[Key], ...]:
    """Return the candidates that no other beats in both bits and MSE, chosen on validation.

    Choosing on test images would report the luckiest of many candidates (the winner's curse). The
    test points of the chosen need not be monotone, and that is left as it is.

    Returns
    -------
    tuple of ChosenRate
        Ascending by bits on validation images.
    """
    order = sorted(candidates, key=lambda each: (each.val_bits, each.val_mse))
    front: list[RateCandidate[Key]] = []
    for candidate in order:
        if not front or candidate.val_mse < front[-1].val_mse:
            front.append(candidate)
    hull = set(lower_hull([(each.val_bits, each.val_mse) for each in front]))
    return tuple(
        ChosenRate(candidate=candidate, on_hull=index in hull)
        for index, candidate in enumerate(front)
    )


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
