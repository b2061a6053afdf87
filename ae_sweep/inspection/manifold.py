"""Owns the look at a latent plane: a grid over it, decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep import analysis, plots

if TYPE_CHECKING:
    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep

PICTURE = "manifold.png"


def manifold(sweep: Sweep, point: FrontierPoint, *, side: int = 20) -> plots.Figure:
    """Decode a grid over the latent plane of a point, spaced by the quantiles of the test images.

    Beyond two latents the plane is that of their first two principal components. The figure is put
    on the sweep's run as manifold.png.

    Parameters
    ----------
    side
        Of the grid, in images.
    """
    model = sweep.model(point)
    grid = analysis.grid(model.encode(sweep.dataset.test_NCHW), side=side)
    rows = [
        plots.ImageRow("", analysis.as_bytes(model.decode(latents_CD))) for latents_CD in grid.z_RCD
    ]
    directions = ("across", "upwards")[: len(grid.axes)]
    axes = ", ".join(f"{axis} {way}" for axis, way in zip(grid.axes, directions, strict=True))
    figure = plots.image_rows_figure(rows, title=f"{sweep.name}, {point.condition}: {axes}", gap=0)
    sweep.add_picture(PICTURE, figure)
    return figure
