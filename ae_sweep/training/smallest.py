"""Refusal of batches too small for a model: normalisation over a batch needs several values."""

from __future__ import annotations

import torch

from ae_sweep import models
from ae_sweep.errors import ConfigError

MOST_TRIED = 16
"""Images. No layer is known that needs more than two."""


def check_batch(
    model: str,
    *,
    latent_dim: int,
    image_shape: models.ImageShape,
    batch_size: int,
    train_images: int,
) -> None:
    """Refuse a model that cannot be trained on as few images at a time.

    Parameters
    ----------
    batch_size
        Images per optimiser step, of which there are never more than ``train_images``.

    Raises
    ------
    ConfigError
        With the smallest number that the model can be trained on.
    """
    batch = min(batch_size, train_images)
    if _trains_on(batch, model, latent_dim=latent_dim, image_shape=image_shape):
        return
    least = next(
        (
            images
            for images in range(batch + 1, MOST_TRIED + 1)
            if _trains_on(images, model, latent_dim=latent_dim, image_shape=image_shape)
        ),
        None,
    )
    option = "--train-limit" if train_images <= batch_size else "--batch-size"
    advice = f"give {option} {least} or more" if least else "use another --model or larger images"
    raise ConfigError(
        f"the model {model!r} normalises over a batch, which has too few values for that with "
        f"{batch} {'image' if batch == 1 else 'images'} of {' x '.join(map(str, image_shape))}; "
        f"{advice}"
    )


def _trains_on(images: int, model: str, *, latent_dim: int, image_shape: models.ImageShape) -> bool:
    """Return whether a model in training takes a batch; more images than a few are not tried."""
    if images > MOST_TRIED:
        return True
    network = models.build(model, latent_dim=latent_dim, image_shape=image_shape)
    x_BCHW = torch.zeros(images, *image_shape)
    try:
        with torch.no_grad():
            network.train().training_pass(x_BCHW, torch.Generator().manual_seed(0))
    except ValueError as error:
        # What torch's norms raise where there is one value to take a mean and a variance of.
        if str(error).startswith("Expected more than 1 "):
            return False
        raise
    return True
