"""Intervals of a law's parameters by profile likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ae_sweep.analysis.law_solver import FLOOR, SLOPE, Curve, Problem, solve
from ae_sweep.analysis.laws import Law, law_problem, place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ae_sweep.analysis.laws import FittedLaw

CONFIDENCE = 0.95
FIRST_STEP = 0.02
"""Of the search for an end of an interval, relative to the value."""
GROWTH = 1.6
"""Factor from step to step of that search."""
TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Values of a parameter that the points do not contradict, with 95 % confidence."""

    name: str
    value: float
    low: float | None
    """None where the points set no limit within what is tried; a floor ends at 0."""
    high: float | None
    """None where the points set no limit within what is tried."""


@dataclass(frozen=True, kw_only=True)
class _Profile:
    """How much worse a law fits where one of its parameters is held."""

    problem: Problem
    place: int
    best: Curve
    fixed: Mapping[int, float]
    """Parameters that the law does not have: the floor of a pure power law."""
    allowed: float
    """What the squares of ln D may grow by."""

    def excess(self, held: float, start: Curve) -> tuple[float, Curve]:
        """Return by how much the squares exceed what is allowed, and the curve of that value."""
        found = solve(self.problem, start.parameters, fixed={**self.fixed, self.place: held})
        return 2 * (found.cost - self.best.cost) - self.allowed, found

    def end(self, *, sign: int) -> float | None:
        """Return the end of the interval on one side; None if the bound of the solver is inside."""
        from scipy.optimize import brentq  # noqa: PLC0415 - half a second

        value = self.best.parameters[self.place]
        bound = float(self.problem.bounds[0 if sign < 0 else 1][self.place])
        step = FIRST_STEP * max(abs(value), 0.1)
        inside, curve = value, self.best
        while True:
            outside = value + sign * step
            last = sign * outside >= sign * bound
            outside = bound if last else outside
            excess, found = self.excess(outside, curve)
            if excess > 0:
                break
            if last:
                return None
            inside, curve, step = outside, found, step * GROWTH

        def excess_at(held: float) -> float:
            # At the value inside, where it may be the best fit itself, the sign is certain.
            return -self.allowed if held == value else self.excess(held, curve)[0]

        tolerance = TOLERANCE * abs(outside - value)
        return float(brentq(excess_at, inside, outside, xtol=tolerance))


def profile_interval(fit: FittedLaw, name: str, *, variance: float, degrees: int) -> Interval:
    """Return the values of a parameter that the points do not contradict.

    A value is held, all other parameters are fitted again, and the squares of ln D may grow by
    at most the variance times the 95 % quantile of F with 1 and ``degrees`` degrees of freedom
    (Bates & Watts 1988, section 6.1.2). Unlike a standard error, the interval need not be
    symmetric, and a floor in it is never negative.

    Parameters
    ----------
    fit
        The law that fits best.
    name
        One of its parameters.
    variance
        Of ln MSE of one training.
    degrees
        Degrees of freedom of that variance.
    """
    from scipy.special import fdtri  # noqa: PLC0415 - scipy.stats takes half a second more

    allowed = variance * float(fdtri(1, degrees, CONFIDENCE))
    problem, _, _ = law_problem(fit.law, fit.points)
    best, offset = fit.curve, 0.0
    if name == "scale":
        # Held as the level at x = 0, whatever the slope.
        offset = fit.origin
        floor, level, slope = best.parameters
        problem = replace(problem, x_N=problem.x_N + offset, mean_x=problem.mean_x + offset)
        best = replace(best, parameters=(floor, level + slope * offset, slope))
    profile = _Profile(
        problem=problem,
        place=place(fit.law, name),
        best=best,
        fixed={FLOOR: 0.0} if fit.law is Law.POWER else {},
        allowed=allowed,
    )
    ends = [profile.end(sign=-1), profile.end(sign=1)]
    shift = fit.curve.parameters[SLOPE] * offset
    natural = [None if end is None else fit.natural(name, end - shift) for end in ends]
    if name == "dimension":
        natural.reverse()
    if name == "floor" and natural[0] is None:
        natural[0] = 0.0
    return Interval(name=name, value=fit.parameters[name], low=natural[0], high=natural[1])
