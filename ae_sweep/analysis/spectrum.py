"""Spectrum of images: how much of their variance a few principal components hold.

It is what a linear autoencoder could do, known before any training; the mean image is what one
without any latent does.

Shapes: N images, C channels, H height, W width, P numbers in an image, K components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    Array: TypeAlias = np.ndarray[Any, Any]

MOST_IMAGES = 2_000
"""Of each part; in the order of a data set they are a random choice."""
MOST_NUMBERS = 30_000_000
"""In all of them together: 120 MB as floats."""
MOST_COMPONENTS = 64
IMAGES_PER_COMPONENT = 4
"""With fewer, the components describe the sample rather than the images."""
ITERATIONS = 3
"""Of the randomised solver (Halko, Martinsson and Tropp 2011); more change the last row by 0.5 %"""


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Principal components of a sample of the training images."""

    images: int
    """Training images in the sample."""
    test_images: int
    mean_mse: float
    """MSE of the mean training image as a reconstruction of test images, pixels in [0, 1]."""
    components: tuple[int, ...]
    """1, 2, 4, 8, ..."""
    variance: tuple[float, ...]
    """Share of the variance that as many components hold together."""
    test_mse: tuple[float, ...]
    """MSE of test images rebuilt from as many components."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | None) -> Spectrum | None:
        """Read what ``dataclasses.asdict`` wrote; None if it is something else."""
        try:
            values = dict(document or {})
            for name, kind in (("components", int), ("variance", float), ("test_mse", float)):
                values[name] = tuple(map(kind, values[name]))
            for name, kind in (("images", int), ("test_images", int), ("mean_mse", float)):
                values[name] = kind(values[name])
            return cls(**values)
        except (KeyError, TypeError, ValueError):
            return None


def spectrum(train_NCHW: Array, test_NCHW: Array) -> Spectrum:
    """Compute the principal components of training images, and their error on test images.

    Parameters
    ----------
    train_NCHW, test_NCHW
        Bytes, in an order that has nothing to do with their content; at most the first 2,000 of
        each are read.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - not needed to train

    x_NP, test_NP = _sample(train_NCHW), _sample(test_NCHW)
    most = min(MOST_COMPONENTS, len(x_NP) // IMAGES_PER_COMPONENT, x_NP.shape[1])
    mean_P = x_NP.mean(axis=0)
    centred_NP = test_NP - mean_P
    ladder = tuple(2**power for power in range(most.bit_length()) if 2**power <= most)
    variance, test_mse = [], []
    if ladder and x_NP.std() > 0:
        pca = PCA(ladder[-1], svd_solver="randomized", iterated_power=ITERATIONS, random_state=0)
        pca.fit(x_NP)
        scores_NK = centred_NP @ pca.components_.T
        lost = float(np.square(centred_NP, dtype=np.float64).sum())
        for count in ladder:
            variance.append(float(pca.explained_variance_ratio_[:count].sum()))
            kept = float(np.square(scores_NK[:, :count], dtype=np.float64).sum())
            test_mse.append(max(lost - kept, 0.0) / centred_NP.size)
    else:
        ladder = ()
    return Spectrum(
        images=len(x_NP),
        test_images=len(test_NP),
        mean_mse=float(np.square(centred_NP, dtype=np.float64).mean()),
        components=ladder,
        variance=tuple(variance),
        test_mse=tuple(test_mse),
    )


def _sample(x_NCHW: Array) -> Array:
    """Return the first images as floats in [0, 1], N×P."""
    numbers = int(np.prod(x_NCHW.shape[1:]))
    count = min(MOST_IMAGES, max(1, MOST_NUMBERS // numbers))
    x_NP: Array = x_NCHW[:count].reshape(-1, numbers).astype(np.float32) / np.float32(255)
    return x_NP
