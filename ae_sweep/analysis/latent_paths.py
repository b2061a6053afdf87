"""Positions of latents: the plane in which they are drawn, grids over it, straight paths.

Shapes: N images, D latent_dim, A axes (1 or 2), R rows and C columns of a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    Array: TypeAlias = np.ndarray[Any, Any]

EDGE = 0.02
"""A grid spans the quantiles from here to 1 minus it, so that single outliers do not stretch it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentPlane:
    """The axes on which latents are drawn: one, or two that are orthogonal."""

    origin_D: Array
    axes_AD: Array
    """One axis per row, of length 1."""
    names: tuple[str, ...]
    shares: tuple[float, ...]
    """Share of the latents' variance along each axis; 0 where there is no variance at all."""

    def coordinates(self, z_ND: Array) -> Array:
        """Return latents as coordinates on the plane, N×A."""
        coordinates_NA: Array = (z_ND - self.origin_D) @ self.axes_AD.T
        return coordinates_NA


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentGrid:
    """A grid of latents on a plane, spaced like the latents of the images."""

    z_RCD: Array
    """The first row has the largest value of the vertical axis, as on a plot."""
    axes: tuple[str, ...]
    """Names of what varies along the columns and along the rows."""


def line(start: Array, end: Array, *, steps: int) -> Array:
    """Return points at equal distances between two latents or two images.

    Parameters
    ----------
    start, end
        Arrays of one shape.
    steps
        At least 2; both ends are among them.

    Returns
    -------
    numpy.ndarray
        Float32, ``steps`` × that shape.
    """
    shares = np.linspace(0, 1, steps).reshape(-1, *[1] * start.ndim)
    return _floats((1 - shares) * start + shares * end)


def plane(z_ND: Array) -> LatentPlane:
    """Return the plane in which latents are drawn.

    With two latents, these are the plane; with more, it is spanned by the first two principal
    components (Pearson 1901) through the mean. With one latent there is a single axis.

    Parameters
    ----------
    z_ND
        Latents of at least two images.
    """
    latent_dim = z_ND.shape[1]
    variances_D = z_ND.var(axis=0, dtype=np.float64)
    if latent_dim <= 2:
        origin_D, axes_AD = np.zeros(latent_dim), np.eye(latent_dim)
        names, along_A = ("z1", "z2")[:latent_dim], variances_D
    else:
        origin_D = z_ND.mean(axis=0, dtype=np.float64)
        ascending_D, directions_DD = np.linalg.eigh(np.cov(z_ND, rowvar=False, ddof=0))
        axes_AD = directions_DD[:, :-3:-1].T
        names, along_A = ("PC1", "PC2"), ascending_D[:-3:-1]
    total = variances_D.sum()
    shares = tuple(float(along / total) if total > 0 else 0.0 for along in along_A)
    return LatentPlane(origin_D=origin_D, axes_AD=axes_AD, names=names, shares=shares)


def grid(z_ND: Array, *, side: int) -> LatentGrid:
    """Return a grid over the plane of latents: evenly spaced quantiles of each axis.

    With one latent the grid has one row.

    Parameters
    ----------
    z_ND
        Latents of at least two images.
    side
        Number of columns, and of rows where there are two axes.
    """
    shown = plane(z_ND)
    shares = np.linspace(EDGE, 1 - EDGE, side)
    across_C, *upwards = np.quantile(shown.coordinates(z_ND), shares, axis=0).T
    z_RCD = shown.origin_D + across_C[None, :, None] * shown.axes_AD[0]
    for up_R in upwards:
        z_RCD = z_RCD + up_R[::-1, None, None] * shown.axes_AD[1]
    return LatentGrid(z_RCD=_floats(z_RCD), axes=shown.names)


def _floats(array: Array) -> Array:
    return np.ascontiguousarray(array, dtype=np.float32)
