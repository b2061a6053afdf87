"""Sweeps and references on one axis of bits: what a figure, a table and a document are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ae_sweep.analysis.rate_choice import efficient_on_validation
from ae_sweep.analysis.rate_curve import CurveKind
from ae_sweep.errors import NotStoredError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ae_sweep.analysis.rate_curve import RateCurve

BITS_OF_A_BYTE = 8
LEAST_SHARE = 1_000
"""Part of a raw image's bits from which on rates are compared."""


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

    def round_rates(self) -> tuple[int, ...]:
        """Return round rates to compare codes at, ascending: 10, 20, 50, 100, …, 5,000 on MNIST.

        They are those of one significant digit, 1, 2 or 5, from a thousandth of the raw image on;
        from fewer bits where sweeps have no more.
        """
        coded = [
            point.bits
            for each in self.sweeps
            for curve in each.frontiers + each.bounds
            for point in curve.points
            if point.bits >= 1
        ]
        low = min(self.raw_bits / LEAST_SHARE, max(coded, default=self.raw_bits) / 2)
        high = self.raw_bits
        rates = (
            digit * 10**power
            for power in range(math.ceil(math.log10(high)) + 1)
            for digit in (1, 2, 5)
        )
        return tuple(rate for rate in rates if low <= rate <= high)


def sweep_rates(sweep: str, curves: Iterable[RateCurve]) -> SweepRates:
    """Join the curves of a sweep's models into one frontier for each seed.

    The operating points of all models of a seed compete on validation images: those that no other
    beats in both bits and error there are the frontier, and have the bits and the error of test
    images. A point that was not measured on validation images does not compete. Bounds of one seed
    are joined likewise, and never with codes.

    Parameters
    ----------
    curves
        One for each model and seed, and for each bound.

    Raises
    ------
    NotStoredError
        If there are none.
    """
    by_seed: dict[tuple[bool, int | None], list[RateCurve]] = {}
    for curve in curves:
        by_seed.setdefault((is_bound(curve), curve.seed), []).append(curve)
    if not by_seed:
        raise NotStoredError(f"{sweep} has no measured rates")
    joined = {key: _joined(sweep, alike) for key, alike in by_seed.items()}
    return SweepRates(
        sweep=sweep,
        frontiers=tuple(each for (bound, _), each in joined.items() if each and not bound),
        bounds=tuple(each for (bound, _), each in joined.items() if each and bound),
    )


def _joined(sweep: str, curves: Sequence[RateCurve]) -> RateCurve | None:
    some = curves[0]
    points = [
        replace(point, decoder_bytes=curve.decoder_bytes)
        for curve in curves
        for point in curve.points
        if point.val_bits is not None and point.val_mse is not None
    ]
    if not points:
        return None
    kinds = {curve.kind for curve in curves}
    chosen = sorted(efficient_on_validation(points), key=lambda each: (each.bits, each.mse))
    return replace(
        some,
        name=f"{sweep}, drawn codes" if is_bound(some) else sweep,
        kind=CurveKind.ESTIMATED if CurveKind.ESTIMATED in kinds else some.kind,
        points=tuple(chosen),
    )


def is_lossless(curve: RateCurve) -> bool:
    """Return whether every point of a curve is a perfect reconstruction."""
    return all(point.mse == 0 for point in curve.points)


def is_bound(curve: RateCurve) -> bool:
    """Return whether a curve bounds the rate-distortion function without being a code."""
    return curve.kind is CurveKind.BOUND
