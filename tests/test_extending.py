"""What docs/extending.md shows is all that a new model or parameter needs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
import torch
import tracking_support as support
from commands import environment
from conftest import ROOT
from fakes import tiny_images, trial_config
from old_store import unpack
from training_support import consume

import ae_sweep
from ae_sweep import analysis, models
from ae_sweep.config import MODEL_SETTINGS, SettingOption
from ae_sweep.errors import ConfigError
from ae_sweep.models import registry
from ae_sweep.training import train

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs/extending.md").read_text()


def blocks(title: str) -> list[str]:
    """Return the code under a heading of the document."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def indent(code: str, spaces: int) -> str:
    """Indent code as its place in a file has it; a formatter of the document may change that."""
    return textwrap.indent(textwrap.dedent(code), " " * spaces)


FILE, LINE = blocks("A model")
MODEL_FILE, MODEL_LINE, SETTING_ROWS = blocks("A model with two settings")
PARAMETER_ROW, TRAINER_LINES = blocks("A searched parameter")
SMALL = ("run", "--dataset", "shapes", "--train-limit", "256", "--epochs", "1", "--lr", "4e-3")


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the model of the document: its file, and its line in the registry."""
    module: dict[str, Any] = {}
    exec(FILE, module)
    line = eval(f"{{{LINE}}}", module)
    monkeypatch.setattr(registry, "MODELS", {**registry.MODELS, **line})


@pytest.mark.usefixtures("linear")
def test_a_model_of_one_file_and_one_line_is_trained_stored_and_loaded(tmp_path: Path) -> None:
    images = tiny_images()
    training = train(trial_config(model="linear", latent_dim=6, epochs=20), images)
    epochs, result = consume(training)
    assert epochs[-1].val_mse < epochs[0].val_mse
    file = tmp_path / "model.safetensors"
    file.write_bytes(result.weights)
    model = models.TrainedAutoencoder(models.load(file))
    rebuilt = torch.from_numpy(model.reconstruct(images.test.x_NCHW.numpy()))
    mse = torch.nn.functional.mse_loss(rebuilt, images.test.x_NCHW / 255).item()
    assert mse == pytest.approx(result.test_mse, rel=1e-4)


@pytest.mark.usefixtures("linear")
def test_the_new_model_is_known_by_its_name_and_can_be_nested() -> None:
    assert "linear" in models.names()
    models.check_nested("linear", dims=(2, 8), image_shape=(1, 28, 28))


@pytest.fixture
def denoising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the model with two settings: its file, its line, and the rows of its settings."""
    module: dict[str, Any] = {}
    exec(MODEL_FILE, module)
    monkeypatch.setattr(
        registry, "MODELS", {**registry.MODELS, **eval(f"{{{MODEL_LINE}}}", module)}
    )
    rows = eval(f"{{{SETTING_ROWS}}}", {"SettingOption": SettingOption})
    for name, option in rows.items():
        monkeypatch.setitem(MODEL_SETTINGS, name, option)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.usefixtures("denoising", "no_probe", "plain_pictures")
def test_a_sweep_measures_every_combination_of_two_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    store = support.fresh_store(tmp_path).root
    settings: dict[str, Any] = {
        "model": "denoising", "dims": 2, "trials": 1, "lr": 4e-3, "epochs": 1,
        "dataset": "shapes", "train_limit": 256, "store": store, "progress": False,
    }  # fmt: skip
    swept = {"hidden": [16, 32], "noise": [0, 0.5]}
    sweep = ae_sweep.run_sweep("two", **swept, **settings)  # type: ignore[misc]
    expected = [
        "denoising hidden=16 noise=0", "denoising hidden=16 noise=0.5",
        "denoising hidden=32 noise=0", "denoising hidden=32 noise=0.5",
    ]  # fmt: skip
    points = sweep.frontier.points
    assert [point.model for point in points] == expected
    assert len({point.test_mse for point in points}) == 4
    assert [str(point.condition) for point in points][1] == "d=2 hidden=16 noise=0.5"
    table = analysis.to_table(sweep.frontier)
    assert table["hidden"].tolist() == [16, 16, 32, 32]
    assert table["noise"].tolist() == [0, 0.5, 0, 0.5]
    logged = sweep.runs.parameters(points[1].run_id)
    assert (logged["model"], logged["hidden"], logged["noise"]) == (expected[1], "16", "0.5")
    model = sweep.model(points[2])
    assert model.network.encoder[1].out_features == 32
    more = {"resume": True, **settings, "hidden": [16, 32, 128]}
    grown = ae_sweep.run_sweep("two", **more)
    assert len(grown.trials) == 6
    assert [point.run_id for point in grown.frontier.points][:4] == [
        point.run_id for point in points
    ]
    # In order of the numbers: 128 comes last.
    assert grown.frontier.points[-1].model == "denoising hidden=128 noise=0.5"


