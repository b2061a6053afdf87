"""Base class of tokenizers: a code of tokens from a finite codebook, and so a rate in bits.

Shapes: B batch, C channels, H height, W width, D latent_dim (tokens), E numbers of a token,
K codebook.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from ae_sweep.errors import ConfigError
from ae_sweep.models.autoencoder import Autoencoder, ImageShape, TrainingPass
from ae_sweep.models.conv import conv_decoder, conv_encoder

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CODEBOOK = 65_536


class Quantised(NamedTuple):
    """The quantised tokens of some images."""

    code_BDE: Tensor
    """Numbers of the codes, with the gradient of what they replace: `straight_through`."""
    index_BD: Tensor
    """Index of each token's code, below K."""
    penalty: Tensor | float = 0.0
    """Term that training adds to the mean squared error."""


class TokenAutoencoder(Autoencoder):
    """The reference's layers around a bottleneck of D tokens from a codebook of K.

    The encoder returns D×E numbers, the quantiser replaces each E of them by its nearest code, and
    the decoder gets these alone.

    Parameters
    ----------
    latent_dim
        D, the number of tokens per image.
    token_width
        E.
    codebook
        K.

    Raises
    ------
    ConfigError
        If K is not a whole number from 2 to 65,536, or the shape that of no image.
    """

    def __init__(
        self, *, latent_dim: int, image_shape: ImageShape, token_width: int, codebook: float
    ) -> None:
        width = latent_dim * token_width
        super().__init__(
            encoder=conv_encoder(outputs=width, image_shape=image_shape),
            decoder=conv_decoder(inputs=width, image_shape=image_shape),
            latent_dim=latent_dim,
            image_shape=image_shape,
        )
        self.token_width = token_width
        self.codebook = check_codebook(codebook)

    @abstractmethod
    def quantise(self, z_BDE: Tensor) -> Quantised:
        """Replace each token's numbers by the nearest code."""

    @abstractmethod
    def nearest(self, code_BDE: Tensor) -> Tensor:
        """Replace numbers that may lie between codes by the nearest code."""

    @abstractmethod
    def codes(self, index_BD: Tensor) -> Tensor:
        """Return the numbers of tokens, B×D×E."""

    def learn(self, z_BDE: Tensor, index_BD: Tensor, noise: torch.Generator) -> None:
        """Adapt the codes to a training batch; without a learned codebook this does nothing.

        Parameters
        ----------
        noise
            The only source of randomness, on the model's device.
        """

    @property
    def latent_width(self) -> int:
        """How many numbers ``encode`` returns for an image: D·E."""
        return self.latent_dim * self.token_width

    def encode(self, x_BCHW: Tensor) -> Tensor:
        """Compress images in [0, 1] to the numbers of their tokens, B×D·E."""
        return self.quantise(self._continuous(x_BCHW)).code_BDE.flatten(1)

    def tokens(self, x_BCHW: Tensor) -> Tensor:
        """Compress images in [0, 1] to their tokens, B×D whole numbers below K."""
        return self.quantise(self._continuous(x_BCHW)).index_BD

    def decode(self, z_BD: Tensor) -> Tensor:
        """Rebuild images in [0, 1] from B×D·E numbers, moved to their nearest codes first."""
        code_BDE = z_BD.float().unflatten(1, (self.latent_dim, self.token_width))
        return super().decode(self.nearest(code_BDE).flatten(1))

    def decode_tokens(self, index_BD: Tensor) -> Tensor:
        """Rebuild images in [0, 1] from tokens, B×D whole numbers below K."""
        return super().decode(self.codes(index_BD).flatten(1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Rebuild images from their tokens."""
        return super().decode(self.encode(x_BCHW))

    def training_pass(self, x_BCHW: Tensor, noise: torch.Generator) -> TrainingPass:
        """Rebuild images from their tokens; adapt the codes if the model is in training mode."""
        z_BDE = self._continuous(x_BCHW)
        quantised = self.quantise(z_BDE)
        if self.training:
            self.learn(z_BDE.detach(), quantised.index_BD, noise)
        y_BCHW = super().decode(quantised.code_BDE.flatten(1))
        return TrainingPass(y_BCHW, penalty=quantised.penalty)

    def rate(self, batches: Iterable[Tensor], noise: torch.Generator) -> dict[str, float]:  # noqa: ARG002
        """Measure how the codes are used.

        Returns
        -------
        dict
            ``bits``: D·log2 K, the size of indices of a fixed length.
            ``mse``: of the images rebuilt from them.
            ``entropy_bits``: the size by an ideal entropy coder that knows only how often each
            index is used at each of the D places on these images.
            ``perplexity``: 2 to the entropy in bits of an index at any place; K if all are used
            equally.
            ``dead_codes``: how many of K are never used.
        """
        counts_DK = torch.zeros(self.latent_dim, self.codebook, dtype=torch.long)
        errors = []
        for x_BCHW in batches:
            quantised = self.quantise(self._continuous(x_BCHW))
            y_BCHW = super().decode(quantised.code_BDE.flatten(1))
            errors.append(mse_loss(y_BCHW, x_BCHW, reduction="none").double().mean(dim=(1, 2, 3)))
            for place, index_B in enumerate(quantised.index_BD.T.cpu()):
                counts_DK[place] += torch.bincount(index_B, minlength=self.codebook)
        pooled_K = counts_DK.sum(dim=0)
        return {
            "bits": self.latent_dim * math.log2(self.codebook),
            "mse": torch.cat(errors).mean().item(),
            "entropy_bits": entropy_bits(counts_DK).sum().item(),
            "perplexity": 2.0 ** entropy_bits(pooled_K).item(),
            "dead_codes": float((pooled_K == 0).sum().item()),
        }

    def _continuous(self, x_BCHW: Tensor) -> Tensor:
        z_BD: Tensor = self.encoder(x_BCHW).float()
        return z_BD.view(-1, self.latent_dim, self.token_width)


def straight_through(z: Tensor, code: Tensor) -> Tensor:
    """Return the code's value with the gradient of ``z`` (Bengio et al. 2013, arXiv:1308.3432)."""
    return code.detach() + (z - z.detach())


def entropy_bits(counts_NK: Tensor) -> Tensor:
    """Return the entropy in bits of the frequencies in the last dimension."""
    frequencies_NK = counts_NK.double() / counts_NK.sum(dim=-1, keepdim=True)
    return -torch.xlogy(frequencies_NK, frequencies_NK).sum(dim=-1) / math.log(2)


def check_codebook(codebook: float) -> int:
    """Refuse an invalid size of a codebook.

    Raises
    ------
    ConfigError
        If it is not a whole number from 2 to 65,536.
    """
    if not (2 <= codebook <= MAX_CODEBOOK and codebook == int(codebook)):
        raise ConfigError(
            f"codebook must be a whole number from 2 to {MAX_CODEBOOK}, got {codebook:g}"
        )
    return int(codebook)
