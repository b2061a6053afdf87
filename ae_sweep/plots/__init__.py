"""Plots: a record in, a matplotlib Figure out; never pyplot, never a file."""

from ae_sweep.isolation import importing_matplotlib

with importing_matplotlib():
    import matplotlib.figure  # noqa: F401

from ae_sweep.plots.dimensions import dimensions_figure
from ae_sweep.plots.export import Figure, render
from ae_sweep.plots.frontier import frontier_figure
from ae_sweep.plots.history import history_figure
from ae_sweep.plots.image_rows import ImageRow, image_rows_figure
from ae_sweep.plots.latent_plane import MOST_COLOURS, latent_plane_figure
from ae_sweep.plots.point_positions import PointPosition, point_positions
from ae_sweep.plots.rate_curves import rate_curves_figure
from ae_sweep.plots.reconstructions import reconstructions_figure
from ae_sweep.plots.style import plain

__all__ = [
    "MOST_COLOURS",
    "Figure",
    "ImageRow",
    "PointPosition",
    "dimensions_figure",
    "frontier_figure",
    "history_figure",
    "image_rows_figure",
    "latent_plane_figure",
    "plain",
    "point_positions",
    "rate_curves_figure",
    "reconstructions_figure",
    "render",
]
