"""Owns what a sweep needs before its first trial: images on the device, precision, speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep import data, models, training
from ae_sweep.cli.options import cache_dir
from ae_sweep.cli.talk import say
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.config import SweepConfig

GIGABYTE = 10**9
MAX_ESTIMATED_DIM = 10**12
"""torch cannot tell the size of much wider layers."""


@dataclass(frozen=True)
class Prepared:
    """What every trial of a sweep shares."""

    config: SweepConfig
    images: training.DeviceImages
    precision: training.Precision
    device: str
    """In words."""

    def identity(self) -> dict[str, str]:
        """Tell what may not change when the sweep is resumed."""
        return self.config.identity() | {
            "recipe": training.RECIPE.version,
            "dataset_digest": self.images.card.digest,
        }

    def parameters(self) -> dict[str, str | int | float]:
        """Tell what decides the result beside the point."""
        return {
            "batch_size": min(training.RECIPE.batch_size, self.images.card.train_images),
            "precision": self.precision.name,
            "precision_reason": self.precision.reason,
            "device": str(self.images.device),
            "device_name": self.device,
        }

    def measure_speed(self) -> dict[int, training.Speed]:
        """Time a few steps of the smallest and the largest dim, and tell every dim's speed.

        Between them a step's time grows linearly with latent_dim, as the linear layers do.
        """
        dims = self.config.dims
        low, high = (self._speed(dim) for dim in (dims[0], dims[-1]))
        span = max(dims[-1] - dims[0], 1)
        return {dim: training.between(low, high, (dim - dims[0]) / span) for dim in dims}

    def _speed(self, dim: int) -> training.Speed:
        return training.measure_speed(
            dim, self.images, model=self.config.model, precision=self.precision
        )


def prepare(config: SweepConfig, *, data_dir: Path | None, device_name: str) -> Prepared:
    """Find the device, load the images onto it and choose the precision.

    Raises
    ------
    ConfigError
        If a name is unknown, or a dim needs more memory than the device has.
    DeviceError, DataError
        If the device or the data set is not to be had.
    """
    device = training.resolve_device(device_name)
    models.check_name(config.model)
    dataset = data.load(
        config.dataset,
        cache_dir=cache_dir(),
        data_dir=data_dir,
        train_limit=config.train_limit,
        announce=say,
    )
    _check_memory(config, image_shape=dataset.card.image_shape, has=training.memory_bytes(device))
    training.keep_freed_memory()
    precision = training.choose_precision(
        device,
        model=config.model,
        image_shape=dataset.card.image_shape,
        batch_size=training.RECIPE.batch_size,
    )
    images = training.place(dataset, device)
    return Prepared(config, images, precision, training.describe_device(device))


def _check_memory(config: SweepConfig, *, image_shape: models.ImageShape, has: int) -> None:
    dim = config.dims[-1]
    needed = training.training_bytes(
        config.model, latent_dim=min(dim, MAX_ESTIMATED_DIM), image_shape=image_shape
    )
    if needed > has:
        about = "over" if dim > MAX_ESTIMATED_DIM else "about"
        raise ConfigError(
            f"latent dimension {dim} needs {about} {needed / GIGABYTE:,.0f} GB to train (weights, "
            f"gradients and the optimiser's state), and the device has {has / GIGABYTE:,.0f} GB; "
            "leave it out of --dims"
        )
