"""Least squares in ln D for every law of distortion.

All laws but one are D = floor + exp(level - slope·x): a power law where x is the logarithm of the
rate axis, an exponential where it is the rate axis itself. The broken power law has two slopes.

Shapes: N points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

START_FLOORS = (0.05, 0.5, 0.95)
"""Floors from which the solver starts, as fractions of the smallest MSE."""
MAX_LOG_SCALE = 600.0
"""Logarithm of the largest number that is treated as a float."""
MAX_LEVEL = 1e3
"""Largest logarithm of the falling term that is tried, relative to the smallest MSE."""
TINY = 1e-30
"""A floor below it, relative to the smallest MSE, is 0."""
FLOOR, LEVEL, SLOPE = 0, 1, 2
"""Places of the parameters of a curve with a floor."""
BREAK_LEVEL, SLOPE_BEFORE, SLOPE_AFTER, BREAK = 0, 1, 2, 3
"""Places of the parameters of a broken line."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """Points in the solver's coordinates, ascending by x."""

    x_N: Floats
    y_N: Floats
    """ln D, above that of the smallest D."""
    weights_N: Floats
    """Inverse variances, up to a common factor; all 1 where the points are equally certain."""
    slope_bounds: tuple[float, float]
    slope_starts: tuple[float, ...]
    level_start: float
    mean_x: float = 0.0
    """Weighted mean of x; 0 where x is centred on it."""
    broken: bool = False
    """Whether the curve is a broken line rather than one with a floor."""

    def log_curve(self, parameters: Floats) -> Floats:
        """Return ln D of a curve at the points."""
        if self.broken:
            return _broken_line(parameters, self.x_N)[0]
        return _log_terms(parameters, self.x_N)[1]

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """Return the lowest and the highest values of the parameters."""
        low, high = self.slope_bounds
        if self.broken:
            # Two points on each side of the break, without which a slope is arbitrary.
            inner_N = self.x_N[1:-1]
            return (
                np.array([-MAX_LEVEL, low, low, inner_N[0]]),
                np.array([MAX_LEVEL, high, high, inner_N[-1]]),
            )
        # More than that between two MSEs is not a measurement, but must not overflow either.
        highest = float(np.exp(min(self.y_N.max(), MAX_LOG_SCALE)))
        return np.array([0.0, -MAX_LEVEL, low]), np.array([highest, MAX_LEVEL, high])


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Parameters in the solver's coordinates, and half the weighted squares that they leave."""

    parameters: tuple[float, ...]
    """Floor as a fraction of the smallest MSE, level, slope; or level at the break, slope before
    and after it, break."""
    cost: float


def best_curve(problem: Problem) -> Curve:
    """Return the best of the curves found from a fixed grid of starts."""
    if problem.broken:
        return _best(problem, _broken_starts(problem))
    pure = without_floor(problem)
    best = _best(
        problem,
        [
            (floor, problem.level_start, slope)
            for floor in START_FLOORS
            for slope in problem.slope_starts
        ],
    )
    return _without_needless_floor(pure, best)


def refined_curve(problem: Problem, start: Curve) -> Curve:
    """Return the best curve near another, that of the same law for slightly different points."""
    found = solve(problem, start.parameters)
    return found if problem.broken else _without_needless_floor(without_floor(problem), found)


def without_floor(problem: Problem) -> Curve:
    """Return the best curve with a floor of 0, a straight line, in closed form."""
    x_N, y_N, weights_N = problem.x_N, problem.y_N, problem.weights_N
    low, high = problem.slope_bounds
    weighted_N = weights_N / np.mean(weights_N)
    away_N = x_N - problem.mean_x
    slope = float(
        np.clip(-np.sum(weighted_N * away_N * y_N) / np.sum(weighted_N * away_N**2), low, high)
    )
    level = float(np.mean(weighted_N * y_N)) + slope * problem.mean_x
    cost = 0.5 * float(np.sum(weights_N * (level - slope * x_N - y_N) ** 2))
    return Curve(parameters=(0.0, level, slope), cost=cost)


