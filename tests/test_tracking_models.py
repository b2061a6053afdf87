"""A logged model is used in a fresh process, by MLflow's own API and without unpickling."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tracking_support as support
import yaml
from mlflow import MlflowClient

from ae_sweep import tracking
from ae_sweep.tracking import models

FRESH_PROCESS = """
import pickle
import sys

import cloudpickle
import mlflow.pyfunc
import numpy as np
import torch

def refuse(*_, **__):
    raise AssertionError("something was unpickled")

class Refuse(pickle.Unpickler):
    __init__ = refuse

def audit(event, _):
    if event == "pickle.find_class":
        refuse()

for module in (pickle, cloudpickle, torch):
    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        if hasattr(module, name):
            setattr(module, name, Refuse if "Unpickler" in name else refuse)
sys.addaudithook(audit)

model = mlflow.pyfunc.load_model(sys.argv[1])
images = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
again = model.predict(images)
latents = model.predict(images, params={"output": "latent"})
assert again.shape == images.shape and again.dtype == np.float32, again.shape
assert 0 <= again.min() and again.max() <= 1
assert latents.shape == (3, 8), latents.shape
raw = model.get_raw_model()
with torch.no_grad():
    decoded = raw.decode(raw.encode(torch.from_numpy(images))).numpy()
    parts = raw.decoder(raw.encoder(torch.from_numpy(images))).numpy()
np.testing.assert_allclose(decoded, again, atol=1e-6)
np.testing.assert_allclose(parts, again, atol=1e-6)
try:
    model.predict(images[:, :, :14])
except Exception as error:
    assert "schema" in str(error)
else:
    raise AssertionError("images of another shape were accepted")
print("sum", float(again.sum()))
"""


@pytest.mark.slow
def test_a_logged_model_reconstructs_encodes_and_decodes_without_pickle(tmp_path: Path) -> None:
    from ae_sweep.models import registry, storage

    model = registry.build("conv", latent_dim=8, image_shape=(1, 28, 28))
    store = support.fresh_store(tmp_path)
    sweep = tracking.open_for_writing(store).start_sweep(
        support.config(), card=support.CARD, environment={}
    )
    weights = storage.to_bytes(model, name="conv")
    model_id = support.finish(support.start(sweep), weights=weights)
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, f"models:/{model_id}"],
        env={**os.environ, "MLFLOW_TRACKING_URI": store.tracking_uri},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "mismatch" not in done.stderr
    assert done.stdout.startswith("sum ")


def test_a_model_folder_holds_safetensors_a_signature_and_pinned_packages(tmp_path: Path) -> None:
    store = support.fresh_store(tmp_path)
    sweep = tracking.open_for_writing(store).start_sweep(
        support.config(), card=support.CARD, environment={}
    )
    trial = support.start(sweep)
    model_id = support.finish(trial, weights=b"weights")
    logged = MlflowClient(tracking_uri=store.tracking_uri).get_logged_model(model_id)
    folder = Path(logged.artifact_location.removeprefix("file://"))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "MLmodel",
        "conda.yaml",
        "data/model.safetensors",
        "python_env.yaml",
        "requirements.txt",
    }
    assert (folder / "data/model.safetensors").read_bytes() == b"weights"
    description = yaml.safe_load((folder / "MLmodel").read_text())
    flavor = description["flavors"]["python_function"]
    assert flavor["loader_module"] == models.LOADER_MODULE
    assert description["run_id"] == trial.run_id
    assert description["metadata"]["latent_dim"] == "8"
    [images] = json.loads(description["signature"]["inputs"])
    assert images["tensor-spec"] == {"dtype": "float32", "shape": [-1, 1, 28, 28]}
    [output] = json.loads(description["signature"]["params"])
    assert (output["name"], output["default"]) == ("output", "reconstruction")
    lines = (folder / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in lines} == set(models.PINNED_PACKAGES)
    assert not any("+" in line for line in lines), "a local version is on no package index"


def test_a_uv_project_in_the_working_directory_stays_out_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("uv.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    store = support.fresh_store(tmp_path)
    sweep = tracking.open_for_writing(store).start_sweep(
        support.config(), card=support.CARD, environment={}
    )
    model_id = support.finish(support.start(sweep))
    logged = MlflowClient(tracking_uri=store.tracking_uri).get_logged_model(model_id)
    folder = Path(logged.artifact_location.removeprefix("file://"))
    assert not (folder / "uv.lock").exists()
