"""Hyperparameters come from one table: searched, trained with, stored and shown by its rows."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import torch
import tracking_support as support
from fakes import sweep_config, tiny_images, trial_config
from old_store import unpack
from torch import nn

import ae_sweep
from ae_sweep import tracking, training
from ae_sweep.config import (
    PARAMETERS,
    Choices,
    Hyperparameters,
    Range,
    SearchSpace,
    written_parameters,
)
from ae_sweep.config.parsing import parse_domain
from ae_sweep.errors import ConfigError
from ae_sweep.records import Role
from ae_sweep.runner import setup
from ae_sweep.sweep import open_studies, studies
from ae_sweep.sweep.space import all_params, distributions, draw, known_good
from ae_sweep.training.optimiser import MuonAndAdam
from ae_sweep.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Done

LR, EPOCHS = Choices((4e-3,)), Choices((2,))


def space(**domains: Any) -> SearchSpace:
    return SearchSpace(**{"lr": LR, "epochs": EPOCHS, **domains})


def test_the_table_has_a_row_for_each_field_with_its_kind_and_default() -> None:
    fields = {each.name: each for each in dataclasses.fields(Hyperparameters)}
    assert PARAMETERS.keys() == fields.keys()
    assert {name: row.kind for name, row in PARAMETERS.items()} == {
        "lr": float, "epochs": int, "batch_size": int, "weight_decay": float,
    }  # fmt: skip
    assert [row.default for row in PARAMETERS.values()] == [None, None, 128, 0.0]


@pytest.mark.parametrize("row", PARAMETERS.values(), ids=list(PARAMETERS))
def test_the_examples_and_defaults_of_a_row_can_be_parsed(row: Any) -> None:
    choices, span = row.examples
    assert isinstance(parse_domain(row, choices.split()), Choices)
    assert isinstance(parse_domain(row, span.split()), Range)
    for text in (row.search, row.nested):
        parse_domain(row, text.split())


@pytest.mark.parametrize("row", PARAMETERS.values(), ids=list(PARAMETERS))
def test_each_row_is_an_option_of_run_with_its_help(row: Any, cli: Callable[..., Done]) -> None:
    text = "".join(cli("run", "--help").out.split())
    described = f"{row.option} {row.metavar} {row.help} [default: {row.search}"
    assert described.replace(" ", "") in text


def test_a_value_at_its_default_is_left_out_of_what_identifies_a_training() -> None:
    plain = Hyperparameters(lr=4e-3, epochs=2)
    assert Hyperparameters(lr=4e-3, epochs=2, batch_size=128, weight_decay=0) == plain
    assert plain.written() == {"lr": 4e-3, "epochs": 2}
    chosen = dataclasses.replace(plain, batch_size=64, weight_decay=0.01)
    assert chosen.written() == {"lr": 4e-3, "epochs": 2, "batch_size": 64, "weight_decay": 0.01}
    keys = {
        support.point(**changes).key
        for changes in ({}, {"batch_size": 128}, {"batch_size": 64}, {"weight_decay": 0.01})
    }
    assert len(keys) == 3
    assert str(chosen) == "lr 0.004, 2 epochs, batch size 64, weight decay 0.01"
    assert str(Hyperparameters(lr=4e-3, epochs=1)) == "lr 0.004, 1 epoch"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 0}, "batch size must be at least 1, got 0"),
        ({"batch_size": 10**6}, "batch size must be at most 100000"),
        ({"weight_decay": -0.1}, "weight decay .* at least 0, got -0.1"),
        ({"weight_decay": float("inf")}, "weight decay .* finite"),
        ({"weight_decay": float("nan")}, "weight decay .* finite"),
    ],
)
def test_a_value_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trial_config(**values)
    with pytest.raises(ConfigError, match=message):
        space(**{name: Choices((value,)) for name, value in values.items()})


def test_a_space_refuses_unknown_names_missing_ones_and_a_logarithm_of_zero() -> None:
    with pytest.raises(ConfigError, match=r"batch_siz.*batch_size"):
        space(batch_siz=Choices((1,)))
    with pytest.raises(ConfigError, match="lacks epochs"):
        SearchSpace(lr=LR)
    with pytest.raises(ConfigError, match="weight decay is log-uniform and must begin above 0"):
        space(weight_decay=Range(0.0, 0.1))


def test_optuna_is_given_what_is_not_at_its_default_alone() -> None:
    assert distributions(space()).keys() == {"lr", "epochs"}
    assert distributions(space(batch_size=Choices((128,)), weight_decay=Choices((0.0,)))) == (
        distributions(space())
    )
    searched = space(batch_size=Range(32, 512), weight_decay=Range(1e-3, 0.1))
    found = distributions(searched)
    assert found["batch_size"] == optuna.distributions.IntDistribution(32, 512, log=True)
    assert found["weight_decay"] == optuna.distributions.FloatDistribution(1e-3, 0.1, log=True)
    assert distributions(space(batch_size=Choices((64,)))).keys() == {"lr", "epochs", "batch_size"}


def test_the_first_trial_has_the_values_nearest_to_the_good_ones() -> None:
    first = known_good(space(batch_size=Choices((32, 200)), weight_decay=Choices((0.0, 0.1))))
    assert (first.batch_size, first.weight_decay) == (200, 0.0)
    first = known_good(space(batch_size=Range(256, 512), weight_decay=Range(1e-3, 0.1)))
    assert (first.batch_size, first.weight_decay) == (256, 1e-3)


def test_all_configurations_are_the_product_of_every_parameter() -> None:
    finite = space(batch_size=Choices((64, 128)), weight_decay=Choices((0.0, 0.1, 0.2)))
    assert finite.size == len(set(all_params(finite))) == len(all_params(finite)) == 6
    assert space(batch_size=Range(5, 8)).size == 4
    assert space(weight_decay=Range(1e-3, 0.1)).size is None


def test_a_range_of_integers_is_drawn_log_uniformly_up_to_both_ends() -> None:
    rng = random.Random(0)
    drawn = [draw(space(batch_size=Range(1, 64)), rng).batch_size for _ in range(2000)]
    assert {1, 64} <= set(drawn) <= set(range(1, 65))
    small, large = (sum(low <= size < 2 * low for size in drawn) for low in (4, 32))
    assert 0.7 < small / large < 1.4


def test_a_space_too_large_to_list_is_drawn_from() -> None:
    huge = space(batch_size=Range(1, 100_000), epochs=Range(1, 100_000))
    assert huge.size == 10**10
    assert all_params(huge) == []


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_defaults_among_other_choices_are_suggested_once_like_any_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sampler: Any
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.InMemoryStorage()
    monkeypatch.setattr(studies, "open_storage", lambda _path: storage)
    searched = space(batch_size=Choices((64, 128)), weight_decay=Choices((0.0, 0.1)))
    config = sweep_config(dims=(2,), space=searched, trials=4, sampler=sampler)
    (study,) = open_studies(tmp_path / "optuna.db", config, identity=config.identity())
    asked = []
    for slot in study.open_slots():
        ask = study.ask(slot)
        assert ask.trial.params.keys() == searched.written.keys()
        asked.append(ask.params)
        study.complete(ask, val_objective=ask.params.weight_decay)
    assert set(asked) == set(all_params(searched))
    best = study.best()
    assert best is not None
    assert best.params == asked[0] == known_good(searched)


def test_weight_decay_shrinks_matrices_and_kernels_and_nothing_else() -> None:
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.Linear(32, 32))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimiser = MuonAndAdam(model, training.RECIPE, weight_decay=0.5)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimiser.step(0.1)
    for name, weight in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if weight.ndim > 1 else 1.0
        torch.testing.assert_close(weight.detach(), before[name] * factor)


def losses(**changes: Any) -> list[float]:
    trainer = Trainer(trial_config(**changes), tiny_images())
    return [trainer.take_step().item() for _ in range(4)]


def test_a_training_uses_its_batch_size_and_its_weight_decay() -> None:
    assert Trainer(trial_config(batch_size=16), tiny_images(train=40)).steps_per_epoch == 2
    assert losses(batch_size=8) != losses(batch_size=16)
    plain, decayed = losses(batch_size=8), losses(batch_size=8, weight_decay=5.0)
    assert plain[0] == decayed[0]
    assert plain[1:] != decayed[1:]


def test_more_of_a_batch_keeps_more_activations_in_proportion() -> None:
    per_image = training.activation_bytes("conv", latent_dim=2, image_shape=(1, 28, 28))
    # Inputs of convolutions and norms: 2 x (6,272 + 3,136 + 6,272) floats each way at the least.
    assert 2 * 2 * 15_680 * 4 < per_image < 10**6
    small = training.activation_bytes("conv", latent_dim=2, image_shape=(1, 8, 8))
    assert small < per_image / 8


def test_activations_of_large_images_are_estimated_from_smaller_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = training.activation_bytes("conv", latent_dim=2, image_shape=(3, 90, 128))
    monkeypatch.setattr("ae_sweep.training.speed.MEASURED_PIXELS", 32 * 32)
    estimated = training.activation_bytes("conv", latent_dim=2, image_shape=(3, 90, 128))
    assert estimated != exact
    assert estimated == pytest.approx(exact, rel=0.1)


def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **domains: Any) -> Any:
    asked: list[str] = []

    def remember(name: str, *_: Any, **__: Any) -> Any:
        asked.append(name.partition("batch=")[2])
        return training.Precision("bf16", "quick")

    monkeypatch.setattr(setup, "remembered_precision", remember)
    config = sweep_config(dataset="shapes", train_limit=256, space=space(**domains))
    made = setup.prepare(config, data_dir=tmp_path, device_name="cpu", announce=lambda _line: None)
    return made, asked


def test_the_precision_is_checked_at_both_ends_of_the_batch_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, asked = prepared(tmp_path, monkeypatch, batch_size=Range(16, 256))
    assert asked == ["16", "256"]
    assert made.timed_config(8).hyperparameters.batch_size == 16
    _, asked = prepared(tmp_path, monkeypatch)
    assert asked == ["128"]


def test_a_batch_larger_than_the_data_or_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="give at most --batch-size 256"):
        prepared(tmp_path, monkeypatch, batch_size=Range(16, 257))
    plain, _ = prepared(tmp_path, monkeypatch)
    wide, _ = prepared(tmp_path, monkeypatch, batch_size=Choices((256,)))
    assert wide.most_workers <= plain.most_workers
    monkeypatch.setattr(training, "memory_bytes", lambda _device: 20_000_000)
    with pytest.raises(ConfigError, match=r"activations.*smaller --batch-size"):
        prepared(tmp_path, monkeypatch, batch_size=Choices((256,)))


def test_only_what_was_chosen_is_read_back_as_a_part_of_the_trial(tmp_path: Path) -> None:
    store = support.fresh_store(tmp_path)
    writer = tracking.open_for_writing(store).start_sweep(
        support.config(), card=support.CARD, environment={}
    )
    points = [
        support.point(),
        support.point(batch_size=64),
        support.point(batch_size=64, weight_decay=0.01),
    ]
    for point in points:
        writer.start_trial(name="a", point=point, role=Role.SEARCH, parameters=support.PARAMETERS)
    runs = tracking.open_for_reading(store)
    trials = {trial.point.key: trial for trial in runs.trials("first")}
    assert [trials[point.key].point for point in points] == points
    logged = [runs.parameters(trials[point.key].run_id) for point in points]
    assert [each["batch_size"] for each in logged] == ["128", "64", "64"]
    assert [each["weight_decay"] for each in logged] == ["0.0", "0.0", "0.01"]
    names = [each.get("hyperparameters") for each in logged]
    assert names == [None, "batch_size", "batch_size weight_decay"]


def test_a_column_is_there_where_a_value_is_not_the_default() -> None:
    plain, chosen = (
        Hyperparameters(lr=1e-3, epochs=1),
        Hyperparameters(lr=1e-3, epochs=1, weight_decay=0.1),
    )
    assert [each.label for each in written_parameters([plain])] == ["lr", "Epochs"]
    assert [each.label for each in written_parameters([plain, chosen])] == [
        "lr", "Epochs", "Decay",
    ]  # fmt: skip


SMALL = ("run", "--dataset", "shapes", "--train-limit", "256", "--dims", "2")


@pytest.mark.usefixtures("no_probe")
def test_the_plan_names_what_is_searched_and_what_is_fixed_elsewhere_only(
    cli: Callable[..., Done],
) -> None:
    words = (*SMALL, "--dry-run", "--batch-size", "64", "128", "--weight-decay", "1e-3:1e-1")
    document = json.loads(cli(*words, "--json").out)
    assert (document["batch_size"], document["weight_decay"]) == ("64 128", "0.001:0.1")
    assert "batch size 64 128, weight decay 0.001:0.1; sampler" in cli(*words).out
    plain = json.loads(cli(*SMALL, "--dry-run", "--json").out)
    assert not {"batch_size", "weight_decay"} & plain.keys()


@pytest.mark.usefixtures("no_probe")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch-size", "512"), "give at most --batch-size 256"),
        (("--batch-size", "many"), "--batch-size 'many' is not a whole number or a range"),
        (("--weight-decay", "0:1"), "must begin above 0"),
        (("--sampler", "grid", "--lr", "1e-3", "--epochs", "1", "--batch-size", "16:64"),
         "batch size is the range 16:64; list the values (--batch-size 64 128 256)"),
        (("--method", "nested", "--batch-size", "64", "128"), "give one value each"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_with_what_to_do(
    cli: Callable[..., Done], words: tuple[str, ...], message: str
) -> None:
    done = cli(*SMALL, *words, "--dry-run")
    assert done.code == 2
    assert message in " ".join(done.err.split())


@pytest.mark.usefixtures("no_probe")
def test_a_stored_sweep_is_not_resumed_with_another_batch_size(
    cli: Callable[..., Done], tmp_path: Path
) -> None:
    store = unpack(tmp_path / "store")
    words = ("run", "--name", "digits", "--resume", "--dry-run", "--store", str(store))
    done = cli(*words, "--batch-size", "64")
    assert done.code == 4
    assert "batch-size is 128, not 64" in " ".join(done.err.split())
    assert cli(*words, "--batch-size", "128", "--weight-decay", "0").code == 0


@pytest.mark.slow
@pytest.mark.usefixtures("no_probe")
def test_a_sweep_over_all_parameters_is_trained_shown_and_resumed(
    cli: Callable[..., Done], tmp_path: Path
) -> None:
    words = (
        *SMALL, "--epochs", "1", "--lr", "4e-3", "--trials", "4", "--batch-size", "32", "128",
        "--weight-decay", "0", "0.1", "--sampler", "random", "--pruner", "none", "--name", "all",
        "--store", "store",
    )  # fmt: skip
    done = cli(*words, "--repeats", "1")
    assert done.code == 0, done.err
    sweep = ae_sweep.load_sweep("all", store=tmp_path / "store")
    table = sweep.trials_table()
    searched = table[table["role"] == "search"]
    assert set(zip(searched["batch_size"], searched["weight_decay"], strict=True)) == {
        (32, 0.0), (32, 0.1), (128, 0.0), (128, 0.1),
    }  # fmt: skip
    assert searched["test_mse"].nunique() == 4, "each was trained otherwise"
    best = sweep.frontier.points[0].hyperparameters
    repeat = table[table["role"] == "repeat"].iloc[0]
    assert (repeat["batch_size"], repeat["weight_decay"]) == (best.batch_size, best.weight_decay)
    assert sweep.frontier.points[0].seeds == 2
    shown = cli("show", "all", "--store", "store").out
    assert {"Batch", "Decay"} <= set(shown.splitlines()[0].split())
    again = cli(*SMALL[:0], "run", "--name", "all", "--resume", "--dry-run", "--json",
                "--store", "store")  # fmt: skip
    assert json.loads(again.out)["trials_to_train"] == 0
    report = cli("report", "all", "--store", "store", "--out", "all.html")
    assert report.code == 0, report.err
    page = (tmp_path / "all.html").read_text()
    assert "<th" in page
    assert "--batch-size 32 128" in page
    assert "--weight-decay 0.0 0.1" in page
