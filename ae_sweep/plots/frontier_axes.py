"""Axes of a frontier over latent_dim: ticks at the measured dims, ranges, numbers in plain form."""

from __future__ import annotations

import math
from bisect import bisect
from typing import TYPE_CHECKING

from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator

from ae_sweep.plots.style import DARK_GREY, GREY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from ae_sweep.analysis.frontier import Frontier

PANEL_INCHES = 2.9
"""Approximate width of one panel, to decide which tick labels fit."""
DIGIT_INCHES = 0.075
TICK_GAP_INCHES = 0.1
SIDE_MARGIN = 1.35
"""Factor on latent_dim between the outermost point and the edge."""
MSE_MARGIN = 1.5
"""Factor on the MSE, likewise."""
PSNR_MARGIN_DB = 2.0
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw_latent_dims(axes: Axes, frontier: Frontier, beside: Sequence[Frontier]) -> None:
    """Set up the x axis: logarithmic, a tick at each measured dim, plain numbers."""
    trained = {trial.latent_dim for trial in frontier.all_trials}
    dims = sorted(trained | {point.latent_dim for each in beside for point in each.points})
    low = min(dims[0], frontier.pixels) / SIDE_MARGIN
    high = max(dims[-1], frontier.pixels) * SIDE_MARGIN
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    inches_per_e = PANEL_INCHES / math.log(high / low)
    labelled = _labelled_dims(dims, inches_per_e)
    axes.xaxis.set_major_locator(FixedLocator(labelled))
    axes.xaxis.set_major_formatter(FixedFormatter([str(dim) for dim in labelled]))
    unlabelled = sorted(set(dims) - set(labelled))
    axes.xaxis.set_minor_locator(FixedLocator(unlabelled) if unlabelled else NullLocator())
    axes.xaxis.set_minor_formatter(FixedFormatter([""] * len(unlabelled)))
    axes.set_xlabel("latent dimension $d$")
    axes.axvline(frontier.pixels, color=GREY, linewidth=0.8, linestyle=":", zorder=1)


def _labelled_dims(dims: Sequence[int], inches_per_e: float) -> list[int]:
    """Choose the dims whose labels fit side by side: the ends, powers of two, the rest."""

    def fit(left: int, right: int) -> bool:
        label_inches = DIGIT_INCHES * (len(str(left)) + len(str(right))) / 2
        return math.log(right / left) * inches_per_e >= label_inches + TICK_GAP_INCHES

    labelled = [dims[0]]
    for dim in [dims[-1], *sorted(dims[1:-1], key=lambda dim: (dim.bit_count() > 1, dim))]:
        at = bisect(labelled, dim)
        if fit(labelled[at - 1], dim) and all(fit(dim, right) for right in labelled[at : at + 1]):
            labelled.insert(at, dim)
    return labelled


def label_pixels(axes: Axes, frontier: Frontier, *, y: float) -> None:
    """Label the dotted line at its end far from the curve: top for MSE, else bottom."""
    axes.text(
        frontier.pixels,
        y,
        f"raw image: {frontier.pixels} {frontier.number_word} ",
        transform=axes.get_xaxis_transform(),
        rotation=90,
        ha="right",
        va="top" if y > 0.5 else "bottom",
        fontsize=7.0,
        color=DARK_GREY,
    )


def set_mse_range(axes: Axes, mses: Sequence[float]) -> None:
    """Set the range of a logarithmic MSE axis, with plain numbers at its ticks."""
    axes.yaxis.set_minor_locator(NullLocator())
    if not mses:
        axes.yaxis.set_major_locator(NullLocator())
        return
    low, high = min(mses) / MSE_MARGIN, max(mses) * MSE_MARGIN
    axes.set_ylim(low, high)
    decades = math.log10(high / low)
    subs = (1.0, 2.0, 5.0) if decades < 2.7 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda mse, _: number(mse)))


def set_psnr_range(axes: Axes, psnrs: Sequence[float]) -> None:
    """Set the range of a PSNR axis in dB."""
    if not psnrs:
        axes.yaxis.set_major_locator(NullLocator())
        return
    axes.set_ylim(min(psnrs) - PSNR_MARGIN_DB, max(psnrs) + PSNR_MARGIN_DB)


def number(value: float) -> str:
    """Write a number as in a text: 0.002, but 2×10⁻⁶ rather than many zeros."""
    if value == 0 or 1e-4 <= abs(value) < 1e4:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    power = f"10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    return power if mantissa == "1" else f"{mantissa}×{power}"
