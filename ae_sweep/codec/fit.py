"""Fitting a model's codec from training latents alone.

Shapes: N images, D latents or tokens, K coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.analysis.cluster_start import cluster_start
from ae_sweep.analysis.latent_transform import fit_transform
from ae_sweep.analysis.quantiser import Alphabet, fit_quantiser, step_ladder
from ae_sweep.codec.artifact import Codec, OperatingPoint
from ae_sweep.codec.table_fit import fit_clustered_tables, fit_tables
from ae_sweep.codec.tables import MOST_SYMBOLS
from ae_sweep.errors import ConfigError
from ae_sweep.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis.latent_transform import LatentTransform

    Array: TypeAlias = np.ndarray[Any, Any]

CLUSTERS = (32, 128)
"""Of MNIST's 32 principal components, they save 9 and 14 % of the bits at 75 bits."""
MOST_NUMBERS = 2**25
"""Numbers of the training latents at most, 128 MiB as floats; of more images, evenly spaced ones
are taken: at most 32,768 images of 1,024 latents, but all 55,000 of 512."""
NUMBERS_AT_ONCE = 2**27
"""Symbols of all steps that are fitted at a time."""
FACTORISED = "factorised"


def fit_codec(
    latents_ND: Array,
    metric_DD: Array,
    *,
    squared_error: float,
    model_sha256: str,
    image_shape: tuple[int, int, int],
    clusters: Sequence[int] = CLUSTERS,
    steps: Sequence[float] | None = None,
    transform: LatentTransform | None = None,
    threads: int = 1,
) -> Codec:
    """Return the codec of a model's latents: every step with every entropy model.

    Parameters
    ----------
    latents_ND
        Of training images.
    metric_DD
        The decoder's metric; see ``ae_sweep.analysis.latent_transform.metric_klt``.
    squared_error
        Of a training image rebuilt from its float latents, summed over its numbers, mean over
        images; the finest step follows from it.
    model_sha256
        Of the model's file, hexadecimal.
    image_shape
        Channels, height, width.
    clusters
        Sizes of the clustered entropy models, beside the factorised one.
    steps
        Of the quantisers, instead of ``step_ladder``'s.
    transform
        Instead of the one that is fitted in the metric, to compare it with.
    threads
        For as many steps at a time; the codec is the same.

    Raises
    ------
    ConfigError
        If the latents do not vary, or a shape or value does not fit.
    """
    latents_ND = _bounded(latents_ND)
    if transform is None:
        transform = fit_transform(latents_ND, metric_DD)
    y_NK = np.asfortranarray(transform.forward(latents_ND))
    if steps is None:
        steps = step_ladder(y_NK.var(axis=0, dtype=np.float64), squared_error)
    starts = {count: cluster_start(y_NK, count) for count in clusters}

    def fitted(step: float) -> list[OperatingPoint]:
        quantiser = fit_quantiser(y_NK, step)
        symbols_NK = quantiser.quantise(y_NK)
        alphabet = quantiser.alphabet
        named = {FACTORISED: fit_tables(symbols_NK, alphabet)}
        for count, start_N in starts.items():
            named[f"{count} clusters"] = fit_clustered_tables(symbols_NK, alphabet, start_N)
        return [
            OperatingPoint(
                name=f"step {quantiser.step:.4g}, {name}", quantiser=quantiser, tables=tables
            )
            for name, tables in named.items()
        ]

    threads = max(1, min(threads, NUMBERS_AT_ONCE // y_NK.size))
    points = [point for each in in_threads(fitted, steps, threads=threads) for point in each]
    return Codec(
        model_sha256=model_sha256,
        image_shape=image_shape,
        transform=transform,
        points=tuple(points),
    )


def fit_token_codec(
    tokens_NT: Array, codebook_size: int, *, model_sha256: str, image_shape: tuple[int, int, int]
) -> Codec:
    """Return the codec of a model's tokens: one operating point, a table for each position.

    Parameters
    ----------
    tokens_NT
        Of training images, 0 to ``codebook_size`` − 1.

    Raises
    ------
    ConfigError
        If a token is outside the codebook, or the codebook is too large.
    """
    if not 1 <= codebook_size <= MOST_SYMBOLS // 2:
        raise ConfigError(f"codebooks of 1 to {MOST_SYMBOLS // 2:,} are coded, got {codebook_size}")
    tokens_NT = np.asarray(tokens_NT)
    if not tokens_NT.size or tokens_NT.min() < 0 or tokens_NT.max() >= codebook_size:
        raise ConfigError(f"tokens are integers from 0 to {codebook_size - 1}, at least one")
    low_K = np.zeros(tokens_NT.shape[1], np.int32)
    alphabet = Alphabet(low_K=low_K, high_K=low_K + codebook_size - 1)
    tables = fit_tables(tokens_NT.astype(np.int32), alphabet)
    point = OperatingPoint(name=FACTORISED, quantiser=None, tables=tables)
    return Codec(
        model_sha256=model_sha256, image_shape=image_shape, transform=None, points=(point,)
    )


def _bounded(latents_ND: Array) -> Array:
    most = max(1, MOST_NUMBERS // latents_ND.shape[1])
    return latents_ND[:: -(-len(latents_ND) // most)]
