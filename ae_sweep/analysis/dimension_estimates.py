"""Three answers to how many dimensions images have, side by side.

They answer different questions: for a linear code, locally without regard to quality, and for a
measured code at a quality (docs/rate-distortion.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.analysis.distortion import NotApplicable

if TYPE_CHECKING:
    from ae_sweep.analysis.intrinsic_dimension import IntrinsicDimension, NeighbourDimension
    from ae_sweep.analysis.principal_components import PrincipalComponents
    from ae_sweep.analysis.quality_dimension import QualityDimension

VARIANCE_SHARES = (0.9, 0.95)


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
    intrinsic: IntrinsicDimension | NotApplicable
    """By nearest neighbours, in four samples of the training images."""
    at_quality: tuple[QualityDimension, ...] | NotApplicable
    """Of a measured curve; a reason where there is none."""

    @property
    def neighbours(self) -> tuple[NeighbourDimension, ...]:
        """The samples, ascending by size; none where neighbours give no estimate."""
        return () if isinstance(self.intrinsic, NotApplicable) else self.intrinsic.samples

    @property
    def qualities(self) -> tuple[QualityDimension, ...]:
        """The dimension at each quality; none without a measured curve."""
        return () if isinstance(self.at_quality, NotApplicable) else self.at_quality

    @property
    def at_least(self) -> tuple[float, float] | None:
        """The lowest and the highest of the neighbours' estimates in the largest sample.

        They are biased low, the more so the higher the dimension.
        """
        return None if isinstance(self.intrinsic, NotApplicable) else self.intrinsic.at_least


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
