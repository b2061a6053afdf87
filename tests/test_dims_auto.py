"""Sweeps that choose their dims: what is asked, planned, trained, stored, resumed and shown."""

from __future__ import annotations

import contextlib
import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from fake_engine import SMALL, faking
from fakes import FakeTraining, difficulty, sweep_config, trial_config, trial_result

import ae_sweep
from ae_sweep import analysis
from ae_sweep.config import AutoDims, DimQuestion, QuestionKind, first_dims, half_octaves
from ae_sweep.config.hyperparameters import GOOD_LR
from ae_sweep.errors import ConfigError, ConflictError
from ae_sweep.records import Outcome, Role
from ae_sweep.report import contents
from ae_sweep.sweep import DimSearch, Trial, TrialEnded

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.locations import Store

pytestmark = pytest.mark.usefixtures("faked_sweeps", "store")

GRID = half_octaves(1, 64)
FIRST = first_dims(GRID)
ASKED: dict[str, Any] = {
    "dims": "auto 1:64", "target_psnr": 12.0, "trials": 1, "pruner": "none", **SMALL,
}  # fmt: skip


def run(fake: FakeTraining | None = None, **changes: Any) -> ae_sweep.Sweep:
    settings = {**ASKED, **changes} if not changes.get("resume") else changes
    fake = fake or FakeTraining()
    return ae_sweep.run_sweep("some", engine=faking(fake), progress=False, **settings)


def by_the_whole_grid(psnr: float) -> int:
    """The smallest dim whose fake training reaches a PSNR."""
    best = {dim: difficulty(trial_config(latent_dim=dim, lr=GOOD_LR, epochs=2)) for dim in GRID}
    return next(dim for dim, mse in best.items() if -10 * math.log10(mse) >= psnr)


def dims_by_search() -> list[int]:
    """The dims that an undisturbed sweep trains, in their order."""
    auto = AutoDims(question=DimQuestion(kind=QuestionKind.PSNR, value=12.0))
    search = DimSearch(sweep_config(dims=GRID, trials=1, auto=auto))
    dims = []
    while chosen := search.next_round():
        for dim in chosen:
            config = trial_config(latent_dim=dim, lr=GOOD_LR, epochs=2)
            trial = Trial(name="", config=config, role=Role.SEARCH)
            search.take(TrialEnded(trial, Outcome.FINISHED, result=trial_result(config)))
        dims += chosen
    return dims


def dims_of(fake: FakeTraining) -> list[int]:
    return [config.latent_dim for config in fake.started]


def test_a_target_is_answered_as_by_the_whole_grid_with_at_most_half_of_it() -> None:
    fake = FakeTraining()
    sweep = run(fake)
    trained = dims_of(fake)
    assert tuple(trained[: len(FIRST)]) == FIRST
    assert len(trained) <= len(GRID) // 2
    assert sweep.answer is not None
    assert sweep.answer.settled
    assert sweep.answer.dim == by_the_whole_grid(12.0) in trained
    assert sweep.record.config["dims"] == f"auto {' '.join(map(str, GRID))}"
    assert sweep.record.config["target_psnr"] == "12.0"
    assert "trainings" not in sweep.record.config, "it was left at its default"


def test_settings_of_listed_dims_are_stored_as_ever() -> None:
    listed = run(dims=[2, 4], target_psnr=None)
    assert listed.record.config["dims"] == "2 4"
    assert not {"auto", "target_psnr", "trainings", "minutes"} & listed.record.config.keys()
    assert listed.answer is None
    with pytest.raises(ConflictError, match="is stored with listed dims, not --dims auto"):
        run(resume=True, dims="auto 1:64")


@pytest.mark.parametrize("moment", [12, 22], ids=["first grid", "a chosen dim"])
def test_an_interrupted_sweep_comes_to_the_dims_of_an_undisturbed_one(moment: int) -> None:
    cut = FakeTraining(interrupt_at=moment)
    with pytest.raises(KeyboardInterrupt):
        run(cut)
    resumed = FakeTraining()
    sweep = run(resumed, resume=True)
    undisturbed = dims_by_search()
    assert [config.latent_dim for config in cut.ended + resumed.ended] == undisturbed
    assert moment > 5 * len(FIRST) or len(cut.ended) < len(FIRST)
    assert sweep.answer is not None
    assert sweep.answer.settled
    again = FakeTraining()
    run(again, resume=True)
    assert again.started == [], "it has its answer"