@pytest.mark.usefixtures("denoising")
def test_a_setting_of_another_model_names_the_models_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only --hidden, --noise"):
        ae_sweep.plan_sweep("two", model="denoising", beta=0.1, store=tmp_path)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the package and add to it what the document shows, in the places that it names."""
    place = tmp_path_factory.mktemp("extended")
    package = place / "ae_sweep"
    shutil.copytree(ROOT / "ae_sweep", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "models" / "denoising.py").write_text(MODEL_FILE)
    edits = {
        "config/hyperparameters.py": (
            "    def __post_init__(self) -> None:\n        for name, parameter in PARAMETERS",
            indent(PARAMETER_ROW, 4) + "\n{0}",
        ),
        "training/loop.py": (
            "        warmup, descent = self.recipe.warmup, self.recipe.descent\n",
            indent(TRAINER_LINES, 8),
        ),
        "models/registry.py": (
            'MODELS: Mapping[str, Builder] = {\n',
            "from ae_sweep.models.denoising import denoising_autoencoder\n\n{0}"
            + indent(MODEL_LINE, 4),
        ),
        "config/model.py": (
            "MODEL_SETTINGS: Mapping[str, SettingOption] = {\n", "{0}" + indent(SETTING_ROWS, 4)
        ),
    }  # fmt: skip
    for file, (anchor, text) in edits.items():
        source = (package / file).read_text()
        assert source.count(anchor) == 1, file
        (package / file).write_text(source.replace(anchor, text.replace("{0}", anchor)))
    return place


def command(place: Path, *words: str) -> str:
    """Run the command line of the extended copy."""
    done = subprocess.run(
        [sys.executable, "-m", "ae_sweep", *words],
        cwd=place,
        env=environment(PYTHONPATH=str(place), MLFLOW_DISABLE_TELEMETRY="true"),
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_one_row_makes_a_searched_parameter(extended: Path) -> None:
    assert "--warmup S ... | LO:HI" in command(extended, "run", "--help")
    words = (*SMALL, "--dims", "2", "--trials", "2", "--pruner", "none", "--name", "warm")
    table = command(extended, *words, "--warmup", "0.05", "0.9")
    assert "warmup" in table.splitlines()[0]
    stored = json.loads(command(extended, "show", "warm", "--json"))
    assert stored["config"]["warmup"] == "0.05 0.9"
    trials = stored["trials"]
    assert [trial["point"]["warmup"] for trial in trials] == [0.05, 0.9]
    assert trials[0]["test_mse"] != trials[1]["test_mse"], "the trainer uses it"
    plan = json.loads(command(extended, "run", "--name", "warm", "--resume",
                              "--dry-run", "--json"))  # fmt: skip
    assert plan["trials_to_train"] == 0


@pytest.mark.slow
def test_another_row_leaves_the_stores_of_0_1_0_as_they_were(
    extended: Path, tmp_path: Path
) -> None:
    store = unpack(tmp_path / "store")
    words = ("run", "--name", "digits", "--resume", "--dry-run", "--json", "--store", str(store))
    assert json.loads(command(extended, *words))["trials_to_train"] == 0


@pytest.mark.slow
def test_a_row_for_each_setting_makes_two_options(extended: Path) -> None:
    words = (*SMALL, "--model", "denoising", "--dims", "2", "--trials", "1", "--name", "two")
    table = command(extended, *words, "--hidden", "16", "--noise", "0", "0.1")
    assert table.split()[:4] == ["Latent", "dim", "hidden", "noise"]
    assert len(table.splitlines()) == 3
