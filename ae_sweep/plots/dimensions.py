"""Figure of the answers to how many dimensions images have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ae_sweep.analysis.distortion import mse_of_psnr
from ae_sweep.plots.export import Figure
from ae_sweep.plots.style import BLUE, DARK_GREY, GREEN, GREY, PURPLE, paper_style, plain

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ae_sweep.analysis.dimension_estimates import DimensionEstimates

FIGURE_INCHES = (7.0, 3.2)
MARKERS = ("s", "^", "D", "v", "P", "X")
BAND_ALPHA = 0.18
QUALITY: dict[str, Any] = {
    "color": PURPLE, "linestyle": ":", "linewidth": 0.9, "marker": "X", "markersize": 4.0,
    "markeredgewidth": 0,
}  # fmt: skip
"""How the dimension at a quality is drawn."""


def dimensions_figure(estimates: DimensionEstimates, *, heading: str) -> Figure:
    """Draw three answers side by side: over the sample's size, and over the quality.

    Left, the estimates by nearest neighbours for every sample size, their range in the largest
    sample as a band marked "at least"; right, the dimension at each quality of a measured curve,
    if there is one. The participation ratio is a line in both.

    Returns
    -------
    Figure
        7.0 × 3.2 inches, with two axes, or one without a measured curve.
    """
    with paper_style():
        figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
        panels = figure.subplots(1, 2 if estimates.qualities else 1, sharey=True, squeeze=False)[0]
        for axes in panels:
            _draw_ratio_and_band(axes, estimates)
            axes.set_yscale("log", base=2)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.grid(visible=True, color=GREY, alpha=0.25, linewidth=0.5)
        _draw_neighbours(panels[0], estimates)
        if estimates.qualities:
            _draw_quality(panels[1], estimates)
        panels[0].set_ylabel("dimensions")
        figure.suptitle(
            plain(heading, limit=110), x=0.01, ha="left", fontsize=7.0, color=DARK_GREY,
            parse_math=False,
        )  # fmt: skip
        figure.legend(handles=_legend(estimates), loc="outside lower center", ncols=3)
        return figure


def _draw_ratio_and_band(axes: Axes, estimates: DimensionEstimates) -> None:
    axes.axhline(
        estimates.participation_ratio, color=GREEN, linewidth=1.2, linestyle="-.", gid="ratio"
    )
    if estimates.at_least is not None:
        axes.axhspan(*estimates.at_least, color=BLUE, alpha=BAND_ALPHA, linewidth=0, gid="band")


def mark_dimensions(axes: Axes, estimates: DimensionEstimates) -> None:
    """Mark the participation ratio and the neighbours' range on an axis of latent dims."""
    axes.axvline(
        estimates.participation_ratio, color=GREEN, linewidth=0.9, linestyle="-.", zorder=0.5,
        gid="ratio",
    )  # fmt: skip
    if estimates.at_least is not None:
        low, high = estimates.at_least
        axes.axvspan(low, high, color=BLUE, alpha=BAND_ALPHA, linewidth=0, zorder=0.5, gid="band")


def mark_qualities(axes: Axes, estimates: DimensionEstimates, *, as_psnr: bool) -> None:
    """Draw the dimension at each quality of a measured code over an axis of latent dims."""
    if estimates.qualities:
        heights = [each.psnr if as_psnr else mse_of_psnr(each.psnr) for each in estimates.qualities]
        axes.plot(
            [each.dimension for each in estimates.qualities], heights, zorder=3, gid="quality",
            **QUALITY,
        )  # fmt: skip


def dimension_entries(estimates: DimensionEstimates) -> list[Artist]:
    """Return the legend of what `mark_dimensions` draws."""
    ratio = f"participation ratio: {estimates.participation_ratio:.1f}"
    entries: list[Artist] = [Line2D([], [], color=GREEN, linestyle="-.", label=ratio)]
    if estimates.at_least is not None:
        low, high = estimates.at_least
        label = f"at least {low:.1f} to {high:.1f} (nearest neighbours)"
        entries.append(Patch(color=BLUE, alpha=BAND_ALPHA, linewidth=0, label=label))
    if estimates.qualities:
        entries.append(Line2D([], [], label="at a quality: 6.02 · dR/dPSNR", **QUALITY))
    return entries


def _draw_neighbours(axes: Axes, estimates: DimensionEstimates) -> None:
    sizes = [each.images for each in estimates.neighbours]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("training images in the sample")
    if not sizes:
        return
    axes.plot(
        sizes, [each.two_nn for each in estimates.neighbours], color=BLUE, marker="o",
        markersize=4, linewidth=1.1, gid="two_nn",
    )  # fmt: skip
    for place, (k, _) in enumerate(estimates.neighbours[-1].mle):
        pairs = [
            (each.images, dict(each.mle)[k]) for each in estimates.neighbours if k in dict(each.mle)
        ]
        axes.plot(
            [images for images, _ in pairs], [dimension for _, dimension in pairs], color=BLUE,
            marker=MARKERS[place % len(MARKERS)], markersize=3, linewidth=0.7, alpha=0.7,
            gid="mle",
        )  # fmt: skip


def _draw_quality(axes: Axes, estimates: DimensionEstimates) -> None:
    axes.plot(
        [each.psnr for each in estimates.qualities],
        [each.dimension for each in estimates.qualities],
        gid="quality",
        **QUALITY,
    )
    axes.set_xlabel("test PSNR of the measured code (dB)")


def _legend(estimates: DimensionEstimates) -> list[Artist]:
    entries = dimension_entries(estimates)
    if estimates.at_least is not None:
        entries.append(Line2D([], [], color=BLUE, marker="o", markersize=4, label="TwoNN"))
        for place, (k, _) in enumerate(estimates.neighbours[-1].mle):
            marker = MARKERS[place % len(MARKERS)]
            label = f"maximum likelihood, {k} neighbours"
            entries.append(
                Line2D([], [], color=BLUE, marker=marker, markersize=3, alpha=0.7, label=label)
            )
    return entries
