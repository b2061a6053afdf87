"""Comparison of a frontier with as many principal components, the linear code of the same size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.analysis.copy_test import fit_pca, linear_mse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ae_sweep.analysis.frontier_points import FrontierPoint

    Array: TypeAlias = np.ndarray[Any, Any]

MOST_COMPONENTS = 256
"""More take longer to compute than a training."""


def linear_errors(train_NCHW: Array, test_NCHW: Array, *, dims: Iterable[int]) -> dict[int, float]:
    """Return the test MSE of principal components of the training images.

    Parameters
    ----------
    train_NCHW, test_NCHW
        Bytes; may be mapped from files.
    dims
        Numbers of components. Those above 256, and those that the training images do not
        determine, are left out.

    Returns
    -------
    dict
        Number of components → MSE per number of an image, of numbers in [0, 1].
    """
    most = min(MOST_COMPONENTS, len(train_NCHW) - 1, int(np.prod(train_NCHW.shape[1:])))
    wanted = sorted({dim for dim in dims if dim <= most})
    if not wanted:
        return {}
    pca = fit_pca(train_NCHW, components=wanted[-1])
    return {dim: linear_mse(test_NCHW, pca, components=dim) for dim in wanted}


def worse_than_linear(
    points: Sequence[FrontierPoint], linear_mse: Mapping[int, float]
) -> list[str]:
    """Describe the points whose test MSE is above that of as many principal components.

    Parameters
    ----------
    linear_mse
        As `linear_errors` returns it.
    """
    worse = [
        f"{point.condition} ({point.test_mse:.3g} against {linear_mse[point.latent_dim]:.3g})"
        for point in points
        if linear_mse.get(point.latent_dim, point.test_mse) < point.test_mse
    ]
    if not worse:
        return []
    note = f"test MSE above that of as many principal components: {', '.join(worse)}; more "
    return [note + "images or other --epochs may help"]
