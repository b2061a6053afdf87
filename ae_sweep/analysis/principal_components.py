"""Principal components of images, with their variances.

Shapes: N images, C channels, H height, W width, P = C·H·W numbers of an image, K components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.analysis.gallery import evenly_spaced, images_within
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
    Floats: TypeAlias = NDArray[np.float64]

EXACT_NUMBERS = 3_072
"""Numbers of an image (32×32 in colour) up to which the whole covariance is decomposed."""
CHUNK_IMAGES = 256
"""256 products of two bytes add up to less than 2^24, so that float32 holds their sum exactly."""
RANDOMIZED_COMPONENTS = 512
"""Computed of larger images, unless another number is asked for."""
RANDOMIZED_NUMBERS = 2**27
"""Numbers of the larger images that are used, in all: 512 MB as floats."""
SEED = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class PrincipalComponents:
    """Mean, directions and variances of images in [0, 1], the widest direction first."""

    mean_P: Floats
    """The mean image."""
    components_KP: Floats
    """Orthonormal, one component per row; the largest entry of each is positive."""
    variance_K: Floats
    """Variance along each component, with N - 1 in the denominator, never negative."""
    total_variance: float
    """Sum over all P directions, also those that were not computed."""
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    images: int
    """Images that they were computed from."""

    @classmethod
    def fit(cls, x_NCHW: Array, *, components: int | None = None) -> PrincipalComponents:
        """Compute the principal components of images (Pearson 1901).

        Up to 3,072 numbers per image, all components are exact: eigenvectors of the covariance of
        all images, whose sums are of integers and so have no rounding error. Of larger images,
        only the leading components are computed, by randomized projections (Halko, Martinsson &
        Tropp 2011), from evenly spaced images of at most 2^27 numbers together.

        Parameters
        ----------
        x_NCHW
            At least two images as bytes; may be mapped from a file.
        components
            How many are returned at most. By default all; of larger images 512.

        Raises
        ------
        ConfigError
            If there are fewer than two images, if they are not bytes, or if ``components`` is
            less than 1.
        """
        if x_NCHW.dtype != np.uint8 or x_NCHW.ndim != 4:  # N, C, H, W
            raise ConfigError(
                f"principal components need bytes, N×C×H×W, got {x_NCHW.dtype} of shape "
                f"{x_NCHW.shape}"
            )
        if len(x_NCHW) < 2:
            raise ConfigError(f"principal components need at least 2 images, got {len(x_NCHW)}")
        if components is not None and components < 1:
            raise ConfigError(f"components must be at least 1, got {components}")
        if math.prod(x_NCHW.shape[1:]) <= EXACT_NUMBERS:
            return _exact(x_NCHW, components=components)
        return _leading(x_NCHW, components=components or RANDOMIZED_COMPONENTS)

    @property
    def rest_variance(self) -> float:
        """Variance in the directions that were not computed; 0 if all were."""
        if len(self.variance_K) == len(self.mean_P):
            return 0.0
        return max(0.0, self.total_variance - float(self.variance_K.sum()))

    def project(self, x_NCHW: Array, *, components: int | None = None) -> Floats:
        """Return the scores of images, given as bytes, on the first components: N×K."""
        first_KP = self.components_KP[:components]
        step = images_within(2**23, x_NCHW.shape)
        scores = [
            (x_NCHW[i : i + step].reshape(-1, len(self.mean_P)) / 255 - self.mean_P) @ first_KP.T
            for i in range(0, len(x_NCHW), step)
        ]
        return np.concatenate(scores) if scores else np.empty((0, len(first_KP)))

    def rebuild(self, scores_NK: Array) -> Floats:
        """Return the images of scores on the first K components, N×C×H×W, not clipped to [0, 1]."""
        count = scores_NK.shape[1]
        x_NP = scores_NK @ self.components_KP[:count] + self.mean_P
        rebuilt_NCHW: Floats = x_NP.reshape(-1, *self.image_shape)
        return rebuilt_NCHW


def _exact(x_NCHW: Array, *, components: int | None) -> PrincipalComponents:
    count, shape = len(x_NCHW), tuple(map(int, x_NCHW.shape[1:]))
    numbers = math.prod(shape)
    sum_P = np.zeros(numbers)
    products_PP = np.zeros((numbers, numbers))
    for start in range(0, count, CHUNK_IMAGES):
        bytes_NP = x_NCHW[start : start + CHUNK_IMAGES].reshape(-1, numbers).astype(np.float32)
        sum_P += bytes_NP.sum(axis=0, dtype=np.float64)
        products_PP += bytes_NP.T @ bytes_NP
    mean_P = sum_P / count
    covariance_PP = (products_PP - np.outer(sum_P, mean_P)) / ((count - 1) * 255**2)
    variance_P, vectors_PP = np.linalg.eigh(covariance_PP)
    first = slice(None, components)
    return PrincipalComponents(
        mean_P=mean_P / 255,
        components_KP=_with_signs(vectors_PP.T[::-1][first]),
        variance_K=np.maximum(variance_P[::-1][first], 0.0),
        total_variance=float(np.trace(covariance_PP)),
        image_shape=shape,  # type: ignore[arg-type]
        images=count,
    )


def _leading(x_NCHW: Array, *, components: int) -> PrincipalComponents:
    from sklearn.decomposition import PCA  # noqa: PLC0415 - not needed to train

    some = min(len(x_NCHW), max(2, images_within(RANDOMIZED_NUMBERS, x_NCHW.shape)))
    chosen_NCHW = x_NCHW[evenly_spaced(len(x_NCHW), count=some)]
    x_NP = chosen_NCHW.reshape(some, -1).astype(np.float32) / np.float32(255)
    total = float(x_NP.var(axis=0, dtype=np.float64).sum()) * some / (some - 1)
    # One image of N is lost to the mean.
    wanted = min(components, some - 1, x_NP.shape[1])
    pca = PCA(wanted, svd_solver="randomized", random_state=SEED, copy=False).fit(x_NP)
    return PrincipalComponents(
        mean_P=pca.mean_.astype(np.float64),
        components_KP=_with_signs(pca.components_.astype(np.float64)),
        variance_K=np.maximum(pca.explained_variance_.astype(np.float64), 0.0),
        total_variance=total,
        image_shape=tuple(map(int, x_NCHW.shape[1:])),  # type: ignore[arg-type]
        images=some,
    )


def _with_signs(components_KP: Floats) -> Floats:
    """Make the largest entry of each component positive: eigenvectors have no sign of their own."""
    largest_K = np.argmax(np.abs(components_KP), axis=1)
    signs_K = np.sign(components_KP[np.arange(len(components_KP)), largest_K])
    signed_KP: Floats = components_KP * signs_K[:, None]
    return signed_KP
