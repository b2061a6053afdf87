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
"""Parts, equally probable, of the values of each dim, by the number of dims chosen at once."""
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
    """Share of the drawn curves with that answer."""
    interval: tuple[int | None, int | None]
    """Of a target: the measured neighbours of the answer, the largest dim that falls short, None if
    there is none, and the smallest that reaches it, None if none does. Of the knee: the smallest
    and the largest dim that may be it, with a probability of 95 %; None where it may be none."""
    steps: float
    """Length of the interval in steps of the grid; infinite where an end is open."""
    measured: bool
    """Whether that dim was measured itself."""
    settled: bool
    """Whether the interval is one step of the grid, at most, and was measured: of a target both its
    ends, of the knee the dim and its neighbours. Or that the answer is no dim."""

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
            between = "" if low == high else f", between {_named(low)} and {_named(high)}"
            return f"{asked}: d={self.dim}{between} (95 %)"
        if self.dim is None:
            return f"{asked}: no dim of the grid reaches it, {sure}"
        if self.settled:
            below = "the smallest dim of the grid" if low is None else f"d={low} falls short"
            return f"{asked}: d={self.dim}; {below}"
        start = "the smallest dim of the grid" if low is None else f"above d={low}"
        end = "or none of the grid" if high is None else f"up to d={high}"
        return f"{asked}: {start}, {end}; most probably d={self.dim}"


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
    weighed by the joint value, so that no two of them are redundant. For a target they lie between
    the measured dims that enclose the answer, where a curve with a jump has surprises left.

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
    left = [] if answer.settled else _candidates(grid, measured, answer)
    wanted = min(count, MOST_AT_ONCE, len(left))
    near = grid.index(answer.dim) if answer.dim is not None else 0
    cells_B = np.zeros(len(places_B), dtype=np.int64)
    chosen: list[int] = []
    while len(chosen) < wanted:
        parts = {
            index: cells_B * CELLS[wanted] + _cells(drawn_BM[:, index], CELLS[wanted])
            for index in left
            if index not in chosen
        }
        # Rounded, so that no last digit of a machine decides between equal ones.
        gains = {index: round(_information(places_B, part), 6) for index, part in parts.items()}
        best = max(gains, key=lambda index: (gains[index], -abs(index - near), index))
        cells_B = parts[best]
        chosen.append(best)
    return tuple(grid[index] for index in sorted(chosen))


def _candidates(
    grid: Sequence[int], measured: Mapping[int, float], answer: DimAnswer
) -> Sequence[int]:
    """Return the places of dims that may be measured next: at least one, of an open answer."""
    left = [index for index, dim in enumerate(grid) if dim not in measured]
    low, high = answer.interval
    if answer.question.kind is not QuestionKind.KNEE and high is not None:
        return [
            index for index in left if (low is None or low < grid[index]) and grid[index] < high
        ]
    if answer.dim is None or answer.steps > 1:
        return left
    at = grid.index(answer.dim)  # the knee, but for its own measurement or its neighbours'
    return [at] if at in left else [index for index in left if abs(index - at) == 1]


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
    reached_BM = drawn_BM >= question.psnr - 1e-9
    first_B = np.where(reached_BM.any(axis=1), reached_BM.argmax(axis=1), NOWHERE)
    return first_B, drawn_BM


def _answer(
    grid: Sequence[int], measured: Mapping[int, float], question: DimQuestion, places_B: Ints
) -> DimAnswer:
    shares = np.bincount(places_B + 1, minlength=len(grid) + 1) / len(places_B)
    none, shares_M = float(shares[0]), shares[1:]
    best, settled = int(np.argmax(shares_M)), False
    interval: tuple[int | None, int | None]
    reaching = [index for index, dim in enumerate(grid) if _reaches(measured.get(dim), question)]
    if question.kind is QuestionKind.KNEE:
        low, high = _shortest([*shares_M], SURE)
        open_ended = float(shares_M.sum()) < SURE
        interval = (None, None) if open_ended else (grid[low], grid[high])
        steps = math.inf if open_ended else high - low
        around = grid[max(best - 1, 0) : best + 2]
        settled = steps <= 1 and all(dim in measured for dim in around)
    elif reaching:
        high = reaching[0]
        low = max((at for at in range(high) if grid[at] in measured), default=-1)
        interval, steps = (grid[low] if low >= 0 else None, grid[high]), high - low
        best, none = low + 1 + int(np.argmax(shares_M[low + 1 : high + 1])), 0.0
        settled = steps == 1
    else:
        low, _ = _shortest([*shares_M, none], SURE)
        interval, steps = (grid[low - 1] if low else None, None), math.inf
    is_none = none > shares_M[best] and not reaching
    return DimAnswer(
        question=question,
        dim=None if is_none else grid[best],
        probability=none if is_none else float(shares_M[best]),
        interval=interval,
        steps=steps,
        measured=not is_none and grid[best] in measured,
        settled=settled or none >= SURE or all(dim in measured for dim in grid),
    )


def _reaches(mse: float | None, question: DimQuestion) -> bool:
    if mse is None or question.kind is QuestionKind.KNEE:
        return False
    # PSNR and back is not exact: a point at the target reaches it.
    return mse <= 10 ** (-question.psnr / 10) * (1 + 1e-9)


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
    counts = np.bincount(cells_B * width + places_B + 1, minlength=(cells_B.max() + 1) * width)
    joint = counts.reshape(-1, width) / len(places_B)
    return _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1)) - _entropy(joint.ravel())


def _entropy(shares: Floats) -> float:
    some = shares[shares > 0]
    return float(-np.sum(some * np.log(some)))


def _percent(share: float) -> str:
    return "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _named(dim: int | None) -> str:
    return "none at all" if dim is None else f"d={dim}"
