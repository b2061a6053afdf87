"""Names of the models, and how a model is built from its name."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Protocol

import torch

from ae_sweep.config.model import ModelSetting, ModelSpec, model_family, setting_text
from ae_sweep.errors import ConfigError
from ae_sweep.messages import shorten, unknown_name
from ae_sweep.models.conv import conv_autoencoder
from ae_sweep.models.fsq import finite_scalar_autoencoder
from ae_sweep.models.mlp import mlp_autoencoder
from ae_sweep.models.ntc import transform_coder
from ae_sweep.models.vae import variational_autoencoder
from ae_sweep.models.vqvae import vector_quantised_autoencoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ae_sweep.models.autoencoder import Autoencoder, ImageShape


class Builder(Protocol):
    """Builds a model of one architecture.

    Further arguments, numbers with a default, are the model's settings: with ``beta``, the model
    ``vae`` becomes the models ``vae beta=0.01``, ``vae beta=0.1`` and so on.
    """

    def __call__(self, *, latent_dim: int, image_shape: ImageShape) -> Autoencoder:
        """Build the model for a bottleneck width and an image shape (channels, height, width)."""


MODELS: Mapping[str, Builder] = {
    "conv": conv_autoencoder,
    "mlp": mlp_autoencoder,
    "vae": variational_autoencoder,
    "vqvae": vector_quantised_autoencoder,
    "fsq": finite_scalar_autoencoder,
    "ntc": transform_coder,
}


def names() -> tuple[str, ...]:
    """Return the names of all models."""
    return tuple(MODELS)


def check_name(name: str) -> None:
    """Refuse a name that is not a model's.

    Raises
    ------
    ConfigError
        If there is no model of that name; the message has the nearest one.
    """
    _builder(name)


def default_settings(name: str) -> tuple[ModelSetting, ...]:
    """Return the settings of a model with their default values, in the order of its definition.

    Raises
    ------
    ConfigError
        If there is no model of that name.
    """
    return tuple(
        ModelSetting(parameter.name, (float(parameter.default),))
        for parameter in inspect.signature(_family_builder(name)).parameters.values()
        if parameter.name not in ("latent_dim", "image_shape")
    )


def build(name: str, *, latent_dim: int, image_shape: ImageShape, seed: int = 0) -> Autoencoder:
    """Build a freshly initialised model on the CPU.

    Parameters
    ----------
    name
        Name of the model, with the settings that are not at their default: ``vae beta=0.1``.
    seed
        Seed of the initial weights, which depend on nothing else; the caller's random state does
        not change.

    Raises
    ------
    ConfigError
        If there is no model of that name, or it cannot take such images.
    """
    builder = _builder(name)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds every GPU's generator as well.
        torch.default_generator.manual_seed(seed)
        return builder(latent_dim=latent_dim, image_shape=image_shape)


def parameter_count(name: str, *, latent_dim: int, image_shape: ImageShape) -> int:
    """Count the weights and biases of a model without allocating them.

    Raises
    ------
    ConfigError
        If there is no model of that name, or it cannot take such images.
    """
    builder = _builder(name)
    with torch.device("meta"):
        model = builder(latent_dim=latent_dim, image_shape=image_shape)
    return sum(parameter.numel() for parameter in model.parameters())


def _builder(name: str) -> Builder:
    builder = _family_builder(name)
    spec = ModelSpec.parse(name)
    known = {setting.name for setting in default_settings(spec.family)}
    for key, value in spec.settings:
        if key not in known:
            word = f"{key}={setting_text(value)}"
            raise ConfigError(f"the model {spec.family!r} has no setting {shorten(word)}")
    return functools.partial(builder, **dict(spec.settings))  # type: ignore[arg-type]


def _family_builder(name: str) -> Builder:
    try:
        return MODELS[model_family(name)]
    except KeyError:
        raise unknown_name("model", name, MODELS) from None
