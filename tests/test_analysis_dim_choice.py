"""The dims that answer a question are found with half of a grid's trainings, or fewer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ae_sweep.analysis.curve_draws import draw_curves
from ae_sweep.analysis.dim_choice import DimAnswer, answer_of, next_dims
from ae_sweep.analysis.knee import Knee, find_knee, knee_places
from ae_sweep.config import DimQuestion, QuestionKind, first_dims, half_octaves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GRID = half_octaves(1, 256)
HALF = len(GRID) // 2
KNEE = DimQuestion()
SEEDS = 20
COARSE = dict(zip(first_dims(GRID), (0.1, 0.02, 0.005, 0.0015), strict=True))
"""Of d=1, 8, 45 and 256: 10, 17, 23 and 28 dB."""


def target(value: float) -> DimQuestion:
    return DimQuestion(kind=QuestionKind.PSNR, value=value)


def floored(seed: int, *, noise_db: float) -> dict[int, float]:
    """A power law with a floor that shows from some dim of the grid on, as measured."""
    rng = np.random.default_rng(seed)
    dims = np.asarray(GRID, dtype=np.float64)
    level, exponent = 10 ** -rng.uniform(1.0, 1.3), rng.uniform(0.7, 1.2)
    floor = level * 2 ** (-exponent * rng.uniform(3, 6))
    noise = 10 ** (noise_db / 10 * rng.standard_normal(len(dims)))
    mses = (floor + level * dims**-exponent) * noise
    return dict(zip(GRID, mses.tolist(), strict=True))


def answer_by_all(curve: Mapping[int, float], question: DimQuestion) -> int | None:
    """What a sweep over the whole grid finds."""
    psnrs = [-10 * math.log10(mse) for mse in curve.values()]
    if question.kind is QuestionKind.KNEE:
        knee = find_knee(list(curve), psnrs)
        return knee.latent_dim if isinstance(knee, Knee) else None
    pairs = zip(curve, psnrs, strict=True)
    return next((dim for dim, psnr in pairs if psnr >= question.psnr), None)


def play(
    curve: Mapping[int, float], question: DimQuestion, *, most: int, count: int = 1
) -> tuple[dict[int, float], DimAnswer]:
    """Measure what is chosen until nothing is, or the budget is used."""
    grid, measured = tuple(curve), {}
    while chosen := next_dims(grid, measured, question, count=count)[: most - len(measured)]:
        assert not set(chosen) & measured.keys(), "no dim is chosen twice"
        measured |= {dim: curve[dim] for dim in chosen}
    return measured, answer_of(grid, measured, question)


def holds(answer: DimAnswer, dim: int | None) -> bool:
    low, high = answer.interval
    if dim is None:
        return answer.dim is None or high is None
    if answer.question.kind is QuestionKind.KNEE:
        return low is None or high is None or low <= dim <= high
    return (low is None or low < dim) and (high is None or dim <= high)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("question", [target(20), KNEE], ids=["20 dB", "knee"])
def test_half_of_the_trainings_give_the_answer_of_the_whole_grid(
    question: DimQuestion, count: int
) -> None:
    inside, equal, trained = 0, 0, []
    for seed in range(SEEDS):
        curve = floored(seed, noise_db=0.05)
        expected = answer_by_all(curve, question)
        measured, answer = play(curve, question, most=HALF, count=count)
        trained.append(len(measured))
        inside += holds(answer, expected)
        equal += answer.dim == expected
    assert max(trained) <= HALF
    assert inside >= 0.95 * SEEDS
    assert equal >= 0.85 * SEEDS
    if question is not KNEE:  # whose neighbours are nearly as high, where the bend is round
        assert np.mean(trained) < HALF - 1, "most need fewer"


def test_noise_widens_the_interval_and_is_not_hidden_by_it() -> None:
    settled = {}
    for noise in (0.02, 0.5):
        answers = [
            (play(floored(seed, noise_db=noise), KNEE, most=HALF)[1], seed) for seed in range(20)
        ]
        settled[noise] = sum(answer.settled for answer, _ in answers)
        held = [
            holds(answer, answer_by_all(floored(seed, noise_db=noise), KNEE))
            for answer, seed in answers
        ]
        assert sum(held) >= 0.85 * len(held)
    assert settled[0.5] < settled[0.02]


def test_the_first_grid_comes_before_any_choice() -> None:
    assert next_dims(GRID, {}, KNEE) == first_dims(GRID)
    first = dict.fromkeys(first_dims(GRID)[1:], 0.01)
    assert next_dims(GRID, first, KNEE) == first_dims(GRID)[:1]


def test_a_target_is_sought_between_its_neighbours() -> None:
    measured = dict(COARSE)
    (chosen,) = next_dims(GRID, measured, target(20))
    assert 8 < chosen < 45
    answer = answer_of(GRID, measured, target(20))
    assert (answer.settled, answer.measured) == (False, False)
    low, high = answer.interval
    assert low is not None
    assert high is not None
    assert 8 <= low < high <= 45
    assert f"above d={low}, up to d={high}; most probably d={answer.dim}" in answer.sentence


def test_several_dims_at_once_tell_different_things() -> None:
    measured = dict(COARSE)
    two = next_dims(GRID, measured, target(20), count=2)
    assert len(two) == 2
    assert all(8 < dim < 45 for dim in two), "both in the gap that holds the answer"
    assert len(next_dims(GRID, measured, target(20), count=100)) <= 4


@pytest.mark.parametrize(
    ("value", "dim", "sentence"),
    [
        (5.0, 1, "the smallest dim of the grid"),
        (60.0, None, "no dim of the grid reaches it"),
    ],
)
def test_targets_beyond_the_ends_are_settled_by_the_first_grid(
    value: float, dim: int | None, sentence: str
) -> None:
    measured = dict(COARSE)
    answer = answer_of(GRID, measured, target(value))
    assert (answer.dim, answer.settled) == (dim, True)
    assert sentence in answer.sentence
    assert next_dims(GRID, measured, target(value)) == ()


def test_a_straight_line_has_no_knee_and_needs_few_dims_to_show_it() -> None:
    curve = {dim: 0.1 / dim for dim in GRID}
    measured, answer = play(curve, KNEE, most=HALF)
    assert (answer.dim, answer.settled) == (None, True)
    assert len(measured) < HALF
    assert "none on this grid" in answer.sentence


def test_an_mse_and_its_psnr_are_one_question() -> None:
    curve = floored(1, noise_db=0.05)
    by_mse = DimQuestion(kind=QuestionKind.MSE, value=0.01)
    assert play(curve, by_mse, most=HALF)[0] == play(curve, target(20), most=HALF)[0]


def test_equal_measurements_give_equal_choices() -> None:
    curve = floored(3, noise_db=0.1)
    first, again = (list(play(curve, KNEE, most=HALF)[0]) for _ in range(2))
    assert first == again


def test_a_perfect_reconstruction_is_measured_like_any_other() -> None:
    curve = {dim: 0.1 / dim if dim < 64 else 0.0 for dim in GRID}
    measured, answer = play(curve, target(25), most=len(GRID))
    by_all = next(dim for dim, mse in curve.items() if mse <= 10**-2.5)
    assert answer.dim == by_all == 32
    assert len(measured) < len(GRID)
    knee = play(curve, KNEE, most=len(GRID))[1]
    assert (knee.dim, knee.settled) == (None, True), "as of the dims that have a PSNR"


def test_drawn_curves_pass_through_what_is_measured_and_spread_between() -> None:
    drawn = draw_curves(GRID, {1: 10.0, 16: 20.0, 256: 24.0}, draws=500)
    assert drawn.shape == (500, len(GRID))
    at = {dim: drawn[:, index] for index, dim in enumerate(GRID)}
    assert set(at[16]) == {20.0}
    assert at[64].std() > at[23].std() > 0.02
    assert at[64].mean() == pytest.approx(22.5, abs=1.5)


def test_a_jump_of_the_curve_does_not_mislead() -> None:
    # Trainings that learn nothing below some dim, as of few images in few epochs.
    held = []
    for seed in range(SEEDS):
        smooth, learns = floored(seed, noise_db=0.05), GRID[2 + seed % 9]
        curve = {dim: mse if dim >= learns else 0.2 + mse / 100 for dim, mse in smooth.items()}
        for question in (target(20), KNEE):
            answer = play(curve, question, most=HALF)[1]
            expected = answer_by_all(curve, question)
            held.append(holds(answer, expected))
            if answer.settled and question is not KNEE:
                assert answer.dim == expected
    assert sum(held) >= 0.95 * len(held)


def test_an_unlucky_training_widens_the_interval_and_misleads_seldom() -> None:
    held = []
    for seed in range(SEEDS):
        curve = floored(seed, noise_db=0.05)
        curve[GRID[seed % len(GRID)]] *= 1.6  # 2 dB worse than its neighbours
        expected = answer_by_all(curve, target(20))
        held.append(holds(play(curve, target(20), most=HALF)[1], expected))
    assert sum(held) >= 0.95 * SEEDS


def _curves(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    bends = np.sort(rng.uniform(0, 5, size=(300, len(GRID) - 1)), axis=1)[:, ::-1]
    bends[::3] *= rng.choice([-1, 0, 0.02], size=(100, 1))
    bends[1::3] = rng.normal(0, 1, size=(100, len(GRID) - 1))
    return 10 + np.concatenate([np.zeros((300, 1)), np.cumsum(bends, axis=1)], axis=1)


def test_knees_of_many_curves_are_those_of_each() -> None:
    curves = _curves(0)
    found = knee_places(np.log2(np.asarray(GRID, dtype=np.float64)), curves)
    assert 0 < np.sum(found >= 0) < len(found), "curves with a knee, and without"
    for place, curve in zip(found, curves, strict=True):
        assert _dim(place) == _knee(curve.tolist())


def _dim(place: int) -> int | None:
    return None if place < 0 else GRID[place]


def _knee(psnrs: Sequence[float]) -> int | None:
    knee = find_knee(GRID, psnrs)
    return knee.latent_dim if isinstance(knee, Knee) else None
