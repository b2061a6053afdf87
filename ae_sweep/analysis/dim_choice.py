"""Choice of the latent dimension to measure next, for the answer to one question about a curve.

Shapes: M dims of the grid, B drawn curves, C dims that are not measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ae_sweep.analysis.curve_draws import draw_curves
from ae_sweep.analysis.distortion import MOST_PSNR_DB
from ae_sweep.analysis.knee import knee_places
from ae_sweep.config import DimQuestion, QuestionKind, first_dims

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]

DRAWS = 4_096
SURE = 0.95
"""Probability of an interval, and of an answer that needs no more trainings."""
MOST_AT_ONCE = 4
"""Dims that are chosen together, at most: the more, the less is known of each."""
CELLS = {1: 16, 2: 8, 3: 5, 4: 4}
"""Parts, equally probable, that the values of each dim are put into when so many are chosen."""
NOWHERE = -1
"""Stands for an answer that is no dim of the grid."""


@dataclass(frozen=True, kw_only=True)
class DimAnswer:
    """The answer to a question about the whole grid, as far as the measured dims give it."""

    question: DimQuestion
    dim: int | None
    """The most probable one; None if that is no dim of the grid: none reaches the target, or there
    is no knee."""
    probability: float
    interval: tuple[int | None, int | None]
    """Holds the answer with a probability of at least 95 %. Of a target: the largest dim that falls
    short, None if there is none, and the smallest that is certain to reach it, None if none is. Of
    the knee: the smallest and the largest dim that may be it; None where it may be none."""
    steps: float
    """Length of the interval in steps of the grid; infinite where an end is open."""
    measured: bool
    """Whether that dim was measured itself."""
    below_measured: bool
    """Whether the lower end of the interval was."""
    settled: bool
    """Whether the interval is one step of the grid, at most, and its dim was trained."""

    def document(self) -> dict[str, object]:
        """Return the answer as a JSON-able document."""
        low, high = self.interval
        return {
            "question": str(self.question.kind),
            "target": self.question.value,
            "latent_dim": self.dim,
            "probability": round(self.probability, 4),
            "interval": [low, high],
            "measured": self.measured,
            "settled": self.settled,
            "sentence": self.sentence,
        }

    @property
    def sentence(self) -> str:
        """Return the answer in words."""
        asked, sure = self.question.text, f"with a probability of {_percent(self.probability)}"
        low, high = self.interval
        if self.question.kind is QuestionKind.KNEE:
            if self.dim is None:
                return f"{asked}: none on this grid, {sure}"
            return f"{asked}: d={self.dim}, between {_named(low)} and {_named(high)} (95 %)"
        if self.dim is None:
            return f"{asked}: no dim of the grid reaches it, {sure}"
        if low is None and self.settled:
            return f"{asked}: d={self.dim}, the smallest dim of the grid, {sure}"
        if self.settled:
            falls = "falls short" if self.below_measured else "is expected to fall short"
            return f"{asked}: d={self.dim}, {sure}; d={low} {falls}"
        start = "the smallest dim of the grid" if low is None else f"above d={low}"
        end = "or none of the grid" if high is None else f"up to d={high}"
        return f"{asked}: {start}, {end} (95 %); most probably d={self.dim}"


def answer_of(
    grid: Sequence[int], measured: Mapping[int, float], question: DimQuestion
) -> DimAnswer:
    """Return the answer that a training of every dim of a grid would give.

    Parameters
    ----------
    grid
        M latent dimensions, ascending.
    measured
        Test MSE of at least one of them.
    """
    places_B, _ = _drawn(grid, measured, question)
    return _answer(grid, measured, question, places_B)


def next_dims(
    grid: Sequence[int],
    measured: Mapping[int, float],
    question: DimQuestion,
    *,
    count: int = 1,
    unusable: Collection[int] = (),
) -> tuple[int, ...]:
    """Choose which dims to measure next: those that most reduce the uncertainty of an answer.

    The first grid comes first. After it, each dim is the one whose value shares the most
    information with the answer, over curves drawn from the posterior (Hennig & Schuler 2012,
    "Entropy search"). Of several chosen at once, each adds the most to those before it: they are
    weighed by the joint value, so that no two of them tell the same.

    Parameters
    ----------
    grid
        M latent dimensions, ascending: what may be measured.
    measured
        Their test MSE, of those that are measured.
    count
        How many may be measured at the same time; at most ``MOST_AT_ONCE`` are chosen.
    unusable
        Dims of which no training succeeded: neither chosen nor answers.

    Returns
    -------
    tuple of int
        Ascending; empty where the answer is settled.
    """
    known = {*measured, *unusable}
    if first := [dim for dim in first_dims(tuple(grid)) if dim not in known]:
        return tuple(first)
    if not measured:
        return ()
    grid = [dim for dim in grid if dim not in unusable]
    places_B, drawn_BM = _drawn(grid, measured, question)
    answer = _answer(grid, measured, question, places_B)
    left = [index for index, dim in enumerate(grid) if dim not in measured]
    if answer.settled or not left:
        return ()
    wanted = min(count, MOST_AT_ONCE, len(left))
    cells_B = np.zeros(len(places_B), dtype=np.int64)
    chosen: list[int] = []
    if answer.dim is not None and not answer.measured and answer.steps <= 1:
        chosen.append(grid.index(answer.dim))  # known but for its own measurement
    while len(chosen) < wanted:
        parts = {
            index: cells_B * CELLS[wanted] + _cells(drawn_BM[:, index], CELLS[wanted])
            for index in left
            if index not in chosen
        }
        # Rounded, so that no last digit of a machine decides between equal ones.
        gains = {index: round(_information(places_B, part), 6) for index, part in parts.items()}
        best = max(gains, key=lambda index: (gains[index], -index))
        cells_B = parts[best]
        chosen.append(best)
    return tuple(grid[index] for index in sorted(chosen))


def _drawn(
    grid: Sequence[int], measured: Mapping[int, float], question: DimQuestion
) -> tuple[Ints, Floats]:
    psnrs = {dim: -10 * math.log10(measured[dim]) for dim in grid if measured.get(dim, 0) > 0}
    perfect = [index for index, dim in enumerate(grid) if measured.get(dim) == 0 and psnrs]
    # A perfect reconstruction has no logarithm, and says nothing about the rest of a curve.
    drawn_BM = draw_curves(grid, psnrs or dict.fromkeys(measured, MOST_PSNR_DB), draws=DRAWS)
    drawn_BM[:, perfect] = MOST_PSNR_DB
    if question.kind is QuestionKind.KNEE:
        used = np.asarray([index for index in range(len(grid)) if index not in perfect])
        x_M = np.log2(np.asarray(grid, dtype=np.float64))[used]
        places_B = knee_places(x_M, drawn_BM[:, used])
        return np.where(places_B < 0, NOWHERE, used[places_B]), drawn_BM
    # PSNR and back is not exact: a point at the target reaches it.
    reached_BM = drawn_BM >= question.psnr - 1e-9
    first_B = np.where(reached_BM.any(axis=1), reached_BM.argmax(axis=1), NOWHERE)
    return first_B, drawn_BM


def _answer(
    grid: Sequence[int], measured: Mapping[int, float], question: DimQuestion, places_B: Ints
) -> DimAnswer:
    shares = np.bincount(places_B + 1, minlength=len(grid) + 1) / len(places_B)
    none, shares_M = float(shares[0]), shares[1:]
    best = int(np.argmax(shares_M))
    is_none = none > shares_M[best]
    targeted = question.kind is not QuestionKind.KNEE
    # An answer beyond the grid is behind its last dim for a target, and on no side for the knee.
    line = [*shares_M, none] if targeted else [*shares_M]
    low, high = _shortest(line, SURE)
    if targeted:
        interval = (grid[low - 1] if low else None, grid[high] if high < len(grid) else None)
        steps = math.inf if high == len(grid) else high - low + 1
    elif sum(line) < SURE:
        interval, steps = (None, None), math.inf
    else:
        interval, steps = (grid[low], grid[high]), high - low
    dim = None if is_none else grid[best]
    known = dim in measured
    return DimAnswer(
        question=question,
        dim=dim,
        probability=none if is_none else float(shares_M[best]),
        interval=interval,
        steps=steps,
        measured=known,
        below_measured=interval[0] in measured,
        settled=none >= SURE or (known and steps <= 1),
    )


def _shortest(shares: Sequence[float], least: float) -> tuple[int, int]:
    """Return the ends of the shortest run of neighbours with a sum, of those the most probable.

    Without one, all of them.
    """
    sums = np.concatenate([[0.0], np.cumsum(shares)])
    for length in range(1, len(shares) + 1):
        runs = sums[length:] - sums[:-length]
        if runs.max() >= least - 1e-12:
            start = int(np.argmax(runs))
            return start, start + length - 1
    return 0, len(shares) - 1


def _cells(values_B: Floats, count: int) -> Ints:
    edges = np.quantile(values_B, np.arange(1, count) / count)
    return np.searchsorted(edges, values_B).astype(np.int64)


def _information(places_B: Ints, cells_B: Ints) -> float:
    """Return the mutual information of an answer and the part that values lie in, in nats."""
    _, cells_B = np.unique(cells_B, return_inverse=True)
    width = int(places_B.max()) + 2
    joint = np.bincount(cells_B * width + places_B + 1, minlength=(cells_B.max() + 1) * width)
    joint = joint.reshape(-1, width) / len(places_B)
    return _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1)) - _entropy(joint.ravel())


def _entropy(shares: Floats) -> float:
    some = shares[shares > 0]
    return float(-np.sum(some * np.log(some)))


def _percent(share: float) -> str:
    return "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _named(dim: int | None) -> str:
    return "none at all" if dim is None else f"d={dim}"
