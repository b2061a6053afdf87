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
START_FLOORS = (0.05, 0.5, 0.95)
"""Floors from which the solver starts, as fractions of the smallest MSE."""
EQUAL_LOG_MSE = 1e-9
"""Logarithms of MSE closer than this are rounding, not measurement."""
MAX_LOG_SCALE = 600.0
"""Logarithm of the largest number that is treated as a float."""
TINY = 1e-30
"""A floor below it, relative to the smallest MSE, is 0."""
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


@dataclass(frozen=True)
class _Curve:
    """Parameters scaled for the solver, and half the sum of squares they leave."""

    floor: float
    """As a fraction of the smallest MSE."""
    log_level: float
    """Logarithm of the power term at the mean of x, as a multiple of the smallest MSE."""
    exponent: float
    cost: float


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
    curve = _best_curve(x_N, y_N)
    if not EXPONENT_BOUNDS[0] * 1.01 < curve.exponent < EXPONENT_BOUNDS[1] * 0.99:
        cause = "they fall in one step" if curve.exponent > 1 else "they hardly fall"
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


def _best_curve(x_N: Floats, y_N: Floats) -> _Curve:
    """Search both families: with a floor (from every start) and without."""
    pure = _pure_power_law(x_N, y_N)
    best = min(
        (
            _solve(x_N, y_N, floor=floor, exponent=exponent)
            for floor in START_FLOORS
            for exponent in START_EXPONENTS
        ),
        key=lambda curve: curve.cost,
    )
    # The solver only creeps towards floor = 0; a gain within rounding is not a floor.
    return pure if pure.cost <= best.cost * (1 + 1e-6) + 1e-20 else best


def _pure_power_law(x_N: Floats, y_N: Floats) -> _Curve:
    low, high = EXPONENT_BOUNDS
    exponent = float(np.clip(-np.sum(x_N * y_N) / np.sum(x_N**2), low, high))
    level = float(np.mean(y_N))
    cost = 0.5 * float(np.sum((level - exponent * x_N - y_N) ** 2))
    return _Curve(0.0, level, exponent, cost)


def _solve(x_N: Floats, y_N: Floats, *, floor: float, exponent: float) -> _Curve:
    from scipy.optimize import least_squares  # noqa: PLC0415 - half a second for one fit

    def log_terms(parameters: Floats) -> tuple[Floats, Floats]:
        """Return ln of the power term and of the whole curve, without overflow."""
        floor, level, exponent = parameters
        log_power_N = level - exponent * x_N
        return log_power_N, np.logaddexp(np.log(max(floor, TINY)), log_power_N)

    def residuals(parameters: Floats) -> Floats:
        return log_terms(parameters)[1] - y_N

    def jacobian(parameters: Floats) -> Floats:
        log_power_N, log_curve_N = log_terms(parameters)
        power_share_N = np.exp(log_power_N - log_curve_N)
        return np.stack([np.exp(-log_curve_N), power_share_N, -x_N * power_share_N], axis=1)

    # More than that between two MSEs is not a measurement, but must not overflow either.
    highest = float(np.exp(min(y_N.max(), MAX_LOG_SCALE)))
    level = float(np.mean(y_N))
    solution = least_squares(
        residuals,
        x0=np.array([floor, level, exponent]),
        jac=jacobian,
        bounds=([0.0, -1e3, EXPONENT_BOUNDS[0]], [highest, 1e3, EXPONENT_BOUNDS[1]]),
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
        max_nfev=300,
    )
    fitted_floor, fitted_level, fitted_exponent = map(float, solution.x)
    return _Curve(fitted_floor, fitted_level, fitted_exponent, float(solution.cost))


def _describe(curve: _Curve, dims_N: Floats, mses_N: Floats) -> PowerLaw | NotApplicable:
    log_mses_N = np.log(mses_N)
    total = float(np.sum((log_mses_N - log_mses_N.mean()) ** 2))
    r_squared = 1 - 2 * curve.cost / total
    if r_squared < MIN_R_SQUARED:
        return NotApplicable(
            f"no power law describes these points: the best one has an R² of {r_squared:.2f} "
            "in log space"
        )
    lowest = float(mses_N.min())
    floor = curve.floor * lowest
    log_scale = curve.log_level + curve.exponent * float(np.mean(np.log(dims_N)))
    if log_scale > MAX_LOG_SCALE:
        return NotApplicable(UNKNOWN_EXPONENT + "they fall in one step")
    scale = math.exp(log_scale) * lowest
    errors = _standard_errors(dims_N, floor=floor, scale=scale, curve=curve)
    if errors is None or errors[0] > curve.exponent:
        return NotApplicable(UNKNOWN_EXPONENT + "its standard error is larger than itself")
    exponent_se, scale_se, *floor_se = errors
    return PowerLaw(
        floor=floor,
        scale=scale,
        exponent=curve.exponent,
        floor_se=floor_se[0] * floor if floor_se else None,
        scale_se=scale_se * scale,
        exponent_se=exponent_se,
        r_squared_log=r_squared,
        dims=tuple(int(dim) for dim in dims_N),
    )


def _standard_errors(
    dims_N: Floats, *, floor: float, scale: float, curve: _Curve
) -> list[float] | None:
    """Linearise ln D in (exponent, ln scale, and ln floor unless the floor is 0)."""
    mse_N = floor + scale * dims_N**-curve.exponent
    power_share_N = scale * dims_N**-curve.exponent / mse_N
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
