"""Laws of distortion over the latent dimension or over bits, fitted in ln D.

Shapes: N points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.law_solver import (
    BREAK,
    BREAK_LEVEL,
    FLOOR,
    LEVEL,
    SLOPE,
    SLOPE_AFTER,
    SLOPE_BEFORE,
    Curve,
    Problem,
    best_curve,
    refined_curve,
    without_floor,
)
from ae_sweep.analysis.power_law import EQUAL_LOG_MSE, power_law_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

SLOWEST_DECAY = 0.01
"""Slowest decay of an exponential: 1 % over the whole range of the axis."""
FASTEST_DECAY = 30.0
"""Fastest decay of an exponential: e^-30 by the first point."""
MAX_LOG = 700.0
"""Logarithm of the largest float, nearly."""


class Law(StrEnum):
    """A family of curves D(x), where x is the latent dimension or bits per image."""

    POWER = "power"
    POWER_FLOOR = "power + floor"
    EXPONENTIAL_FLOOR = "exponential + floor"
    BROKEN_POWER = "broken power"
    GAUSSIAN_FLOOR = "gaussian + floor"

    @property
    def formula(self) -> str:
        """Return D as a function of x, or of R where the law is one of bits."""
        return _FORMULAS[self]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names of its parameters."""
        return _PARAMETERS[self]


_FORMULAS = {
    Law.POWER: "scale * x ** -exponent",
    Law.POWER_FLOOR: "floor + scale * x ** -exponent",
    Law.EXPONENTIAL_FLOOR: "floor + scale * exp(-decay * x)",
    Law.BROKEN_POWER: (
        "break_mse * (x / break) ** -exponent, with exponent_after in its place beyond the break"
    ),
    Law.GAUSSIAN_FLOOR: "floor + scale * 2 ** (-2 * R / dimension)",
}
_PARAMETERS = {
    Law.POWER: ("scale", "exponent"),
    Law.POWER_FLOOR: ("scale", "exponent", "floor"),
    Law.EXPONENTIAL_FLOOR: ("scale", "decay", "floor"),
    Law.BROKEN_POWER: ("break_mse", "exponent", "exponent_after", "break"),
    Law.GAUSSIAN_FLOOR: ("scale", "dimension", "floor"),
}
PLACES = {
    "floor": FLOOR,
    "scale": LEVEL,
    "decay": SLOPE,
    "dimension": SLOPE,
    "break_mse": BREAK_LEVEL,
    "exponent_after": SLOPE_AFTER,
    "break": BREAK,
}
"""Places of the parameters in the solver's coordinates; that of the exponent depends on the law."""
DIMENSION_LAWS = (Law.POWER, Law.POWER_FLOOR, Law.EXPONENTIAL_FLOOR, Law.BROKEN_POWER)
"""Candidates for distortion over the latent dimension."""
RATE_LAWS = (Law.GAUSSIAN_FLOOR, Law.POWER_FLOOR)
"""Candidates for distortion over bits. The first is the rate-distortion function of a Gaussian
source of that many equal dimensions (Cover & Thomas 2006, section 10.3)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Points:
    """What a law is fitted to, ascending by x."""

    x_N: Floats
    """Latent dimension, or bits per image; positive."""
    mses_N: Floats
    """Mean squared error; positive. Where there are several seeds, the mean over them."""
    seeds_N: Floats
    """Seeds of which each is the mean: the inverse of its variance, up to a common factor."""

    @classmethod
    def of(
        cls, x: Sequence[float], mses: Sequence[float], seeds: Sequence[int] | None = None
    ) -> Points | NotApplicable:
        """Sort points by x; `NotApplicable` where no falling law can be fitted to them."""
        order = np.argsort(x)
        x_N = np.asarray(x, dtype=np.float64)[order]
        mses_N = np.asarray(mses, dtype=np.float64)[order]
        seeds_N = np.asarray([1] * len(x_N) if seeds is None else seeds, dtype=np.float64)[order]
        if len(x_N) < 2:
            return NotApplicable(f"a law needs at least 2 points, got {len(x_N)}")
        if x_N[0] <= 0 or not np.all(np.diff(x_N) > 0):
            return NotApplicable("a law needs distinct positive values on the rate axis")
        if not (np.all(np.isfinite(mses_N)) and mses_N.min() > 0):
            return NotApplicable("a law needs positive errors: 0 has no logarithm")
        if np.ptp(np.log(mses_N)) < EQUAL_LOG_MSE:
            return NotApplicable("the error is the same at every point")
        if np.polyfit(np.log(x_N), np.log(mses_N), 1)[0] >= 0:
            return NotApplicable("the error does not fall as the rate grows")
        return cls(x_N=x_N, mses_N=mses_N, seeds_N=seeds_N)

    def without(self, index: int) -> Points:
        """Return all points but one."""
        return Points(
            x_N=np.delete(self.x_N, index),
            mses_N=np.delete(self.mses_N, index),
            seeds_N=np.delete(self.seeds_N, index),
        )

    def with_mses(self, mses_N: Floats) -> Points:
        """Return the same points with other errors."""
        return replace(self, mses_N=mses_N)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedLaw:
    """A law with the parameters that leave the least weighted squares of ln D."""

    law: Law
    points: Points
    """What it was fitted to. It claims nothing beyond them."""
    curve: Curve
    """In the solver's coordinates."""
    unit: float
    """Divisor of x in the solver's coordinates, where x is not a logarithm."""
    origin: float
    """Value of ln x, or of x / unit, that is 0 there."""

    @property
    def squares(self) -> float:
        """Squares of ln D that it leaves, each times the seeds of its point."""
        return 2 * self.curve.cost

    @property
    def parameters(self) -> dict[str, float]:
        """Return its parameters by name, in the units of its formula."""
        return {
            name: self.natural(name, self.curve.parameters[place(self.law, name)])
            for name in self.law.parameters
        }

    def natural(self, name: str, value: float) -> float:
        """Convert a parameter from the solver's coordinates to the units of the formula.

        The scale depends on the slope as well, for which that of the fit is taken.
        """
        lowest = float(self.points.mses_N.min())
        convert = {
            "floor": lambda: value * lowest,
            "scale": lambda: _exp(value + self.curve.parameters[SLOPE] * self.origin) * lowest,
            "break_mse": lambda: _exp(value) * lowest,
            "break": lambda: _exp(value + self.origin),
            "decay": lambda: value / self.unit,
            "dimension": lambda: 2 * math.log(2) * self.unit / value,
        }
        return convert[name]() if name in convert else value

    def distortion(self, x: Floats | float) -> Floats:
        """Return the fitted MSE at ``x``, of any shape."""
        at = _transformed(self.law, np.asarray(x, dtype=np.float64), self.unit) - self.origin
        lowest = float(self.points.mses_N.min())
        if self.law is Law.BROKEN_POWER:
            level, before, after, place_ = self.curve.parameters
            slope = np.where(at < place_, before, after)
            broken: Floats = lowest * np.exp(level - slope * (at - place_))
            return broken
        floor, level, slope_ = self.curve.parameters
        fitted: Floats = lowest * (floor + np.exp(level - slope_ * at))
        return fitted

    def inverse(self, mse: float) -> float | None:
        """Return the x at which the law gives an MSE; None where it never does."""
        lowest = float(self.points.mses_N.min())
        if self.law is Law.BROKEN_POWER:
            level, before, after, place_ = self.curve.parameters
            drop = level - math.log(mse / lowest)
            slope = before if drop < 0 else after
            at = place_ + drop / slope if slope > 0 else None
        else:
            floor, level, slope = self.curve.parameters
            above = mse / lowest - floor
            at = (level - math.log(above)) / slope if above > 0 else None
        if at is None:
            return None
        shifted = at + self.origin
        if _is_power(self.law):
            return math.exp(shifted) if shifted < MAX_LOG else None
        return shifted * self.unit if shifted > 0 else None


