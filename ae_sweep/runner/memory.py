"""Memory that trainings need, and for how many of them there is enough."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ae_sweep import training
from ae_sweep.config import PARAMETERS, bounds
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.config import SweepConfig
    from ae_sweep.models import ImageShape
    from ae_sweep.records import DatasetCard

GIGABYTE = 10**9
PROCESS_BYTES = 7 * 10**8
"""A worker process beside its images and what a wide model needs: torch, and the activations of
a default batch of MNIST."""
MNIST_SHAPE = (1, 28, 28)
MAX_ESTIMATED_DIM = 10**12
"""torch cannot compute the size of much wider layers."""


def most_workers(
    config: SweepConfig,
    card: DatasetCard,
    devices: Sequence[str],
    *,
    wanted: int | None,
    image_memory: int | None,
) -> int:
    """Return how many processes there is memory for.

    Raises
    ------
    ConfigError
        If a dim or a batch needs more memory than a device has, or more processes are wanted.
    """
    device = training.resolve_device(devices[0])
    has = training.memory_bytes(device)
    needed = needed_bytes(config, card, has=has)
    where = training.choose_place(card, device, most_bytes=image_memory)
    images = training.image_bytes(card) if where == "device" else 0
    each = needed + images + PROCESS_BYTES
    most = len(devices) * (has // each)
    if where == "host":  # every process has its own copy there
        host = training.memory_bytes(training.resolve_device("cpu"))
        most = min(most, host // (training.image_bytes(card) + PROCESS_BYTES))
    if wanted is not None and wanted > max(most, 1):
        raise ConfigError(
            f"--workers {wanted} need about {wanted * each / GIGABYTE:,.0f} GB to train latent "
            f"dimension {config.dims[-1]} all at once, {images / GIGABYTE:,.1f} GB of images each, "
            f"and there are {len(devices) * has / GIGABYTE:,.0f} GB; give at most --workers "
            f"{most or 1}"
        )
    return most


def needed_bytes(config: SweepConfig, card: DatasetCard, *, has: int) -> int:
    """Return the bytes that a training of the largest dim needs, beside the images.

    Raises
    ------
    ConfigError
        If a device of that memory has not enough for a dim or a batch.
    """
    needed = _check_memory(config, image_shape=card.image_shape, has=has)
    return needed + _check_batches(config, card, has=has)


def _check_batches(config: SweepConfig, card: DatasetCard, *, has: int) -> int:
    """Return the bytes of activations that the largest batch needs beyond the default's of MNIST.

    Raises
    ------
    ConfigError
        If a batch size that was asked for is larger than the data set, or than the memory, or the
        smallest batch is too small for a model.
    """
    space = config.space
    for model in config.models:
        training.check_batch(
            model,
            latent_dim=config.dims[0],
            image_shape=card.image_shape,
            batch_size=int(min(bounds(space["batch_size"]))),
            train_images=card.train_images,
        )
    largest = int(max(bounds(space["batch_size"])))
    if not space.is_default("batch_size") and largest > card.train_images:
        raise ConfigError(
            f"a batch of {largest} images is more than the {card.train_images} training images; "
            f"give at most --batch-size {card.train_images}"
        )
    default = int(PARAMETERS["batch_size"].default)
    if largest <= default and card.pixels <= math.prod(MNIST_SHAPE):
        return 0
    beyond = max(
        largest * _activation_bytes(config, model, card.image_shape)
        - default * _activation_bytes(config, model, MNIST_SHAPE)
        for model in config.models
    )
    if beyond > has:
        raise ConfigError(
            f"a batch of {largest} images needs about {beyond / GIGABYTE:,.0f} GB of "
            f"activations, and the device has {has / GIGABYTE:,.0f} GB; give a smaller --batch-size"
        )
    return max(0, beyond)


def _activation_bytes(config: SweepConfig, model: str, image_shape: ImageShape) -> int:
    return training.activation_bytes(model, latent_dim=config.dims[0], image_shape=image_shape)


def _check_memory(config: SweepConfig, *, image_shape: ImageShape, has: int) -> int:
    """Return the bytes that the largest dim needs, if the device has them."""
    dim = config.dims[-1]
    needed = max(
        training.training_bytes(
            model, latent_dim=min(dim, MAX_ESTIMATED_DIM), image_shape=image_shape
        )
        for model in config.models
    )
    if needed > has:
        about = "over" if dim > MAX_ESTIMATED_DIM else "about"
        raise ConfigError(
            f"latent dimension {dim} needs {about} {needed / GIGABYTE:,.0f} GB to train (weights, "
            f"gradients and the optimiser's state), and the device has {has / GIGABYTE:,.0f} GB; "
            "leave it out of --dims"
        )
    return needed
