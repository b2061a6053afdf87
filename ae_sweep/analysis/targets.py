"""The smallest code that is good enough: the first that reaches a target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.analysis.distortion import NotApplicable, mse_of_psnr
from ae_sweep.analysis.law_bands import percentiles, resampled_law
from ae_sweep.analysis.seeds import seed_spread
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis.law_choice import LawChoice
    from ae_sweep.analysis.laws import Law

RESAMPLES = 1_000
ROUNDING = 1e-6
"""Relative difference that is rounding rather than a larger code."""


class TargetKind(StrEnum):
    """What a target is a value of."""

    PSNR = "psnr"
    MSE = "mse"
    ACCURACY = "accuracy"


class Axis(StrEnum):
    """What a code is measured by."""

    LATENT_DIM = "latent_dim"
    BITS = "bits"

    def named(self, x: float) -> str:
        """Write a value of this axis: ``d=32``, ``75.5 bits``."""
        return f"d={x:.6g}" if self is Axis.LATENT_DIM else f"{x:.4g} bits"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A quality that is good enough."""

    kind: TargetKind
    value: float
    """At least this many dB, at most this MSE per number, or at least this share of agreement."""

    def __post_init__(self) -> None:
        """Refuse values that no code can reach, or every code."""
        if not math.isfinite(self.value):
            raise ConfigError(f"a target must be a finite number, got {self.value}")
        if self.kind is TargetKind.PSNR:
            mse_of_psnr(self.value)
        if self.kind is TargetKind.MSE and self.value <= 0:
            raise ConfigError(f"a target MSE must be above 0, got {self.value:g}")
        if self.kind is TargetKind.ACCURACY and not 0 < self.value <= 1:
            raise ConfigError(
                f"a target accuracy is a share above 0 and at most 1, got {self.value:g}; "
                "95 % is 0.95"
            )

    @property
    def error(self) -> float:
        """Return the largest error that is good enough: an MSE, or a share of disagreement."""
        match self.kind:
            case TargetKind.PSNR:
                return mse_of_psnr(self.value)
            case TargetKind.MSE:
                return self.value
            case TargetKind.ACCURACY:
                return 1 - self.value

    @property
    def text(self) -> str:
        """Write the target: ``22 dB``, ``an MSE of 0.005``, ``an agreement of 95 %``."""
        return _quality(self.kind, self.error)


@dataclass(frozen=True, kw_only=True)
class GoodEnough:
    """The smallest code that reaches a target, from the measured points and from a law."""

    target: Target
    axis: Axis
    measured: float | None
    """Smallest measured dimension or rate that reaches it; None if none does."""
    below: float | None
    """The measured neighbour below, which does not reach it; None if there is none."""
    measured_interval: tuple[float, float] | None
    """95 % interval of `measured` over resampled seeds, infinity where the target is not reached
    within the measured range; None without repeated seeds."""
    fitted: float | None
    """Where the law reaches it, within the measured range; None if it does not, or without a
    law. A dimension is rounded up."""
    fitted_interval: tuple[float, float] | None
    """95 % interval of `fitted`, by resampled fits; minus infinity and infinity stand for ends
    outside the measured range."""
    law: Law | None
    notes: tuple[str, ...]
    """Why one of them is missing, and where they disagree."""

    @property
    def sentence(self) -> str:
        """Return the answer in words."""
        name = self.axis.named
        if self.measured is None:
            answer = f"no measured point reaches {self.target.text}"
        else:
            answer = f"{self.target.text}: {name(self.measured)}, measured"
            if self.below is not None:
                answer += f" ({name(self.below)} does not reach it)"
            answer += self._interval_text(self.measured_interval)
        if self.fitted is not None:
            answer += f"; {name(self.fitted)} by the fitted {self.law}"
            answer += self._interval_text(self.fitted_interval)
        return "; ".join([answer, *self.notes])

    def _interval_text(self, interval: tuple[float, float] | None) -> str:
        if interval is None:
            return ""
        low, high = interval
        if low == math.inf:
            return " [95 %: beyond what was measured]"
        start = "below what was measured" if math.isinf(low) and low < 0 else self._end(low)
        return f" [95 %: {start} to {self._end(high)}]"

    def _end(self, end: float) -> str:
        return "beyond what was measured" if math.isinf(end) else self.axis.named(end)


