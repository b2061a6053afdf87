"""Fully connected autoencoder with as many parameters as the reference and no convolution."""

from __future__ import annotations

import math

import torch
from torch import nn

from ae_sweep.models.autoencoder import Autoencoder, ImageShape
from ae_sweep.models.conv import conv_autoencoder


def mlp_autoencoder(*, latent_dim: int, image_shape: ImageShape) -> Autoencoder:
    """Build a fully connected autoencoder with two hidden layers on each side.

    All four hidden layers have one width, chosen so that there are as many parameters as in the
    reference autoencoder with that bottleneck: the difference of the two is the effect of
    convolutions.

    Parameters
    ----------
    latent_dim
        Width of the bottleneck.
    image_shape
        Channels, height and width.

    Raises
    ------
    ConfigError
        If the shape is that of no image.
    """
    pixels = math.prod(image_shape)
    width = hidden_width(latent_dim=latent_dim, image_shape=image_shape)
    encoder = nn.Sequential(
        nn.Flatten(),
        *_normalised(pixels, width),
        *_normalised(width, width),
        nn.Linear(width, latent_dim),
    )
    decoder = nn.Sequential(
        nn.Linear(latent_dim, width),
        nn.ReLU(inplace=True),
        *_normalised(width, width),
        nn.Linear(width, pixels),
        nn.Unflatten(1, image_shape),
        nn.Sigmoid(),
    )
    return Autoencoder(
        encoder=encoder, decoder=decoder, latent_dim=latent_dim, image_shape=image_shape
    )


def hidden_width(*, latent_dim: int, image_shape: ImageShape) -> int:
    """Return the width of the hidden layers.

    With P pixels, D latents and width h there are 2·h² + h·(2·P + 2·D + 7) + P + D parameters: the
    root of this quadratic at the reference's number, rounded.
    """
    with torch.device("meta"):
        reference = conv_autoencoder(latent_dim=latent_dim, image_shape=image_shape)
    wanted = sum(parameter.numel() for parameter in reference.parameters())
    pixels = math.prod(image_shape)
    linear = 2 * pixels + 2 * latent_dim + 7
    constant = pixels + latent_dim - wanted
    return max(1, round((math.sqrt(linear**2 - 8 * constant) - linear) / 4))


def _normalised(inputs: int, outputs: int) -> list[nn.Module]:
    # BatchNorm removes any bias.
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]
