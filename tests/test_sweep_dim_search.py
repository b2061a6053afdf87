"""Dims are chosen by stored results alone, so that an interrupted sweep comes to the same ones."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Any

import pytest
from fakes import difficulty, sweep_config, trial_config, trial_result

from ae_sweep import analysis
from ae_sweep.config import (
    AutoDims,
    DimQuestion,
    QuestionKind,
    TrialConfig,
    first_dims,
    half_octaves,
)
from ae_sweep.config.hyperparameters import GOOD_LR
from ae_sweep.records import Outcome, Role, TrialIdentity, TrialRecord
from ae_sweep.sweep import DimSearch, Trial, TrialEnded, dims_at_once

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ae_sweep.analysis.dim_choice import DimAnswer
    from ae_sweep.config import SweepConfig

GRID = half_octaves(1, 256)
FIRST = first_dims(GRID)
KNEE = DimQuestion()
TWENTY = DimQuestion(kind=QuestionKind.PSNR, value=20.0)


def auto_config(question: DimQuestion = KNEE, **changes: Any) -> SweepConfig:
    auto = AutoDims(
        question=question,
        trainings=changes.pop("trainings", None),
        minutes=changes.pop("minutes", None),
    )
    return sweep_config(**{"dims": GRID, "trials": 1, "auto": auto, **changes})


def bent(config: TrialConfig) -> float:
    """An error that falls to a floor; seeds and hyperparameters differ a little."""
    return 0.0015 + 0.1 * difficulty(config) ** 1.1


def record(config: TrialConfig, *, role: Role = Role.SEARCH, **changes: Any) -> TrialRecord:
    point = TrialIdentity(
        dataset_digest="abc", model=config.model, latent_dim=config.latent_dim,
        hyperparameters=config.hyperparameters, seed=config.seed, recipe="1",
    )  # fmt: skip
    fields: dict[str, Any] = {
        "run_id": point.key, "sweep": "first", "name": "", "point": point, "role": role,
        "outcome": Outcome.FINISHED, "pixels": 784, "compression_ratio": 1.0,
        "val_mse": bent(config), "test_mse": bent(config),
    }  # fmt: skip
    return TrialRecord(**{**fields, **changes})


def of_dim(dim: int) -> TrialRecord:
    return record(trial_config(latent_dim=dim, lr=GOOD_LR))


def train(search: DimSearch, dims: Iterable[int], *, failing: Iterable[int] = ()) -> None:
    """Tell a search of the only training of each dim."""
    for dim in dims:
        config = trial_config(latent_dim=dim, lr=GOOD_LR)
        trial = Trial(name=f"d={dim} trial 0", config=config, role=Role.SEARCH)
        if dim in failing:
            search.take(TrialEnded(trial, Outcome.FAILED, reason="out of memory"))
            continue
        result = trial_result(config, val_mse=bent(config), test_mse=bent(config))
        search.take(TrialEnded(trial, Outcome.FINISHED, result=result))


def run(search: DimSearch, **options: Any) -> list[tuple[int, ...]]:
    """Train what is chosen, to the end; return the rounds."""
    rounds = []
    while chosen := search.next_round():
        rounds.append(chosen)
        train(search, chosen, **options)
        assert len(rounds) < 30, "it comes to an end"
    return rounds


def answer(search: DimSearch) -> DimAnswer:
    found = search.answer
    assert found is not None
    return found


@pytest.mark.parametrize("question", [KNEE, TWENTY], ids=lambda each: each.text)
def test_a_sweep_trains_the_first_grid_and_then_a_dim_after_another(question: DimQuestion) -> None:
    said: list[str] = []
    config = auto_config(question)
    search = DimSearch(config, announce=said.append)
    first, *others = run(search)
    assert first == FIRST
    assert all(len(chosen) == 1 for chosen in others)
    trained = [dim for chosen in (first, *others) for dim in chosen]
    assert len(set(trained)) == len(trained) <= config.most_dims == len(GRID) // 2
    assert answer(search).settled
    assert answer(search).dim in trained
    assert len(said) == len(others) + 1, "one line on each choice, and on the end"
    assert all(f"next d={dim}" in line for (dim,), line in zip(others, said, strict=False))
    assert said[-1].startswith(question.text)
    assert said[-1].endswith("no further dim is needed")


@pytest.mark.parametrize("at_once", [1, 2, 4])
@pytest.mark.parametrize("question", [KNEE, TWENTY], ids=lambda each: each.text)
def test_a_sweep_that_is_cut_off_anywhere_comes_to_the_dims_of_an_undisturbed_one(
    question: DimQuestion, at_once: int
) -> None:
    config = auto_config(question)
    rounds = run(DimSearch(config, at_once=at_once))
    trained = [dim for chosen in rounds for dim in chosen]
    rng = random.Random(0)
    for cut in range(len(trained) + 1):
        # Of a round, several workers may have finished any part.
        before = [dim for each in rounds for dim in rng.sample(each, len(each))][:cut]
        stored = [of_dim(dim) for dim in before]
        resumed = DimSearch(config, trials=stored, complete=before, at_once=at_once)
        after = [dim for each in run(resumed) for dim in each]
        assert sorted(before + after) == sorted(trained)
        whole = DimSearch(config, trials=[of_dim(dim) for dim in trained], complete=trained)
        assert answer(resumed) == answer(whole)


def test_a_dim_that_was_begun_is_completed_before_others_are_chosen() -> None:
    config = auto_config(TWENTY, trials=3)
    stored = [of_dim(dim) for dim in (*FIRST, 32)]
    search = DimSearch(config, trials=stored, complete=FIRST[:-1])
    assert search.next_round() == (32, FIRST[-1])


def test_another_question_goes_on_from_all_that_is_stored() -> None:
    config = auto_config(TWENTY)
    first = DimSearch(config)
    trained = [dim for chosen in run(first) for dim in chosen]
    asked = auto_config(KNEE, trainings=len(GRID))
    search = DimSearch(asked, trials=map(of_dim, trained), complete=trained)
    more = [dim for chosen in run(search) for dim in chosen]
    assert more
    assert not set(more) & set(trained)
    assert answer(search).settled
    assert answer(search).question == KNEE


def test_another_number_of_workers_goes_on_from_all_that_is_stored() -> None:
    config = auto_config(KNEE)
    trained = [dim for chosen in run(DimSearch(config, at_once=4)) for dim in chosen][:-1]
    search = DimSearch(config, trials=map(of_dim, trained), complete=trained, at_once=1)
    more = [dim for chosen in run(search) for dim in chosen]
    assert not set(more) & set(trained)
    assert len(trained) + len(more) <= config.most_dims


def test_the_budget_in_trainings_holds_for_trials_and_repeats_and_says_how_to_go_on() -> None:
    said: list[str] = []
    per_dim = 3
    config = auto_config(KNEE, trials=2, repeats=1, trainings=(len(FIRST) + 1) * per_dim + 2)
    assert config.trainings_per_dim == per_dim
    search = DimSearch(config, announce=said.append)
    assert len(run(search)) == 2
    assert not answer(search).settled
    assert f"the budget of {(len(FIRST) + 1) * per_dim} trainings is used" in said[-1]
    assert "--resume --trainings N" in said[-1]


def test_the_budget_in_minutes_leaves_out_dims_that_would_end_too_late_but_not_the_first() -> None:
    said: list[str] = []
    now = 0.0

    def clock() -> float:
        return now

    config = auto_config(KNEE, minutes=10)
    search = DimSearch(config, dim_seconds=lambda _: 100.0, clock=clock, announce=said.append)
    now = 1_000.0
    assert search.next_round() == FIRST, "without it there is no answer"
    train(search, FIRST)
    assert search.next_round() == ()
    assert "no further dim ends within 10 min" in said[-1]
    again = DimSearch(
        config, trials=map(of_dim, FIRST), complete=FIRST, dim_seconds=lambda _: 100.0, clock=clock
    )
    now += 499.0
    (dim,) = again.next_round()
    train(again, [dim])
    now += 2.0
    assert again.next_round() == (), "a resumed sweep has minutes of its own"


def test_dims_of_which_every_training_failed_are_no_answer_and_not_chosen_again() -> None:
    config = auto_config(TWENTY, trainings=len(GRID))
    undisturbed = DimSearch(config)
    run(undisturbed)
    best = answer(undisturbed).dim
    assert best is not None
    search = DimSearch(config)
    rounds = run(search, failing=[best, FIRST[1]])
    trained = [dim for chosen in rounds for dim in chosen]
    assert len(set(trained)) == len(trained)
    assert best in trained
    assert answer(search).dim not in (best, None)
    assert search.measured.keys() == set(trained) - {best, FIRST[1]}


def test_nothing_is_chosen_where_every_dim_failed() -> None:
    said: list[str] = []
    search = DimSearch(auto_config(), announce=said.append)
    assert run(search, failing=GRID) == [FIRST]
    assert search.answer is None


def test_what_decides_is_what_the_curve_reports() -> None:
    rng = random.Random(0)
    config = auto_config(trials=4, repeats=2)
    trials = []
    for dim in FIRST:
        tried = [
            trial_config(latent_dim=dim, lr=rng.choice((1e-3, 4e-3, 1e-2)), epochs=epochs)
            for epochs in (2, 4)
        ]
        best = min(tried, key=bent)
        trials += [record(each, test_mse=bent(each) * rng.uniform(0.9, 1.1)) for each in tried]
        trials += [
            record(dataclasses.replace(best, seed=seed), role=Role.REPEAT) for seed in (2, 1)
        ]
        trials.append(record(trial_config(latent_dim=dim, lr=1e-4), outcome=Outcome.FAILED))
    search = DimSearch(config, trials=trials, complete=FIRST)
    curve = analysis.frontier(trials)
    assert search.measured == {point.latent_dim: point.test_mse for point in curve.points}
    assert all(point.seeds == 3 for point in curve.points)


@pytest.mark.parametrize(
    ("workers", "trials", "repeats", "dims"),
    [(1, 1, 0, 1), (1, 3, 1, 1), (2, 1, 0, 2), (3, 2, 0, 2), (4, 3, 1, 1), (200, 1, 0, 4)],
)
def test_as_many_dims_are_chosen_as_keep_the_workers_at_work(
    workers: int, trials: int, repeats: int, dims: int
) -> None:
    assert dims_at_once(auto_config(trials=trials, repeats=repeats), workers) == dims


def test_half_of_a_grid_is_the_budget_where_none_is_given() -> None:
    assert auto_config().most_dims == 8
    assert auto_config(dims=half_octaves(1, 8)).most_dims == 3, "never less than the first grid"
    assert auto_config(trials=3, trainings=100).most_dims == len(GRID)
