"""How often resampled seeds put the knee of a curve at the same latent dimension."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.knee import Knee, find_knee
from ae_sweep.analysis.seeds import seed_spread

if TYPE_CHECKING:
    from collections.abc import Sequence

IDENTIFIABLE = 0.8
"""Share of resamples below which no dimension is called the knee."""
RESAMPLES = 1_000


@dataclass(frozen=True, kw_only=True)
class KneeSupport:
    """Shares of resampled curves that have their knee at each latent dimension."""

    shares: tuple[tuple[int, float], ...]
    """Latent dimensions, ascending, and their shares; only those that some resample chose."""
    none: float
    """Share of the resamples without a knee."""
    resamples: int

    @property
    def identifiable(self) -> bool:
        """Whether one latent dimension is the knee of at least 80 % of the resamples."""
        return any(share >= IDENTIFIABLE for _, share in self.shares)

    @property
    def sentence(self) -> str:
        """Return the shares in words."""
        listed = [
            f"d={dim} in {share:.0%}"
            for dim, share in sorted(self.shares, key=lambda each: -each[1])
        ]
        if self.none > 0:
            listed.append(f"none in {self.none:.0%}")
        shares = ", ".join(listed) + " of the resampled curves"
        return shares if self.identifiable else f"the knee is not identifiable: {shares}"


def knee_support(
    latent_dims: Sequence[int],
    mses: Sequence[Sequence[float]],
    *,
    resamples: int = RESAMPLES,
) -> KneeSupport | NotApplicable:
    """Find the knee of curves as other seeds could have given them.

    Parameters
    ----------
    latent_dims
        N distinct latent dimensions, ascending.
    mses
        For each of them the mean squared errors of its seeds, positive.

    Returns
    -------
    KneeSupport or NotApplicable
        `NotApplicable` where seeds were not repeated, or too few of them: nothing measures the
        noise then, and a knee has no share.
    """
    spread = seed_spread(mses)
    if isinstance(spread, NotApplicable):
        return NotApplicable(f"the knee has no share of resamples: {spread.reason}")
    found: Counter[int | None] = Counter()
    for curve in spread.resampled(resamples):
        knee = find_knee(latent_dims, [-10 * math.log10(mse) for mse in curve])
        found[knee.latent_dim if isinstance(knee, Knee) else None] += 1
    none = found.pop(None, 0)
    return KneeSupport(
        shares=tuple((dim, count / resamples) for dim, count in sorted(found.items()) if dim),
        none=none / resamples,
        resamples=resamples,
    )
