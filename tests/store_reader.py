"""Reads a store as somebody would who has mlflow and optuna and has never heard of ae-sweep.

Run as a program it also refuses to unpickle anything while it loads the models.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from mlflow import MlflowClient


def read_runs(store: str) -> dict[str, Any]:
    """Return all runs and studies as what JSON can hold."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
    client = MlflowClient()
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    return {"runs": [_run(client, run) for run in runs], "studies": _studies(store)}


def _run(client: MlflowClient, run: Any) -> dict[str, Any]:
    run_id, data = run.info.run_id, run.data
    return {
        "id": run_id, "name": run.info.run_name, "status": run.info.status,
        "params": data.params, "tags": data.tags, "metrics": data.metrics,
        "history": {
            key: [[m.step, m.value] for m in client.get_metric_history(run_id, key)]
            for key in data.metrics
        },
        "inputs": [
            {"name": i.dataset.name, "digest": i.dataset.digest, "profile": i.dataset.profile}
            for i in run.inputs.dataset_inputs
        ],
        "models": [output.model_id for output in run.outputs.model_outputs] if run.outputs else [],
        "artifacts": [file.path for file in client.list_artifacts(run_id)],
    }  # fmt: skip


def _studies(store: str) -> dict[str, list[dict[str, Any]]]:
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{store}/optuna.db")
    try:
        studies = [
            optuna.load_study(study_name=name, storage=storage)
            for name in optuna.get_all_study_names(storage)
        ]
        return {
            study.study_name: [
                {"state": t.state.name, "value": t.value, "params": t.params,
                 "reports": {str(step): value for step, value in t.intermediate_values.items()}}
                for t in study.trials if "duplicate_of" not in t.user_attrs
            ]
            for study in studies
        }  # fmt: skip
    finally:
        storage.engine.dispose()


def read_models(runs: list[dict[str, Any]], images: Any) -> dict[str, dict[str, Any]]:
    """Load every logged model; return by run what it makes of images (N×C×H×W in [0, 1])."""
    import mlflow
    import torch

    client = MlflowClient()
    told = {}
    for run in runs:
        for model_id in run["models"]:
            model = mlflow.pyfunc.load_model(f"models:/{model_id}")
            rebuilt = model.predict(images)
            latents = model.predict(images, params={"output": "latent"})
            network = model.get_raw_model()
            with torch.inference_mode():
                x = torch.from_numpy(images)
                halves = network.decoder(network.encoder(x))
                again = network.decode(network.encode(x)).numpy()
            logged = client.get_logged_model(model_id)
            told[run["id"]] = {
                "mse": float(np.mean((rebuilt.astype(np.float64) - images) ** 2)),
                "dtype": str(rebuilt.dtype),
                "shape": list(rebuilt.shape),
                "latents": list(latents.shape),
                "halves": list(halves.shape),
                "agrees": float(np.abs(again - rebuilt).max()),
                "status": str(logged.status),
                "metrics": sorted({metric.key for metric in logged.metrics or []}),
            }
    return told


def parent_of(told: dict[str, Any]) -> dict[str, Any]:
    (parent,) = [run for run in told["runs"] if "mlflow.parentRunId" not in run["tags"]]
    return parent


def trials_of(told: dict[str, Any], outcome: str | None = None) -> list[dict[str, Any]]:
    children = [run for run in told["runs"] if "mlflow.parentRunId" in run["tags"]]
    return [run for run in children if outcome in (None, run["tags"]["outcome"])]


def _refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("pickle was used")


def _main(store: str, images_file: str) -> None:
    import pickle

    told = read_runs(store)
    assert not [module for module in sys.modules if module.startswith("ae_sweep")]

    import torch  # noqa: F401 - first, since it defines classes on top of what is now broken

    broken: Any = pickle
    broken.load = broken.loads = broken.Unpickler = broken._Unpickler = _refuse
    import cloudpickle

    cloudpickle.load = cloudpickle.loads = _refuse
    told["models"] = read_models(told["runs"], np.load(images_file, allow_pickle=False))
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    _main(*sys.argv[1:])
