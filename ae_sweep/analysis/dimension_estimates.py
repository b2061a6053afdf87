"""Three answers to how many dimensions images have, side by side.

They answer different questions: for a linear code, locally without regard to quality, and for a
measured code at a quality (docs/rate-distortion.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.analysis.distortion import NotApplicable

if TYPE_CHECKING:
    from ae_sweep.analysis.principal_components import PrincipalComponents
    from ae_sweep.analysis.quality_dimension import QualityDimension

VARIANCE_SHARES = (0.9, 0.95)


@dataclass(frozen=True, kw_only=True)
class NeighbourEstimate:
    """Intrinsic dimension by nearest neighbours in a sample of images."""

    images: int
    two_nn: float
    """From the ratio of the distances to the two nearest neighbours."""
    mle: tuple[tuple[int, float], ...]
    """Maximum likelihood over k neighbours, for several k: pairs of k and dimension."""

    @property
    def values(self) -> tuple[float, ...]:
        """All of them."""
        return (self.two_nn, *(dimension for _, dimension in self.mle))


@dataclass(frozen=True, kw_only=True)
class DimensionEstimates:
    """The three answers."""

    images: int
    """Training images."""
    participation_ratio: float
    """(Σλ)² / Σλ² of the variances λ of the principal components."""
    components: tuple[tuple[float, int], ...]
    """Pairs of a share of the variance and the number of components that hold it; a share that
    more components would be needed for than were computed is left out."""
    neighbours: tuple[NeighbourEstimate, ...]
    """For samples of the training images, ascending by size."""
    neighbours_refusal: str | None
    """Why there are none; None where there are."""
    at_quality: tuple[QualityDimension, ...] = ()
    at_quality_refusal: str | None = None

    @property
    def at_least(self) -> tuple[float, float] | None:
        """The lowest and the highest of the neighbours' estimates in the largest sample.

        They are biased low, the more so the higher the dimension.
        """
        if not self.neighbours:
            return None
        values = self.neighbours[-1].values
        return min(values), max(values)


def participation_ratio(components: PrincipalComponents) -> float | NotApplicable:
    """Compute (Σλ)² / Σλ²: for K equal variances and no others it is K.

    Where only the leading components are known, the rest counts with its variance but not with its
    squares, which are smaller.
    """
    squares = float((components.variance_K**2).sum())
    if squares == 0:
        return NotApplicable("all training images are alike")
    return components.total_variance**2 / squares


def components_for(
    components: PrincipalComponents, shares: tuple[float, ...] = VARIANCE_SHARES
) -> tuple[tuple[float, int], ...]:
    """Return how many components hold a share of the variance, for each share that they hold."""
    found = []
    held_K = components.variance_K.cumsum() / components.total_variance
    for share in shares:
        count = int((held_K < share).sum()) + 1
        if count <= len(held_K):
            found.append((share, count))
    return tuple(found)
