"""Resampled fits of a law: a band about its curve, and an interval for where it reaches an error.

Shapes: N points, M places on the rate axis, B resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ae_sweep.analysis.laws import FittedLaw, refit
from ae_sweep.analysis.seeds import SEED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ae_sweep.analysis.law_choice import LawChoice

    Floats: TypeAlias = NDArray[np.float64]

RESAMPLES = 200
TAILS = (2.5, 97.5)
"""Percentiles that bound 95 %."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LawResamples:
    """One law, fitted to many resampled curves."""

    fits: tuple[FittedLaw, ...]
    source: str
    """``seeds``, whose errors were resampled; or ``residuals``, by whose size noise was drawn."""

    def band(self, x_M: Floats) -> tuple[Floats, Floats]:
        """Return the ends of the 95 % interval of the fitted MSE at each place."""
        curves_BM = np.stack([fit.distortion(x_M) for fit in self.fits])
        low_M, high_M = np.percentile(curves_BM, TAILS, axis=0)
        return low_M, high_M

    def reached(self, mse: float) -> tuple[float, float]:
        """Return the 95 % interval of the place where the law gives an MSE.

        Infinity stands for never: the floor of the law may lie above that MSE.
        """
        places = [fit.inverse(mse) for fit in self.fits]
        return percentiles([math.inf if place is None else place for place in places])


def percentiles(values: list[float]) -> tuple[float, float]:
    """Return the values that bound 95 %, each one of the values, which may be infinite."""
    low, high = np.percentile(values, TAILS, method="inverted_cdf")
    return float(low), float(high)


def resampled_law(choice: LawChoice, *, resamples: int = RESAMPLES) -> LawResamples:
    """Fit the best law again to curves as they could have been measured.

    With seeds, their errors are resampled (`SeedSpread.resampled`). Without, normal noise is
    added to the fitted curve, in ln D and with the variance of its residuals; the variance itself
    is drawn anew each time, because few points hardly determine it (Gelman et al. 2013,
    section 14.2).
    """
    if choice.spread is not None:
        curves_BN = choice.spread.resampled(resamples)
        source = "seeds"
    else:
        rng = np.random.default_rng(SEED)
        points = choice.fit.points
        sigma_B1 = choice.sigma * np.sqrt(
            choice.degrees / rng.chisquare(choice.degrees, size=(resamples, 1))
        )
        noise_BN = sigma_B1 * rng.standard_normal((resamples, len(points.x_N)))
        curves_BN = choice.fit.distortion(points.x_N) * np.exp(noise_BN)
        source = "residuals"
    return LawResamples(
        fits=tuple(refit(choice.fit, mses_N) for mses_N in curves_BN), source=source
    )
