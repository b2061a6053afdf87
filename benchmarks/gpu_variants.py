"""Variants of the training step on one device: as it is, as a CUDA graph, compiled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor, nn

from ae_sweep.config import Hyperparameters, TrialConfig
from ae_sweep.config.hyperparameters import GOOD_LR
from ae_sweep.models import TrainingPass
from ae_sweep.training.images import as_floats
from ae_sweep.training.precision import exact_convolutions
from ae_sweep.training.trainer import Trainer

if TYPE_CHECKING:
    from ae_sweep import training

EAGER, GRAPH, COMPILED = "eager", "CUDA graph", "torch.compile"
WARM_UP_STEPS = 4


class GraphTrainer(Trainer):
    """A trainer that replays its forward and backward pass; the optimiser's steps are as ever."""

    _graph: torch.cuda.CUDAGraph | None = None

    def take_step(self) -> Tensor:
        """Train on the next batch; the first steps are eager, as a graph needs warm libraries."""
        if self.step < WARM_UP_STEPS:
            return super().take_step()
        x_BCHW = as_floats(self._next_batch())
        if self._graph is None:
            self._capture(x_BCHW)
        assert self._graph is not None
        self._x_BCHW.copy_(x_BCHW)
        self._graph.replay()
        for parameter, gradient in self._gradients:  # the optimiser forgets them at each step
            parameter.grad = gradient
        self.optimiser.step(self._learning_rate(self.step))
        self.step += 1
        return self._loss.clone()

    def _capture(self, x_BCHW: Tensor) -> None:
        self._x_BCHW = x_BCHW.clone()
        torch.cuda.synchronize(self.images.device)
        self._graph = torch.cuda.CUDAGraph()
        with exact_convolutions(), torch.cuda.graph(self._graph):
            rebuilt = self.rebuild(self._x_BCHW)
            loss = nn.functional.mse_loss(rebuilt.y_BCHW.float(), self._x_BCHW)
            self.objective(loss, rebuilt.penalty).backward()
            self._loss = loss.detach()
        # In the graph's own memory: each replay writes them anew.
        self._gradients = [(each, each.grad) for each in self.model.parameters()]


class CompiledTrainer(Trainer):
    """A trainer whose forward and backward pass are compiled."""

    def rebuild(self, x_BCHW: Tensor) -> TrainingPass:
        """Reconstruct a batch by compiled code."""
        if not hasattr(self, "_compiled"):
            self._compiled = torch.compile(self.model)
        self.model.begin_step(self.step, self.total_steps)
        return TrainingPass(self._compiled(x_BCHW))  # as a model without noise does


VARIANTS: dict[str, type[Trainer]] = {
    EAGER: Trainer,
    GRAPH: GraphTrainer,
    COMPILED: CompiledTrainer,
}


class TrainerSettings(TypedDict):
    """What all trainings of a measurement share."""

    latent_dim: int
    batch_size: int


def trainer(
    images: training.DeviceImages,
    *,
    latent_dim: int,
    batch_size: int,
    epochs: int = 1_000,
    seed: int = 0,
    kind: type[Trainer] = Trainer,
) -> Trainer:
    """Make a trainer in float32; its default schedule does not end while it is timed."""
    hyperparameters = Hyperparameters(lr=GOOD_LR, epochs=epochs, batch_size=batch_size)
    config = TrialConfig(latent_dim=latent_dim, hyperparameters=hyperparameters, seed=seed)
    return kind(config, images)


def variant_speeds(
    images: training.DeviceImages,
    *,
    names: tuple[str, ...],
    rounds: int,
    steps: int,
    latent_dim: int,
    batch_size: int,
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Time the variants in turns.

    Returns
    -------
    dict, dict
        Images per second of each round by variant; why others were left out.
    """
    left_out: dict[str, str] = {}
    ready: dict[str, Trainer] = {}
    for name, kind in VARIANTS.items():
        if name not in names:
            left_out[name] = "compiling takes minutes on few cores; not at this size"
            continue
        if name == GRAPH and images.device.type != "cuda":
            left_out[name] = f"there are none on {images.device.type}"
            continue
        made = trainer(images, latent_dim=latent_dim, batch_size=batch_size, kind=kind)
        try:
            timed_steps(made, WARM_UP_STEPS + 1)
        except RuntimeError as error:  # no compiler, or an operation that no graph can hold
            if name == EAGER:
                raise
            left_out[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"
            continue
        ready[name] = made
    speeds: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, made in ready.items():
            speeds[name].append(steps * made.batch_size / timed_steps(made, steps))
    return speeds, left_out


def timed_steps(made: Trainer, steps: int) -> float:
    """Take steps; return the seconds until the device has done them."""
    synchronise(made.images.device)
    started = time.perf_counter()
    for _ in range(steps):
        made.take_step()
    synchronise(made.images.device)
    return time.perf_counter() - started


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
