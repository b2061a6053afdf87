"""Small codecs of drawn latents and tokens, for tests of coding."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.codec.fit import fit_codec, fit_token_codec

if TYPE_CHECKING:
    from ae_sweep.codec.artifact import Codec

MODEL = "ab" * 32
SHAPE = (1, 28, 28)
TOKENS = 16


def latents(images: int = 3_000, *, seed: int = 0) -> np.ndarray:
    """Six correlated latents in four groups, and a seventh that is dead."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(4, 6)) * 4
    drawn = centres[generator.integers(4, size=images)] + generator.normal(size=(images, 6))
    mixed = drawn @ np.random.default_rng(8).normal(size=(6, 6))
    return np.column_stack([mixed, np.full(images, 0.5)]).astype(np.float32)


@functools.cache
def codec() -> Codec:
    """Fit a codec of eight operating points: four steps, without and with 4 clusters."""
    return fit_codec(
        latents(),
        np.eye(7),
        squared_error=1.0,
        model_sha256=MODEL,
        image_shape=SHAPE,
        clusters=(4,),
        steps=(16.0, 4.0, 1.0, 0.25),
    )


@functools.cache
def token_codec() -> Codec:
    return fit_token_codec(tokens(), TOKENS, model_sha256=MODEL, image_shape=SHAPE)


def tokens(images: int = 500, *, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).geometric(0.3, size=(images, 4)) - 1
    return np.minimum(drawn, TOKENS - 1).astype(np.int32)
