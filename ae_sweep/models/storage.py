"""Serialisation of models as safetensors, without pickle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from ae_sweep.config.model import Condition
from ae_sweep.errors import ConfigError, DataError
from ae_sweep.messages import shorten, visible
from ae_sweep.models import registry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ae_sweep.models.autoencoder import Autoencoder

METADATA_KEY = "ae_sweep"


def to_bytes(model: Autoencoder, *, name: str) -> bytes:
    """Serialise weights, with what is needed to rebuild the model in the metadata.

    Parameters
    ----------
    model
        A model on any device.
    name
        Its name in the registry.
    """
    architecture = {
        "model": name,
        "latent_dim": model.latent_dim,
        "image_shape": list(model.image_shape),
    }
    tensors = {key: value.cpu().contiguous() for key, value in model.state_dict().items()}
    return safetensors.torch.save(tensors, metadata={METADATA_KEY: json.dumps(architecture)})


def load(path: Path, *, expected: Condition | None = None) -> Autoencoder:
    """Rebuild a model from its safetensors file, on the CPU and in evaluation mode.

    Parameters
    ----------
    expected
        The trial whose model is expected.

    Raises
    ------
    DataError
        If the file was not written by ae-sweep, is damaged, or holds another model than expected.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            architecture = json.loads(file.metadata()[METADATA_KEY])
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        _check_shapes(shapes, architecture)
        model = registry.build(
            architecture["model"],
            latent_dim=architecture["latent_dim"],
            image_shape=tuple(architecture["image_shape"]),
        )
        model.load_state_dict(safetensors.torch.load_file(path))
    except (
        ConfigError,  # an unknown model, or images it cannot take
        OSError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        RecursionError,
        safetensors.SafetensorError,
    ) as error:
        raise DataError(
            f"{visible(path)} holds no model of ae-sweep: {visible(error)}; restore it from a copy"
        ) from error
    found = Condition(model.latent_dim, architecture["model"])
    if expected is not None and expected != found:
        raise DataError(
            f"{visible(path)} holds the model {shorten(found.model)} of {found.latent_dim} "
            f"latents, not {expected.model} of {expected.latent_dim}: the file was exchanged; "
            "restore it"
        )
    return model.eval()


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], architecture: Mapping[str, Any]) -> None:
    """Refuse an architecture that the weights are not of, before any memory is taken for it.

    Raises
    ------
    ValueError
        With the first tensor that differs.
    """
    with torch.device("meta"):
        described = registry.build(
            architecture["model"],
            latent_dim=architecture["latent_dim"],
            image_shape=tuple(architecture["image_shape"]),
        ).state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in described.items()}
    for name in sorted(shapes.keys() | expected.keys()):
        if shapes.get(name) != expected.get(name):
            raise ValueError(
                f"its tensor {shorten(name)} is of shape {shapes.get(name)}, its description says "
                f"{expected.get(name)}"
            )
