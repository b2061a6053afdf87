"""VQ-VAE: tokens whose codes are learned as running means.

Shapes: B batch, D latent_dim (tokens), E numbers of a token, K codebook, T = B·D.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ae_sweep.models.tokens import Quantised, TokenAutoencoder, straight_through

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.models.autoencoder import ImageShape

TOKEN_WIDTH = 8
COMMITMENT = 0.25
"""Weight of the squared distance, per number of a token, between the encoder and the codes (van
den Oord et al. 2017). It is in the codes' own unit, whose scale the encoder finds; a tenth of it
was not better (docs/LOG.md)."""
DECAY = 0.98
"""Decay of the running means per batch."""
DEAD_SHARE = 0.1
"""A code that is used less than this share of the average is restarted."""
FRESH_SHARE = 0.2
"""Share of the average that a restarted code counts as used."""
JITTER = 0.01
"""Share of the tokens' standard deviation: noise that separates codes restarted at one token."""
MOST_DISTANCES = 2**24
"""Numbers in memory at a time, 64 MiB: tokens times codes are gigabytes for a large codebook."""


class VectorQuantisedAutoencoder(TokenAutoencoder):
    """A VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937) with one codebook for all places.

    The codes are exponential running means of what is assigned to them (appendix A.1 there). They
    start as tokens of the first batch, and a code that is hardly used is restarted at a token of
    the current batch, as in Jukebox (Dhariwal et al. 2020, arXiv:2005.00341).
    """

    trained_by_mse_alone = False

    def __init__(self, *, latent_dim: int, image_shape: ImageShape, codebook: float) -> None:
        super().__init__(
            latent_dim=latent_dim,
            image_shape=image_shape,
            token_width=TOKEN_WIDTH,
            codebook=codebook,
        )
        codes_KE = torch.randn(self.codebook, TOKEN_WIDTH)
        self.codes_KE = nn.Parameter(codes_KE, requires_grad=False)
        self.register_buffer("usage_K", torch.zeros(self.codebook))
        self.register_buffer("sums_KE", torch.zeros(self.codebook, TOKEN_WIDTH))
        self.usage_K: Tensor
        self.sums_KE: Tensor
        self.register_buffer("_numbers_K", torch.arange(self.codebook), persistent=False)
        self._numbers_K: Tensor
        self._begun = False

    def quantise(self, z_BDE: Tensor) -> Quantised:
        """Replace each token's numbers by the code at the smallest Euclidean distance."""
        index_T = torch.cat([self._nearest_index(part) for part in self._parts(z_BDE)])
        index_BD = index_T.view(z_BDE.shape[:2])
        code_BDE = self.codes_KE[index_BD]
        return Quantised(
            code_BDE=straight_through(z_BDE, code_BDE),
            index_BD=index_BD,
            penalty=COMMITMENT * mse_loss(z_BDE, code_BDE),
        )

    def nearest(self, code_BDE: Tensor) -> Tensor:
        """Replace numbers that may lie between codes by the nearest code."""
        return self.codes_KE[self.quantise(code_BDE).index_BD]

    def codes(self, index_BD: Tensor) -> Tensor:
        """Return the numbers of tokens, B×D×E."""
        return self.codes_KE[index_BD]

    @torch.no_grad()
    def learn(self, z_BDE: Tensor, index_BD: Tensor, noise: torch.Generator) -> None:
        """Move codes towards the tokens assigned to them; restart those hardly used."""
        flat_TE = z_BDE.flatten(0, 1)
        average = len(flat_TE) / self.codebook
        if not self._begun:
            self._begun = True
            if not self.usage_K.any():
                self._begin(torch.ones_like(self.usage_K, dtype=torch.bool), flat_TE, noise)
                return
        counts_K, sums_KE = torch.zeros_like(self.usage_K), torch.zeros_like(self.sums_KE)
        for part_TE, index_T in zip(self._parts(z_BDE), self._parts(index_BD), strict=True):
            # A product, since sums over indices have no fixed order on a GPU.
            assigned_TK = (index_T[:, None] == self._numbers_K).to(flat_TE.dtype)
            with torch.autocast(flat_TE.device.type, enabled=False):
                sums_KE += assigned_TK.T @ part_TE
            counts_K += assigned_TK.sum(dim=0)
        self.usage_K.lerp_(counts_K, 1 - DECAY)
        self.sums_KE.lerp_(sums_KE, 1 - DECAY)
        self.codes_KE.copy_(self.sums_KE / self.usage_K.clamp(min=1e-6)[:, None])
        self._begin(self.usage_K < DEAD_SHARE * average, flat_TE, noise)

    def _begin(self, which_K: Tensor, flat_TE: Tensor, noise: torch.Generator) -> None:
        """Restart codes at tokens drawn at random, different ones while there are enough.

        They count as little used, so that one without any token is soon restarted again.
        """
        tokens, device = len(flat_TE), flat_TE.device
        order_T = torch.randperm(tokens, generator=noise, device=device)
        drawn_K = order_T.repeat(-(-self.codebook // tokens))[: self.codebook]
        jitter_KE = torch.randn(self.codes_KE.shape, generator=noise, device=device)
        fresh_KE = flat_TE[drawn_K] + JITTER * flat_TE.std(dim=0, correction=0) * jitter_KE
        usage = FRESH_SHARE * tokens / self.codebook
        self.codes_KE.copy_(torch.where(which_K[:, None], fresh_KE, self.codes_KE))
        self.usage_K.masked_fill_(which_K, usage)
        self.sums_KE.copy_(torch.where(which_K[:, None], fresh_KE * usage, self.sums_KE))

    def _nearest_index(self, part_TE: Tensor) -> Tensor:
        with torch.autocast(part_TE.device.type, enabled=False):
            # |z − e|² without |z|², which is the same for all codes.
            distances_TK = self.codes_KE.square().sum(dim=1) - 2 * part_TE @ self.codes_KE.T
        return distances_TK.argmin(dim=1)

    def _parts(self, x_BD: Tensor) -> Sequence[Tensor]:
        """Split all tokens so that a part's distances to all codes fit in memory."""
        tokens = max(1, MOST_DISTANCES // self.codebook)
        parts: Sequence[Tensor] = x_BD.flatten(0, 1).split(tokens)
        return parts


def vector_quantised_autoencoder(
    *, latent_dim: int, image_shape: ImageShape, codebook: float = 256
) -> VectorQuantisedAutoencoder:
    """Build a VQ-VAE from the reference's layers.

    Parameters
    ----------
    latent_dim
        Number of tokens per image.
    image_shape
        Channels, height and width.
    codebook
        Number of different tokens.

    Raises
    ------
    ConfigError
        If the codebook is invalid, or the shape that of no image.
    """
    return VectorQuantisedAutoencoder(
        latent_dim=latent_dim, image_shape=image_shape, codebook=codebook
    )
