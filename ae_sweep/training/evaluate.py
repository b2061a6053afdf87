"""Owns the measurement of distortion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import mse_loss

from ae_sweep.training.images import as_floats

if TYPE_CHECKING:
    from torch import Tensor

    from ae_sweep.models import Autoencoder
    from ae_sweep.training.precision import Precision

BATCH = 500


def mean_squared_error(model: Autoencoder, x_NCHW: Tensor, *, precision: Precision) -> float:
    """Measure a model's mean squared error per pixel, of pixels in [0, 1].

    Parameters
    ----------
    model
        Left in the mode (training or evaluation) it came in.
    x_NCHW
        Images as uint8, on the model's device.
    precision
        Arithmetic of the forward pass. Sums are float32 per batch and float64 over the batches.
    """
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        errors = [_squared_error(model, x, precision) for x in x_NCHW.split(BATCH)]
        total = torch.stack(errors).double().sum().item()
    model.train(was_training)
    return total / x_NCHW.numel()


def penalty(model: Autoencoder, x_NCHW: Tensor, *, precision: Precision) -> float:
    """Measure what a model's training objective adds to its mean squared error.

    Parameters
    ----------
    model
        Left in the mode (training or evaluation) it came in. What it draws is the same each time.
    x_NCHW
        Images as uint8, on the model's device.
    precision
        Arithmetic of the forward passes.
    """
    if model.trained_by_mse_alone:
        return 0.0
    was_training = model.training
    model.eval()
    noise = _fixed_noise(x_NCHW)
    with torch.inference_mode():
        sums = []
        for x_BCHW in x_NCHW.split(BATCH):
            original_BCHW = as_floats(x_BCHW)
            with precision.autocast(x_BCHW.device):
                told = model.training_pass(original_BCHW, noise)
                plain_BCHW = model(original_BCHW)
            objective = mse_loss(told.y_BCHW.float(), original_BCHW) + told.penalty
            added = objective - mse_loss(plain_BCHW.float(), original_BCHW)
            sums.append(added.double() * len(x_BCHW))
        total = torch.stack(sums).sum().item()
    model.train(was_training)
    return total / len(x_NCHW)


def rate(model: Autoencoder, x_NCHW: Tensor) -> dict[str, float]:
    """Measure what the code of some images costs, in float32, in the words of the model."""
    batches = (as_floats(x_BCHW) for x_BCHW in x_NCHW.split(BATCH))
    with torch.inference_mode():
        return model.rate(batches, _fixed_noise(x_NCHW))


def _fixed_noise(x_NCHW: Tensor) -> torch.Generator:
    return torch.Generator(x_NCHW.device).manual_seed(0)


def _squared_error(model: Autoencoder, x_BCHW: Tensor, precision: Precision) -> Tensor:
    original_BCHW = as_floats(x_BCHW)
    with precision.autocast(x_BCHW.device):
        rebuilt_BCHW = model(original_BCHW)
    return mse_loss(rebuilt_BCHW.float(), original_BCHW, reduction="sum")
