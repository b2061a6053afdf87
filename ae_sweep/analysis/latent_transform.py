"""Linear transform of latents: their Karhunen-Loève transform in the decoder's metric.

An error δ of a latent changes the image by about Jδ, J the decoder's Jacobian, so its squared
error is δᵀGδ with G the mean of JᵀJ. In the coordinates y = Wᵀ·G^½·(z − mean), W the eigenvectors
of G^½·Cov(z)·G^½, that is |δy|² in every direction, and the coordinates are uncorrelated: one step
of a quantiser means the same squared error everywhere, and a table for each coordinate loses
nothing to correlation (Gersho and Gray 1992, chapter 8; high-rate theory of weighted errors).

Shapes: N images, D latents, K coordinates, K ≤ D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ae_sweep.errors import ConfigError

Array: TypeAlias = np.ndarray[Any, Any]

METRIC_FLOOR = 1e-8
"""Least eigenvalue of a metric, as a share of its largest; a direction that the decoder ignores
has none of its own, and is coded with next to no weight."""
VARIANCE_FLOOR = 1e-9
"""Share of the largest coordinate's variance below which a coordinate is not coded: rebuilt at its
mean, it adds nothing that 32-bit floats resolve. Dead latents end here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentTransform:
    """Latents to coordinates and back; the values are float32, as they are stored."""

    mean_D: Array
    forward_DK: Array
    inverse_KD: Array

    def forward(self, latents_ND: Array) -> Array:
        """Return the coordinates ``y_NK`` of latents, float32."""
        centred_ND = np.asarray(latents_ND, np.float32) - self.mean_D
        y_NK: Array = centred_ND @ self.forward_DK
        return y_NK

    def inverse(self, y_NK: Array) -> Array:
        """Return the latents ``z_ND`` of coordinates, float32."""
        z_ND: Array = np.asarray(y_NK, np.float32) @ self.inverse_KD + self.mean_D
        return z_ND


def metric_klt(mean_D: Array, covariance_DD: Array, metric_DD: Array) -> LatentTransform:
    """Return the Karhunen-Loève transform in a metric, widest coordinate first.

    Parameters
    ----------
    mean_D, covariance_DD
        Of the latents of training images.
    metric_DD
        G, the mean of JᵀJ over training images, J the Jacobian of the decoder; squared error of an
        image, summed over its numbers, per squared latent. The identity gives the ordinary KLT.

    Returns
    -------
    LatentTransform
        K is the number of coordinates with more than ``VARIANCE_FLOOR`` of the largest variance,
        at least one; the others are rebuilt at their means.

    Raises
    ------
    ConfigError
        If a shape does not fit, a value is not finite, or the metric is zero.
    """
    mean_D = np.asarray(mean_D, np.float64)
    covariance_DD = _symmetric("covariance", covariance_DD, len(mean_D))
    metric_DD = _symmetric("metric", metric_DD, len(mean_D))
    weights_D, axes_DD = np.linalg.eigh(metric_DD)
    if weights_D[-1] <= 0:
        raise ConfigError("the decoder's metric is zero: its output does not depend on its latents")
    weights_D = np.maximum(weights_D, METRIC_FLOOR * weights_D[-1])
    root_DD = (axes_DD * np.sqrt(weights_D)) @ axes_DD.T
    inverse_root_DD = (axes_DD / np.sqrt(weights_D)) @ axes_DD.T
    variances_D, turn_DD = np.linalg.eigh(root_DD @ covariance_DD @ root_DD)
    variances_D, turn_DD = variances_D[::-1], _signed(turn_DD[:, ::-1])
    kept = max(1, int((variances_D > VARIANCE_FLOOR * variances_D[0]).sum()))
    turn_DK = turn_DD[:, :kept]
    return LatentTransform(
        mean_D=mean_D.astype(np.float32),
        forward_DK=(root_DD @ turn_DK).astype(np.float32),
        inverse_KD=(turn_DK.T @ inverse_root_DD).astype(np.float32),
    )


def fit_transform(latents_ND: Array, metric_DD: Array) -> LatentTransform:
    """Return the transform of training latents; see ``metric_klt``.

    Raises
    ------
    ConfigError
        If there are fewer than two images, or as ``metric_klt``.
    """
    if len(latents_ND) < 2:
        raise ConfigError(f"a transform needs the latents of 2 images, got {len(latents_ND)}")
    mean_D = latents_ND.mean(axis=0, dtype=np.float64)
    centred_ND = np.asarray(latents_ND, np.float32) - mean_D.astype(np.float32)
    # In float32: the product of 55,000 × 1,024 latents takes seconds, and is exact to 1e-6.
    covariance_DD = (centred_ND.T @ centred_ND).astype(np.float64) / len(latents_ND)
    return metric_klt(mean_D, covariance_DD, metric_DD)


def step_for_each_latent(latents_ND: Array) -> LatentTransform:
    """Return the transform that only divides each latent by its standard deviation.

    A quantiser's step is then proportional to that of each latent: the code that the
    Karhunen-Loève transform is compared with.
    """
    deviation_D = np.maximum(latents_ND.std(axis=0, dtype=np.float64), 1e-12)
    return LatentTransform(
        mean_D=latents_ND.mean(axis=0, dtype=np.float64).astype(np.float32),
        forward_DK=np.diag(1 / deviation_D).astype(np.float32),
        inverse_KD=np.diag(deviation_D).astype(np.float32),
    )


def _symmetric(name: str, matrix_DD: Array, size: int) -> Array:
    matrix_DD = np.asarray(matrix_DD, np.float64)
    if matrix_DD.shape != (size, size):
        raise ConfigError(f"a {name} of {size} latents is {size}×{size}, got {matrix_DD.shape}")
    if not np.isfinite(matrix_DD).all():
        raise ConfigError(f"the {name} of the latents holds values that are not finite")
    symmetric_DD: Array = (matrix_DD + matrix_DD.T) / 2
    return symmetric_DD


def _signed(axes_DD: Array) -> Array:
    """Return eigenvectors whose largest component is positive, so that libraries agree."""
    largest_D = axes_DD[np.abs(axes_DD).argmax(axis=0), np.arange(axes_DD.shape[1])]
    signed_DD: Array = axes_DD * np.where(largest_D < 0, -1.0, 1.0)
    return signed_DD
