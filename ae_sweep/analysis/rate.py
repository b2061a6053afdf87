"""Owns what rates in bits tell: which points are efficient, and how a code is used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ae_sweep.records import RATE_BITS, RATE_MSE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ae_sweep.analysis.curve import FrontierPoint

COLLAPSED_BITS = 0.5
"""Fewer than these per image tell next to nothing of it."""


def efficient(points: Iterable[FrontierPoint]) -> list[FrontierPoint]:
    """Return the points that none beats in bits and distortion both, ascending by bits.

    Parameters
    ----------
    points
        Those without a rate are passed over.
    """
    rated = [point for point in points if RATE_BITS in point.rate and RATE_MSE in point.rate]
    front: list[FrontierPoint] = []
    lowest = math.inf
    for point in sorted(rated, key=lambda each: (each.rate[RATE_BITS], each.rate[RATE_MSE])):
        if point.rate[RATE_MSE] < lowest:
            lowest = point.rate[RATE_MSE]
            front.append(point)
    return front


def code_use(points: Sequence[FrontierPoint]) -> list[str]:
    """Say in words where a code is not used: a collapsed posterior, idle latents, dead codes.

    Parameters
    ----------
    points
        Of a frontier; those without a rate are passed over.
    """
    return [told for point in points if (told := _code_use(point))]


def _code_use(point: FrontierPoint) -> str | None:
    name, rate = point.condition, point.rate
    active, dead = rate.get("active_latents"), rate.get("dead_codes")
    if active is not None:
        of_all = f"{active:.4g} of {point.latent_dim} latents"
        if active == 0 or rate[RATE_BITS] < COLLAPSED_BITS:
            return (
                f"{name}: the posterior has collapsed: the code of an image has "
                f"{rate[RATE_BITS]:.2g} bits and {of_all} tell anything of it, so that every image "
                "is rebuilt alike; a smaller beta buys detail"
            )
        if active < point.latent_dim:
            return f"{name}: {of_all} tell something of the image; the others are left as noise"
    if dead:
        return f"{name}: {dead:.4g} codes of the codebook are used by no test image"
    return None
