"""Owns the names of the models and how one is built from its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from ae_sweep.config import unknown_name
from ae_sweep.models.conv import conv_autoencoder
from ae_sweep.models.mlp import mlp_autoencoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ae_sweep.models.autoencoder import Autoencoder, ImageShape


class Builder(Protocol):
    """Builds a model of one architecture."""

    def __call__(self, *, latent_dim: int, image_shape: ImageShape) -> Autoencoder:
        """Build it for a bottleneck width and an image shape (channels, height, width)."""


MODELS: Mapping[str, Builder] = {
    "conv": conv_autoencoder,
    "mlp": mlp_autoencoder,
}


def names() -> tuple[str, ...]:
    """Return the names of all models."""
    return tuple(MODELS)


def check_name(name: str) -> None:
    """Refuse a name that is no model.

    Raises
    ------
    ConfigError
        With the nearest name.
    """
    _builder(name)


def build(name: str, *, latent_dim: int, image_shape: ImageShape, seed: int = 0) -> Autoencoder:
    """Build a freshly initialised model on the CPU.

    The initial weights depend on ``seed`` alone; the caller's random state is left as it was.

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
    try:
        return MODELS[name]
    except KeyError:
        raise unknown_name("model", name, MODELS) from None