def solve(
    problem: Problem, start: Sequence[float], *, fixed: Mapping[int, float] | None = None
) -> Curve:
    """Minimise the weighted squares of ln D from one start.

    Scipy's trust-region reflective least squares, within bounds.

    Parameters
    ----------
    start
        Parameters from which to start.
    fixed
        Values of parameters that are held, by place.
    """
    from scipy.optimize import least_squares  # noqa: PLC0415 - half a second for one fit

    roots_N = np.sqrt(problem.weights_N)
    lowest, highest = problem.bounds
    whole = np.array(start, dtype=np.float64)
    free = np.ones(len(whole), dtype=bool)
    for index, value in (fixed or {}).items():
        whole[index], free[index] = value, False

    def complete(parameters: Floats) -> Floats:
        filled = whole.copy()
        filled[free] = parameters
        return filled

    def residuals(parameters: Floats) -> Floats:
        difference_N: Floats = problem.log_curve(complete(parameters)) - problem.y_N
        return roots_N * difference_N

    def jacobian(parameters: Floats) -> Floats:
        columns_NP = roots_N[:, None] * _jacobian(problem, complete(parameters))
        # In one order in memory, on which the last digits of the solver's products depend.
        return np.ascontiguousarray(columns_NP[:, free])

    solution = least_squares(
        residuals,
        x0=np.clip(whole[free], lowest[free], highest[free]),
        jac=jacobian,
        bounds=(lowest[free], highest[free]),
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
        max_nfev=300,
    )
    found = complete(solution.x)
    return Curve(parameters=tuple(map(float, found)), cost=float(solution.cost))


def _best(problem: Problem, starts: Sequence[Sequence[float]]) -> Curve:
    return min((solve(problem, start) for start in starts), key=lambda curve: curve.cost)


def _without_needless_floor(pure: Curve, best: Curve) -> Curve:
    # The solver only creeps towards floor = 0; a gain within rounding is not a floor.
    return pure if pure.cost <= best.cost * (1 + 1e-6) + 1e-20 else best


def _broken_starts(problem: Problem) -> list[tuple[float, ...]]:
    """Return a break between each two inner points, and the slopes of the lines on both sides."""
    x_N, y_N = problem.x_N, problem.y_N
    starts: list[tuple[float, ...]] = []
    for index in range(1, len(x_N) - 2):
        place = float((x_N[index] + x_N[index + 1]) / 2)
        sides = (slice(None, index + 1), slice(index + 1, None))
        before, after = (float(-np.polyfit(x_N[side], y_N[side], 1)[0]) for side in sides)
        starts.append((float(np.interp(place, x_N, y_N)), before, after, place))
    return starts


def _log_terms(parameters: Floats, x_N: Floats) -> tuple[Floats, Floats]:
    """Return ln of the falling term and of the whole curve, without overflow."""
    floor, level, slope = parameters
    log_term_N = level - slope * x_N
    return log_term_N, np.logaddexp(np.log(max(floor, TINY)), log_term_N)


def _broken_line(parameters: Floats, x_N: Floats) -> tuple[Floats, Floats]:
    """Return ln D, and the slope that holds at each point."""
    level, before, after, place = parameters
    slope_N = np.where(x_N < place, before, after)
    return level - slope_N * (x_N - place), slope_N


def _jacobian(problem: Problem, parameters: Floats) -> Floats:
    x_N = problem.x_N
    if problem.broken:
        slope_N = _broken_line(parameters, x_N)[1]
        away_N = x_N - parameters[BREAK]
        columns = [np.ones_like(x_N), -np.minimum(away_N, 0), -np.maximum(away_N, 0), slope_N]
        return np.stack(columns, axis=1)
    log_term_N, log_curve_N = _log_terms(parameters, x_N)
    share_N = np.exp(log_term_N - log_curve_N)
    return np.stack([np.exp(-log_curve_N), share_N, -x_N * share_N], axis=1)
