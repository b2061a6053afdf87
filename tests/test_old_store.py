"""What version 0.1.0 stored is read, resumed and extended as it was."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from old_store import FIXTURE, KEPT_RUN_ID, unpack

import ae_sweep
from ae_sweep import models, tracking
from ae_sweep.config.hyperparameters import GOOD_LR_OF_RECIPE_2
from ae_sweep.locations import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Done

SWEEPS = ("digits", "vae", "fsq", "nested")
GROWTH = {
    "digits": (["--dims", "1", "2", "4", "8", "16"], 3),
    "vae": (["--beta", "0.1", "1", "2"], 1),
    "fsq": (["--dims", "2", "4", "8"], 2),
}
"""By sweep: what is added to it, and how many trainings that takes."""


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the store for tests that write nothing to it."""
    return unpack(tmp_path_factory.mktemp("old") / "store")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Unpack the store for a test that writes to it."""
    return unpack(tmp_path / "store")


def frontier(cli: Callable[..., Done], name: str, store: Path) -> Any:
    done = cli("frontier", name, "--json", "--store", str(store))
    assert done.code == 0, done.err
    return json.loads(done.out)


def first_fields(document: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a frontier's document that 0.1.0 had: it computed no statistics."""
    return {key: value for key, value in document.items() if key != "statistics"}


def stored_frontier(name: str) -> Any:
    return json.loads((FIXTURE / f"{name}.json").read_text())


@pytest.mark.usefixtures("plain_pictures")
@pytest.mark.parametrize("name", SWEEPS)
def test_a_frontier_is_the_same_to_the_last_digit(
    cli: Callable[..., Done], read_only: Path, name: str
) -> None:
    assert first_fields(frontier(cli, name, read_only)) == stored_frontier(name)


@pytest.mark.parametrize("name", SWEEPS)
def test_every_point_keeps_its_key(read_only: Path, name: str) -> None:
    with contextlib.closing(sqlite3.connect(read_only / "mlflow.db")) as connection:
        query = "SELECT run_uuid, value FROM tags WHERE key = 'point'"
        keys = dict(connection.execute(query).fetchall())
    found = {trial.run_id: trial.point.key for trial in trials(read_only, name)}
    assert found
    assert found == {run_id: keys[run_id] for run_id in found}


@pytest.mark.usefixtures("no_probe")
@pytest.mark.parametrize("name", SWEEPS)
def test_a_complete_sweep_has_nothing_left_to_train(
    cli: Callable[..., Done], read_only: Path, name: str
) -> None:
    words = ("run", "--name", name, "--resume", "--dry-run", "--json", "--store", str(read_only))
    done = cli(*words)
    assert done.code == 0, done.err
    assert json.loads(done.out)["trials_to_train"] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("no_probe")
@pytest.mark.parametrize("name", SWEEPS)
def test_a_complete_sweep_is_resumed_without_a_training(
    cli: Callable[..., Done], store: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[object] = []
    for way in ("train", "NestedTrainings"):
        monkeypatch.setattr(f"ae_sweep.training.{way}", lambda *_, **given: trained.append(given))
    done = cli("run", "--name", name, "--resume", "--json", "--store", str(store))
    assert done.code == 0, done.err
    assert json.loads(done.out)["frontier"] == stored_frontier(name)
    assert first_fields(frontier(cli, name, store)) == stored_frontier(name)
    assert len(trials(store, name)) == len(trials(unpack(store.parent / "again"), name))


@pytest.mark.usefixtures("no_probe")
@pytest.mark.parametrize("name", GROWTH)
def test_a_sweep_that_grows_plans_what_is_new_alone(
    cli: Callable[..., Done], read_only: Path, name: str
) -> None:
    more, wanted = GROWTH[name]
    words = ("run", "--name", name, "--resume", "--dry-run", "--json", "--store", str(read_only))
    done = cli(*words, *more)
    assert done.code == 0, done.err
    assert json.loads(done.out)["trials_to_train"] == wanted


def test_a_nested_sweep_cannot_grow_because_its_dims_share_one_network(
    cli: Callable[..., Done], read_only: Path
) -> None:
    words = ("run", "--name", "nested", "--resume", "--dry-run", "--store", str(read_only))
    done = cli(*words, "--dims", "2", "4", "8")
    assert done.code == 4
    assert "recipe is 2 nested 2 4, not 2 nested 2 4 8" in " ".join(done.err.split())


@pytest.mark.slow
@pytest.mark.parametrize("name", GROWTH)
def test_a_sweep_grows_and_keeps_every_point_it_had(
    cli: Callable[..., Done], store: Path, name: str
) -> None:
    more, wanted = GROWTH[name]
    before = {trial.run_id for trial in trials(store, name)}
    done = cli("run", "--name", name, "--resume", *more, "--store", str(store))
    assert done.code == 0, done.err
    after = {trial.run_id for trial in trials(store, name)}
    assert after > before
    assert len(after - before) == wanted
    assert {trial.point.recipe for trial in trials(store, name)} == {"2"}, "that of 0.1.0"
    grown = [trial for trial in trials(store, name) if trial.run_id in after - before]
    assert GOOD_LR_OF_RECIPE_2 in {trial.point.hyperparameters.lr for trial in grown}
    kept = ("run_id", "test_mse", "val_mse", "lr", "epochs", "seeds", "test_mse_std")
    old, new = stored_frontier(name)["points"], frontier(cli, name, store)["points"]
    grown = {point["run_id"]: point for point in new}
    assert len(new) == len(old) + 1
    for point in old:
        assert {key: grown[point["run_id"]][key] for key in kept} == {
            key: point[key] for key in kept
        }


def test_a_stored_model_rebuilds_images_as_it_did(read_only: Path) -> None:
    sweep = ae_sweep.load_sweep("digits", store=read_only)
    (point,) = sweep.points([2])
    assert point.run_id == KEPT_RUN_ID
    images = sweep.dataset.test_NCHW
    model = sweep.model(2)
    mse = ((model.reconstruct(images) - images / 255) ** 2).mean()
    (trial,) = (trial for trial in sweep.trials if trial.run_id == KEPT_RUN_ID)
    assert mse == pytest.approx(trial.test_mse, rel=1e-3)  # its weights were rounded


def test_every_stored_model_is_loaded_as_the_one_that_its_run_names(read_only: Path) -> None:
    for name in SWEEPS:
        sweep = ae_sweep.load_sweep(name, store=read_only)
        for point in sweep.frontier.points:
            assert sweep.model(point).latent_dim == point.latent_dim


def test_a_table_of_all_trials_has_their_learning_rates_and_epochs(read_only: Path) -> None:
    table = ae_sweep.load_sweep("digits", store=read_only).trials_table()
    assert len(table) == 12
    assert set(table["epochs"]) == {1, 2}
    assert table["lr"].between(1e-3, 1e-2).all()


def trials(store: Path, name: str) -> Any:
    return tracking.open_for_reading(Store(store)).trials(name)


def test_the_names_in_models_are_those_of_the_registry(read_only: Path) -> None:
    for name, model in (("vae", "vae beta=0.1"), ("fsq", "fsq codebook=16"), ("nested", "conv")):
        point = ae_sweep.load_sweep(name, store=read_only).frontier.points[0]
        assert point.model == model
        models.check_name(point.model)
