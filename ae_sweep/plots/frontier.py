"""Figure of a frontier: distortion over latent_dim, as MSE and as PSNR."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.errors import ConfigError
from ae_sweep.plots.dimensions import dimension_entries, mark_dimensions, mark_qualities
from ae_sweep.plots.export import Figure
from ae_sweep.plots.frontier_axes import (
    draw_latent_dims,
    label_pixels,
    set_mse_range,
    set_psnr_range,
)
from ae_sweep.plots.frontier_legend import DASHED, LINEAR, frontier_legend, model_colours
from ae_sweep.plots.rate import rate_figure
from ae_sweep.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    INK,
    VERMILLION,
    paper_style,
    plain,
    series_style,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ae_sweep.analysis.dimension_estimates import DimensionEstimates
    from ae_sweep.analysis.frontier import Frontier
    from ae_sweep.analysis.frontier_points import FrontierPoint
    from ae_sweep.analysis.power_law import PowerLaw

FIGURE_INCHES = (7.0, 3.2)
"""The text width of a two-column page."""
CURVE_SAMPLES = 200
MANY_POINTS = 15
"""Number of points above which they are drawn smaller, so that they stay distinct."""


def frontier_figure(
    frontier: Frontier,
    *,
    beside: Sequence[Frontier] = (),
    linear: Sequence[tuple[int, float]] = (),
    estimates: DimensionEstimates | None = None,
    over_dims: bool = False,
) -> Figure:
    """Draw a frontier: test MSE on log-log axes, and PSNR over log d.

    All finished trials are drawn faintly, the best of each latent_dim joined, with a bar of one
    standard deviation where there are repeats; the fit is dashed over the range it was fitted to,
    the knee ringed, the number of pixels a dotted line. A perfect reconstruction has neither a
    logarithm nor a PSNR: an arrow at the panel's edge marks its latent_dim.

    Where all codes have a rate in bits, that is the axis instead (`rate_figure`), unless
    ``over_dims``. Of a model with settings, each combination of their values is a line of its own.

    Parameters
    ----------
    beside
        Other frontiers on images of the same size; only the best of each latent_dim is drawn.
    linear
        Numbers of principal components and their MSE, drawn over latent_dim.
    estimates
        How many dimensions the images have: the participation ratio is marked by a line, the
        range of the nearest neighbours' estimates by a band, the dimension at each quality of a
        measured code by points.
    over_dims
        Whether the axis is latent_dim even where all codes have a rate in bits.

    Returns
    -------
    Figure
        With two axes, 7 inches wide.

    Raises
    ------
    ConfigError
        If a curve over latent_dim has a rate in bits and several points at one latent_dim.
    """
    if not over_dims and all(each.has_rate for each in (frontier, *beside)):
        return rate_figure(frontier, beside=beside)
    for each in (frontier, *beside):
        _refuse_several(each)
    with paper_style():
        figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
        mse_axes, psnr_axes = figure.subplots(1, 2)
        for axes in (mse_axes, psnr_axes):
            draw_latent_dims(axes, frontier, beside)
            if estimates is not None:
                mark_dimensions(axes, estimates)
                mark_qualities(axes, estimates, as_psnr=axes is psnr_axes)
        _draw_linear(mse_axes, linear)
        _draw_linear(psnr_axes, [(dim, psnr_db(mse) or math.nan) for dim, mse in linear])
        _draw_mse(mse_axes, frontier, beside)
        _draw_psnr(psnr_axes, frontier, beside)
        _draw_heading(figure, frontier)
        # Below both panels, where no curve can overlap it.
        entries: list[Artist] = [*frontier_legend(frontier, beside, linear=bool(linear))]
        if estimates is not None:
            entries += dimension_entries(estimates)
        figure.legend(handles=entries, loc="outside lower center", ncols=2)
        # Lay out once: each further drawing would move the panels a little.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return figure


def _refuse_several(frontier: Frontier) -> None:
    dims = [point.latent_dim for point in frontier.points]
    if frontier.has_rate and len(set(dims)) < len(dims):
        raise ConfigError(
            f"{frontier.sweep} has several points at one latent dimension, so that its curve is "
            "one over bits; draw it beside a sweep whose code has a rate in bits too"
        )


def _draw_heading(figure: Figure, frontier: Frontier) -> None:
    names = [plain(name) for name in (frontier.sweep, frontier.model, frontier.dataset) if name]
    figure.suptitle(
        " · ".join(names), x=0.01, ha="left", fontsize=7.0, color=DARK_GREY, parse_math=False
    )


def _draw_mse(axes: Axes, frontier: Frontier, beside: Sequence[Frontier]) -> None:
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
    others = []
    for place, each in enumerate(beside, start=1):
        above = [point for point in each.points if point.test_mse > 0]
        for _, points in _lines(each, above):
            pairs = [(point.latent_dim, point.test_mse) for point in points]
            _draw_beside(axes, pairs, place=place)
            others += pairs
    set_mse_range(axes, [mse for _, mse in (*trials, *others) if mse > 0])
    axes.set_ylabel(f"test MSE per {frontier.number_noun}")
    label_pixels(axes, frontier, y=0.98)


def _draw_psnr(axes: Axes, frontier: Frontier, beside: Sequence[Frontier]) -> None:
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
    others = []
    for place, each in enumerate(beside, start=1):
        for _, points in _lines(each, each.points):
            pairs = [(at.latent_dim, at.test_psnr) for at in points if at.test_psnr is not None]
            _draw_beside(axes, pairs, place=place)
            others += pairs
    set_psnr_range(axes, [psnr for _, psnr in (*rated, *others)])
    axes.set_ylabel("test PSNR (dB)")
    label_pixels(axes, frontier, y=0.02)


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


def _lines(
    frontier: Frontier, drawn: Sequence[FrontierPoint]
) -> Iterator[tuple[str, list[FrontierPoint]]]:
    """Yield the points of each model with its colour, blue where there is only one."""
    for model, colour in model_colours(frontier).items():
        points = [point for point in drawn if point.model == model]
        if points or len(drawn) == 0:
            yield colour, points


def _draw_linear(axes: Axes, points: Sequence[tuple[int, float]]) -> None:
    """Draw principal components within the range that the sweeps need."""
    if points:
        axes.plot(
            [dim for dim, _ in points],
            [value for _, value in points],
            gid="linear",
            **LINEAR,
        )


def _draw_beside(axes: Axes, points: Sequence[tuple[int, float]], *, place: int) -> None:
    if points:
        colour, marker = series_style(place)
        axes.plot(
            [dim for dim, _ in points],
            [value for _, value in points],
            color=colour,
            linewidth=1.1,
            marker=marker,
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
