"""Choice among laws of distortion by an information criterion, with its uncertainty.

Shapes: N points.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.laws import DIMENSION_LAWS, FittedLaw, Law, Points, fit_law
from ae_sweep.analysis.profile import Interval, profile_interval
from ae_sweep.analysis.seeds import SeedSpread, seed_spread

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONAL = frozenset({Law.BROKEN_POWER})
"""Laws that are candidates only where there are points enough; the choice does not wait for it."""
EXACT_SQUARES = 1e-18
"""Mean square of ln D below which differences are rounding."""
MOST_LEFT_OUT = 12
"""Points that are left out in turn; curves over bits have dozens, at 0.1 s each."""
BAD_FIT = 0.05
"""Probability of the winner's χ² below which it does not describe the points."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One law in the comparison."""

    fit: FittedLaw
    criterion: float
    """AIC or AICc; only differences between laws have a meaning."""
    weight: float
    """Akaike weight: all candidates together have 1 (Burnham & Anderson 2002, section 2.9)."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """The choice without one of the points."""

    x: float
    """The point: its latent dimension, or bits."""
    law: Law | None
    """The law that the other points choose; None where they are too few for a choice."""
    predicted: float
    """MSE that the law chosen by all points predicts there, when fitted to the others."""
    measured: float


@dataclass(frozen=True, kw_only=True)
class LawChoice:
    """The law that describes points best, among the candidates."""

    candidates: tuple[Candidate, ...]
    """The best first; at least two."""
    criterion: str
    """``AICc``, where the noise is unknown, or ``AIC``, where seeds give it."""
    intervals: tuple[Interval, ...]
    """Of the parameters of the best law, in their order: 95 %, by profile likelihood."""
    laws: tuple[Law, ...]
    """All that were asked for, candidates or not."""
    spread: SeedSpread | None
    """What seeds say about the noise; None where it is unknown."""
    chi_squared: float | None
    """Of the best law: squares of its residuals over their variance; None without seeds."""
    degrees: int
    """Points less parameters of the best law."""
    p_value: float | None
    """Probability of as large a χ² if the law were true; None without seeds."""
    notes: tuple[str, ...]
    """Laws that were no candidates, why seeds do not count, and a best law that fits badly."""

    @property
    def best(self) -> Candidate:
        """The law with the smallest criterion."""
        return self.candidates[0]

    @property
    def fit(self) -> FittedLaw:
        """The best law, fitted."""
        return self.best.fit

    @functools.cached_property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The choice without each point in turn; of the first and the last, an extrapolation.

        It takes as long as choosing once for each point, and is computed when it is asked for. Of
        more than ``MOST_LEFT_OUT`` points, evenly spaced ones are left out, both ends among them.
        """
        points, found = self.fit.points, []
        last = len(points.x_N) - 1
        chosen = np.linspace(0, last, min(last + 1, MOST_LEFT_OUT)).round().astype(int)
        for index in map(int, chosen):
            x, others = float(points.x_N[index]), points.without(index)
            few = _too_few(len(others.x_N), self.laws, known=self.spread is not None)
            ranked = () if few else _ranked(others, self.laws, self.spread)
            same = next((each.fit for each in ranked if each.fit.law is self.fit.law), None)
            predicted = float((same or fit_law(self.fit.law, others)).distortion(x))
            law = ranked[0].fit.law if ranked else None
            measured = float(points.mses_N[index])
            found.append(LeftOut(x=x, law=law, predicted=predicted, measured=measured))
        return tuple(found)

    @property
    def sigma(self) -> float:
        """Standard deviation of ln MSE of one training: of the seeds, or about the best law."""
        if self.spread is not None:
            return self.spread.sigma
        return math.sqrt(self.fit.squares / self.degrees)


