"""Owns the latents between images: straight paths, and grids over a plane.

Shapes: N images, D latent_dim, R rows and C columns of a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    Array: TypeAlias = np.ndarray[Any, Any]

EDGE = 0.02
"""A grid spans the quantiles from here to 1 minus it: single outliers would stretch it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentGrid:
    """Latents on a plane, spaced as the images are."""

    z_RCD: Array
    """The first row has the largest value of the vertical axis, as on a plot."""
    axes: tuple[str, ...]
    """What varies along the columns and along the rows, in words."""


def line(start: Array, end: Array, *, steps: int) -> Array:
    """Return what lies between two latents, or two images, at equal distances.

    Parameters
    ----------
    start, end
        Of one shape.
    steps
        At least 2; both ends are among them.

    Returns
    -------
    numpy.ndarray
        Float32, ``steps`` × that shape.
    """
    shares = np.linspace(0, 1, steps).reshape(-1, *[1] * start.ndim)
    return _floats((1 - shares) * start + shares * end)


def grid(z_ND: Array, *, side: int) -> LatentGrid:
    """Lay a grid over the plane in which latents lie: evenly spaced quantiles of each axis.

    One latent gives one row. Of more than two, the plane is that of the first two principal
    components (Pearson 1901) through the mean.

    Parameters
    ----------
    z_ND
        Latents of at least two images.
    side
        Columns, and rows where there are two axes.
    """
    latent_dim = z_ND.shape[1]
    shares = np.linspace(EDGE, 1 - EDGE, side) if side > 1 else np.array([0.5])
    if latent_dim == 1:
        return LatentGrid(z_RCD=_floats(np.quantile(z_ND, shares, axis=0))[None], axes=("z1",))
    if latent_dim == 2:
        origin_D, axes_2D, names = np.zeros(2), np.eye(2), ("z1", "z2")
    else:
        origin_D = z_ND.mean(axis=0)
        _, _, directions_DD = np.linalg.svd(z_ND - origin_D, full_matrices=False)
        axes_2D, names = directions_DD[:2], ("PC1", "PC2")
    coordinates_N2 = (z_ND - origin_D) @ axes_2D.T
    across_C, up_R = np.quantile(coordinates_N2, shares, axis=0).T
    down_R = up_R[::-1]
    z_RCD = origin_D + across_C[None, :, None] * axes_2D[0] + down_R[:, None, None] * axes_2D[1]
    return LatentGrid(z_RCD=_floats(z_RCD), axes=names)


def _floats(array: Array) -> Array:
    return np.ascontiguousarray(array, dtype=np.float32)
