"""Checks that training on a device is right: equal to the CPU, repeatable, never waiting."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from ae_sweep import models, training
from benchmarks.gpu_variants import TrainerSettings, synchronise, trainer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.data import ImageDataset
    from ae_sweep.training.trainer import Trainer
    from benchmarks.benchmark import Figures

STEPS = 20
MAX_FIRST_LOSS_GAP = 1e-5
"""Relative; TensorFloat-32 would leave 1e-4 to 1e-3."""
MAX_VAL_MSE_GAP = 0.02
"""Relative; rounding grows with the steps."""


def check(
    dataset: ImageDataset, images: training.DeviceImages, *, latent_dim: int, batch_size: int
) -> Figures:
    """Train a few steps on the CPU and twice on the device, and compare.

    Raises
    ------
    RuntimeError
        If a check fails: the figures of a training that is wrong are worth nothing.
    """
    settings: TrainerSettings = {"latent_dim": latent_dim, "batch_size": batch_size}
    on_cpu = training.place(dataset, torch.device("cpu"))
    expected = _few_steps(trainer(on_cpu, **settings))
    made, again = trainer(images, **settings), trainer(images, **settings)
    first = _few_steps(made)
    gaps = [abs(ours / theirs - 1) for ours, theirs in zip(first, expected, strict=True)]
    for what, gap, limit in zip(
        ("first loss", "validation MSE"), gaps, (MAX_FIRST_LOSS_GAP, MAX_VAL_MSE_GAP), strict=True
    ):
        if not gap <= limit:
            raise RuntimeError(f"the {what} is off by {gap:.1e} from the CPU's, limit {limit:g}")
    second = _few_steps(again)
    if first != second or weights(made) != weights(again):
        raise RuntimeError(
            f"the same training twice gave validation MSE {first[1]} and {second[1]}"
        )
    return {
        "steps": STEPS,
        "first_loss_gap": gaps[0],
        "val_mse_gap": gaps[1],
        "repeated": "the same weights to the last bit",
        "synchronisation": _synchronisation(trainer(images, **settings)),
    }


def weights(made: Trainer) -> bytes:
    """Return the weights as a safetensors file."""
    return models.to_bytes(made.model, name=made.config.model)


def _few_steps(made: Trainer) -> tuple[float, float]:
    first = made.take_step().item()
    while made.step < STEPS:
        made.take_step()
    return first, made.validate().mse


def _synchronisation(made: Trainer) -> str:
    """Take steps within an epoch, of which any that waits for the device is an error."""
    if made.images.device.type != "cuda":
        return f"not checked, as steps on {made.images.device.type} are never asynchronous"
    made.take_step()  # begins the epoch, and loads libraries
    with no_synchronisation():
        for _ in range(min(STEPS, made.steps_per_epoch) - 1):
            made.take_step()
    synchronise(made.images.device)
    return "none"


@contextlib.contextmanager
def no_synchronisation() -> Iterator[None]:
    """Have torch raise where the processor would wait for the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
