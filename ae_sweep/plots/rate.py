"""Figure of rates in bits: distortion over bits per image, as MSE and as PSNR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.analysis.rate import efficient, mse_at_rate
from ae_sweep.config import with_symbols
from ae_sweep.plots.export import Figure
from ae_sweep.plots.style import DARK_GREY, GREY, INK, paper_style, plain, series_style
from ae_sweep.records import RATE_BITS, RATE_MSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

    from ae_sweep.analysis.frontier import Frontier
    from ae_sweep.analysis.frontier_points import FrontierPoint

FIGURE_INCHES = (7.0, 3.4)
MOST_POWERS_OF_4 = 12
LABELS_TURN = 0.6
"""Share of the panel's width beyond which labels are placed left of their points."""
LINEAR_BITS = 1.0
"""Below it the axis of bits is linear, so that a collapsed posterior can be drawn."""


def rate_figure(frontier: Frontier, *, beside: Sequence[Frontier] = ()) -> Figure:
    """Draw distortion over the rate of the code: test MSE and PSNR over bits per image.

    The best of each condition is a point, with bars of one standard deviation where there are
    repeats; a line joins the points that no other beats in both bits and distortion.

    Parameters
    ----------
    frontier
        A frontier whose points have rates.
    beside
        Other such frontiers on images of the same size.

    Returns
    -------
    Figure
        7.0 × 3.4 inches, with two axes.
    """
    with paper_style():
        figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
        mse_axes, psnr_axes = figure.subplots(1, 2)
        for place, each in reversed(list(enumerate((frontier, *beside)))):
            colour, marker = series_style(place)
            _draw(mse_axes, psnr_axes, each, colour=colour, marker=marker)
        _set_up(mse_axes, psnr_axes, number=frontier.number_noun)
        names = [plain(name) for name in (frontier.sweep, frontier.model, frontier.dataset) if name]
        figure.suptitle(
            " · ".join(names), x=0.01, ha="left", fontsize=7.0, color=DARK_GREY, parse_math=False
        )
        figure.legend(handles=_legend(frontier, beside), loc="outside lower center", ncols=2)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        _label(mse_axes, frontier)
        return figure


def _draw(mse_axes: Axes, psnr_axes: Axes, frontier: Frontier, *, colour: str, marker: str) -> None:
    front = efficient(frontier.points)
    spread = [point for point in frontier.points if point.rate_std]
    mse_axes.errorbar(
        [_bits(point) for point in spread],
        [_mse(point) for point in spread],
        xerr=[point.rate_std[RATE_BITS] for point in spread],
        yerr=[point.rate_std[RATE_MSE] for point in spread],
        fmt="none",
        ecolor=colour,
        elinewidth=0.9,
        capsize=1.5,
        zorder=2,
    )
    for axes, height in ((mse_axes, _mse), (psnr_axes, _psnr)):
        axes.plot(
            [_bits(point) for point in frontier.points],
            [height(point) for point in frontier.points],
            linestyle="none",
            marker=marker,
            markersize=3.6,
            markerfacecolor="white",
            markeredgecolor=colour,
            markeredgewidth=0.9,
            zorder=3,
            gid="points",
        )
        axes.plot(
            [_bits(point) for point in front],
            [height(point) for point in front],
            color=colour,
            linewidth=1.1,
            marker=marker,
            markersize=3.6,
            zorder=4,
            gid="efficient",
        )


def _set_up(mse_axes: Axes, psnr_axes: Axes, *, number: str) -> None:
    for axes in (mse_axes, psnr_axes):
        axes.set_xscale("symlog", base=2, linthresh=LINEAR_BITS)
        axes.set_xlim(left=0)
        ticks = [0, *(4**power for power in range(MOST_POWERS_OF_4))]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_major_formatter(lambda bits, _: f"{bits:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("rate $R$ (bits per image)")
        axes.grid(visible=True, color=GREY, alpha=0.25, linewidth=0.5)
    mse_axes.set_yscale("log")
    mse_axes.margins(y=0.1)
    mse_axes.set_ylabel(f"test MSE per {number} at that rate")
    mse_axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    mse_axes.yaxis.set_major_formatter(lambda mse, _: f"{mse:.3g}")
    mse_axes.yaxis.set_minor_locator(NullLocator())
    psnr_axes.set_ylabel("test PSNR at that rate (dB)")


def _label(axes: Axes, frontier: Frontier) -> None:
    """Label points with their conditions where there is room, those on the line first."""
    front = efficient(frontier.points)
    rest = [point for point in frontier.points if point not in front]
    taken: list[Bbox] = []
    for point in [*front, *rest]:
        across = axes.transAxes.inverted().transform(
            axes.transData.transform((_bits(point), _mse(point)))
        )[0]
        label = axes.annotate(
            with_symbols(plain(str(point.condition))),
            (_bits(point), _mse(point)),
            xytext=(4, 4) if across < LABELS_TURN else (-4, -8),
            ha="left" if across < LABELS_TURN else "right",
            textcoords="offset points",
            fontsize=5.5,
            color=INK,
            parse_math=False,
        )
        box = label.get_window_extent()
        if any(box.overlaps(other) for other in taken):
            label.remove()
        else:
            taken.append(box)


def _legend(frontier: Frontier, beside: Sequence[Frontier]) -> list[Line2D]:
    entries = []
    for place, each in enumerate((frontier, *beside)):
        colour, marker = series_style(place)
        name = plain(f"{each.sweep}: " if beside else "")
        entries += [
            Line2D(
                [], [], color=colour, linewidth=1.1, marker=marker, markersize=3.6,
                label=f"{name}no point has fewer bits and less distortion",
            ),
            Line2D(
                [], [], linestyle="none", marker=marker, markersize=3.6, markerfacecolor="white",
                markeredgecolor=colour, label=f"{name}best by validation of each condition",
            ),
        ]  # fmt: skip
    return entries


def _bits(point: FrontierPoint) -> float:
    return point.rate[RATE_BITS]


def _mse(point: FrontierPoint) -> float:
    return mse_at_rate(point)


def _psnr(point: FrontierPoint) -> float:
    psnr = psnr_db(_mse(point))
    return float("nan") if psnr is None else psnr