def fit_law(law: Law, points: Points) -> FittedLaw:
    """Fit a law by least squares in ln D, from a fixed grid of starts.

    `power_law.fit_power_law` is the same fit with the same numbers, for equally certain points.

    Parameters
    ----------
    points
        At least as many as the law has parameters.
    """
    problem, unit, origin = law_problem(law, points)
    curve = without_floor(problem) if law is Law.POWER else best_curve(problem)
    return FittedLaw(law=law, points=points, curve=curve, unit=unit, origin=origin)


def refit(fitted: FittedLaw, mses_N: Floats) -> FittedLaw:
    """Fit a law again to resampled errors at the same x, from its own parameters."""
    points = fitted.points.with_mses(mses_N)
    problem, unit, origin = law_problem(fitted.law, points)
    # The solver measures from the smallest error, which has changed.
    shift = math.log(fitted.points.mses_N.min() / mses_N.min())
    start = list(fitted.curve.parameters)
    if fitted.law is Law.BROKEN_POWER:
        start[BREAK_LEVEL] += shift
    else:
        start[FLOOR] = max(start[FLOOR] * math.exp(shift), 0.01)
        start[LEVEL] += shift
    curve = (
        without_floor(problem)
        if fitted.law is Law.POWER
        else refined_curve(problem, Curve(parameters=tuple(start), cost=0.0))
    )
    return FittedLaw(law=fitted.law, points=points, curve=curve, unit=unit, origin=origin)


def law_problem(law: Law, points: Points) -> tuple[Problem, float, float]:
    """Return a law's problem for the solver, with the unit and the origin of its x."""
    y_N = np.log(points.mses_N) - np.log(points.mses_N.min())
    weights_N = points.seeds_N
    share_N = weights_N / np.mean(weights_N)
    if _is_power(law):
        log_x_N = np.log(points.x_N)
        origin = float(np.mean(share_N * log_x_N))
        problem = power_law_problem(log_x_N - origin, y_N, weights_N)
        if law is Law.BROKEN_POWER:
            low, high = 0.0, problem.slope_bounds[1]
            problem = replace(problem, slope_bounds=(low, high), broken=True)
        return problem, 1.0, origin
    unit = float(np.exp(np.mean(np.log(points.x_N))))
    first, last = float(points.x_N[0]) / unit, float(points.x_N[-1]) / unit
    x_N = points.x_N / unit - first
    problem = Problem(
        x_N=x_N,
        y_N=y_N,
        weights_N=weights_N,
        slope_bounds=(SLOWEST_DECAY / last, FASTEST_DECAY / first),
        slope_starts=(1 / last, 1.0, 1 / first),
        level_start=float(y_N.max()),
        mean_x=float(np.mean(share_N * x_N)),
    )
    return problem, unit, first


def place(law: Law, name: str) -> int:
    """Return the place of a parameter in the solver's coordinates."""
    if name == "exponent":
        return SLOPE_BEFORE if law is Law.BROKEN_POWER else SLOPE
    return PLACES[name]


def _is_power(law: Law) -> bool:
    return law not in {Law.EXPONENTIAL_FLOOR, Law.GAUSSIAN_FLOOR}


def _transformed(law: Law, x: Floats, unit: float) -> Floats:
    return np.log(x) if _is_power(law) else x / unit


def _exp(logarithm: float) -> float:
    return math.exp(min(logarithm, MAX_LOG))
