"""Plots: a record in, a matplotlib Figure out; never pyplot, never a file."""

from ae_sweep.plots.export import render
from ae_sweep.plots.frontier import frontier_figure
from ae_sweep.plots.reconstructions import reconstructions_figure

__all__ = ["frontier_figure", "reconstructions_figure", "render"]
