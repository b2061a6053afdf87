"""Clusters of training images from which an entropy model starts."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from ae_sweep.errors import ConfigError

Array: TypeAlias = np.ndarray[Any, Any]

FITTED_IMAGES = 10_000
"""From which the centres are found; all images are assigned to them."""
FITTED_COORDINATES = 64
"""The first, which are the widest of a Karhunen-Loève transform."""
IMAGES_PER_CLUSTER = 20
"""At least; fewer say nothing about a table."""
ITERATIONS = 30


def cluster_start(y_NK: Array, clusters: int) -> Array:
    """Return a cluster of each image by k-means, int32, the same on every call.

    Parameters
    ----------
    y_NK
        Coordinates of training images, all in the same unit.
    clusters
        Most clusters; fewer where there are under ``IMAGES_PER_CLUSTER`` images for each.

    Raises
    ------
    ConfigError
        If ``clusters`` is below 1.
    """
    if clusters < 1:
        raise ConfigError(f"there must be at least 1 cluster, got {clusters}")
    from sklearn.cluster import KMeans  # noqa: PLC0415 - not needed to train

    y_NK = np.ascontiguousarray(y_NK[:, :FITTED_COORDINATES], np.float32)
    sample_NK = y_NK[:: max(1, len(y_NK) // FITTED_IMAGES)]
    clusters = max(1, min(clusters, len(sample_NK) // IMAGES_PER_CLUSTER))
    fitted = KMeans(clusters, n_init=1, max_iter=ITERATIONS, random_state=0).fit(sample_NK)
    assigned_N: Array = fitted.predict(y_NK).astype(np.int32)
    return assigned_N
