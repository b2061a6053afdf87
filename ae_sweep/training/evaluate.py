"""Measurement of distortion and rate."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import mse_loss

from ae_sweep import interruption
from ae_sweep.training.images import as_floats
from ae_sweep.training.precision import exact_convolutions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from ae_sweep.models import Autoencoder
    from ae_sweep.training.image_rows import ImageRows
    from ae_sweep.training.precision import Precision


class Validation(NamedTuple):
    """Result of measuring the validation images."""

    mse: float
    penalty: float
    """What the model's objective adds."""


def mean_squared_error(model: Autoencoder, images: ImageRows, *, precision: Precision) -> float:
    """Measure a model's mean squared error per pixel, of pixels in [0, 1].

    Parameters
    ----------
    model
        Left in the mode (training or evaluation) it came in.
    images
        For the model's device.
    precision
        Arithmetic of the forward pass. Sums are float32 per batch and float64 over the batches.
    """
    with _evaluating(model):
        errors = [
            _squared_error(model, x, precision) for x in _batches(images, model.inference_batch)
        ]
        total = torch.stack(errors).double().sum().item()
    return total / images.numbers


def validation(model: Autoencoder, images: ImageRows, *, precision: Precision) -> Validation:
    """Measure a model's mean squared error, and what its training objective adds to it.

    Parameters
    ----------
    model
        Left in the mode (training or evaluation) it came in. What it draws is the same each time.
    images
        For the model's device.
    precision
        Arithmetic of the forward passes.
    """
    if model.trained_by_mse_alone:
        return Validation(mean_squared_error(model, images, precision=precision), 0.0)
    noise = _fixed_noise(images)
    errors, objectives = [], []
    with _evaluating(model):
        for x_BCHW in _batches(images, model.inference_batch):
            original_BCHW = as_floats(x_BCHW)
            with precision.autocast(x_BCHW.device):
                rebuilt = model.training_pass(original_BCHW, noise)
                plain_BCHW = model(original_BCHW) if model.draws_codes else rebuilt.y_BCHW
            objective = mse_loss(rebuilt.y_BCHW.float(), original_BCHW) + rebuilt.penalty
            objectives.append(objective.double() * len(x_BCHW))
            errors.append(mse_loss(plain_BCHW.float(), original_BCHW).double() * len(x_BCHW))
        mse = torch.stack(errors).sum().item() / len(images)
        return Validation(mse, torch.stack(objectives).sum().item() / len(images) - mse)


def rate(model: Autoencoder, images: ImageRows) -> dict[str, float]:
    """Measure what the code of some images costs, in float32, in the words of the model."""
    batches = (as_floats(x_BCHW) for x_BCHW in _batches(images, model.inference_batch))
    with _evaluating(model):
        return model.rate(batches, _fixed_noise(images))


def _batches(images: ImageRows, size: int) -> Iterator[Tensor]:
    """Yield the images batch by batch; a training that is interrupted ends between two of them."""
    for x_BCHW in images.batches(size):
        interruption.check()
        yield x_BCHW


@contextlib.contextmanager
def _evaluating(model: Autoencoder) -> Iterator[None]:
    """Measure in evaluation mode without gradients, and leave the mode as it was."""
    was_training = model.training
    model.eval()
    try:
        with exact_convolutions(), torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def _fixed_noise(images: ImageRows) -> torch.Generator:
    return torch.Generator(images.device).manual_seed(0)


def _squared_error(model: Autoencoder, x_BCHW: Tensor, precision: Precision) -> Tensor:
    original_BCHW = as_floats(x_BCHW)
    with precision.autocast(x_BCHW.device):
        rebuilt_BCHW = model(original_BCHW)
    return mse_loss(rebuilt_BCHW.float(), original_BCHW, reduction="sum")
