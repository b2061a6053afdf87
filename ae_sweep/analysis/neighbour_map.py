"""A map of latents by their neighbours: UMAP, where it is installed."""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import numpy as np

from ae_sweep.errors import ConfigError

Array: TypeAlias = np.ndarray[Any, Any]
SEED = 0
NEIGHBOURS = 15


def neighbour_map(z_ND: Array) -> Array:
    """Return a map of latents in a plane that keeps neighbours close.

    The method is UMAP (McInnes et al. 2018). Distances between groups and
    their sizes mean little.

    Parameters
    ----------
    z_ND
        Latents of more than 15 images.

    Returns
    -------
    numpy.ndarray
        N×2; the same each time on one machine.

    Raises
    ------
    ConfigError
        If umap-learn is not installed.
    """
    try:
        import umap  # noqa: PLC0415 - an extra, and ten seconds to import
    except ImportError:
        raise ConfigError(
            "a map by UMAP needs an extra that is not installed: pip install 'ae-sweep[umap]' "
            "(in a checkout: pip install -e '.[umap]'); without --umap the plane is that of the "
            "first two principal components"
        ) from None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value")  # a seed means one thread
        mapped_N2: Array = umap.UMAP(n_neighbors=NEIGHBOURS, random_state=SEED).fit_transform(z_ND)
    return mapped_N2
