"""What a store has of a sweep, free of ids and places, to be compared with another store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import tracking_support as support
from driver_support import all_trials
from mlflow import MlflowClient

from ae_sweep.runner.export_files import ExportWriter
from ae_sweep.tracking import archive
from ae_sweep.tracking.entries import Measurement

if TYPE_CHECKING:
    from ae_sweep.locations import Store

SWEEP, TRIAL, MODEL = (digit * 32 for digit in "abc")
"""Ids of the runs of `small_export`."""
OF_A_STORE = ("mlflow.parentRunId", "mlflow.user", "mlflow.note.content", "earlier_try")
"""Tags that are not moved as they are."""


def everything(store: Store, sweep: str) -> dict[str, Any]:
    """Return all that MLflow and Optuna have of a sweep, by the name and start of each run."""
    client = MlflowClient(tracking_uri=store.tracking_uri)
    experiment = client.get_experiment_by_name("ae-sweep")
    runs = client.search_runs([experiment.experiment_id], f"tags.sweep = '{sweep}'")
    ids = {run.info.run_id: f"{run.info.start_time} {run.info.run_name}" for run in runs}
    return {
        "runs": {ids[run.info.run_id]: _run(client, run, ids) for run in runs},
        "studies": {
            name: [_trial(trial) for trial in trials]
            for name, trials in all_trials(store.optuna_path).items()
            if name.startswith(f"{sweep}/")
        },
    }


def _run(client: MlflowClient, run: Any, ids: dict[str, str]) -> dict[str, Any]:
    parent = run.data.tags.get("mlflow.parentRunId")
    (given,) = run.inputs.dataset_inputs
    return {
        "status": run.info.status,
        "end": run.info.end_time,
        "parent": parent and ids[parent],
        "tags": {key: text for key, text in run.data.tags.items() if key not in OF_A_STORE},
        "params": run.data.params,
        "dataset": given.to_dictionary()["dataset"],
        "metrics": {
            key: sorted(
                (each.step, each.timestamp, each.value)
                for each in client.get_metric_history(run.info.run_id, key)
            )
            for key in run.data.metrics
        },
        "latest": run.data.metrics,
        "files": files_of(run.info.artifact_uri, ids),
        "models": [_model(client, output, ids) for output in run.outputs.model_outputs]
        if run.outputs
        else [],
    }


def _model(client: MlflowClient, output: Any, ids: dict[str, str]) -> dict[str, Any]:
    model = client.get_logged_model(output.model_id)
    folder = unquote(urlsplit(model.artifact_location).path)
    return {
        "step": output.step,
        "source": ids[model.source_run_id],
        "status": str(model.status),
        "tags": {key: text for key, text in model.tags.items() if key not in OF_A_STORE},
        "params": model.params,
        "metrics": sorted((m.key, m.step, m.timestamp, m.value) for m in model.metrics or []),
        "weights": Path(folder, "data/model.safetensors").read_bytes(),
    }


def files_of(location: str, ids: dict[str, str]) -> dict[str, bytes]:
    folder = Path(unquote(urlsplit(location).path))
    found = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file():
            content = path.read_bytes()
            for run_id, word in ids.items():
                content = content.replace(run_id.encode(), json.dumps(word).encode())
            found[path.relative_to(folder).as_posix()] = content
    return found


def _trial(trial: Any) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "distributions": trial.distributions,
        "intermediate": trial.intermediate_values,
        "user": trial.user_attrs,
        "system": trial.system_attrs,
        "times": (trial.datetime_start, trial.datetime_complete),
    }


def archived(run_id: str, **changes: Any) -> archive.ArchivedRun:
    fields: dict[str, Any] = {
        "name": "r", "status": "FINISHED", "start_ms": 1, "end_ms": 2, "tags": {"sweep": "r"},
        "parameters": {"latent_dim": "2"},
        "metrics": (Measurement(key="val_mse", value=0.1, step=1, timestamp_ms=1),),
    }  # fmt: skip
    return archive.ArchivedRun(run_id=run_id, **fields | changes)


def small_export(directory: Path) -> Path:
    """Write an export by hand: one sweep with two trials, of which one has a model."""
    out = ExportWriter(directory)
    card = support.CARD
    sweep = archive.ArchivedSweep(
        name="r", run=archived(SWEEP, parameters={"name": "r"}), card=card
    )
    model = archive.ArchivedModel(
        step=1, image_shape=card.image_shape, parameters={}, tags={}, metrics=()
    )
    out.write_json("sweep.json", archive.sweep_document(sweep))
    out.write_json("trials.json", [archive.run_document(archived(each)) for each in (TRIAL, MODEL)])
    study = {"condition": "d=2", "user_attributes": {}, "system_attributes": {}, "trials": []}
    out.write_json("studies.json", [study])
    out.write("trials.csv", b"name\nr\n")
    out.write(f"runs/{TRIAL}/reconstructions.png", support.png())
    out.write_json(f"models/{MODEL}.json", archive.model_document(model))
    out.write(f"models/{MODEL}.safetensors", b"weights")
    out.finish(sweep="r")
    return out.directory
