"""Tests whether a network has learned its images or to copy any image.

A wide bottleneck could pass everything. Whether it does shows on images unlike those it was
trained on (Zhang et al. 2020, "Identity Crisis", arXiv:1902.04698).

Shapes: N images, C channels, H height, W width, P = C·H·W numbers, K components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.analysis.gallery import (
    CHUNK_NUMBERS,
    as_bytes,
    evenly_spaced,
    images_within,
    squared_errors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Array: TypeAlias = np.ndarray[Any, Any]

SEED = 0
"""Seed of the noise and of the permutation: every network gets the same probes."""
COPIES = 0.99
"""Share of a probe's variance from which it counts as rebuilt."""
FAILS = 0.5
"""Share below which it counts as lost: more than half of the variance between pixels is gone."""
EXACT_NUMBERS = 1_024
"""Side of a covariance matrix up to which all of its eigenvectors are computed: a second."""
MOST_EXACT_IMAGES = 60_000
"""Training images of small pictures up to which all are fitted."""
FIT_IMAGES = 20_000
"""Images that represent a larger set."""
FIT_NUMBERS = 2**27
"""Numbers of the images that are fitted, in all: 512 MB as floats."""


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """How well one network rebuilds one set of images."""

    latent_dim: int
    probe: str
    images: int
    mse: float
    """Per number of an image, a pixel or a channel of it, in [0, 1]."""
    psnr: float | None
    """In dB; None for a perfect reconstruction."""
    exact: float
    """Share of the pixels that are the same byte after rounding."""
    rebuilt: float
    """1 - mse / variance of the images' pixels: 1 is a copy, 0 no better than one grey."""
    pca_mse: float
    """MSE of as many principal components of the training images as latents, clipped to [0, 1]."""


@dataclass(frozen=True, eq=False)
class Pca:
    """The principal components of the training images (Pearson 1901), the widest first."""

    mean_P: Array
    components_KP: Array
    """One component per row."""

    def reconstruct(self, x_NCHW: Array, *, components: int) -> Array:
        """Project bytes onto the first components and back; clipped to [0, 1]."""
        centred_NP = x_NCHW.reshape(len(x_NCHW), -1) / 255 - self.mean_P
        first_KP = self.components_KP[:components]
        rebuilt_NP = centred_NP @ first_KP.T @ first_KP + self.mean_P
        return np.clip(rebuilt_NP, 0, 1).reshape(x_NCHW.shape)


def fit_pca(x_NCHW: Array, *, components: int | None = None) -> Pca:
    """Compute the principal components of images, given as bytes and divided by 255.

    Of up to 1,024 numbers an image, all components are exact. Of more, only those asked for are
    computed, by randomized projections (Halko, Martinsson & Tropp 2011) where that is quicker.
    Large sets are represented by at most 20,000 of their images, evenly spaced.

    Parameters
    ----------
    x_NCHW
        At least one image; may be mapped from a file, of which a part is read.
    components
        How many are needed at most; all if left out.
    """
    numbers = math.prod(x_NCHW.shape[1:])
    if numbers <= EXACT_NUMBERS:
        some = FIT_IMAGES if len(x_NCHW) > MOST_EXACT_IMAGES else len(x_NCHW)
        return _exact_pca(_pixels(x_NCHW, some))
    some = min(FIT_IMAGES, images_within(FIT_NUMBERS, x_NCHW.shape), len(x_NCHW))
    most = min(numbers, some)
    wanted = most if components is None else min(components, most)
    return _leading_pca(_pixels(x_NCHW, some), components=wanted)


def _pixels(x_NCHW: Array, count: int) -> Array:
    chosen_NCHW = x_NCHW[evenly_spaced(len(x_NCHW), count=count)]
    return chosen_NCHW.reshape(count, -1).astype(np.float32) / 255


def _exact_pca(pixels_NP: Array) -> Pca:
    mean_P = pixels_NP.mean(axis=0, dtype=np.float64)
    # Every component is needed: the covariance is smaller than the images.
    covariance_PP = np.cov(pixels_NP, rowvar=False, ddof=0).reshape(len(mean_P), -1)
    _, ascending_PP = np.linalg.eigh(covariance_PP)
    return Pca(mean_P, ascending_PP.T[::-1])


