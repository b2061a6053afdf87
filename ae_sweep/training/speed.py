"""Throughput benchmark for time estimates, and the memory of a training."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ae_sweep import models
from ae_sweep.config import Hyperparameters, TrialConfig
from ae_sweep.records import QUARTERS
from ae_sweep.training.evaluate import BATCH, mean_squared_error, rate, validation
from ae_sweep.training.precision import FP32, Precision
from ae_sweep.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ae_sweep.training.images import DeviceImages

WARM_UP_STEPS = 4
TIMED_STEPS = 12
MEASURED_IMAGES = 2
"""Of which activations are counted: batch norm takes no single one."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What one latent dimension costs on this machine."""

    epoch_seconds: float
    """One pass over the training images."""
    validation_seconds: float
    """One pass over the validation images."""
    test_seconds: float
    """One pass over the test images."""

    def trial_seconds(self, epochs: int) -> float:
        """Estimate the seconds of a whole training, without tracking."""
        validations = epochs + QUARTERS - math.gcd(epochs, QUARTERS)
        return (
            epochs * self.epoch_seconds + validations * self.validation_seconds + self.test_seconds
        )


def measure_speed(
    latent_dim: int, images: DeviceImages, *, model: str, precision: Precision, batch_size: int
) -> Speed:
    """Time a few training steps and one evaluation batch of one latent dimension."""
    config = TrialConfig(
        latent_dim=latent_dim,
        hyperparameters=Hyperparameters(lr=1e-3, epochs=1, batch_size=batch_size),
        model=model,
    )
    trainer = Trainer(config, images, precision=precision)
    _seconds(trainer, WARM_UP_STEPS)
    step_seconds = _seconds(trainer, TIMED_STEPS) / TIMED_STEPS
    return Speed(
        epoch_seconds=step_seconds * trainer.steps_per_epoch,
        validation_seconds=_seconds_of(
            lambda x: validation(trainer.model, x, precision=precision), images.val_NCHW
        ),
        test_seconds=_seconds_of(lambda x: _measure_test(trainer, x), images.test_NCHW),
    )


def training_bytes(model: str, *, latent_dim: int, image_shape: models.ImageShape) -> int:
    """Estimate the memory of a training in bytes: weights, gradients, Adam's two moments.

    Activations, which do not grow with latent_dim, are not counted; see `activation_bytes`.
    """
    return 4 * 4 * models.parameter_count(model, latent_dim=latent_dim, image_shape=image_shape)


def activation_bytes(model: str, *, latent_dim: int, image_shape: models.ImageShape) -> int:
    """Measure what a training step keeps of one image for its backward pass, in bytes.

    By one forward pass of two images on the CPU, in float32.
    """
    network = models.build(model, latent_dim=latent_dim, image_shape=image_shape)
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images_BCHW = torch.zeros((MEASURED_IMAGES, *image_shape))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        rebuilt = network.training_pass(images_BCHW, torch.Generator().manual_seed(0))
    del rebuilt
    return sum(kept.values()) // MEASURED_IMAGES


def _seconds(trainer: Trainer, steps: int) -> float:
    started = time.perf_counter()
    loss = torch.stack([trainer.take_step() for _ in range(steps)]).sum()
    loss.item()  # waits for a GPU
    return time.perf_counter() - started


def _measure_test(trainer: Trainer, x_NCHW: Tensor) -> None:
    mean_squared_error(trainer.model, x_NCHW, precision=FP32)
    rate(trainer.model, x_NCHW)


def _seconds_of(measure: Callable[[Tensor], object], x_NCHW: Tensor) -> float:
    """Estimate from one batch, after a warm-up, how long all of some images take."""
    sample_NCHW = x_NCHW[:BATCH]
    measure(sample_NCHW)
    started = time.perf_counter()
    measure(sample_NCHW)
    return (time.perf_counter() - started) * len(x_NCHW) / len(sample_NCHW)


def between(low: Speed, high: Speed, share: float) -> Speed:
    """Interpolate two speeds linearly, ``share`` of the way from ``low`` to ``high``."""

    def mix(first: float, second: float) -> float:
        return first + share * (second - first)

    return Speed(
        epoch_seconds=mix(low.epoch_seconds, high.epoch_seconds),
        validation_seconds=mix(low.validation_seconds, high.validation_seconds),
        test_seconds=mix(low.test_seconds, high.test_seconds),
    )