def test_a_plan_says_how_many_at_most_and_a_finished_one_that_nothing_is_left() -> None:
    plan = ae_sweep.plan_sweep("some", engine=faking(FakeTraining()), **ASKED | {"repeats": 1})
    assert plan.trials == len(GRID) // 2 * 2
    document = plan.document()
    assert document["dims"] == list(GRID)
    assert document["auto"] == {
        "question": "psnr", "target": 12.0, "first_dims": list(FIRST),
        "most_dims": len(GRID) // 2, "most_trainings": len(GRID) // 2 * 2, "minutes": None,
    }  # fmt: skip
    assert plan.most_seconds >= plan.expected_seconds > 0
    run()
    left = ae_sweep.plan_sweep("some", engine=faking(FakeTraining()), resume=True)
    assert left.trials == 0
    more = ae_sweep.plan_sweep("some", engine=faking(FakeTraining()), resume=True, repeats=1)
    assert 0 < more.trials <= len(GRID) // 2 * 2


def test_the_estimate_of_the_time_left_follows_dims_that_were_not_expected() -> None:
    settings = {**ASKED, "engine": faking(FakeTraining())}
    events = ae_sweep.iter_sweep("some", **settings)
    forecast, left = None, []
    with contextlib.closing(events):
        for now, event in enumerate(events):
            if isinstance(event, ae_sweep.SweepPlanned):
                forecast = event.estimate.forecast()
                left.append(forecast.seconds_left)
                continue
            assert forecast is not None
            forecast.take(event, now=float(now))
            if isinstance(event, ae_sweep.TrialEnded):
                left.append(forecast.seconds_left / forecast.pace)
    assert left == sorted(left, reverse=True)
    trained = len(left) - 1
    unbegun = len(GRID) // 2 - trained
    assert left[-1] == pytest.approx(left[0] * unbegun / (len(GRID) // 2), rel=0.01)


def test_a_larger_budget_or_another_question_goes_on_with_what_is_stored() -> None:
    first = FakeTraining()
    tight = run(first, target_psnr=None, trainings=len(FIRST))
    assert tuple(dims_of(first)) == FIRST
    assert tight.answer is not None
    assert tight.answer.question.text == "the knee"
    more = FakeTraining()
    sweep = run(more, resume=True, target_mse=0.05, trainings=len(GRID))
    assert dims_of(more)
    assert not set(dims_of(more)) & set(FIRST)
    assert sweep.answer is not None
    assert sweep.answer.question.text == "an MSE of 0.05"
    assert sweep.record.config["trainings"] == str(len(GRID))
    by_psnr = run(FakeTraining(), resume=True, target_psnr=10)
    assert "target_mse" not in by_psnr.record.config
    assert by_psnr.record.config["target_psnr"] == "10.0"


def test_more_trials_of_each_dim_are_trained_of_those_that_were_chosen() -> None:
    first = FakeTraining()
    run(first)
    more = FakeTraining()
    sweep = run(more, resume=True, repeats=1)
    assert set(dims_of(more)) >= set(dims_of(first))
    assert {config.seed for config in more.started if config.latent_dim in dims_of(first)} == {1}
    assert all(point.seeds == 2 for point in sweep.frontier.points)


def test_chosen_dims_do_not_become_listed_ones() -> None:
    run()
    with pytest.raises(ConflictError, match="is stored with --dims auto; resume it without"):
        run(resume=True, dims=[1, 2])
    with pytest.raises(ConflictError, match="without 1, 2"):
        run(resume=True, dims="auto 4:64")
    run(resume=True, dims="auto")


def test_a_grid_that_is_not_given_ends_below_the_numbers_of_an_image() -> None:
    plan = ae_sweep.plan_sweep("some", engine=faking(FakeTraining()), **ASKED | {"dims": "auto"})
    assert plan.plan.config.dims[0] == 1
    assert plan.plan.config.dims[-1] == 724 < 28 * 28
    tokens = ASKED | {"dims": "auto", "model": "fsq", "codebook": 64}
    plan = ae_sweep.plan_sweep("some", engine=faking(FakeTraining()), **tokens)
    assert plan.plan.config.dims[-1] == 128


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "nested"}, "--method nested one network for all"),
        ({"target_mse": 0.1}, "--target-psnr and --target-mse are two questions"),
        ({"dims": [2, 8]}, "--target-psnr has no effect without --dims auto"),
        ({"dims": [2, 8], "target_psnr": None, "minutes": 5}, "--minutes has no effect without"),
        ({"trainings": 3}, "--trainings 3 are fewer than the first grid needs.*--trainings 4"),
        ({"trainings": 7, "repeats": 1}, "at least --trainings 8"),
        ({"trainings": 1.5}, "trainings must be a whole number"),
        ({"minutes": 0}, "minutes must be above 0"),
        ({"minutes": "soon"}, "minutes must be a number, got 'soon'"),
        ({"target_psnr": 4000}, "200 dB, got 4000"),
        ({"target_psnr": None, "target_mse": -1}, "target MSE must be above 0"),
        ({"target_psnr": float("nan")}, "a finite number"),
        ({"dims": "auto 2 4"}, "5 latent dimensions or more, got 2, 4"),
        ({"dims": "auto 64:1"}, "the range 64:1 is empty"),
        ({"dims": "auto 0:64"}, "latent dimensions from 1"),
        ({"dims": f"auto 1:{'9' * 400}"}, "from 1 to 10\\^12"),
        ({"dims": "auto 1:8 16"}, "mixes a range with other values"),
        ({"dims": "auto many"}, "--dims 'many' is not a whole number"),
        ({"dims": "2 auto"}, "--dims 'auto' is not a whole number"),
        ({"model": "vae", "beta": [0.1, 1]}, "one curve, and vae beta=0.1, vae beta=1 have"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused_and_nothing_is_trained(
    changes: dict[str, Any], message: str
) -> None:
    fake = FakeTraining()
    with pytest.raises(ConfigError, match=message):
        run(fake, **changes)
    assert fake.started == []


WORDS = ("--dataset", "shapes", "--train-limit", "256", "--trials", "1", "--name", "some")


@pytest.mark.parametrize(
    "words",
    [
        ("--dims", "auto", "--target-psnr", "20", "--target-mse", "0.1"),
        ("--dims", "auto", "--method", "nested"),
        ("--dims", "2", "8", "--target-psnr", "20"),
        ("--dims", "auto", "1:64", "--trainings", "3"),
    ],
    ids=" ".join,
)
def test_the_command_line_refuses_them_with_exit_code_2(
    cli: Callable[..., Any], words: tuple[str, ...]
) -> None:
    done = cli("run", *WORDS, *words)
    assert done.code == 2
    assert done.err.startswith("error: ")


@pytest.mark.parametrize(
    "words",
    [("--dims", "auto", "1:64"), ("--dims", "auto 1:64"), ("--dims=auto", "1:64"),
     ("--dims", "auto", *map(str, GRID)), ("--dims", "auto", *map(str, GRID[::-1]))],
    ids=" ".join,
)  # fmt: skip
def test_a_grid_is_read_however_it_is_spelled(
    cli: Callable[..., Any], words: tuple[str, ...]
) -> None:
    done = cli("run", *WORDS, *words, "--target-psnr", "20", "--dry-run", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["dims"] == list(GRID)
    assert document["auto"]["first_dims"] == list(FIRST)


def test_a_dry_run_says_what_is_asked_and_how_many_are_trained_at_most(
    cli: Callable[..., Any],
) -> None:
    words = ("--dims", "auto", "1:64", "--target-psnr", "20", "--minutes", "5", "--dry-run")
    done = cli("run", *WORDS, *words)
    assert done.code == 0, done.err
    text = " ".join(done.out.split())
    assert f"plan at most {len(GRID) // 2} studies of {len(GRID)} (d = 1, 2, 3," in text
    assert f"first d = {', '.join(map(str, FIRST))}, × 1 trial: at most 6 to train" in text
    assert "question the smallest dim that reaches 20 dB; dims are added until" in text
    assert "or until 5 minutes are over" in text


def test_the_answer_is_shown_wherever_the_sweep_is(cli: Callable[..., Any], store: Store) -> None:
    sweep = run()
    assert sweep.answer is not None
    answer = sweep.answer.sentence
    shown, drawn = cli("show", "some"), cli("frontier", "some", "--out", "f.png")
    assert f"answer: {answer}" in shown.err
    assert f"answer: {answer}" in drawn.err
    for command in (("show", "some"), ("frontier", "some", "--out", "f.png")):
        assert json.loads(cli(*command, "--json").out)["answer"] == sweep.answer.document()
    assert re.search(r"auto 1:64", cli("list").out)
    summary = contents._summary(sweep, [], lambda run_id: run_id)
    assert summary.findings[0] == f"Asked for {answer}."
    note = sweep.runs._client.get_run(sweep.record.run_id).data.tags["mlflow.note.content"]
    assert answer.partition(",")[0] in note


def test_each_choice_is_announced_with_the_answer_so_far(capsys: Any) -> None:
    ae_sweep.run_sweep("some", engine=faking(FakeTraining()), **ASKED)
    err = capsys.readouterr().err
    assert "some: at most 6 to train" in err
    assert re.search(r"12 dB: above d=\d+, up to d=\d+; most probably d=\d+; next d=", err)
    assert "no further dim is needed" in err


def test_a_failing_dim_is_named_and_the_answer_is_that_of_the_others() -> None:
    from ae_sweep.errors import NotStoredError, TrainingFailedError

    failing = FakeTraining(
        error=lambda config: TrainingFailedError("no") if config.latent_dim == FIRST[1] else None
    )
    with pytest.raises(NotStoredError, match=f"no trial finished for d={FIRST[1]};"):
        run(failing, retries=0)
    stored = ae_sweep.load_sweep("some")
    assert stored.answer is not None
    assert stored.answer.settled
    assert FIRST[1] not in [point.latent_dim for point in stored.frontier.points]
    assert analysis.frontier(stored.trials).points == stored.frontier.points
