"""Owns what rates in bits tell: which points are efficient, and how a code is used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ae_sweep.records import RATE_BITS, RATE_MSE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ae_sweep.analysis.frontier import FrontierPoint

COLLAPSED_BITS = 0.5
"""Fewer than these per image tell next to nothing of it."""


def mse_at_rate(point: FrontierPoint) -> float:
    """Return the error of what a point's bits carry; of a code without a rate its test MSE.

    For a VAE that is the error of drawn codes, and larger than the test MSE, of the means' images.
    """
    return point.rate[RATE_MSE] if point.has_rate else point.test_mse


def efficient(points: Iterable[FrontierPoint]) -> list[FrontierPoint]:
    """Return the points that none beats in bits and distortion both, ascending by bits.

    Parameters
    ----------
    points
        Those without a rate are passed over.
    """
    rated = [point for point in points if point.has_rate]
    front: list[FrontierPoint] = []
    lowest = math.inf
    for point in sorted(rated, key=lambda each: (each.rate[RATE_BITS], each.rate[RATE_MSE])):
        if point.rate[RATE_MSE] < lowest:
            lowest = point.rate[RATE_MSE]
            front.append(point)
    return front


def code_use(points: Sequence[FrontierPoint]) -> list[str]:
    """Say in words where a code is not used: collapsed posteriors, idle latents, dead codes.

    Parameters
    ----------
    points
        Of a frontier; those without a rate are passed over.
    """
    collapsed = [point for point in points if has_collapsed(point)]
    idle = [
        f"{point.condition} ({_active(point)})"
        for point in points
        if point.rate.get("active_latents", point.latent_dim) < point.latent_dim
        and not has_collapsed(point)
    ]
    dead = [
        f"{point.condition} ({point.rate['dead_codes']:.4g})"
        for point in points
        if point.rate.get("dead_codes")
    ]
    told = []
    if collapsed:
        listed = ", ".join(
            f"{point.condition} ({_bits(point):.2g} bits, {_active(point)})" for point in collapsed
        )
        told.append(
            f"the posterior has collapsed: {listed}; a code that is drawn tells nothing of its "
            "image then, and every image is rebuilt alike: a smaller beta buys detail"
        )
    if idle:
        told.append(f"latents left as noise, so that a wider code is no richer: {', '.join(idle)}")
    if dead:
        told.append(f"codes that no test image uses: {', '.join(dead)}")
    return told


def has_collapsed(point: FrontierPoint) -> bool:
    """Return whether a VAE's code tells nothing of its image; other codes cannot collapse."""
    # By bits alone: without a price, latents may stay narrow and tell a lot all the same.
    return point.has_rate and "active_latents" in point.rate and _bits(point) < COLLAPSED_BITS


def _bits(point: FrontierPoint) -> float:
    return point.rate[RATE_BITS]


def _active(point: FrontierPoint) -> str:
    return f"{point.rate['active_latents']:.4g} of {point.latent_dim} latents active"
