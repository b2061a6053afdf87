"""Logged models: a safetensors file and what loads it, behind MLflow's pyfunc flavour.

No pickle, no export, no subprocess; docs/decisions/0002-logged-models.md and
0013-models-carry-their-source.md have the reasons and the costs.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow.artifacts
import numpy as np
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException

from ae_sweep.errors import StoreError
from ae_sweep.isolation import once
from ae_sweep.messages import visible
from ae_sweep.tracking import names
from ae_sweep.tracking.model_source import model_source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import Model, ModelSignature

    from ae_sweep.tracking.artifact_place import ArtifactPlace

WEIGHTS_FILE = "model.safetensors"
PAGE_MODELS = 100
"""The most that a server of MLflow returns at once."""
PINNED_PACKAGES = ("mlflow", "numpy", "safetensors", "torch")
"""Packages that loading a model needs."""


def log_model(
    client: MlflowClient,
    *,
    experiment_id: str,
    run_id: str,
    step: int,
    weights: bytes,
    image_shape: tuple[int, int, int],
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
    again: bool = False,
    check_time: Callable[[], None] = lambda: None,
) -> str:
    """Log a model as the output of a run.

    Parameters
    ----------
    again
        Whether it may be logged already, or in part: then that one is completed.
    check_time
        Called between requests; may raise what ends it.
    step
        Optimiser steps it was trained for.
    weights
        A safetensors file.
    image_shape
        Channels, height, width.

    Returns
    -------
    str
        MLflow's model id. The model stays pending until the caller finalises it.
    """
    logged = _begun(client, experiment_id=experiment_id, run_id=run_id) if again else None
    if logged is None:
        with once:
            logged = client.create_logged_model(
                experiment_id,
                name=names.MODEL_NAME,
                source_run_id=run_id,
                tags=dict(tags),
                params=dict(parameters),
                model_type=names.MODEL_NAME,
            )
    from mlflow.models import Model

    description = Model(
        artifact_path=logged.artifact_location,
        model_uuid=logged.model_id,
        run_id=run_id,
        model_id=logged.model_id,
        metadata=dict(parameters),
    )
    with tempfile.TemporaryDirectory(prefix="ae-sweep-model-") as scratch:
        folder = Path(scratch) / "model"
        _save(folder, description, weights, image_shape=image_shape)
        check_time()
        client.log_model_artifacts(logged.model_id, str(folder))
    check_time()
    if not (again and _is_output(client, run_id, logged.model_id)):
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=step)])
    return str(logged.model_id)


def _begun(client: MlflowClient, *, experiment_id: str, run_id: str) -> LoggedModel | None:
    """Return the model that was begun for a run; None if there is none."""
    found = client.search_logged_models(
        [experiment_id], filter_string=f"source_run_id = '{run_id}'", max_results=1
    )
    return found[0] if found else None


def _is_output(client: MlflowClient, run_id: str, model_id: str) -> bool:
    outputs = client.get_run(run_id).outputs
    logged = outputs.model_outputs if outputs is not None else []
    return model_id in [output.model_id for output in logged]


def logged_model_id(client: MlflowClient, *, experiment_id: str, run_id: str) -> str | None:
    """Return the id of a run's model; None if it has none."""
    model = _begun(client, experiment_id=experiment_id, run_id=run_id)
    return None if model is None else str(model.model_id)


def there(
    client: MlflowClient, *, experiment_id: str, sweep: str, place: ArtifactPlace, local: bool
) -> set[str]:
    """Return the ids of a sweep's logged models that were not deleted.

    Parameters
    ----------
    local
        Whether their files are on this machine and have to be there.
    """
    found: set[str] = set()
    token: str | None = None
    while True:
        page = client.search_logged_models(
            [experiment_id],
            filter_string=f"tags.`{names.SWEEP}` = '{sweep}'",
            max_results=PAGE_MODELS,
            page_token=token,
        )
        found |= {
            str(model.model_id)
            for model in page
            if not local or _is_there(model.artifact_location, place)
        }
        token = page.token
        if not token:
            return found


def _is_there(location: str, place: ArtifactPlace) -> bool:
    try:
        weights = place.find(location, f"data/{WEIGHTS_FILE}")
    except StoreError:  # whoever loads it learns what is wrong
        return True
    return not isinstance(weights, Path) or weights.exists()


def fetch_weights(
    client: MlflowClient, *, model_id: str, scratch: Path, place: ArtifactPlace
) -> Path:
    """Return the path of a logged model's weights: those of a remote store are put in ``scratch``.

    Local ones stay where they are.

    Raises
    ------
    StoreError
        If the stored location lies outside of the store's artifacts, or is not a file.
    FileNotFoundError
        If the model was deleted.
    """
    try:
        location = client.get_logged_model(model_id).artifact_location
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise FileNotFoundError from error
    found = place.find(location, f"data/{WEIGHTS_FILE}")
    if isinstance(found, Path) and not found.exists():
        raise FileNotFoundError
    if isinstance(found, Path) and not found.is_file():
        raise StoreError(  # a pipe would be waited for
            f"{visible(found)} is not a regular file; delete that run in the MLflow UI and resume "
            "the sweep, which trains it again"
        )
    return Path(
        mlflow.artifacts.download_artifacts(
            artifact_uri=found.as_uri() if isinstance(found, Path) else found,
            tracking_uri=client.tracking_uri,
            dst_path=None if isinstance(found, Path) else str(scratch),
        )
    )


def fetch_file(
    client: MlflowClient, *, run_id: str, name: str, scratch: Path, place: ArtifactPlace
) -> Path | None:
    """Return the path of a run's file, or None if it has none of that name.

    One of a remote store is put in ``scratch``; a local one stays where it is.

    Raises
    ------
    StoreError
        If the stored location lies outside of the store's artifacts.
    """
    found = place.find(client.get_run(run_id).info.artifact_uri, name)
    if isinstance(found, Path):
        return found if found.is_file() else None
    if name not in [entry.path for entry in client.list_artifacts(run_id)]:
        return None
    return Path(
        mlflow.artifacts.download_artifacts(
            artifact_uri=found, tracking_uri=client.tracking_uri, dst_path=str(scratch)
        )
    )


def _save(
    folder: Path,
    description: Model,
    weights: bytes,
    *,
    image_shape: tuple[int, int, int],
) -> None:
    import mlflow.pyfunc

    file = folder.parent / WEIGHTS_FILE
    file.write_bytes(weights)
    source = model_source()
    for name, content in source.files.items():
        (folder.parent / name).write_bytes(content)
    with warnings.catch_warnings():
        # MLflow asks for an input example, with which it would load the model and predict.
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        mlflow.pyfunc.save_model(
            str(folder),
            mlflow_model=description,
            loader_module=source.loader_module,
            code_paths=[str(folder.parent / name) for name in source.files],
            data_path=str(file),
            pip_requirements=_requirements(),
            signature=_signature(image_shape),
        )


def _signature(image_shape: tuple[int, int, int]) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    images = TensorSpec(np.dtype(np.float32), (-1, *image_shape), name=None)
    output = ParamSpec("output", "string", default="reconstruction")
    return ModelSignature(
        inputs=Schema([images]),
        # Of the default; ``output="latent"`` gives N×latent_dim.
        outputs=Schema([images]),
        params=ParamSchema([output]),
    )


def _requirements() -> list[str]:
    # A local version ("+cpu") is on no package index.
    versions = {name: importlib.metadata.version(name) for name in PINNED_PACKAGES}
    return [f"{name}=={version.partition('+')[0]}" for name, version in versions.items()]
