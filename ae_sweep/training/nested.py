"""Training of all latent dims at once: one nested network, cut and fine-tuned for each."""

from __future__ import annotations

import dataclasses
import math
import random
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.models import NestedAutoencoder, TrainingPass
from ae_sweep.records import QUARTERS
from ae_sweep.training.checkpoints import NETWORK
from ae_sweep.training.failures import environment_errors
from ae_sweep.training.loop import TrainingLoop
from ae_sweep.training.precision import FP32, Precision
from ae_sweep.training.resuming import resumable
from ae_sweep.training.trainer import Trainer, Training

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from ae_sweep.config import TrialConfig
    from ae_sweep.models import Autoencoder
    from ae_sweep.records import EpochResult
    from ae_sweep.training.checkpoints import Checkpoints
    from ae_sweep.training.evaluate import Validation
    from ae_sweep.training.images import DeviceImages
    from ae_sweep.training.speed import Speed

FINE_TUNING_EPOCHS = 0.5
"""Of each dim, after it was cut out of the nested network."""
SMALLEST_MSE = 1e-9
"""Added before the logarithm, so that a perfect batch has one."""


class NestedTrainings:
    """Trains one nested network for several latent dims, and each dim a little further by itself.

    Calling it trains one dim, as ``train`` does. The first dim asked for with some hyperparameters
    and seed trains the network as well; the others of it begin at the end of that. So every dim's
    result depends on the list of dims, and on nothing else that ``train``'s would not.

    Parameters
    ----------
    dims
        The latent dims, ascending and distinct.
    checkpoints
        Where to save the network and each dim from time to time, and to find them saved.
    """

    def __init__(
        self,
        images: DeviceImages,
        *,
        dims: Sequence[int],
        precision: Precision = FP32,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._images = images
        self._checkpoints = checkpoints
        self._dims = tuple(dims)
        self._precision = precision
        self._trunk: _Trunk | None = None

    def __call__(self, config: TrialConfig) -> Training:
        """Train one latent dim.

        Yields
        ------
        EpochResult
            Of that dim, after each epoch and quarter of the network's training that happens
            meanwhile, at the end of that training, and at the ends of the fine-tuning's quarters.
            None has a quarter: there is nothing to compare it with.

        Returns
        -------
        TrialResult
            Its ``train_seconds`` are those of the fine-tuning, and the dim's equal share of those
            of the nested network.

        Raises
        ------
        TrainingDivergedError
            At the first loss that is NaN or infinite.
        ConfigError
            If the model cannot be nested.
        TrainingFailedError
            If there is not enough memory, or a library of torch fails.
        DeviceLostError
            If the GPU fails.
        Interrupted
            Between two steps, if that is requested; network and dim are saved then.
        """
        with environment_errors():
            trunk = self._trunk_for(config)
            with trunk.saved_if_interrupted():  # while a dim of it is tuned, too
                return (yield from self._train(config, trunk))

    def _train(self, config: TrialConfig, trunk: _Trunk) -> Training:
        try:
            yield from trunk.train_at(config.latent_dim)
        except (RuntimeError, MemoryError):
            self._trunk = None  # it may have stopped in the middle of a step
            raise
        tuning = resumable(
            lambda: Trainer(
                config,
                self._images,
                precision=self._precision,
                # The network's wide layers learn by Adam, and so do those that are cut from it.
                recipe=dataclasses.replace(trunk.recipe, wide_in_factors=False),
                start=trunk.cut(config.latent_dim),
                epochs=FINE_TUNING_EPOCHS,
            ),
            self._checkpoints,
            config=config,
        )
        with tuning.saved_if_interrupted():
            for result in tuning.run():
                yield dataclasses.replace(
                    result,
                    epoch=config.hyperparameters.epochs + result.epoch,
                    step=trunk.step + result.step,
                    quarter=None,
                )
            own = tuning.finish(tuning.history[-1])
        return dataclasses.replace(
            own,
            step=trunk.step + own.step,
            train_seconds=own.train_seconds + trunk.train_seconds / len(self._dims),
        )

    def _trunk_for(self, config: TrialConfig) -> _Trunk:
        trunk = self._trunk
        if trunk is None or not trunk.serves(config):
            trunk = self._trunk = resumable(
                lambda: _Trunk(config, self._images, dims=self._dims, precision=self._precision),
                self._checkpoints,
                config=dataclasses.replace(config, latent_dim=self._dims[0]),
                part=NETWORK,
            )
        return trunk


def nested_trial_seconds(speeds: Mapping[int, Speed], latent_dim: int, epochs: int) -> float:
    """Estimate one dim's fine-tuning and its equal share of the network's training.

    Parameters
    ----------
    speeds
        Of ordinary trainings by latent_dim, those of all the dims.
    """
    network = nested_network_seconds(speeds, epochs)
    return network / len(speeds) + fine_tuning_seconds(speeds[latent_dim])


def nested_network_seconds(speeds: Mapping[int, Speed], epochs: int) -> float:
    """Estimate the network's training; a batch of it costs about what one of its width does."""
    return epochs * fmean(speed.epoch_seconds for speed in speeds.values())


def fine_tuning_seconds(speed: Speed) -> float:
    """Estimate the fine-tuning of one dim, and its measurements."""
    validations = (1 + QUARTERS) * speed.validation_seconds
    return FINE_TUNING_EPOCHS * speed.epoch_seconds + validations + speed.test_seconds


class _Trunk(TrainingLoop):
    """The nested network in training: every batch trains one width, drawn at random.

    The logarithm of the error makes all widths count alike, though their errors differ by a factor
    of fifty. Narrow ones are drawn more often, since they learn more slowly.
    """

    def __init__(
        self,
        config: TrialConfig,
        images: DeviceImages,
        *,
        dims: tuple[int, ...],
        precision: Precision,
    ) -> None:
        self._network = NestedAutoencoder(
            config.model, dims=dims, image_shape=images.image_shape, seed=config.seed
        )
        super().__init__(
            config,
            images,
            self._network,
            epochs=config.hyperparameters.epochs,
            precision=precision,
        )
        self._watched = config.latent_dim
        self._draws = random.Random(config.seed)  # noqa: S311 - no secret depends on it
        self._weights = [1 / (1 + math.log2(dim) / 5) for dim in dims]

    def serves(self, config: TrialConfig) -> bool:
        """Return whether a trial is another dim of this training."""
        return dataclasses.replace(config, latent_dim=self.config.latent_dim) == self.config

    def train_at(self, latent_dim: int) -> Iterator[EpochResult]:
        """Train what is left, or nothing; yield how good it is at one width, at least once."""
        if latent_dim != self._watched:
            self.drop_restored()  # those were measured at another width
        self._watched = latent_dim
        result = None
        for result in self.run():
            yield dataclasses.replace(result, quarter=None)
        if result is None:
            val_mse = self.validate().mse
            last = dataclasses.replace(self.history[-1], quarter=None)
            yield dataclasses.replace(last, val_mse=val_mse, val_psnr=psnr_db(val_mse))

    def extra_state(self) -> dict[str, Any]:
        """Return which widths will be drawn, and which one was watched."""
        version, numbers, spare = self._draws.getstate()
        return {"draws": [version, list(numbers), spare], "watched": self._watched}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `extra_state` returned."""
        version, numbers, spare = state["draws"]
        self._draws.setstate((version, tuple(numbers), spare))
        if state["watched"] != self._watched:
            self.drop_restored()

    def validate(self) -> Validation:
        """Measure the validation images at the width that is watched."""
        return self._measured(self.cut(self._watched))

    def cut(self, latent_dim: int) -> Autoencoder:
        """Return a copy of the ordinary autoencoder that this is at one width."""
        return self._network.cut(latent_dim)

    def rebuild(self, x_BCHW: Tensor) -> TrainingPass:
        """Reconstruct a batch from as many latents as are drawn."""
        (width,) = self._draws.choices(self._network.dims, self._weights)
        return TrainingPass(self._network(x_BCHW, width))

    def objective(self, mse: Tensor, penalty: Tensor | float) -> Tensor:
        """Return the logarithm of their sum."""
        return (mse + penalty + SMALLEST_MSE).log()
