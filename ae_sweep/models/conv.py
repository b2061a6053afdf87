"""The reference model: a small convolutional autoencoder with BatchNorm and ReLU."""

from __future__ import annotations

import itertools
import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ae_sweep.errors import ConfigError
from ae_sweep.models.autoencoder import Autoencoder, ImageShape
from ae_sweep.models.factored import FactoredLinear
from ae_sweep.models.narrow import NarrowConv2d
from ae_sweep.models.normalised import BatchNormReLU2d

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WIDTHS = (32, 64, 128)
"""Feature maps after each encoder layer, the last for all that follow; the decoder mirrors them."""
LEAST_HALVINGS = 2
LARGEST_CORE_SIDE = 8
"""Geometric mean of the sides of the features next to the bottleneck, at most."""


def conv_autoencoder(*, latent_dim: int, image_shape: ImageShape) -> Autoencoder:
    """Build the reference autoencoder.

    Strided convolutions halve each side of the image, two of them up to the area of 32×32 and one
    more for each doubling beyond; one that is not strided follows, and a linear layer returns
    ``latent_dim`` numbers. Transposed convolutions lead back to a sigmoid.

    Parameters
    ----------
    latent_dim
        Width of the bottleneck.
    image_shape
        Channels, height and width, of any size.

    Raises
    ------
    ConfigError
        If the shape is that of no image.
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
        If the shape is that of no image.
    """
    sizes = _sizes(image_shape)
    widths = _widths(len(sizes) - 1)
    return nn.Sequential(
        *_layers(
            _convolution(channels_in, channels_out, stride=2)
            for channels_in, channels_out in pairwise((image_shape[0], *widths))
        ),
        *_convolution(widths[-1], WIDTHS[-1], stride=1),
        _Flatten(),
        FactoredLinear(math.prod(_core(sizes)), outputs),
    )


def conv_decoder(*, inputs: int, image_shape: ImageShape) -> nn.Sequential:
    """Build the reference's decoder, from B×inputs numbers to B×C×H×W images.

    Raises
    ------
    ConfigError
        If the shape is that of no image.
    """
    sizes = _sizes(image_shape)
    widths = _widths(len(sizes) - 1)
    core = _core(sizes)
    return nn.Sequential(
        FactoredLinear(inputs, math.prod(core)),
        _Unflatten(1, core),
        *_layers(
            _transposed_convolution(channels_in, channels_out, size=size)
            for (channels_in, channels_out), size in zip(
                pairwise((WIDTHS[-1], *reversed(widths))), reversed(sizes[:-1]), strict=True
            )
        ),
        NarrowConv2d(widths[0], image_shape[0]),
        nn.Sigmoid(),
    )


def _sizes(image_shape: ImageShape) -> list[tuple[int, int]]:
    """Return height and width of the image, and of the features after each halving.

    A side that is odd is halved up: the convolution pads it by a row or column of zeros, and the
    transposed one leaves that out again.
    """
    _, height, width = image_shape
    if min(image_shape) < 1:
        raise ConfigError(
            "an image has at least one channel and one pixel, got "
            f"{' x '.join(map(str, image_shape))} (channels, height, width)"
        )
    least_core = 4**LEAST_HALVINGS * LARGEST_CORE_SIDE**2
    beyond = math.ceil(math.log2(height * width / least_core) / 2)
    sizes = [(height, width)]
    for _ in range(LEAST_HALVINGS + max(0, beyond)):
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((height, width))
    return sizes


def _widths(halvings: int) -> list[int]:
    """Return the feature maps after each halving."""
    return [WIDTHS[min(index, len(WIDTHS) - 1)] for index in range(halvings)]


def _core(sizes: list[tuple[int, int]]) -> tuple[int, int, int]:
    """Return the shape of the features next to the bottleneck."""
    return WIDTHS[-1], *sizes[-1]


def _layers(blocks: Iterable[list[nn.Module]]) -> Iterator[nn.Module]:
    return itertools.chain.from_iterable(blocks)


def _convolution(channels_in: int, channels_out: int, *, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1)
    return _normalised(convolution, channels_out)


def _transposed_convolution(
    channels_in: int, channels_out: int, *, size: tuple[int, int]
) -> list[nn.Module]:
    # An output_padding of 1 makes the side exactly double, 0 one less: the mirror of halving up.
    height, width = size
    convolution = nn.ConvTranspose2d(
        channels_in,
        channels_out,
        kernel_size=3,
        stride=2,
        padding=1,
        output_padding=(1 - height % 2, 1 - width % 2),
    )
    return _normalised(convolution, channels_out)


def _normalised(convolution: nn.Conv2d | nn.ConvTranspose2d, channels: int) -> list[nn.Module]:
    # BatchNorm removes any bias, so its gradient is zero. Computing that zero took a fifth of a
    # training step.
    if convolution.bias is not None:
        convolution.bias.requires_grad_(False)
    # The layer that does nothing keeps the numbers of the others, which stored weights go by.
    return [convolution, BatchNormReLU2d(channels, used_once=True), nn.Identity()]


class _Flatten(nn.Flatten):
    """Flattens B×C×H×W features, and returns their gradient in the layout of the input."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Flatten to B×CHW."""
        if x_BCHW.requires_grad:
            x_BCHW.register_hook(_to_channels_last)
        return super().forward(x_BCHW)


class _Unflatten(nn.Unflatten):
    """Unflattens to B×C×H×W features in the layout that convolutions would change them to."""

    def forward(self, x_BF: Tensor) -> Tensor:
        """Unflatten the channels, height and width."""
        return super().forward(x_BF).contiguous(memory_format=torch.channels_last)


def _to_channels_last(gradient_BCHW: Tensor) -> Tensor:
    return gradient_BCHW.contiguous(memory_format=torch.channels_last)