def _leading_pca(pixels_NP: Array, *, components: int) -> Pca:
    from sklearn.decomposition import PCA  # noqa: PLC0415 - not needed to train

    few = len(pixels_NP) <= EXACT_NUMBERS
    fitted = PCA(
        components, svd_solver="full" if few else "randomized", random_state=SEED, copy=False
    ).fit(pixels_NP)
    return Pca(fitted.mean_, fitted.components_)


def probes(x_NCHW: Array, *, others: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Return sets of images, bytes of one shape, that a network was not trained on.

    Parameters
    ----------
    x_NCHW
        Test images.
    others
        Images of other data sets, of the same shape, by name.

    Returns
    -------
    dict
        ``test``, ``inverted`` (255 - x), ``permuted`` (all pixels of an image moved by one
        permutation), ``noise`` (uniform, every pixel by itself), and the others.
    """
    rng = np.random.default_rng(SEED)
    flat_NP = x_NCHW.reshape(len(x_NCHW), -1)
    order_P = rng.permutation(flat_NP.shape[1])
    shape: tuple[int, ...] = x_NCHW.shape
    made: dict[str, Array] = {
        "test": x_NCHW,
        "inverted": 255 - x_NCHW,
        "permuted": flat_NP[:, order_P].reshape(x_NCHW.shape),
        "noise": rng.integers(0, 256, shape, dtype=np.uint8),
    }
    return {**made, **(others or {})}


def probe_result(
    probe: str, x_NCHW: Array, rebuilt_NCHW: Array, *, latent_dim: int, pca: Pca
) -> ProbeResult:
    """Measure how well a network rebuilds a probe.

    Parameters
    ----------
    x_NCHW
        The probe's images, bytes.
    rebuilt_NCHW
        In [0, 1].
    """
    mse = float(squared_errors(x_NCHW, rebuilt_NCHW).mean())
    variance = float((x_NCHW / 255).var()) if x_NCHW.min() < x_NCHW.max() else 0.0
    return ProbeResult(
        latent_dim=latent_dim,
        probe=probe,
        images=len(x_NCHW),
        mse=mse,
        psnr=psnr_db(mse),
        exact=float((as_bytes(rebuilt_NCHW) == x_NCHW).mean()),
        # Images of one flat colour have no variance: they are rebuilt exactly or not at all.
        rebuilt=1 - mse / variance if variance > 0 else float(mse == 0),
        pca_mse=linear_mse(x_NCHW, pca, components=latent_dim),
    )


def linear_mse(x_NCHW: Array, pca: Pca, *, components: int) -> float:
    """Return the MSE of images, given as bytes, rebuilt from their principal components."""
    step = images_within(CHUNK_NUMBERS, x_NCHW.shape)
    errors = [
        squared_errors(
            x_NCHW[start : start + step],
            pca.reconstruct(x_NCHW[start : start + step], components=components),
        )
        for start in range(0, len(x_NCHW), step)
    ]
    return float(np.concatenate(errors).mean())


def verdict(results: Sequence[ProbeResult]) -> str:
    """Return the conclusion from the probes of one network, in words.

    Parameters
    ----------
    results
        Results of all probes, including the test images.
    """
    shares = {result.probe: result.rebuilt for result in results}
    if min(shares.values()) >= COPIES:
        return f"it copies: {COPIES:.0%} of the variance of every probe is rebuilt"
    failed = [probe for probe, share in shares.items() if share < FAILS]
    if "test" in failed:
        return "it does not copy: most of the test images themselves are lost"
    if failed:
        return (
            f"it has learned its images, not to copy: of {', '.join(failed)} less than half of the "
            "variance is rebuilt"
        )
    worst = min(shares, key=lambda probe: shares[probe])
    return (
        f"it copies in part: of {worst} {shares[worst]:.0%} of the variance is rebuilt, of the "
        f"test images {shares['test']:.1%}"
    )


def linear_is_better(results: Sequence[ProbeResult]) -> bool:
    """Return whether PCA with as many components rebuilds the test images with less error."""
    return any(result.probe == "test" and result.pca_mse < result.mse for result in results)