def good_enough(
    x: Sequence[float],
    values: Sequence[Sequence[float]],
    *,
    target: Target,
    axis: Axis,
    choice: LawChoice | None = None,
) -> GoodEnough | NotApplicable:
    """Return the smallest code that reaches a target.

    Parameters
    ----------
    x
        N latent dimensions, or bits per image, in any order.
    values
        For each the values of its seeds: mean squared errors, also where the target is a PSNR; or
        shares of agreement. Their mean decides.
    choice
        The law of the same points, which is inverted within their range; not for an accuracy.

    Raises
    ------
    ConfigError
        If a law is given for an accuracy.
    """
    if choice is not None and target.kind is TargetKind.ACCURACY:
        raise ConfigError("a law of distortion says nothing about an accuracy")
    if len(x) == 0:
        return NotApplicable("nothing was measured")
    order = np.argsort(x)
    xs = [float(x[index]) for index in order]
    agreement = target.kind is TargetKind.ACCURACY
    errors = [[1 - value if agreement else value for value in values[index]] for index in order]
    means = [float(np.mean(each)) for each in errors]
    first = _first(means, target.error)
    notes = _notes_on_points(xs, means, first, target, axis)
    fitted, fitted_interval = None, None
    if choice is not None:
        fitted, fitted_interval = _from_law(choice, target, axis)
        notes += _notes_on_law(xs, first, fitted, axis, choice)
    return GoodEnough(
        target=target,
        axis=axis,
        measured=None if first is None else xs[first],
        below=xs[first - 1] if first else None,
        measured_interval=_points_interval(xs, errors, target),
        fitted=fitted,
        fitted_interval=fitted_interval,
        law=None if choice is None else choice.fit.law,
        notes=tuple(notes),
    )


def _first(errors: Sequence[float], allowed: float) -> int | None:
    # PSNR and back is not exact: a point at the target reaches it.
    limit = allowed * (1 + 1e-12)
    return next((index for index, error in enumerate(errors) if error <= limit), None)


def _points_interval(
    xs: Sequence[float], errors: Sequence[Sequence[float]], target: Target
) -> tuple[float, float] | None:
    spread = seed_spread(errors)
    if isinstance(spread, NotApplicable):
        return None
    firsts = [_first(curve, target.error) for curve in spread.resampled(RESAMPLES).tolist()]
    return percentiles([math.inf if first is None else xs[first] for first in firsts])


def _from_law(
    choice: LawChoice, target: Target, axis: Axis
) -> tuple[float | None, tuple[float, float] | None]:
    """Invert the law within the measured range."""
    low, high = float(choice.fit.points.x_N[0]), float(choice.fit.points.x_N[-1])
    found = choice.fit.inverse(target.error)
    if found is None or not low * (1 - ROUNDING) <= found <= high * (1 + ROUNDING):
        return None, None

    def whole(value: float) -> float:
        if value < low * (1 - ROUNDING):
            return -math.inf
        if value > high * (1 + ROUNDING):
            return math.inf
        return math.ceil(value * (1 - ROUNDING)) if axis is Axis.LATENT_DIM else value

    ends = resampled_law(choice).reached(target.error)
    return whole(found), (whole(ends[0]), whole(ends[1]))


def _notes_on_points(
    xs: Sequence[float], means: Sequence[float], first: int | None, target: Target, axis: Axis
) -> list[str]:
    if first is None:
        best = int(np.argmin(means))
        quality = _quality(target.kind, means[best])
        return [f"the best is {axis.named(xs[best])} with {quality}, and none is extrapolated"]
    notes = []
    if first == 0:
        notes.append("no smaller one was measured")
    failing = [
        axis.named(x)
        for x, mean in zip(xs[first:], means[first:], strict=True)
        if mean > target.error * (1 + 1e-12)
    ]
    if failing:
        notes.append(f"beyond it {', '.join(failing)} again {_fail(len(failing))}")
    return notes


def _notes_on_law(
    xs: Sequence[float], first: int | None, fitted: float | None, axis: Axis, choice: LawChoice
) -> list[str]:
    law = choice.fit.law
    if fitted is None:
        return [f"the fitted {law} reaches it nowhere within the measured range"]
    if first is None:
        return [f"points and fit disagree: by the fit {axis.named(fitted)} reaches it"]
    low = xs[first - 1] if first else 0.0
    if low < fitted <= xs[first] * (1 + ROUNDING):
        return []
    side = "more" if fitted > xs[first] else "less"
    return [f"points and fit disagree: the fit asks for {side} than the points"]


def _quality(kind: TargetKind, error: float) -> str:
    match kind:
        case TargetKind.PSNR:
            return f"{-10 * math.log10(error):.4g} dB" if error > 0 else "no error"
        case TargetKind.MSE:
            return f"an MSE of {error:.3g}"
        case TargetKind.ACCURACY:
            return f"an agreement of {1 - error:.4g}"


def _fail(count: int) -> str:
    return "falls short" if count == 1 else "fall short"
