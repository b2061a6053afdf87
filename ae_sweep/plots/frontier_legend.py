"""Legend of a frontier's figure, and the colours of its lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from ae_sweep.config import with_symbols
from ae_sweep.plots.frontier_axes import number
from ae_sweep.plots.style import BLUE, GREY, INK, VERMILLION, plain, series_style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis.frontier import Frontier
    from ae_sweep.analysis.knee import Knee
    from ae_sweep.analysis.power_law import PowerLaw

MOST_NAMED_LINES = 8
"""Number of models whose names fit below the panels."""
DASHED = (0, (4, 2))
LINEAR: dict[str, Any] = {
    "color": GREY, "linewidth": 0.8, "linestyle": "-.", "marker": "d", "markersize": 2.8,
    "zorder": 2,
}  # fmt: skip
"""How principal components are drawn."""


def model_colours(frontier: Frontier) -> dict[str, str]:
    """Return the colour of each model with its setting: blue where there is only one."""
    models = list(dict.fromkeys(point.model for point in frontier.points))
    if len(models) < 2:
        return dict.fromkeys(models, BLUE)
    shades = colormaps["viridis"](np.linspace(0.0, 0.85, len(models)))
    return {model: to_hex(shade) for model, shade in zip(models, shades, strict=True)}


def frontier_legend(
    frontier: Frontier, beside: Sequence[Frontier], *, linear: bool = False
) -> list[Line2D]:
    """Add a legend of what is drawn and nothing else."""
    repeated = any(point.test_mse_std is not None for point in frontier.points)
    best = "best by validation" + (", mean ± sd over seeds" if repeated else "")
    colours = model_colours(frontier)
    several = list(colours.items()) if len(colours) > 1 else []
    entries = [
        *([] if several else [_line_entry(best, BLUE)]),
        *(
            _line_entry(with_symbols(plain(model)), colour)
            for model, colour in several[:MOST_NAMED_LINES]
        ),
        _marker_entry("finished trial", "o", size=3.0, face=GREY, edge="none"),
    ]
    for place, each in enumerate(beside, start=1):
        label = plain(f"{each.sweep}, best by validation")
        colour, marker = series_style(place)
        line = Line2D(
            [], [], color=colour, linewidth=1.1, marker=marker, markersize=3.8, label=label
        )
        entries.insert(len(entries) - 1, line)
    if linear:
        entries.append(Line2D([], [], label="PCA of as many components", **LINEAR))
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
    floor = f"{number(fit.floor)} + " if fit.floor > 0 else ""
    return (
        f"fit: $D$ = {floor}{number(fit.scale)}·$d^{{-{fit.exponent:.2f}}}$ "
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
