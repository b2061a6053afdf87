"""Every model of the registry through every command, on real small sweeps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ae_sweep import load_sweep, models
from ae_sweep.config import MODEL_SETTINGS
from ae_sweep.config.parsing import parse_setting
from ae_sweep.models import registry
from ae_sweep.models.conv import conv_autoencoder
from ae_sweep.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Done

SMALL = ("--dataset", "shapes", "--dims", "2", "4", "--trials", "2", "--epochs", "1")
TRAINING = {"vae": ("--train-limit", "2000", "--lr", "3e-3", "4e-3")}
"""A posterior collapses after some training only, and hardly where that learns fast."""
SETTINGS = {"vae": ("--beta", "0.001", "1"), "vqvae": ("--codebook", "8", "16"),
            "fsq": ("--codebook", "8", "16"), "ntc": ("--lmbda", "0.01", "1")}  # fmt: skip
MEASURES = {
    "vae": {"bits", "mse", "active_latents"},
    "vqvae": {"bits", "mse", "entropy_bits", "perplexity", "dead_codes"},
    "fsq": {"bits", "mse", "entropy_bits", "perplexity", "dead_codes"},
    "ntc": {"bits", "mse", "silent_latents"},
}


@pytest.fixture(scope="module", params=[name for name in models.names() if name != "conv"])
def trained(
    request: pytest.FixtureRequest,
    process: Callable[..., Done],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, Done]:
    """Run a small sweep of a model."""
    name, place = request.param, tmp_path_factory.mktemp("models")
    words = ("run", *SMALL, "--model", name, *SETTINGS.get(name, ()), "--name", name)
    training = TRAINING.get(name, ("--train-limit", "512"))
    done = process(*words, *training, "--store", str(place), cwd=place)
    assert done.code == 0, done.err
    return name, place, done


@pytest.mark.slow
def test_every_command_takes_every_model(
    trained: tuple[str, Path, Done], process: Callable[..., Done], tmp_path: Path
) -> None:
    model, store, done = trained
    assert len(done.out.splitlines()) == 1 + 2 * (2 if model in SETTINGS else 1)
    for command in (
        "frontier",
        "reconstruct",
        "latent",
        "manifold",
        "identity",
        "sample",
        "report",
    ):
        looked = process(command, model, "--store", str(store), cwd=tmp_path)
        ending = "html" if command == "report" else "png"
        made = tmp_path / f"{command}-{model}.{ending}"
        if command == "sample" and model not in ("vae", "ntc"):
            assert looked.code == 2
            assert f"the model '{model}" in looked.err
            assert "has no prior to draw codes from" in looked.err
            continue
        assert looked.code == 0, looked.err
        assert made.stat().st_size > 1_000
    assert "The posterior has collapsed: d=2 beta=1" in made.read_text() or model != "vae"


@pytest.mark.slow
def test_a_sweep_tells_the_rate_of_its_codes_and_the_model_of_each_trial(
    trained: tuple[str, Path, Done], process: Callable[..., Done]
) -> None:
    model, store, _ = trained
    sweep = load_sweep(model, store=store)
    finished = [trial for trial in sweep.trials if trial.outcome is Outcome.FINISHED]
    assert all(set(trial.rate) == MEASURES.get(model, set()) for trial in finished)
    assert sweep.frontier.has_rate is (model in MEASURES)
    listed = process("list", "--store", str(store), cwd=store)
    told = {"vae": "vae beta=0.001 1", "vqvae": "vqvae codebook=8 16", "fsq": "fsq codebook=8 16",
            "ntc": "ntc lmbda=0.01 1"}  # fmt: skip
    assert told.get(model, model) in listed.out
    for point in sweep.points():
        parameters = sweep.runs.parameters(point.run_id)
        setting, _, value = point.model.partition(" ")[2].partition("=")
        assert parameters["model"] == point.model
        assert not setting or parameters[setting] == value


@pytest.mark.slow
def test_a_sweep_is_resumed_with_another_value_of_its_setting(
    trained: tuple[str, Path, Done], process: Callable[..., Done]
) -> None:
    model, store, _ = trained
    before = load_sweep(model, store=store).trials
    again = ("run", "--resume", "--name", model, "--store", str(store), "--json")
    done = process(*again, cwd=store, known_speed=True)
    assert done.code == 0, done.err
    assert len(load_sweep(model, store=store).trials) == len(before)
    if model not in SETTINGS:
        return
    option, *values = SETTINGS[model]
    more = {"--beta": "0.1", "--codebook": "4", "--lmbda": "0.1"}[option]
    done = process(*again, option, *sorted([*values, more], key=float), cwd=store, known_speed=True)
    assert done.code == 0, done.err
    points: list[dict[str, Any]] = json.loads(done.out)["frontier"]["points"]
    assert len(points) == 6
    assert len(load_sweep(model, store=store).trials) == len(before) + 4


@pytest.mark.usefixtures("no_probe")
def test_a_model_with_a_setting_of_its_own_needs_no_option(
    cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*, latent_dim: int, image_shape: tuple[int, int, int], gamma: float = 0.5) -> Any:
        assert gamma == 0.5
        return conv_autoencoder(latent_dim=latent_dim, image_shape=image_shape)

    monkeypatch.setitem(registry.MODELS, "odd", odd)
    done = cli("run", "--dataset", "shapes", "--model", "odd", "--dims", "2", "--dry-run", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["models"] == ["odd gamma=0.5"]


@pytest.mark.usefixtures("no_probe")
def test_a_range_of_lambda_is_a_ladder_of_models_in_the_plan(cli: Callable[..., Done]) -> None:
    words = ("run", "--dataset", "shapes", "--model", "ntc", "--dims", "2", "--lmbda", "0.5:8")
    planned = cli(*words, "--dry-run")
    assert planned.code == 0, planned.err
    assert "5 studies (d = 2; lmbda = 0.5, 1, 2, 4, 8) × 3 trials" in planned.out


def test_a_narrow_range_of_beta_is_five_ascending_values() -> None:
    beta = MODEL_SETTINGS["beta"]
    assert parse_setting("beta", beta, ["0.01:100"]).values == (0.01, 0.1, 1.0, 10.0, 100.0)
    for text in ("0.1:0.1001", "0.1234:0.1236"):
        values = parse_setting("beta", beta, [text]).values
        assert len(values) == 5
        assert list(values) == sorted(set(values))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--beta", "0.1"), "the model 'conv' has no setting --beta; it has none"),
        (("--model", "vae", "--codebook", "4"), "only --beta"),
        (("--model", "vae", "--beta", "much"), "--beta 'much' is not a number or a range"),
        (("--model", "vae", "--beta", "0:1"), "must begin above 0"),
        (("--model", "vae", "--beta", "-1"), "beta must be a finite number, at least 0, got -1"),
        (("--model", "vae", "--beta", "nan"), "beta must be a finite number"),
        (("--model", "vae", "--beta"), "--beta is empty"),
        (("--model", "vqvae", "--codebook", "9" * 400), "codebook must be a finite number"),
        (("--model", "fsq", "--codebook", "100"), "must be a power of two, got 100"),
        (("--model", "vqvae", "--codebook", "1"), "whole number from 2 to 65536, got 1"),
        (("--model", "vqvae", "--codebook", "1e3"), "--codebook '1e3' is not a whole number"),
        (("--lmbda", "0.1"), "the model 'conv' has no setting --lmbda; it has none"),
        (("--model", "vae", "--lmbda", "0.1"), "only --beta"),
        (("--model", "ntc", "--lmbda", "0"), "lmbda must be a finite number above 0, got 0"),
        (("--model", "ntc", "--lmbda", "0:8"), "must begin above 0"),
        (("--model", "ntc", "--lmbda", "much"), "--lmbda 'much' is not a number or a range"),
        (("--model", "ntc", "--method", "nested"), "'ntc' cannot be trained nested"),
        (("--model", "vae", "--method", "nested"), "'vae' cannot be trained nested"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_stored(
    cli: Callable[..., Done], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = cli("run", "--dataset", "shapes", *words)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "mlruns").exists()
