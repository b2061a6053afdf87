"""Figure of a frontier: distortion over latent_dim, as MSE and as PSNR."""

from __future__ import annotations

import math
from bisect import bisect
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator

from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.errors import ConfigError
from ae_sweep.plots.export import Figure
from ae_sweep.plots.rate import rate_figure
from ae_sweep.plots.style import BLUE, DARK_GREY, GREEN, GREY, INK, VERMILLION, paper_style, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.axes import Axes

    from ae_sweep.analysis.frontier import Frontier, FrontierPoint
    from ae_sweep.analysis.knee import Knee
    from ae_sweep.analysis.power_law import PowerLaw

FIGURE_INCHES = (7.0, 3.2)
"""The text width of a two-column page."""
PANEL_INCHES = 2.9
"""Approximate width of one panel, to decide which tick labels fit."""
DIGIT_INCHES = 0.075
TICK_GAP_INCHES = 0.1
SIDE_MARGIN = 1.35
"""Factor on latent_dim between the outermost point and the edge."""
MSE_MARGIN = 1.5
"""Factor on the MSE, likewise."""
PSNR_MARGIN_DB = 2.0
CURVE_SAMPLES = 200
MOST_NAMED_LINES = 8
"""Number of models whose names fit below the panels."""
DASHED = (0, (4, 2))
MANY_POINTS = 15
"""Number of points above which they are drawn smaller, so that they stay distinct."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def frontier_figure(frontier: Frontier, *, beside: Frontier | None = None) -> Figure:
    """Draw a frontier: test MSE on log-log axes, and PSNR over log d.

    All finished trials are drawn faintly, the best of each latent_dim joined, with a bar of one
    standard deviation where there are repeats; the fit is dashed over the range it was fitted to,
    the knee ringed, the number of pixels a dotted line. A perfect reconstruction has neither a
    logarithm nor a PSNR: an arrow at the panel's edge marks its latent_dim.

    Where all codes have a rate in bits, that is the axis instead (`rate_figure`). Of a model with
    settings, each combination of their values is a line of its own.

    Parameters
    ----------
    beside
        Another frontier on images of the same size; only the best of each latent_dim is drawn.

    Returns
    -------
    Figure
        With two axes, 7 inches wide.

    Raises
    ------
    ConfigError
        If one of two curves has a rate in bits, with several points at one latent_dim, and the
        other has none.
    """
    if frontier.has_rate and (beside is None or beside.has_rate):
        return rate_figure(frontier, beside=beside)
    for each in (frontier, beside):
        _refuse_several(each)
    with paper_style():
        figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
        mse_axes, psnr_axes = figure.subplots(1, 2)
        for axes in (mse_axes, psnr_axes):
            _draw_latent_dims(axes, frontier, beside)
        _draw_mse(mse_axes, frontier, beside)
        _draw_psnr(psnr_axes, frontier, beside)
        _draw_heading(figure, frontier)
        # Below both panels, where no curve can overlap it.
        figure.legend(handles=_legend(frontier, beside), loc="outside lower center", ncols=2)
        # Lay out once: each further drawing would move the panels a little.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return figure


def _refuse_several(frontier: Frontier | None) -> None:
    dims = [point.latent_dim for point in _points_of(frontier)]
    if frontier is not None and frontier.has_rate and len(set(dims)) < len(dims):
        raise ConfigError(
            f"{frontier.sweep} has several points at one latent dimension, so that its curve is "
            "one over bits; draw it beside a sweep whose code has a rate in bits too"
        )


def _draw_heading(figure: Figure, frontier: Frontier) -> None:
    names = [plain(name) for name in (frontier.sweep, frontier.model, frontier.dataset) if name]
    figure.suptitle(
        " · ".join(names), x=0.01, ha="left", fontsize=7.0, color=DARK_GREY, parse_math=False
    )


def _draw_latent_dims(axes: Axes, frontier: Frontier, beside: Frontier | None) -> None:
    """Set up the x axis: logarithmic, a tick at each measured dim, plain numbers."""
    trained = {trial.latent_dim for trial in frontier.all_trials}
    dims = sorted(trained | {point.latent_dim for point in _points_of(beside)})
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


def _draw_mse(axes: Axes, frontier: Frontier, beside: Frontier | None) -> None:
    drawn = [point for point in frontier.points if point.test_mse > 0]
    trials = [(trial.latent_dim, trial.test_mse) for trial in frontier.all_trials]
    axes.set_yscale("log")
    _draw_trials(axes, [(dim, mse) for dim, mse in trials if mse > 0])
    for colour, points in _lines(frontier, drawn):
        _draw_best(axes, points, [point.test_mse for point in points], _mse_bars(points), colour)
    if frontier.fit is not None:
        dims_S = _curve_dims(frontier.fit)
        _draw_fit(axes, dims_S, frontier.fit.distortion(dims_S))
    _ring_knee(axes, frontier, {point.latent_dim: point.test_mse for point in drawn})
    _mark_perfect(axes, frontier, edge=0.0, marker="v")
    others = [(point.latent_dim, point.test_mse) for point in _points_of(beside)]
    for _, points in _lines(beside, [point for point in _points_of(beside) if point.test_mse > 0]):
        _draw_beside(axes, [(point.latent_dim, point.test_mse) for point in points])
    _set_mse_range(axes, [mse for _, mse in (*trials, *others) if mse > 0])
    axes.set_ylabel(f"test MSE per {frontier.number_noun}")
    _label_pixels(axes, frontier, y=0.98)


def _draw_psnr(axes: Axes, frontier: Frontier, beside: Frontier | None) -> None:
    drawn = [point for point in frontier.points if point.test_psnr is not None]
    psnrs = [(trial.latent_dim, psnr_db(trial.test_mse)) for trial in frontier.all_trials]
    rated = [(dim, psnr) for dim, psnr in psnrs if psnr is not None]
    levels = [point.test_psnr for point in drawn if point.test_psnr is not None]
    _draw_trials(axes, rated)
    for colour, points in _lines(frontier, drawn):
        heights = [point.test_psnr for point in points if point.test_psnr is not None]
        _draw_best(axes, points, heights, _psnr_bars(points), colour)
    if frontier.fit is not None:
        dims_S = _curve_dims(frontier.fit)
        _draw_fit(axes, dims_S, -10 * np.log10(frontier.fit.distortion(dims_S)))
    by_dim = dict(zip([point.latent_dim for point in drawn], levels, strict=True))
    _ring_knee(axes, frontier, by_dim)
    _mark_perfect(axes, frontier, edge=1.0, marker="^")
    others = [
        (point.latent_dim, point.test_psnr)
        for point in _points_of(beside)
        if point.test_psnr is not None
    ]
    rated_beside = [point for point in _points_of(beside) if point.test_psnr is not None]
    for _, points in _lines(beside, rated_beside):
        heights = [point.test_psnr for point in points if point.test_psnr is not None]
        _draw_beside(axes, list(zip([p.latent_dim for p in points], heights, strict=True)))
    _set_psnr_range(axes, [psnr for _, psnr in (*rated, *others)])
    axes.set_ylabel("test PSNR (dB)")
    _label_pixels(axes, frontier, y=0.02)


def _draw_trials(axes: Axes, trials: Iterable[tuple[int, float]]) -> None:
    pairs = list(trials)
    axes.plot(
        [dim for dim, _ in pairs],
        [value for _, value in pairs],
        linestyle="none",
        marker="o",
        markersize=3.0,
        markeredgewidth=0,
        color=GREY,
        alpha=0.45,
        zorder=2,
        gid="trials",
    )


def _points_of(beside: Frontier | None) -> tuple[FrontierPoint, ...]:
    return beside.points if beside else ()


def _lines(
    frontier: Frontier | None, drawn: Sequence[FrontierPoint]
) -> Iterator[tuple[str, list[FrontierPoint]]]:
    """Yield the points of each model with its colour, blue where there is only one."""
    for model, colour in _colours(frontier).items():
        points = [point for point in drawn if point.model == model]
        if points or len(drawn) == 0:
            yield colour, points


def _colours(frontier: Frontier | None) -> dict[str, str]:
    models = list(dict.fromkeys(point.model for point in _points_of(frontier)))
    if len(models) < 2:
        return dict.fromkeys(models, BLUE)
    shades = colormaps["viridis"](np.linspace(0.0, 0.85, len(models)))
    return {model: to_hex(shade) for model, shade in zip(models, shades, strict=True)}


def _draw_beside(axes: Axes, points: Sequence[tuple[int, float]]) -> None:
    if points:
        axes.plot(
            [dim for dim, _ in points],
            [value for _, value in points],
            color=GREEN,
            linewidth=1.1,
            marker="s",
            markersize=3.8,
            zorder=3,
            gid="beside",
        )


def _draw_best(
    axes: Axes,
    points: Sequence[FrontierPoint],
    values: Sequence[float],
    bars: tuple[list[float], list[float]],
    colour: str,
) -> None:
    axes.errorbar(
        [point.latent_dim for point in points],
        values,
        yerr=bars if any(bars[1]) else None,
        color=colour,
        linewidth=1.1,
        marker="o",
        markersize=4.2 if len(points) <= MANY_POINTS else 2.8,
        elinewidth=0.9,
        capsize=2.2,
        zorder=4,
        gid="best",
    )


def _draw_fit(axes: Axes, dims_S: np.ndarray, values_S: np.ndarray) -> None:
    # Above the joined points: a good fit would vanish under them.
    axes.plot(
        dims_S, values_S, color=VERMILLION, linewidth=1.2, linestyle=DASHED, zorder=5, gid="fit"
    )


def _curve_dims(fit: PowerLaw) -> np.ndarray:
    return np.geomspace(fit.dims[0], fit.dims[-1], CURVE_SAMPLES)


def _mse_bars(points: Iterable[FrontierPoint]) -> tuple[list[float], list[float]]:
    """Return one standard deviation down and up; down ends above 0, for the log axis."""
    pairs = [(point.test_mse, point.test_mse_std or 0.0) for point in points]
    return [min(std, 0.99 * mse) for mse, std in pairs], [std for _, std in pairs]


def _psnr_bars(points: Sequence[FrontierPoint]) -> tuple[list[float], list[float]]:
    """Convert the ends of the MSE's bars to dB, where down and up change places."""
    lower, upper = _mse_bars(points)
    mses = [point.test_mse for point in points]
    down = [10 * math.log10(1 + std / mse) for mse, std in zip(mses, upper, strict=True)]
    up = [-10 * math.log10(1 - std / mse) for mse, std in zip(mses, lower, strict=True)]
    return down, up


