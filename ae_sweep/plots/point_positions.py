"""Positions of a curve's points in its figure, for overlays on the rendered image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.analysis.rate import mse_at_rate
from ae_sweep.records import RATE_BITS

if TYPE_CHECKING:
    from ae_sweep.analysis.frontier import Frontier
    from ae_sweep.analysis.frontier_points import FrontierPoint
    from ae_sweep.plots.export import Figure


@dataclass(frozen=True)
class PointPosition:
    """Position of a point in shares of the figure's size, from its upper left corner."""

    point: FrontierPoint
    left: float
    top: float


def point_positions(figure: Figure, frontier: Frontier) -> list[PointPosition]:
    """Return where `frontier_figure` drew the points: first those of its MSE panel, then of PSNR.

    Points that the axes cannot show, such as a perfect reconstruction, are left out.
    """
    mse_axes, psnr_axes = figure.axes[:2]
    figure.draw_without_rendering()
    places = []
    for axes, as_psnr in ((mse_axes, False), (psnr_axes, True)):
        for point in frontier.points:
            mse = mse_at_rate(point) if frontier.has_rate else point.test_mse
            if mse <= 0:
                continue
            x = point.rate[RATE_BITS] if frontier.has_rate else point.latent_dim
            y = (psnr_db(mse) or 0.0) if as_psnr else mse
            across, up = figure.transFigure.inverted().transform(axes.transData.transform((x, y)))
            places.append(PointPosition(point, left=float(across), top=1 - float(up)))
    return places
