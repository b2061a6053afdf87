"""Finite-scalar-quantised tokenizer: tokens are points of a fixed grid.

Shapes: B batch, D latent_dim (tokens), E numbers of a token.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ae_sweep.errors import ConfigError
from ae_sweep.models.tokens import (
    Quantised,
    TokenAutoencoder,
    check_codebook,
    straight_through,
)

if TYPE_CHECKING:
    from ae_sweep.models.autoencoder import ImageShape

MAX_LEVEL_BITS = 3
"""Bits of one number of a token: up to eight levels."""


class FiniteScalarAutoencoder(TokenAutoencoder):
    """A tokenizer by finite scalar quantisation (Mentzer et al. 2023, arXiv:2309.15505).

    Each of a token's E numbers is squashed between −1 and 1 and rounded to one of a few evenly
    spaced levels: the codebook is their product. It is not learned, so the objective is the mean
    squared error alone, and no code can die because it was never updated.
    """

    def __init__(self, *, latent_dim: int, image_shape: ImageShape, codebook: float) -> None:
        levels = grid_levels(check_codebook(codebook))
        super().__init__(
            latent_dim=latent_dim,
            image_shape=image_shape,
            token_width=len(levels),
            codebook=codebook,
        )
        self.register_buffer("levels_E", torch.tensor(levels, dtype=torch.float32))
        places = [math.prod(levels[:place]) for place in range(len(levels))]
        self.register_buffer("places_E", torch.tensor(places))
        self.levels_E: Tensor
        self.places_E: Tensor

    def quantise(self, z_BDE: Tensor) -> Quantised:
        """Replace each token's numbers by the nearest point of the grid."""
        squashed_BDE = z_BDE.tanh()
        level_BDE = self._level(squashed_BDE)
        return Quantised(
            code_BDE=straight_through(squashed_BDE, self._code(level_BDE)),
            index_BD=(level_BDE.long() * self.places_E).sum(dim=-1),
        )

    def nearest(self, code_BDE: Tensor) -> Tensor:
        """Replace numbers that may lie between by the nearest point of the grid."""
        return self._code(self._level(code_BDE.clamp(-1, 1)))

    def codes(self, index_BD: Tensor) -> Tensor:
        """Return the numbers of tokens, B×D×E."""
        return self._code(index_BD[..., None] // self.places_E % self.levels_E.long())

    def _level(self, squashed_BDE: Tensor) -> Tensor:
        return ((squashed_BDE + 1) / 2 * (self.levels_E - 1)).round()

    def _code(self, level_BDE: Tensor) -> Tensor:
        return 2 * level_BDE / (self.levels_E - 1) - 1


def grid_levels(codebook: int) -> list[int]:
    """Return the levels of each number of a token: as few numbers as eight levels each allow.

    Raises
    ------
    ConfigError
        If the codebook is not a power of two.
    """
    bits = codebook.bit_length() - 1
    if codebook != 2**bits:
        raise ConfigError(
            f"the codebook of fsq is a grid, and must be a power of two, got {codebook}; "
            f"the next is {2 ** (bits + 1)}"
        )
    numbers = -(-bits // MAX_LEVEL_BITS)
    few, more = divmod(bits, numbers)
    return [2 ** (few + 1)] * more + [2**few] * (numbers - more)


def finite_scalar_autoencoder(
    *, latent_dim: int, image_shape: ImageShape, codebook: float = 256
) -> FiniteScalarAutoencoder:
    """Build a finite-scalar-quantised tokenizer from the reference's layers.

    Parameters
    ----------
    latent_dim
        Number of tokens per image.
    image_shape
        Channels, height and width.
    codebook
        Number of different tokens; a power of two.

    Raises
    ------
    ConfigError
        If the codebook is invalid, or the shape that of no image.
    """
    return FiniteScalarAutoencoder(
        latent_dim=latent_dim, image_shape=image_shape, codebook=codebook
    )
