"""Rates in bits: which points are efficient, and how a code is used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ae_sweep.records import RATE_BITS, RATE_MSE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ae_sweep.analysis.frontier_points import FrontierPoint

COLLAPSED_BITS = 0.5
"""Bits per image below which a code carries next to nothing of its image."""


def mse_at_rate(point: FrontierPoint) -> float:
    """Return the error at a point's rate; for a code without a rate, its test MSE.

    For a VAE this is the error of drawn codes, larger than the test MSE, which uses the means.
    """
    return point.rate[RATE_MSE] if point.has_rate else point.test_mse


def efficient(points: Iterable[FrontierPoint]) -> list[FrontierPoint]:
    """Return the points that no other beats in both bits and distortion, ascending by bits.

    Parameters
    ----------
    points
        Points of a frontier; those without a rate are skipped.
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
    """Describe where a code is not used: collapsed posteriors, idle or silent latents, dead codes.

    Parameters
    ----------
    points
        Points of a frontier; those without a rate are skipped.
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
    silent = [
        f"{point.condition} ({point.rate['silent_latents']:.4g} of {point.latent_dim})"
        for point in points
        if point.rate.get("silent_latents")
    ]
    findings = []
    if collapsed:
        listed = ", ".join(
            f"{point.condition} ({_bits(point):.2g} bits, {_active(point)})" for point in collapsed
        )
        findings.append(
            f"the posterior has collapsed: {listed}; a drawn code carries nothing of its image "
            "then, and all are rebuilt alike: a smaller beta gives more detail"
        )
    if idle:
        findings.append(
            f"latents left as noise, so that a wider code is no richer: {', '.join(idle)}"
        )
    if silent:
        findings.append(
            f"latents rounded to one number for all test images: {', '.join(silent)}; they cost "
            "no bits, and a smaller λ (--lmbda) uses more of them"
        )
    if dead:
        findings.append(f"codes that no test image uses: {', '.join(dead)}")
    return findings


def has_collapsed(point: FrontierPoint) -> bool:
    """Return whether a VAE's code carries nothing of its image; other codes cannot collapse."""
    # By bits alone: with a beta of 0, latents may be narrow and still carry much.
    return point.has_rate and "active_latents" in point.rate and _bits(point) < COLLAPSED_BITS


def _bits(point: FrontierPoint) -> float:
    return point.rate[RATE_BITS]


def _active(point: FrontierPoint) -> str:
    return f"{point.rate['active_latents']:.4g} of {point.latent_dim} latents active"
