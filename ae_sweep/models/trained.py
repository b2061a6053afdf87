"""A trained autoencoder for users: arrays in, arrays out.

Shapes: N images, C channels, H height, W width, D latent_dim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from ae_sweep.config.values import MAX_SEED, check_count
from ae_sweep.errors import ConfigError
from ae_sweep.models.coding import (
    coding_batch,
    decode_to_bytes,
    decoder_metric,
    drawn_images,
    fused,
    side_by_side,
)
from ae_sweep.models.tokens import TokenAutoencoder
from ae_sweep.models.vae import VariationalAutoencoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        self._check_latents(z_ND)
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
    def codebook(self) -> int | None:
        """How many different tokens there are; None for latents that are real numbers."""
        network = self.network
        return network.codebook if isinstance(network, TokenAutoencoder) else None

    @property
    def has_posterior(self) -> bool:
        """Whether an image's code is a distribution, whose divergence `draw` returns."""
        return isinstance(self.network, VariationalAutoencoder)

    @property
    def decoder_bytes(self) -> int:
        """Size of the weights that a decoder needs: all but the encoder's."""
        return sum(
            each.nbytes
            for name, each in self.network.state_dict().items()
            if not name.startswith("encoder.")
        )

    def tokens(self, x_NCHW: Array) -> Array:
        """Compress images to tokens, int32 N×latent_dim below ``codebook``.

        Raises
        ------
        ConfigError
            For a model without tokens, or images of another shape or type.
        """
        self._check_images(x_NCHW)
        tokens_ND = self._in_batches(self._tokenizer().tokens, x_NCHW, convert=_pixels)
        return tokens_ND.astype(np.int32)

    def codes(self, x_NCHW: Array) -> Array:
        """Compress images to what is coded: tokens, or latents before any rounding.

        Raises
        ------
        ConfigError
            For images of another shape or type.
        """
        if self.codebook is not None:
            return self.tokens(x_NCHW)
        self._check_images(x_NCHW)
        network = fused(self.network)

        def encoded(x_BCHW: Array) -> Array:
            with torch.inference_mode():
                z_BD: Array = network.encode_unrounded(_pixels(x_BCHW)).contiguous().numpy()
            return z_BD

        parts = self._parts(x_NCHW, coding_batch(network))
        return np.concatenate(list(side_by_side(encoded, parts)))

    def metric(self, z_ND: Array) -> Array:
        """Estimate the decoder's metric: the mean of JᵀJ over images, J its Jacobian there.

        Parameters
        ----------
        z_ND
            Latents of training images.

        Returns
        -------
        numpy.ndarray
            D×D, float64: squared error of an image, summed over its numbers, per squared latent.

        Raises
        ------
        ConfigError
            For latents of another width, or none, or a model of tokens.
        """
        if self.codebook is not None:
            raise ConfigError("tokens have no metric: only latents that are real numbers have one")
        self._check_latents(z_ND)
        if not len(z_ND):
            raise ConfigError("the decoder's metric needs the latents of at least one image")
        return decoder_metric(self.network, z_ND)

    def decode_to_bytes(self, codes_ND: Array) -> Iterator[Array]:
        """Rebuild images, uint8 C×H×W, from latents, or from the tokens of a model that has them.

        An image comes out alike whatever images are decoded with it.

        Yields
        ------
        numpy.ndarray
            B×C×H×W, a batch after the other.

        Raises
        ------
        ConfigError
            For latents of another width, or tokens that are not in the codebook.
        """
        network, batch = fused(self.network), coding_batch(self.network)
        if not isinstance(network, TokenAutoencoder):
            self._check_latents(codes_ND)
            return decode_to_bytes(network.decode, _contiguous(codes_ND), batch=batch)
        if codes_ND.ndim != 2 or codes_ND.shape[1] != self.latent_dim:
            raise ConfigError(f"tokens must be N×{self.latent_dim}, got {_shape(codes_ND)}")
        if codes_ND.size and not 0 <= codes_ND.min() <= codes_ND.max() < network.codebook:
            raise ConfigError(
                f"tokens must be from 0 to {network.codebook - 1}, got {codes_ND.min()} to "
                f"{codes_ND.max()}"
            )
        return decode_to_bytes(network.decode_tokens, codes_ND.astype(np.int64), batch=batch)

    def draw(self, x_NCHW: Array, *, seed: int = 0) -> Iterator[tuple[Array, Array]]:
        """Rebuild images from codes that are drawn, with what their distributions cost.

        Yields
        ------
        tuple of numpy.ndarray
            Divergence from the prior in bits, float64 B, and images, uint8 B×C×H×W, a batch after
            the other.

        Raises
        ------
        ConfigError
            For a model that draws no codes, or images of another shape or type.
        """
        self._check_images(x_NCHW)
        if not isinstance(self.network, VariationalAutoencoder):
            raise ConfigError("this model draws no codes")
        return drawn_images(self.network, (_pixels(part) for part in self._parts(x_NCHW)), seed)

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
        self,
        apply: Callable[[Tensor], Tensor],
        x: Array,
        *,
        convert: Callable[[Array], Tensor],
        size: int | None = None,
    ) -> Array:
        """Apply a part of the network to images or latents, converted as many at a time."""
        with torch.inference_mode():
            return np.concatenate(
                [apply(convert(part)).contiguous().numpy() for part in self._parts(x, size)]
            )

    def _parts(self, x: Array, size: int | None = None) -> Iterator[Array]:
        size = size or self.network.inference_batch
        for first in range(0, max(len(x), 1), size):
            yield x[first : first + size]

    def _tokenizer(self) -> TokenAutoencoder:
        if not isinstance(self.network, TokenAutoencoder):
            raise ConfigError("this model's latents are real numbers, not tokens")
        return self.network

    def _check_latents(self, z_ND: Array) -> None:
        if z_ND.ndim != 2 or z_ND.shape[1] != self.latent_width:
            raise ConfigError(f"latents must be N×{self.latent_width}, got {_shape(z_ND)}")

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


def _contiguous(array: Array) -> Array:
    return np.ascontiguousarray(array, np.float32)


def _pixels(x_BCHW: Array) -> Tensor:
    floats_BCHW = _floats(x_BCHW)
    return floats_BCHW / 255 if x_BCHW.dtype == np.uint8 else floats_BCHW


def _shape(array: Array) -> str:
    return "×".join(map(str, array.shape))
