"""Sweeps and references on one axis of bits: what a figure, a table and a document are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.analysis.rate_curve import CurveKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.analysis.rate_curve import RateCurve

BITS_OF_A_BYTE = 8


@dataclass(frozen=True, kw_only=True)
class SweepRates:
    """The frontier of one sweep in bits."""

    sweep: str
    frontiers: tuple[RateCurve, ...]
    """One for each seed of its trainings, the search's first: of every rate, the operating point
    that was chosen on validation images, measured on test images. Coded or estimated."""
    bounds: tuple[RateCurve, ...] = ()
    """Upper bounds on the rate-distortion function that its models give, such as the KL of a VAE.
    They are not codes, and are never joined with them."""

    @property
    def frontier(self) -> RateCurve | None:
        """The curve of the search's seed; None where only bounds are known."""
        return self.frontiers[0] if self.frontiers else None


@dataclass(frozen=True, kw_only=True)
class RateComparison:
    """Sweeps and references that were measured on the same test images."""

    sweeps: tuple[SweepRates, ...]
    """At least one."""
    references: tuple[RateCurve, ...] = ()
    notes: tuple[str, ...] = ()
    """What is missing, and why: a codec that is not installed, a model without a rate."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        return next(self.curves()).image_shape

    @property
    def images(self) -> int:
        """Number of test images."""
        return next(self.curves()).images

    @property
    def raw_bits(self) -> int:
        """Bits of one image as it is: a byte for each of its numbers."""
        return BITS_OF_A_BYTE * math.prod(self.image_shape)

    def curves(self) -> Iterator[RateCurve]:
        """Yield all curves: frontiers and bounds of each sweep, then the references."""
        for each in self.sweeps:
            yield from each.frontiers
            yield from each.bounds
        yield from self.references


def is_lossless(curve: RateCurve) -> bool:
    """Return whether every point of a curve is a perfect reconstruction."""
    return all(point.mse == 0 for point in curve.points)


def is_bound(curve: RateCurve) -> bool:
    """Return whether a curve bounds the rate-distortion function without being a code."""
    return curve.kind is CurveKind.BOUND