def _ring_knee(axes: Axes, frontier: Frontier, values: dict[int, float]) -> None:
    if frontier.knee is None:
        return
    dim = frontier.knee.latent_dim
    axes.plot(
        [dim],
        [values[dim]],
        linestyle="none",
        marker="o",
        markersize=9.5,
        markerfacecolor="none",
        markeredgecolor=INK,
        markeredgewidth=0.9,
        zorder=5,
        gid="knee",
    )


def _mark_perfect(axes: Axes, frontier: Frontier, *, edge: float, marker: str) -> None:
    dims = [point.latent_dim for point in frontier.points if point.test_mse == 0]
    if dims:
        axes.plot(
            dims,
            [edge] * len(dims),
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            linestyle="none",
            marker=marker,
            markersize=6,
            color=BLUE,
            markerfacecolor="white",
            zorder=6,
            gid="perfect",
        )


def _label_pixels(axes: Axes, frontier: Frontier, *, y: float) -> None:
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


def _set_mse_range(axes: Axes, mses: Sequence[float]) -> None:
    axes.yaxis.set_minor_locator(NullLocator())
    if not mses:
        axes.yaxis.set_major_locator(NullLocator())
        return
    low, high = min(mses) / MSE_MARGIN, max(mses) * MSE_MARGIN
    axes.set_ylim(low, high)
    decades = math.log10(high / low)
    subs = (1.0, 2.0, 5.0) if decades < 2.7 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda mse, _: _number(mse)))


