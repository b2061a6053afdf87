"""The course of a training: steps, validations, and its state in between."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ae_sweep import interruption
from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.errors import TrainingDivergedError
from ae_sweep.interruption import Interrupted
from ae_sweep.models import use_kernels
from ae_sweep.records import QUARTERS, EpochResult
from ae_sweep.training.checkpoints import numerics_of
from ae_sweep.training.device import hardware, kernels_on
from ae_sweep.training.evaluate import Validation, validation
from ae_sweep.training.images import as_floats
from ae_sweep.training.loop_state import LoopState, restore, snapshot
from ae_sweep.training.optimiser import MuonAndAdam
from ae_sweep.training.precision import exact_convolutions
from ae_sweep.training.recipe import RECIPES, Recipe, lr_factor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ae_sweep.config import TrialConfig
    from ae_sweep.models import Autoencoder, TrainingPass
    from ae_sweep.training.checkpoint_file import Snapshot
    from ae_sweep.training.checkpoints import Keeper
    from ae_sweep.training.images import DeviceImages
    from ae_sweep.training.precision import Precision

MOST_EPOCHS_VALIDATED = 100
"""Of more epochs every second, or third, ...: those of a few images have few steps."""


class TrainingLoop(ABC):
    """A network in training: its optimiser, its schedule and the order of its images.

    Parameters
    ----------
    model
        What is trained, as it is.
    epochs
        Length of the schedule, at least one step; it need not be the configuration's.
    recipe
        Instead of the configuration's.
    """

    def __init__(
        self,
        config: TrialConfig,
        images: DeviceImages,
        model: nn.Module,
        *,
        epochs: float,
        precision: Precision,
        recipe: Recipe | None = None,
    ) -> None:
        self.config = config
        self.images = images
        self.precision = precision
        self.recipe = recipe or RECIPES[config.recipe]
        self._module = model
        model.to(images.device)
        model.to(memory_format=torch.channels_last)
        use_kernels(model, kernels_on(images.device))
        self.optimiser = MuonAndAdam(
            model, self.recipe, weight_decay=config.hyperparameters.weight_decay
        )
        self.order = torch.Generator().manual_seed(config.seed)
        self.noise = torch.Generator(images.device).manual_seed(config.seed)
        self.batch_size = min(config.hyperparameters.batch_size, len(images.train))
        self.steps_per_epoch = len(images.train) // self.batch_size
        self.total_steps = max(1, round(self.steps_per_epoch * epochs))
        self.step = 0
        self.train_seconds = 0.0
        self.history: list[EpochResult] = []
        """All validations so far."""
        self._losses: list[Tensor] = []
        self._stretch_seconds = 0.0
        self._epoch_batches: Iterator[Tensor] = iter(())
        self._order_state = self.order.get_state()
        self.keeper: Keeper | None = None
        """Saves the training from time to time."""
        self._saved_at: tuple[int, int] | None = None
        """Steps and validations of the last checkpoint."""
        self._restored: list[EpochResult] = []

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

    def extra_state(self) -> dict[str, Any]:
        """Return what a kind of loop keeps beside all that every one has, JSON-able."""
        return {}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - not all have one
        """Go on from what `extra_state` returned."""

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

    def run(self) -> Iterator[EpochResult]:
        """Train to the end, and yield each validation, first those that were restored.

        Raises
        ------
        TrainingDivergedError
            At the first loss that is NaN or infinite.
        Interrupted
            Between two steps, if that is requested.
        """
        for result in self._restored:
            yield self._with_note(dataclasses.replace(result, restored=True))
        self._restored = []
        for pause in self.pauses:
            # Of one that was interrupted in its validation, that alone is left.
            if pause > self.step or (pause == self.step and self._losses):
                with interruption.awaited():
                    result = self.train_until(pause)
                yield self._with_note(result)
                # Only now is it known that it goes on: what is pruned need not be saved.
                self._save_if_due(in_epoch=False)

    def drop_restored(self) -> None:
        """Yield none of the validations that were restored."""
        self._restored = []

    def train_until(self, pause: int) -> EpochResult:
        """Take optimiser steps up to number ``pause``, then validate.

        Raises
        ------
        TrainingDivergedError
            At the first loss that is NaN or infinite.
        Interrupted
            Between two steps, or in the validation, if that is requested.
        """
        first = self.step - len(self._losses)
        started = time.perf_counter() - self._stretch_seconds
        while self.step < pause:
            # The losses stay on the device: reading each would make a GPU wait for every step.
            self._losses.append(self.take_step())
            self._stretch_seconds = time.perf_counter() - started
            interruption.check()
            if self.keeper is not None and self.step < pause:
                self._save_if_due(in_epoch=True)
                started = time.perf_counter() - self._stretch_seconds
        train_mse = self._finite_mean(torch.stack(self._losses))
        seconds = self._stretch_seconds = time.perf_counter() - started
        speed = (pause - first) * self.batch_size / seconds
        measured = self.validate()
        self._losses = []
        self.train_seconds += seconds
        self._stretch_seconds = 0.0
        result = EpochResult(
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
        self.history.append(result)
        return result

    def take_step(self) -> Tensor:
        """Train on the next batch; the loss is a scalar on the device."""
        x_BCHW = as_floats(self._next_batch())
        with exact_convolutions():
            with self.precision.autocast(self.images.device):
                rebuilt = self.rebuild(x_BCHW)
            loss = nn.functional.mse_loss(rebuilt.y_BCHW.float(), x_BCHW)
            self.objective(loss, rebuilt.penalty).backward()
        self.optimiser.step(self._learning_rate(self.step))
        self.step += 1
        return loss.detach()

    def _next_batch(self) -> Tensor:
        if self.step % self.steps_per_epoch == 0:
            self._begin_epoch()
        return next(self._epoch_batches)

    def _begin_epoch(self, *, steps_done: int = 0) -> None:
        self._order_state = self.order.get_state()
        permutation_N = torch.randperm(len(self.images.train), generator=self.order)
        first, end = steps_done * self.batch_size, self.steps_per_epoch * self.batch_size
        self._epoch_batches = self.images.train.batches(
            self.batch_size, order_N=permutation_N[first:end]
        )

    def _with_note(self, result: EpochResult) -> EpochResult:
        note = "" if self.keeper is None else self.keeper.take_note()
        return dataclasses.replace(result, note=note) if note else result

    def _save_if_due(self, *, in_epoch: bool) -> None:
        keeper = self.keeper
        if keeper is not None and keeper.due(size=self._state_bytes, in_epoch=in_epoch):
            self._save(keeper)

    @contextlib.contextmanager
    def saved_if_interrupted(self) -> Iterator[None]:
        """Save the training if it is interrupted between two steps, however long that takes."""
        try:
            yield
        except Interrupted:
            is_new = self.step > 0 and self._saved_at != (self.step, len(self.history))
            if self.keeper is not None and is_new:
                with contextlib.suppress(TrainingDivergedError):
                    self._save(self.keeper)
            raise

    def _save(self, keeper: Keeper) -> None:
        losses_N = torch.stack(self._losses) if self._losses else torch.empty(0)
        if len(losses_N):
            self._finite_mean(losses_N)  # a training that has diverged is not saved
        begun = self.step % self.steps_per_epoch > 0
        state = LoopState(
            step=self.step,
            history=tuple(self.history),
            train_seconds=self.train_seconds,
            stretch_seconds=self._stretch_seconds,
            losses_N=losses_N,
            order=self._order_state if begun else self.order.get_state(),
            noise=self.noise.get_state(),
            extra=self.extra_state(),
        )
        keeper.save(snapshot(self._module, self.optimiser, state))
        self._saved_at = (self.step, len(self.history))

    def restore(self, taken: Snapshot) -> None:
        """Go on from a snapshot of an equal training, before the first step.

        Raises
        ------
        KeyError, RuntimeError, TypeError, ValueError
            If it was taken of another one. This one is of no use then.
        """
        state = restore(self._module, self.optimiser, taken)
        self.step = state.step
        self.history, self._restored = list(state.history), list(state.history)
        self.train_seconds = state.train_seconds
        self._stretch_seconds = state.stretch_seconds
        self._losses = list(state.losses_N.to(self.images.device))
        self.order.set_state(state.order)
        self.noise.set_state(state.noise)
        self.set_extra_state(state.extra)
        self._saved_at = (self.step, len(self.history))
        if steps_done := self.step % self.steps_per_epoch:
            self._begin_epoch(steps_done=steps_done)

    @property
    def numerics(self) -> dict[str, str]:
        """What decides the last digits of the result, beside the trial itself."""
        return numerics_of(
            precision=self.precision.name,
            hardware=hardware(self.images.device),
            threads=torch.get_num_threads(),
            steps=self.total_steps,
        )

    @functools.cached_property
    def _state_bytes(self) -> int:
        """About how much a checkpoint holds: weights, and two moments of each at most."""
        return 3 * sum(each.nbytes for each in self._module.parameters())

    def _learning_rate(self, step: int) -> float:
        peak = self.config.hyperparameters.lr
        warmup, descent = self.recipe.warmup, self.recipe.descent
        return peak * lr_factor(step / self.total_steps, warmup=warmup, descent=descent)

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
