"""Spread of errors over the seeds of a training, and what it does to a curve.

Shapes: N points of a curve, B resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ae_sweep.analysis.distortion import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

MIN_DEGREES = 4
"""Degrees of freedom from which a variance is known well enough to compare laws by it: five dims
with two seeds each, or two dims with three."""
SEED = 0
"""Seed of resampling: equal data give equal intervals."""


@dataclass(frozen=True, kw_only=True)
class SeedSpread:
    """Spread of ln MSE over seeds, pooled over the points of a curve."""

    sigma: float
    """Standard deviation of ln MSE of one training."""
    degrees: int
    """Its degrees of freedom: trainings beyond the first of each point."""
    counts: tuple[int, ...]
    """Seeds of each point."""
    means: tuple[float, ...]
    """Mean MSE of each point."""
    residuals: tuple[float, ...]
    """ln MSE of each training less the mean of its point, times √(n / (n - 1)) for n seeds, so
    that their variance is not that of differences from an estimated mean."""

    def resampled(self, resamples: int) -> Floats:
        """Return curves as other seeds could have given them, mean MSEs, B×N.

        The residuals of all points are drawn with replacement, as many for each point as it has
        seeds (Efron & Tibshirani 1993, section 9.4). Two or three seeds of one point alone could
        hardly be resampled. Few residuals hardly determine their own spread either, which is drawn
        anew for each resample (Gelman et al. 2013, section 3.2): with 5 to 16 degrees of freedom,
        95 % intervals without that hold the true curve in 88 % (docs/decisions/0018).
        """
        rng = np.random.default_rng(SEED)
        pool = np.array(self.residuals)
        drawn = [rng.choice(pool, size=(resamples, count)).mean(axis=1) for count in self.counts]
        scale_B1 = np.sqrt(self.degrees / rng.chisquare(self.degrees, size=(resamples, 1)))
        means_BN: Floats = np.array(self.means) * np.exp(scale_B1 * np.stack(drawn, axis=1))
        return means_BN


def seed_spread(mses: Sequence[Sequence[float]]) -> SeedSpread | NotApplicable:
    """Pool the variance of ln MSE over seeds.

    Parameters
    ----------
    mses
        For each point of a curve the positive errors of its seeds, at least one.

    Returns
    -------
    SeedSpread or NotApplicable
        `NotApplicable` where seeds were not repeated, or too few of them.
    """
    if any(mse <= 0 for point in mses for mse in point):
        return NotApplicable("a perfect reconstruction has no logarithm")
    logs = [np.log(np.asarray(point, dtype=np.float64)) for point in mses]
    degrees = sum(len(each) - 1 for each in logs)
    if degrees == 0:
        return NotApplicable("there is one seed of each point; --repeats trains with others")
    if degrees < MIN_DEGREES:
        return NotApplicable(
            f"the spread over seeds has {degrees} degrees of freedom, and needs {MIN_DEGREES}; "
            "more --repeats give them"
        )
    residuals = [
        (each - each.mean()) * math.sqrt(len(each) / (len(each) - 1))
        for each in logs
        if len(each) > 1
    ]
    squares = sum(float(np.sum((each - each.mean()) ** 2)) for each in logs)
    if squares == 0:
        return NotApplicable("all seeds gave the same error")
    return SeedSpread(
        sigma=math.sqrt(squares / degrees),
        degrees=degrees,
        counts=tuple(len(each) for each in logs),
        means=tuple(float(np.mean(point)) for point in mses),
        residuals=tuple(float(value) for value in np.concatenate(residuals)),
    )