def choose_law(
    x: Sequence[float],
    mses: Sequence[Sequence[float]],
    *,
    laws: Sequence[Law] = DIMENSION_LAWS,
    one_seed: str | None = None,
) -> LawChoice | NotApplicable:
    """Choose the law that describes distortion over dimensions or bits.

    Where the noise is unknown, each law estimates it from its own residuals, and AICc = n ln(S/n)
    + 2k + 2k(k + 1)/(n - k - 1) compares them, with S the squares of ln D and k the parameters
    and the variance (Hurvich & Tsai 1989). With n = k + 1 it is infinite, so that few points would
    always choose the law with the fewest parameters: there is no choice below n = k + 2.
    Where seeds are repeated, the noise is known: AIC = χ² + 2p for p parameters. The probability
    of χ² takes into account that the variance is estimated (F distribution).

    Points of one model at several steps are not independent: there the weights are too sure.

    Parameters
    ----------
    x
        N latent dimensions, or bits per image.
    mses
        The errors of the seeds of each point, at least one.
    laws
        The candidates.
    one_seed
        Why there is one seed of each point, where repeating the trainings would not change that.
    """
    points = Points.of(x, [float(np.mean(each)) for each in mses], [len(each) for each in mses])
    if isinstance(points, NotApplicable):
        return points
    found = (
        seed_spread([mses[index] for index in np.argsort(x)])
        if one_seed is None
        else NotApplicable(one_seed)
    )
    spread = found if isinstance(found, SeedSpread) else None
    refusal = _too_few(len(points.x_N), laws, known=spread is not None)
    if refusal is not None:
        return NotApplicable(_with_reason(refusal.reason, found))
    candidates = _ranked(points, laws, spread)
    notes = [
        f"{law} is not a candidate: it needs {_needed(law, known=spread is not None)} points"
        for law in laws
        if law not in {each.fit.law for each in candidates}
    ]
    if isinstance(found, NotApplicable):
        notes.append(f"the noise is estimated from the law's own residuals: {found.reason}")
    return _with_uncertainty(candidates, points, laws, spread, notes=notes)


def _needed(law: Law, *, known: bool) -> int:
    """Points from which a law can be a candidate: one degree of freedom, or n ≥ k + 2."""
    return len(law.parameters) + (1 if known else 3)


def _too_few(count: int, laws: Sequence[Law], *, known: bool) -> NotApplicable | None:
    required = [law for law in laws if law not in OPTIONAL]
    needed = max(_needed(law, known=known) for law in required)
    if count >= needed:
        return None
    widest = max(required, key=lambda law: len(law.parameters))
    return NotApplicable(f"{count} points cannot choose between laws: {widest} needs {needed}")


def _with_reason(refusal: str, spread: SeedSpread | NotApplicable) -> str:
    """Add what is missing for a choice by the noise between seeds, which takes fewer points."""
    if isinstance(spread, SeedSpread):
        return refusal
    return f"{refusal} where seeds do not measure the noise ({spread.reason})"


def _ranked(
    points: Points, laws: Sequence[Law], spread: SeedSpread | None
) -> tuple[Candidate, ...]:
    known = spread is not None
    fits = [fit_law(law, points) for law in laws if len(points.x_N) >= _needed(law, known=known)]
    values = [_criterion(fit, spread) for fit in fits]
    likelihoods = [math.exp(-(value - min(values)) / 2) for value in values]
    candidates = [
        Candidate(fit=fit, criterion=value, weight=likelihood / sum(likelihoods))
        for fit, value, likelihood in zip(fits, values, likelihoods, strict=True)
    ]
    return tuple(sorted(candidates, key=lambda each: each.criterion))


def _criterion(fit: FittedLaw, spread: SeedSpread | None) -> float:
    count, parameters = len(fit.points.x_N), len(fit.law.parameters)
    if spread is not None:
        return fit.squares / spread.sigma**2 + 2 * parameters
    k = parameters + 1
    mean_square = max(fit.squares / count, EXACT_SQUARES)
    return count * math.log(mean_square) + 2 * k + 2 * k * (k + 1) / (count - k - 1)


def _with_uncertainty(
    candidates: tuple[Candidate, ...],
    points: Points,
    laws: Sequence[Law],
    spread: SeedSpread | None,
    *,
    notes: Sequence[str],
) -> LawChoice:
    fit = candidates[0].fit
    degrees = len(points.x_N) - len(fit.law.parameters)
    variance = fit.squares / degrees if spread is None else spread.sigma**2
    chi_squared = p_value = None
    if spread is not None:
        from scipy.special import fdtrc  # noqa: PLC0415 - scipy.stats takes half a second more

        chi_squared = fit.squares / variance
        p_value = float(fdtrc(degrees, spread.degrees, chi_squared / degrees))
        if p_value < BAD_FIT:
            bad = (
                f"even {fit.law} does not describe the points: χ² is {chi_squared:.3g} with "
                f"{degrees} degrees of freedom (p = {p_value:.2g})"
            )
            notes = [*notes, bad]
    noise_degrees = degrees if spread is None else spread.degrees
    return LawChoice(
        candidates=candidates,
        criterion="AICc" if spread is None else "AIC",
        intervals=tuple(
            profile_interval(fit, name, variance=variance, degrees=noise_degrees)
            for name in fit.law.parameters
        ),
        laws=tuple(laws),
        spread=spread,
        chi_squared=chi_squared,
        degrees=degrees,
        p_value=p_value,
        notes=tuple(notes),
    )
