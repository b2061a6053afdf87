"""The Python interface: a stored sweep as tables, curve and models."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tracking_support as support
from rated_records import frontier_of, vae

import ae_sweep
from ae_sweep import tracking
from ae_sweep.errors import ConfigError, NotStoredError
from ae_sweep.records import Role

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Sweep


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = support.fresh_store(tmp_path_factory.mktemp("api")).root
    writer = tracking.open_for_writing(support.Store(root)).start_sweep(
        support.config("two", dims=(2, 4)), card=support.CARD, environment={}
    )
    for dim in (2, 4):
        trial = writer.start_trial(
            name=f"d={dim} trial 0",
            point=support.point(dim),
            role=Role.SEARCH,
            parameters=support.PARAMETERS,
        )
        support.finish(trial, val_mse=0.1 / dim, test_mse=0.08 / dim)
        support.start(writer, support.point(dim, seed=3)).prune()
    support.finish_sweep(writer)
    return root


def test_a_sweep_is_read_by_its_name_or_as_the_latest(store: Path) -> None:
    assert ae_sweep.load_sweep("two", store=store).name == "two"
    assert ae_sweep.load_sweep(store=str(store)).name == "two"
    with pytest.raises(NotStoredError, match="no sweep is named 'nobody'"):
        ae_sweep.load_sweep("nobody", store=store)


def test_every_trial_is_a_row_and_what_was_not_measured_is_nan(store: Path) -> None:
    table = ae_sweep.load_sweep(store=store).trials_table()
    assert table["latent_dim"].tolist() == [2, 2, 4, 4]
    assert table["outcome"].tolist() == ["finished", "pruned"] * 2
    assert table["test_mse"].dtype == "float64"
    np.testing.assert_allclose(table["test_mse"], [0.04, np.nan, 0.02, np.nan])


def test_the_curve_is_a_table_too(store: Path) -> None:
    sweep = ae_sweep.load_sweep(store=store)
    assert sweep.frontier_table()[["latent_dim", "test_mse"]].to_numpy().tolist() == [
        [2.0, 0.04],
        [4.0, 0.02],
    ]
    assert (sweep.nearest(1).latent_dim, sweep.nearest(99).latent_dim) == (2, 4)
    with pytest.raises(NotStoredError, match="latent dimension 3, only of 2, 4"):
        sweep.points([2, 3])


def test_a_rate_is_a_column_for_each_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    again = [vae(8, 1, 9.0 + seed, 0.03, 8, seed=seed) for seed in (0, 1, 2)]
    sweep = object.__new__(ae_sweep.Sweep)
    sweep.__dict__["frontier"] = frontier_of(again)
    (row,) = sweep.frontier_table().to_dict("records")
    assert (row["rate_bits"], row["rate_mse"], row["rate_active_latents"]) == (10, 0.03, 8)
    assert row["rate_bits_std"] == pytest.approx(1)
    assert "rate" not in row


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, ae_sweep; heavy = {'torch', 'mlflow', 'optuna', 'pandas', 'numpy'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_stored_model_encodes_and_decodes_the_sweeps_own_images(real_sweep: Sweep) -> None:
    sweep = ae_sweep.load_sweep(real_sweep.name, store=real_sweep.store)
    dims = sweep.frontier_table()["latent_dim"]
    model = sweep.model(dims[dims == 8].iloc[0])  # an integer of numpy's
    x = sweep.dataset.test_NCHW
    z = model.encode(x)
    assert (z.shape, z.dtype) == ((len(x), 8), np.float32)
    rebuilt = model.decode(z)
    np.testing.assert_allclose(model.reconstruct(x), rebuilt, atol=1e-6)
    (point,) = sweep.points([8])
    trial = next(trial for trial in sweep.trials if trial.run_id == point.run_id)
    # What was logged is what the model does, of bytes as of floats.
    assert np.square(x / 255 - rebuilt).mean() == pytest.approx(trial.test_mse, rel=1e-4)
    np.testing.assert_array_equal(model.encode((x / 255).astype(np.float32)), z)
    with pytest.raises(ConfigError, match="latents must be N×8, got 3×9"):
        model.decode(np.zeros((3, 9), np.float32))
    with pytest.raises(ConfigError, match="images must be N×"):
        model.encode(x[0])