def _set_psnr_range(axes: Axes, psnrs: Sequence[float]) -> None:
    if not psnrs:
        axes.yaxis.set_major_locator(NullLocator())
        return
    axes.set_ylim(min(psnrs) - PSNR_MARGIN_DB, max(psnrs) + PSNR_MARGIN_DB)


def _number(value: float) -> str:
    """Write a number as in a text: 0.002, but 2×10⁻⁶ rather than many zeros."""
    if value == 0 or 1e-4 <= abs(value) < 1e4:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    power = f"10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    return power if mantissa == "1" else f"{mantissa}×{power}"


def _legend(frontier: Frontier, beside: Frontier | None) -> list[Line2D]:
    """Add a legend of what is drawn and nothing else."""
    repeated = any(point.test_mse_std is not None for point in frontier.points)
    best = "best by validation" + (", mean ± sd over seeds" if repeated else "")
    colours = _colours(frontier)
    several = list(colours.items()) if len(colours) > 1 else []
    entries = [
        *([] if several else [_line_entry(best, BLUE)]),
        *(_line_entry(plain(model), colour) for model, colour in several[:MOST_NAMED_LINES]),
        _marker_entry("finished trial", "o", size=3.0, face=GREY, edge="none"),
    ]
    if beside is not None:
        label = plain(f"{beside.sweep}, best by validation")
        line = Line2D([], [], color=GREEN, linewidth=1.1, marker="s", markersize=3.8, label=label)
        entries.insert(len(entries) - 1, line)
    if len(several) > MOST_NAMED_LINES:
        entries.append(_line_entry(f"and {len(several) - MOST_NAMED_LINES} more models", GREY))
    if any(point.test_mse == 0 for point in frontier.points):
        entries.append(_marker_entry("perfect (MSE 0), off the scale", "v", size=5, edge=BLUE))
    if frontier.fit is not None:
        label = _formula(frontier.fit)
        entries.append(
            Line2D([], [], color=VERMILLION, linewidth=1.2, linestyle=DASHED, label=label)
        )
    if frontier.knee is not None:
        entries.append(_marker_entry(_knee_label(frontier.knee), "o", size=8, edge=INK))
    return entries


