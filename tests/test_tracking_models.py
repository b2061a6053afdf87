"""A logged model is used by MLflow's own API, without ae-sweep and without unpickling."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
import tracking_support as support
import yaml
from conftest import environment
from mlflow import MlflowClient

from ae_sweep import tracking
from ae_sweep.models import TrainedAutoencoder, registry, storage
from ae_sweep.tracking import model_source as model_source_module
from ae_sweep.tracking.mlflow_env import quiet_mlflow
from ae_sweep.tracking.model_source import model_source

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

class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "ae_sweep":
            raise ModuleNotFoundError("ae-sweep is not installed here")

sys.meta_path.insert(0, Absent())
images = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
predictions = {}
for name, model_id in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    model = mlflow.pyfunc.load_model(f"models:/{model_id}")
    again = model.predict(images)
    latents = model.predict(images, params={"output": "latent"})
    assert again.shape == images.shape and again.dtype == np.float32, again.shape
    assert 0 <= again.min() and again.max() <= 1
    assert latents.shape[0] == 3, latents.shape
    if name == "conv":
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
    predictions[name] = again
    predictions[f"{name} latents"] = latents
assert not any(name == "ae_sweep" for name in sys.modules)
np.savez("predictions.npz", **predictions)
"""


@pytest.mark.slow
def test_logged_models_load_where_ae_sweep_is_not_installed_and_without_pickle(
    tmp_path: Path,
) -> None:
    store = support.fresh_store(tmp_path)
    sweep = tracking.open_for_writing(store).start_sweep(
        support.config(), card=support.CARD, environment={}
    )
    networks, words = {}, []
    for seed, name in enumerate(registry.names()):
        network = registry.build(name, latent_dim=8, image_shape=(1, 28, 28), seed=seed).eval()
        weights = storage.to_bytes(network, name=name)
        trial = support.start(sweep, support.point(seed=seed))
        networks[name] = TrainedAutoencoder(network)
        words += [name, support.finish(trial, weights=weights)]
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, *words],
        env={**environment(PYTHONPATH=""), "MLFLOW_TRACKING_URI": store.tracking_uri},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "mismatch" not in done.stderr
    images = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
    with np.load(tmp_path / "predictions.npz") as predictions:
        for name, network in networks.items():
            np.testing.assert_array_equal(predictions[name], network.reconstruct(images))
            np.testing.assert_array_equal(predictions[f"{name} latents"], network.encode(images))


def test_a_model_of_version_0_1_0_loads_beside_one_that_carries_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])  # MLflow adds a model's code to it
    network = registry.build("vae", latent_dim=4, image_shape=(1, 28, 28)).eval()
    weights = storage.to_bytes(network, name="vae")
    (tmp_path / "model.safetensors").write_bytes(weights)
    with quiet_mlflow():
        mlflow.pyfunc.save_model(
            str(tmp_path / "old"),
            loader_module="ae_sweep.models.serving",  # its name in the stores of 0.1.0
            data_path=str(tmp_path / "model.safetensors"),
            pip_requirements=["torch"],
        )
        old = mlflow.pyfunc.load_model(str(tmp_path / "old"))
    new = mlflow.pyfunc.load_model(str(_logged_folder(tmp_path, weights)))
    images = np.random.default_rng(0).random((2, 1, 28, 28), dtype=np.float32)
    np.testing.assert_array_equal(old.predict(images), new.predict(images))
    assert type(old.get_raw_model()) is type(network)
    assert type(new.get_raw_model()).__module__.startswith("ae_sweep_")


def test_the_source_that_a_model_carries_is_named_after_its_content(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = model_source.__wrapped__()
    assert model_source.__wrapped__() == first
    monkeypatch.setattr(model_source_module, "__version__", "9.9.9")
    other = model_source.__wrapped__()
    assert other.loader_module != first.loader_module
    assert not set(other.files) & set(first.files)


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
    source = model_source()
    assert files == {
        *(f"code/{name}" for name in source.files),
        "MLmodel",
        "conda.yaml",
        "data/model.safetensors",
        "python_env.yaml",
        "requirements.txt",
    }
    assert (folder / "data/model.safetensors").read_bytes() == b"weights"
    description = yaml.safe_load((folder / "MLmodel").read_text())
    flavor = description["flavors"]["python_function"]
    assert flavor["loader_module"] == source.loader_module
    assert sum(map(len, source.files.values())) < 60_000, "every trial carries it"
    assert description["run_id"] == trial.run_id
    assert description["metadata"]["latent_dim"] == "8"
    [images] = json.loads(description["signature"]["inputs"])
    assert images["tensor-spec"] == {"dtype": "float32", "shape": [-1, 1, 28, 28]}
    [output] = json.loads(description["signature"]["params"])
    assert (output["name"], output["default"]) == ("output", "reconstruction")
    lines = (folder / "requirements.txt").read_text().split()
    names = {line.partition("==")[0] for line in lines}
    assert names == {"mlflow", "numpy", "safetensors", "torch"}
    assert not any("+" in line for line in lines), "a local version is on no package index"


def test_a_uv_project_in_the_working_directory_stays_out_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("uv.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    folder = _logged_folder(tmp_path, b"weights")
    assert not (folder / "uv.lock").exists()


def _logged_folder(tmp_path: Path, weights: bytes) -> Path:
    store = support.fresh_store(tmp_path)
    sweep = tracking.open_for_writing(store).start_sweep(
        support.config(), card=support.CARD, environment={}
    )
    model_id = support.finish(support.start(sweep), weights=weights)
    logged = MlflowClient(tracking_uri=store.tracking_uri).get_logged_model(model_id)
    return Path(logged.artifact_location.removeprefix("file://"))
