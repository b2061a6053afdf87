"""The reference model: a small convolutional autoencoder with BatchNorm and ReLU."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ae_sweep.errors import ConfigError
from ae_sweep.models.autoencoder import Autoencoder, ImageShape
from ae_sweep.models.narrow import NarrowConv2d

WIDTHS = (32, 64, 128)
"""Feature maps after each encoder layer; the decoder mirrors them."""


def conv_autoencoder(*, latent_dim: int, image_shape: ImageShape) -> Autoencoder:
    """Build the reference autoencoder.

    Two strided convolutions reduce each side of the image to a quarter, a third adds channels, and
    a linear layer returns ``latent_dim`` numbers; transposed convolutions lead back to a sigmoid.

    Parameters
    ----------
    latent_dim
        Width of the bottleneck.
    image_shape
        Channels, height and width; height and width divisible by 4.

    Raises
    ------
    ConfigError
        If height or width is not divisible by 4.
    """
    return Autoencoder(
        encoder=conv_encoder(outputs=latent_dim, image_shape=image_shape),
        decoder=conv_decoder(inputs=latent_dim, image_shape=image_shape),
        latent_dim=latent_dim,
        image_shape=image_shape,
    )


def conv_encoder(*, outputs: int, image_shape: ImageShape) -> nn.Sequential:
    """Build the reference's encoder, from B×C×H×W images to B×outputs numbers.

    Raises
    ------
    ConfigError
        If height or width is not divisible by 4.
    """
    narrow, middle, wide = WIDTHS
    return nn.Sequential(
        *_convolution(image_shape[0], narrow, stride=2),
        *_convolution(narrow, middle, stride=2),
        *_convolution(middle, wide, stride=1),
        _Flatten(),
        nn.Linear(math.prod(_core(image_shape)), outputs),
    )


def conv_decoder(*, inputs: int, image_shape: ImageShape) -> nn.Sequential:
    """Build the reference's decoder, from B×inputs numbers to B×C×H×W images.

    Raises
    ------
    ConfigError
        If height or width is not divisible by 4.
    """
    narrow, middle, wide = WIDTHS
    core = _core(image_shape)
    return nn.Sequential(
        nn.Linear(inputs, math.prod(core)),
        nn.Unflatten(1, core),
        *_transposed_convolution(wide, middle),
        *_transposed_convolution(middle, narrow),
        NarrowConv2d(narrow, image_shape[0]),
        nn.Sigmoid(),
    )


def _core(image_shape: ImageShape) -> tuple[int, int, int]:
    """Return the shape of the features next to the bottleneck."""
    _, height, width = image_shape
    if height % 4 or width % 4:
        raise ConfigError(
            f"the convolutions halve images twice, and {height}x{width} is not divisible by 4; "
            "pad or crop the images"
        )
    return WIDTHS[-1], height // 4, width // 4


def _convolution(channels_in: int, channels_out: int, *, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1)
    return _normalised(convolution, channels_out)


def _transposed_convolution(channels_in: int, channels_out: int) -> list[nn.Module]:
    # output_padding makes the size exactly double, the mirror of a strided convolution.
    convolution = nn.ConvTranspose2d(
        channels_in, channels_out, kernel_size=3, stride=2, padding=1, output_padding=1
    )
    return _normalised(convolution, channels_out)


def _normalised(convolution: nn.Conv2d | nn.ConvTranspose2d, channels: int) -> list[nn.Module]:
    # BatchNorm removes any bias, so its gradient is zero. Computing that zero took a fifth of a
    # training step.
    if convolution.bias is not None:
        convolution.bias.requires_grad_(False)
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


class _Flatten(nn.Flatten):
    """Flattens B×C×H×W features, and returns their gradient in the layout of the input."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Flatten to B×CHW."""
        if x_BCHW.requires_grad:
            x_BCHW.register_hook(_to_channels_last)
        return super().forward(x_BCHW)


def _to_channels_last(gradient_BCHW: Tensor) -> Tensor:
    return gradient_BCHW.contiguous(memory_format=torch.channels_last)
