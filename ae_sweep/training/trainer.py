"""Training of one trial: a generator of results; its consumer decides whether it goes on."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ae_sweep import models
from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.errors import TrainingDivergedError
from ae_sweep.records import QUARTERS, EpochResult, Reconstructions, TrialResult
from ae_sweep.training.evaluate import Validation, mean_squared_error, rate, validation
from ae_sweep.training.failures import environment_errors
from ae_sweep.training.images import as_bytes, as_floats
from ae_sweep.training.optimiser import MuonAndAdam
from ae_sweep.training.precision import FP32, Precision
from ae_sweep.training.recipe import RECIPE, Recipe, lr_factor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.config import TrialConfig
    from ae_sweep.models import Autoencoder, TrainingPass
    from ae_sweep.training.images import DeviceImages

Training = Generator[EpochResult, None, TrialResult]
MOST_EPOCHS_VALIDATED = 100
"""Of more epochs every second, or third, ...: those of a few images have few steps."""


def train(
    config: TrialConfig,
    images: DeviceImages,
    *,
    precision: Precision = FP32,
    recipe: Recipe = RECIPE,
) -> Training:
    """Train one autoencoder.

    The same configuration, images and precision give the same numbers to the last digit on one
    machine and device. The caller's random state is neither used nor changed.

    Parameters
    ----------
    config
        What to train.
    images
        On the device that is to train.
    precision
        Arithmetic of the training and validation passes; the test images are always measured in
        float32, as the logged model will run.
    recipe
        What no sweep varies.

    Yields
    ------
    EpochResult
        At the end of every quarter of the schedule and of every epoch, or of 100 of them at most.

    Returns
    -------
    TrialResult
        With the test images measured, once.

    Raises
    ------
    TrainingDivergedError
        At the first loss that is NaN or infinite, with its step and learning rate.
    ConfigError
        If the model is unknown or cannot take such images.
    TrainingFailedError
        If there is not enough memory, or a library of torch fails.
    DeviceLostError
        If the GPU fails.
    """
    with environment_errors():
        trainer = Trainer(config, images, precision=precision, recipe=recipe)
        for pause in trainer.pauses:  # no schedule is without one
            result = trainer.train_until(pause)
            yield result
        return trainer.finish(result)


class TrainingLoop(ABC):
    """A network in training: its optimiser, its schedule and the order of its images.

    Parameters
    ----------
    model
        What is trained, as it is.
    epochs
        Length of the schedule, at least one step; it need not be the configuration's.
    """

    def __init__(
        self,
        config: TrialConfig,
        images: DeviceImages,
        model: nn.Module,
        *,
        epochs: float,
        precision: Precision,
        recipe: Recipe,
    ) -> None:
        self.config = config
        self.images = images
        self.precision = precision
        self.recipe = recipe
        model.to(images.device)
        model.to(memory_format=torch.channels_last)
        self.optimiser = MuonAndAdam(
            model, recipe, weight_decay=config.hyperparameters.weight_decay
        )
        self.order = torch.Generator().manual_seed(config.seed)
        self.noise = torch.Generator(images.device).manual_seed(config.seed)
        self.batch_size = min(config.hyperparameters.batch_size, len(images.train))
        self.steps_per_epoch = len(images.train) // self.batch_size
        self.total_steps = max(1, round(self.steps_per_epoch * epochs))
        self.step = 0
        self.train_seconds = 0.0
        self._epoch_batches: Iterator[Tensor] = iter(())

    @abstractmethod
    def rebuild(self, x_BCHW: Tensor) -> TrainingPass:
        """Reconstruct a batch to train on."""

    @abstractmethod
    def validate(self) -> Validation:
        """Measure the validation images.

        Raises
        ------
        TrainingDivergedError
            If their error is NaN or infinite.
        """

    def objective(self, mse: Tensor, penalty: Tensor | float) -> Tensor:
        """Return what is minimised: a batch's mean squared error, and what the model adds."""
        return mse + penalty

    @property
    def pauses(self) -> list[int]:
        """The steps after which to validate: ends of quarters and of at most 100 epochs."""
        epochs_between = -(-self.total_steps // (self.steps_per_epoch * MOST_EPOCHS_VALIDATED))
        steps_between = self.steps_per_epoch * epochs_between
        epochs = range(steps_between, self.total_steps + 1, steps_between)
        return sorted({*epochs, *self._quarter_ends})

    @property
    def _quarter_ends(self) -> dict[int, int]:
        # A schedule of under four steps has fewer quarters: the later one keeps the step.
        return {
            math.ceil(quarter * self.total_steps / QUARTERS): quarter
            for quarter in range(1, QUARTERS + 1)
        }

    def train_until(self, pause: int) -> EpochResult:
        """Take optimiser steps up to number ``pause``, then validate.

        Raises
        ------
        TrainingDivergedError
            At the first loss that is NaN or infinite.
        """
        started, first = time.perf_counter(), self.step
        # The losses stay on the device: reading each would make a GPU wait for every step.
        train_mse = self._finite_mean(torch.stack([self.take_step() for _ in range(first, pause)]))
        seconds = time.perf_counter() - started
        self.train_seconds += seconds
        speed = (pause - first) * self.batch_size / seconds
        measured = self.validate()
        return EpochResult(
            epoch=pause / self.steps_per_epoch,
            step=pause,
            quarter=self._quarter_ends.get(pause),
            train_mse=train_mse,
            val_mse=measured.mse,
            val_psnr=psnr_db(measured.mse),
            val_penalty=measured.penalty,
            images_per_second=speed,
            epoch_seconds=self.steps_per_epoch * self.batch_size / speed,
        )

    def take_step(self) -> Tensor:
        """Train on the next batch; the loss is a scalar on the device."""
        x_BCHW = as_floats(self._next_batch())
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            with self.precision.autocast(self.images.device):
                rebuilt = self.rebuild(x_BCHW)
            loss = nn.functional.mse_loss(rebuilt.y_BCHW.float(), x_BCHW)
            self.objective(loss, rebuilt.penalty).backward()
        self.optimiser.step(self._learning_rate(self.step))
        self.step += 1
        return loss.detach()

    def _next_batch(self) -> Tensor:
        if self.step % self.steps_per_epoch == 0:
            permutation_N = torch.randperm(len(self.images.train), generator=self.order)
            self._epoch_batches = self.images.train.batches(
                self.batch_size,
                order_N=permutation_N[: self.steps_per_epoch * self.batch_size],
            )
        return next(self._epoch_batches)

    def _learning_rate(self, step: int) -> float:
        peak = self.config.hyperparameters.lr
        return peak * lr_factor(step / self.total_steps, warmup=self.recipe.warmup)

    def _measured(self, model: Autoencoder) -> Validation:
        """Measure a model on the validation images."""
        measured = validation(model, self.images.val, precision=self.precision)
        self._finite(measured.mse, "validation loss")
        self._finite(measured.penalty, "validation penalty")
        return measured

    def _finite_mean(self, losses_N: Tensor) -> float:
        wrong = torch.nonzero(~torch.isfinite(losses_N))
        if len(wrong):
            step = self.step - len(losses_N) + int(wrong[0])
            raise self._diverged(f"loss {losses_N[int(wrong[0])].item()}", step)
        return losses_N.double().mean().item()

    def _finite(self, value: float, what: str) -> float:
        if not math.isfinite(value):
            raise self._diverged(f"{what} {value}", self.step)
        return value

    def _diverged(self, what: str, step: int) -> TrainingDivergedError:
        return TrainingDivergedError(
            f"{what} at step {step} of {self.total_steps} with lr "
            f"{self._learning_rate(step):.3g} (peak {self.config.hyperparameters.lr:.3g}); "
            "a smaller lr trains"
        )


class Trainer(TrainingLoop):
    """An autoencoder in training.

    Parameters
    ----------
    start
        Trained on as it is, instead of a new model.
    epochs
        Length of the schedule, instead of the configuration's.
    """

    def __init__(
        self,
        config: TrialConfig,
        images: DeviceImages,
        *,
        precision: Precision = FP32,
        recipe: Recipe = RECIPE,
        start: Autoencoder | None = None,
        epochs: float | None = None,
    ) -> None:
        self.model = start or models.build(
            config.model,
            latent_dim=config.latent_dim,
            image_shape=images.image_shape,
            seed=config.seed,
        )
        super().__init__(
            config,
            images,
            self.model,
            epochs=epochs or config.hyperparameters.epochs,
            precision=precision,
            recipe=recipe,
        )

    def rebuild(self, x_BCHW: Tensor) -> TrainingPass:
        """Reconstruct a batch as the model's objective wants it."""
        self.model.begin_step(self.step, self.total_steps)
        return self.model.training_pass(x_BCHW, self.noise)

    def validate(self) -> Validation:
        """Measure the validation images."""
        return self._measured(self.model)

    def finish(self, last: EpochResult) -> TrialResult:
        """Measure the test images in float32 and hand the model over.

        Parameters
        ----------
        last
            What was measured at the end of the training.
        """
        self.model.eval()
        test_mse = mean_squared_error(self.model, self.images.test, precision=FP32)
        test_mse = self._finite(test_mse, "test loss")
        return TrialResult(
            val_mse=last.val_mse,
            val_penalty=last.val_penalty,
            test_mse=test_mse,
            test_psnr=psnr_db(test_mse),
            compression_ratio=self.images.card.pixels / self.config.latent_dim,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            train_seconds=self.train_seconds,
            step=self.step,
            pictures=self._pictures(),
            weights=models.to_bytes(self.model, name=self.config.model),
            rate=rate(self.model, self.images.test),
        )

    def _pictures(self) -> Reconstructions:
        originals_NCHW = self.images.pictures_NCHW
        with torch.inference_mode():
            rebuilt_NCHW = as_bytes(self.model(as_floats(originals_NCHW)))
        count, channels, height, width = originals_NCHW.shape
        return Reconstructions(
            shape=(count, channels, height, width),
            originals=originals_NCHW.cpu().contiguous().numpy().tobytes(),
            reconstructions=rebuilt_NCHW.cpu().contiguous().numpy().tobytes(),
        )
