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


def _squared_error(model: Autoencoder, x_BCHW: Tensor, precision: Precision) -> Tensor:
    original_BCHW = as_floats(x_BCHW)
    with precision.autocast(x_BCHW.device):
        rebuilt_BCHW = model(original_BCHW)
    return mse_loss(rebuilt_BCHW.float(), original_BCHW, reduction="sum")
