"""A model's codec: transform, quantisers and entropy models, as one safetensors file.

The file holds no code and is read as untrusted. Operating points with the same step share range,
centroids and common tables, which are stored once.

Shapes: N images, D latents or tokens, K coordinates, S symbols of all coordinates.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.codec import ans
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.analysis.latent_transform import LatentTransform
    from ae_sweep.analysis.quantiser import UniformQuantiser
    from ae_sweep.codec.tables import Tables

Array: TypeAlias = np.ndarray[Any, Any]

MOST_POINTS = 2**16


@dataclass(frozen=True, kw_only=True, eq=False)
class OperatingPoint:
    """A way to code the latents of a model."""

    name: str
    """Of the step and entropy model: ``step 0.5, 32 clusters``."""
    quantiser: UniformQuantiser | None
    """None for tokens, which are integers already."""
    tables: Tables


@dataclass(frozen=True, kw_only=True, eq=False)
class Codec:
    """All operating points of one model."""

    model_sha256: str
    """Of the model's file, hexadecimal."""
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    transform: LatentTransform | None
    """None for tokens."""
    points: tuple[OperatingPoint, ...]

    def __post_init__(self) -> None:
        """Refuse parts that do not fit each other."""
        if not 1 <= len(self.points) <= MOST_POINTS:
            raise ConfigError(f"a codec has 1 to {MOST_POINTS:,} points, got {len(self.points):,}")
        for point in self.points:
            if (point.quantiser is None) != (self.transform is None):
                raise ConfigError("latents have a transform and quantisers, tokens have neither")

    @property
    def transform_bytes(self) -> int:
        """What a decoder needs of the transform: the mean and the inverse."""
        if self.transform is None:
            return 0
        return int(self.transform.mean_D.nbytes + self.transform.inverse_KD.nbytes)

    def table_bytes(self, index: int) -> int:
        """Return what a decoder needs of an operating point: its tables and its centroids."""
        point = self.points[index]
        centroids = 0 if point.quantiser is None else len(point.quantiser.offsets_S) + 4
        return point.tables.table_bytes + centroids

    def quantise(self, latents_ND: Array, index: int) -> Array:
        """Return the symbols of latents, int32, clamped into the tables; tokens are their own."""
        point = self.points[index]
        if self.transform is None or point.quantiser is None:
            return point.tables.alphabet.clamp(latents_ND)
        return point.quantiser.quantise(self.transform.forward(latents_ND))

    def dequantise(self, symbols_NK: Array, index: int) -> Array:
        """Return the latents of symbols, float32; tokens, int32, are their own."""
        point = self.points[index]
        if self.transform is None or point.quantiser is None:
            return symbols_NK
        return self.transform.inverse(point.quantiser.dequantise(symbols_NK))

    def code_lengths(self, latents_ND: Array, index: int) -> Array:
        """Return the bits of each image by the tables; no coder is needed."""
        return self.points[index].tables.code_lengths(self.quantise(latents_ND, index))

    def encode(self, latents_ND: Array, index: int) -> bytes:
        """Return the coded stream of the images' latents.

        Raises
        ------
        ConfigError, EntropyCoderError
            As ``ans.encode``.
        """
        return ans.encode(self.quantise(latents_ND, index), self.points[index].tables)

    def decode_blocks(self, payload: bytes, index: int, images: int) -> Iterator[Array]:
        """Yield the rebuilt latents of a stream, a block of images after the other.

        Raises
        ------
        DataError, EntropyCoderError
            As ``ans.decode_blocks``.
        """
        for symbols_NK in ans.decode_blocks(payload, self.points[index].tables, images):
            yield self.dequantise(symbols_NK, index)

    def decode(self, payload: bytes, index: int, images: int) -> Array:
        """Return the rebuilt latents of a stream, all at once.

        Raises
        ------
        DataError, EntropyCoderError
            As ``ans.decode_blocks``.
        """
        return np.concatenate(list(self.decode_blocks(payload, index, images)))


def digest(content: bytes) -> bytes:
    """Return the SHA-256 of an artifact's content, by whose first half files name it."""
    return hashlib.sha256(content).digest()