def _line_entry(label: str, colour: str) -> Line2D:
    return Line2D([], [], color=colour, linewidth=1.1, marker="o", markersize=4.2, label=label)


def _marker_entry(label: str, marker: str, *, size: float, edge: str, face: str = "none") -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=marker,
        markersize=size,
        markeredgewidth=0.9,
        markeredgecolor=edge,
        markerfacecolor=face,
        label=label,
    )


def _formula(fit: PowerLaw) -> str:
    floor = f"{_number(fit.floor)} + " if fit.floor > 0 else ""
    return (
        f"fit: $D$ = {floor}{_number(fit.scale)}·$d^{{-{fit.exponent:.2f}}}$ "
        f"($R^2$ = {_shown_r_squared(fit.r_squared_log)} in log $D$, "
        f"{len(fit.dims)} points, $d$ ≤ {fit.dims[-1]})"
    )


def _knee_label(knee: Knee) -> str:
    before = _signed(knee.db_per_doubling_before)
    after = _signed(knee.db_per_doubling_after)
    return f"knee: $d$ = {knee.latent_dim} ({before} dB per doubling up to it, {after} dB beyond)"


def _signed(decibels: float) -> str:
    return f"{decibels:+.1f}".replace("-", "−")


def _shown_r_squared(r_squared: float) -> str:
    """Round down, because 1.000 would claim a perfect fit."""
    return f"{math.floor(r_squared * 1000) / 1000:.3f}"
