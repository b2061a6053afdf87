"""Throughput benchmark for time estimates.

Noise only ever adds time, so each quantity is measured in short rounds of which the best counts. On
a processor a round counts by the time that its thread was computing: while other programs keep the
processor busy, every round is slow, and the clock on the wall would measure them instead.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from ae_sweep import models
from ae_sweep.records import QUARTERS
from ae_sweep.training.evaluate import mean_squared_error, rate, validation
from ae_sweep.training.failures import environment_errors
from ae_sweep.training.loop import MOST_EPOCHS_VALIDATED
from ae_sweep.training.precision import FP32, Precision
from ae_sweep.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ae_sweep.config import TrialConfig
    from ae_sweep.training.image_rows import ImageRows
    from ae_sweep.training.images import DeviceImages

WARM_UP_STEPS = 4
MEASURED_IMAGES = 2
"""Of which activations are counted: batch norm takes no single one."""
MEASURED_PIXELS = 512 * 512
"""Activations of larger images are estimated from smaller ones: they would take gigabytes."""
STEPS_PER_ROUND = 3
ROUNDS = 4
EVALUATION_ROUNDS = 2


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What one latent dimension costs on this machine."""

    epoch_seconds: float
    """One pass over the training images."""
    validation_seconds: float
    """One pass over the validation images."""
    test_seconds: float
    """One pass over the test images."""
    spread: float = 0.0
    """Share by which the slowest round of training steps took longer on the clock than the best one
    took to compute. Near 0 on a quiet machine; 1 if it took twice as long."""

    def trial_seconds(self, epochs: int) -> float:
        """Estimate a whole training of some epochs, without tracking."""
        between = math.ceil(epochs / MOST_EPOCHS_VALIDATED)
        quarters = range(1, QUARTERS + 1)
        apart = sum(quarter * epochs % (QUARTERS * between) > 0 for quarter in quarters)
        validations = epochs // between + apart
        return (
            epochs * self.epoch_seconds + validations * self.validation_seconds + self.test_seconds
        )

    def longest_silence_seconds(self, epochs: int) -> float:
        """Estimate the longest time between two results of a training of some epochs."""
        stretch = math.ceil(epochs / MOST_EPOCHS_VALIDATED) * self.epoch_seconds
        return max(stretch + self.validation_seconds, self.test_seconds)

    def slowed(self, factor: float) -> Speed:
        """Return the speed where everything takes ``factor`` times as long."""
        return replace(
            self,
            epoch_seconds=factor * self.epoch_seconds,
            validation_seconds=factor * self.validation_seconds,
            test_seconds=factor * self.test_seconds,
        )


@environment_errors()
def measure_speed(config: TrialConfig, images: DeviceImages, *, precision: Precision) -> Speed:
    """Time a few training steps and one evaluation batch of a training.

    Parameters
    ----------
    config
        The training; what it learns is thrown away.

    Raises
    ------
    TrainingFailedError
        If there is not enough memory, or a library of torch fails.
    DeviceLostError
        If the GPU fails.
    """
    trainer = Trainer(config, images, precision=precision)
    take_steps(trainer, WARM_UP_STEPS)
    steps = _best_of(ROUNDS, lambda: take_steps(trainer, STEPS_PER_ROUND), device=images.device)
    return Speed(
        epoch_seconds=steps.best_seconds / STEPS_PER_ROUND * trainer.steps_per_epoch,
        validation_seconds=_seconds_of(
            lambda some: validation(trainer.model, some, precision=precision),
            images.val,
            batch=trainer.model.inference_batch,
        ),
        test_seconds=_seconds_of(
            lambda some: _measure_test(trainer, some),
            images.test,
            batch=trainer.model.inference_batch,
        ),
        spread=max(steps.slowest_seconds / steps.best_seconds - 1, 0.0),
    )


def training_bytes(model: str, *, latent_dim: int, image_shape: models.ImageShape) -> int:
    """Estimate the memory of a training in bytes: weights, gradients, Adam's two moments.

    Activations, which do not grow with latent_dim, are not counted; see `activation_bytes`.
    """
    return 4 * 4 * models.parameter_count(model, latent_dim=latent_dim, image_shape=image_shape)


def activation_bytes(model: str, *, latent_dim: int, image_shape: models.ImageShape) -> int:
    """Measure what a training step keeps of one image for its backward pass, in bytes.

    By one forward pass of two images on the CPU, in float32. Of images above 512×512, the sides are
    halved for it until they are not, and the result grows with the area.
    """
    channels, height, width = image_shape
    if height * width > MEASURED_PIXELS:
        half = (channels, -(-height // 2), -(-width // 2))
        few = activation_bytes(model, latent_dim=latent_dim, image_shape=half)
        return few * height * width // (half[1] * half[2])
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


class _Rounds(NamedTuple):
    best_seconds: float
    """Computing, in the round with the least of it."""
    slowest_seconds: float
    """On the clock."""


def _best_of(rounds: int, work: Callable[[], object], *, device: torch.device) -> _Rounds:
    """Time some work several times; it must wait for the device by itself."""
    timings = [_timed(work) for _ in range(rounds)]
    # A GPU's time is not its thread's: that one waits for it.
    best = min(computing if device.type == "cpu" else clock for clock, computing in timings)
    return _Rounds(best, max(clock for clock, _ in timings))


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that some work took on the clock, and those that this thread computed."""
    clock, computing = time.perf_counter(), time.thread_time()
    work()
    return time.perf_counter() - clock, time.thread_time() - computing


def take_steps(trainer: Trainer, steps: int) -> None:
    """Take some training steps and wait for them."""
    loss = torch.stack([trainer.take_step() for _ in range(steps)]).sum()
    loss.item()  # waits for a GPU


def _measure_test(trainer: Trainer, images: ImageRows) -> None:
    mean_squared_error(trainer.model, images, precision=FP32)
    rate(trainer.model, images)


def _seconds_of(measure: Callable[[ImageRows], object], images: ImageRows, *, batch: int) -> float:
    """Estimate from one batch, warmed up, how long all of some images take."""
    sample = images.first(batch)
    measure(sample)
    rounds = _best_of(EVALUATION_ROUNDS, lambda: measure(sample), device=images.device)
    return rounds.best_seconds * len(images) / len(sample)


def between(low: Speed, high: Speed, share: float) -> Speed:
    """Interpolate two speeds linearly, ``share`` of the way from ``low`` to ``high``.

    The spread is the larger one.
    """

    def mix(first: float, second: float) -> float:
        return first + share * (second - first)

    return Speed(
        epoch_seconds=mix(low.epoch_seconds, high.epoch_seconds),
        validation_seconds=mix(low.validation_seconds, high.validation_seconds),
        test_seconds=mix(low.test_seconds, high.test_seconds),
        spread=max(low.spread, high.spread),
    )
