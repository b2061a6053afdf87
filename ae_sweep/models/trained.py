"""A trained autoencoder for users: arrays in, arrays out.

Shapes: N images, C channels, H height, W width, D latent_dim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from ae_sweep.config import MAX_SEED, check_count
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ae_sweep.models.autoencoder import Autoencoder, ImageShape

    Array: TypeAlias = np.ndarray[Any, Any]


class TrainedAutoencoder:
    """A trained autoencoder that compresses and rebuilds images of any number.

    Images are N×C×H×W: float32 in [0, 1], or uint8, which are divided by 255.

    Parameters
    ----------
    network
        The torch module, on the CPU and in evaluation mode.
    """

    def __init__(self, network: Autoencoder) -> None:
        self.network = network

    @property
    def latent_dim(self) -> int:
        """Width of the bottleneck."""
        return self.network.latent_dim

    @property
    def latent_width(self) -> int:
        """Numbers in a latent: latent_dim, or the numbers of that many tokens."""
        return self.network.latent_width

    @property
    def weight_bytes(self) -> int:
        """Memory of its weights."""
        return sum(each.nbytes for each in self.network.state_dict().values())

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height, width."""
        return self.network.image_shape

    def encode(self, x_NCHW: Array) -> Array:
        """Compress images to latents, float32 N×latent_width.

        Raises
        ------
        ConfigError
            For images of another shape or type.
        """
        self._check_images(x_NCHW)
        return self._in_batches(self.network.encode, x_NCHW, convert=_pixels)

    @property
    def rounds_latents(self) -> bool:
        """Whether latents are whole numbers: a quantiser of step 1 is part of the model."""
        return self.network.rounds_latents

    def encode_unrounded(self, x_NCHW: Array) -> Array:
        """Compress images to latents before any rounding, float32 N×latent_width.

        Other than what ``encode`` returns only where ``rounds_latents``.

        Raises
        ------
        ConfigError
            For images of another shape or type.
        """
        self._check_images(x_NCHW)
        return self._in_batches(self.network.encode_unrounded, x_NCHW, convert=_pixels)

    def decode(self, z_ND: Array) -> Array:
        """Rebuild images, float32 N×C×H×W in [0, 1], from latents.

        Raises
        ------
        ConfigError
            For latents of another width.
        """
        if z_ND.ndim != 2 or z_ND.shape[1] != self.latent_width:
            raise ConfigError(f"latents must be N×{self.latent_width}, got {_shape(z_ND)}")
        return self._in_batches(self.network.decode, z_ND, convert=_floats)

    def reconstruct(self, x_NCHW: Array) -> Array:
        """Rebuild images, float32 N×C×H×W in [0, 1], from their latents.

        Raises
        ------
        ConfigError
            For images of another shape or type.
        """
        self._check_images(x_NCHW)
        return self._in_batches(self.network, x_NCHW, convert=_pixels)

    @property
    def has_prior(self) -> bool:
        """Whether codes can be sampled without an image."""
        return self.network.has_prior

    def sample(self, count: int, *, seed: int = 0) -> Array:
        """Sample codes from the prior and decode them.

        Returns
        -------
        numpy.ndarray
            Float32, count×C×H×W in [0, 1]; the same for the same seed.

        Raises
        ------
        ConfigError
            If the model has no prior, or the count or seed is invalid.
        """
        if not self.has_prior:
            raise ConfigError("this model has no prior to draw codes from")
        check_count("count", count)
        check_count("seed", seed, least=0, most=MAX_SEED)
        with torch.inference_mode():
            noise = torch.Generator().manual_seed(seed)
            array: Array = self.network.sample(count, noise).numpy()
            return array

    def _in_batches(
        self, apply: Callable[[Tensor], Tensor], x: Array, *, convert: Callable[[Array], Tensor]
    ) -> Array:
        """Apply a part of the network to images or latents, converted as many at a time."""
        size = self.network.inference_batch
        with torch.inference_mode():
            parts = [
                apply(convert(x[first : first + size])).contiguous().numpy()
                for first in range(0, max(len(x), 1), size)
            ]
        return np.concatenate(parts)

    def _check_images(self, x_NCHW: Array) -> None:
        if x_NCHW.ndim != 4 or x_NCHW.shape[1:] != self.image_shape:
            raise ConfigError(
                f"images must be N×{'×'.join(map(str, self.image_shape))}, got {_shape(x_NCHW)}"
            )
        if x_NCHW.dtype.kind != "f" and x_NCHW.dtype != np.uint8:
            raise ConfigError(
                f"images must be floats in [0, 1] or bytes (uint8), got {x_NCHW.dtype}; convert "
                "them with .astype"
            )


def _floats(array: Array) -> Tensor:
    # A copy where torch could not share the memory: read-only, or with negative strides.
    return torch.from_numpy(np.require(array, np.float32, ["C", "W"]))


def _pixels(x_BCHW: Array) -> Tensor:
    floats_BCHW = _floats(x_BCHW)
    return floats_BCHW / 255 if x_BCHW.dtype == np.uint8 else floats_BCHW


def _shape(array: Array) -> str:
    return "×".join(map(str, array.shape))
