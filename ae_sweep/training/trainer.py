"""Training of one trial: a generator of results; its consumer decides whether it goes on."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING

import torch

from ae_sweep import interruption, models
from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.records import EpochResult, Reconstructions, TrialResult
from ae_sweep.training.evaluate import Validation, mean_squared_error, rate
from ae_sweep.training.failures import environment_errors
from ae_sweep.training.images import as_bytes, as_floats
from ae_sweep.training.loop import TrainingLoop
from ae_sweep.training.precision import FP32, Precision
from ae_sweep.training.resuming import resumable

if TYPE_CHECKING:
    from torch import Tensor

    from ae_sweep.config import TrialConfig
    from ae_sweep.models import Autoencoder, TrainingPass
    from ae_sweep.training.checkpoint_file import Snapshot
    from ae_sweep.training.checkpoints import Checkpoints
    from ae_sweep.training.images import DeviceImages
    from ae_sweep.training.recipe import Recipe

Training = Generator[EpochResult, None, TrialResult]


def train(
    config: TrialConfig,
    images: DeviceImages,
    *,
    precision: Precision = FP32,
    recipe: Recipe | None = None,
    checkpoints: Checkpoints | None = None,
) -> Training:
    """Train one autoencoder.

    The same configuration, images and precision give the same numbers to the last digit on one
    machine and device, whether or not the training was interrupted and went on from a checkpoint.
    The caller's random state is neither used nor changed.

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
        Instead of the configuration's.
    checkpoints
        Where to save the training from time to time, and to find it saved; None saves nothing.

    Yields
    ------
    EpochResult
        At the end of every quarter of the schedule and of every epoch, or of 100 of them at most.
        Those before the checkpoint that the training goes on from come first, marked as restored.

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
    Interrupted
        Between two steps, if that is requested; it is saved then.
    """
    with environment_errors():
        trainer = resumable(
            partial(Trainer, config, images, precision=precision, recipe=recipe),
            checkpoints,
            config=config,
        )
        with trainer.saved_if_interrupted():
            yield from trainer.run()
            return trainer.finish(trainer.history[-1])  # no schedule is without a validation


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
        recipe: Recipe | None = None,
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

    def restore(self, taken: Snapshot) -> None:
        """Go on from a snapshot, with the model as its last step left it: see the base class."""
        super().restore(taken)
        if self.step:  # what the model decides by the step, it may need before the next one
            self.model.begin_step(self.step - 1, self.total_steps)

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
        with interruption.awaited():
            return self._finished(last)

    def _finished(self, last: EpochResult) -> TrialResult:
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
