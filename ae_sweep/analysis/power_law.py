"""Power-law fit of distortion over latent dimension, with a floor.

D(d) = floor + scale · d^(-exponent) is an empirical description of what one training recipe
reached on one data set. It is not Shannon's R(D): d counts float32 numbers, not bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.law_solver import MAX_LOG_SCALE, SLOPE, Curve, Problem, best_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

MIN_DIMS = 4
"""Three parameters and one degree of freedom."""
MIN_R_SQUARED = 0.5
"""Below it the curve would explain less of log D than it leaves unexplained."""
EXPONENT_BOUNDS = (1e-2, 12.0)
"""Beyond them the curve is a logarithm or a step, and the exponent means nothing."""
START_EXPONENTS = (0.3, 1.0, 3.0)
EQUAL_LOG_MSE = 1e-9
"""Logarithms of MSE closer than this are rounding, not measurement."""
UNKNOWN_EXPONENT = "the exponent of a power law cannot be determined from these points: "
MIN_SINGULAR_RATIO = 1e-4
"""Ratio of the scaled Jacobian's singular values below which two parameters are
indistinguishable."""


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """D(d) = floor + scale · d^(-exponent), fitted in log D."""

    floor: float
    """MSE per pixel that more latent dimensions do not remove; 0 where none was found."""
    scale: float
    """MSE per pixel above the floor at d = 1."""
    exponent: float
    """Each doubling of d divides the MSE above the floor by 2^exponent."""
    floor_se: float | None
    """Standard error; None where the floor is 0, the edge of what is allowed."""
    scale_se: float
    exponent_se: float
    r_squared_log: float
    """Share of the variance of ln D over the fitted points that the curve explains."""
    dims: tuple[int, ...]
    """The latent dimensions it was fitted to, ascending. The fit claims nothing beyond them."""

    def distortion(self, latent_dims: Floats) -> Floats:
        """Return the fitted MSE per pixel at ``latent_dims``, of any shape."""
        return self.floor + self.scale * latent_dims**-self.exponent


def fit_power_law(latent_dims: Sequence[int], mses: Sequence[float]) -> PowerLaw | NotApplicable:
    """Fit a power law with a floor by least squares in ln D.

    The logarithm weighs a given relative error equally at every d; in plain D the smallest d
    would decide alone. The solver (scipy's trust-region reflective least squares, bounded by
    floor ≥ 0) starts from a fixed grid, so equal data give equal numbers. Where no floor leaves a
    smaller error than a floor of 0, the pure power law is taken, in closed form. Standard errors
    are the usual linearised ones, s²·(JᵀJ)⁻¹ (Seber & Wild, Nonlinear Regression, 1989, ch. 5).

    Parameters
    ----------
    latent_dims
        N distinct latent dimensions.
    mses
        N mean squared errors per pixel, all positive.

    Returns
    -------
    PowerLaw or NotApplicable
        `NotApplicable` for data that no such curve describes; never an exception.
    """
    order = np.argsort(latent_dims)
    dims_N = np.asarray(latent_dims, dtype=np.float64)[order]
    mses_N = np.asarray(mses, dtype=np.float64)[order]
    refusal = _refuse_data(dims_N, mses_N)
    if refusal is not None:
        return refusal
    # Centred, so that level and exponent are nearly uncorrelated, which suits the solver.
    x_N = np.log(dims_N) - np.mean(np.log(dims_N))
    y_N = np.log(mses_N) - np.log(mses_N.min())
    curve = best_curve(power_law_problem(x_N, y_N, np.ones_like(x_N)))
    exponent = curve.parameters[SLOPE]
    if not EXPONENT_BOUNDS[0] * 1.01 < exponent < EXPONENT_BOUNDS[1] * 0.99:
        cause = "they fall in one step" if exponent > 1 else "they hardly fall"
        return NotApplicable(UNKNOWN_EXPONENT + cause)
    return _describe(curve, dims_N, mses_N)


def _refuse_data(dims_N: Floats, mses_N: Floats) -> NotApplicable | None:
    if len(dims_N) < MIN_DIMS:
        return NotApplicable(
            f"a power law with a floor needs at least {MIN_DIMS} latent dims to fit, "
            f"got {len(dims_N)}"
        )
    log_mses_N = np.log(mses_N)
    if np.ptp(log_mses_N) < EQUAL_LOG_MSE:
        return NotApplicable("test MSE is the same at every latent dim")
    if np.polyfit(np.log(dims_N), log_mses_N, 1)[0] >= 0:
        return NotApplicable("test MSE does not fall as latent_dim grows")
    return None


def power_law_problem(log_dims_N: Floats, y_N: Floats, weights_N: Floats) -> Problem:
    """Return the solver's problem for a power law, with centred or other logarithms as x."""
    return Problem(
        x_N=log_dims_N,
        y_N=y_N,
        weights_N=weights_N,
        slope_bounds=EXPONENT_BOUNDS,
        slope_starts=START_EXPONENTS,
        level_start=float(np.mean(y_N)),
    )


def _describe(curve: Curve, dims_N: Floats, mses_N: Floats) -> PowerLaw | NotApplicable:
    log_mses_N = np.log(mses_N)
    total = float(np.sum((log_mses_N - log_mses_N.mean()) ** 2))
    r_squared = 1 - 2 * curve.cost / total
    if r_squared < MIN_R_SQUARED:
        return NotApplicable(
            f"no power law describes these points: the best one has an R² of {r_squared:.2f} "
            "in log space"
        )
    lowest = float(mses_N.min())
    relative_floor, level, exponent = curve.parameters
    floor = relative_floor * lowest
    log_scale = level + exponent * float(np.mean(np.log(dims_N)))
    if log_scale > MAX_LOG_SCALE:
        return NotApplicable(UNKNOWN_EXPONENT + "they fall in one step")
    scale = math.exp(log_scale) * lowest
    errors = _standard_errors(dims_N, floor=floor, scale=scale, curve=curve)
    if errors is None or errors[0] > exponent:
        return NotApplicable(UNKNOWN_EXPONENT + "its standard error is larger than itself")
    exponent_se, scale_se, *floor_se = errors
    return PowerLaw(
        floor=floor,
        scale=scale,
        exponent=exponent,
        floor_se=floor_se[0] * floor if floor_se else None,
        scale_se=scale_se * scale,
        exponent_se=exponent_se,
        r_squared_log=r_squared,
        dims=tuple(int(dim) for dim in dims_N),
    )


def _standard_errors(
    dims_N: Floats, *, floor: float, scale: float, curve: Curve
) -> list[float] | None:
    """Linearise ln D in (exponent, ln scale, and ln floor unless the floor is 0)."""
    exponent = curve.parameters[SLOPE]
    mse_N = floor + scale * dims_N**-exponent
    power_share_N = scale * dims_N**-exponent / mse_N
    columns = [-np.log(dims_N) * power_share_N, power_share_N]
    if floor > 0:
        columns.append(floor / mse_N)
    jacobian_NP = np.stack(columns, axis=1)
    norms_P = np.linalg.norm(jacobian_NP, axis=0)
    _, singular_P, directions_PP = np.linalg.svd(jacobian_NP / norms_P, full_matrices=False)
    if singular_P[-1] < MIN_SINGULAR_RATIO * singular_P[0]:
        return None
    variance = 2 * curve.cost / (len(dims_N) - len(columns))
    unit_spread_P = np.sqrt(np.sum((directions_PP.T / singular_P) ** 2, axis=1)) / norms_P
    return [math.sqrt(variance) * float(spread) for spread in unit_spread_P]
