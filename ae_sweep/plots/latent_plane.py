"""Figure of images as points in the plane of their latents.

Shapes: N images, K classes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ae_sweep.plots.export import Figure
from ae_sweep.plots.style import paper_style, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

    Array: TypeAlias = np.ndarray[Any, Any]

POINTS_PER_INCH = 72
OFFSETS = np.array(
    [(0.0, 0.0)]
    + [
        (radius * math.sin(turn * math.pi / 4), radius * math.cos(turn * math.pi / 4))
        for radius in (12, 20, 30)
        for turn in range(8)
    ]
)
"""Offsets at which a name may be placed, in points, the nearest first."""
EDGE = 0.002
"""Share of the images on each side of an axis that may lie outside as outliers."""


def latent_plane_figure(
    coordinates_N2: Array, labels_N: Array, *, axes_names: Sequence[str], title: str = ""
) -> Figure:
    """Draw images as points coloured by class, each class named at its median or beside it.

    Parameters
    ----------
    coordinates_N2
        Positions of the images. With one column, each class is drawn in its own row.
    labels_N
        Their classes.
    axes_names
        Names of the columns; taken literally.
    title
        Taken literally.

    Returns
    -------
    Figure
        A figure with one axes and one cloud of points.
    """
    classes, class_N = np.unique(labels_N, return_inverse=True)
    palette = mpl.colormaps["tab10" if len(classes) <= 10 else "tab20"]
    colours_K4 = palette(np.arange(len(classes)) % palette.N)
    with paper_style():
        figure = Figure(figsize=(5.2, 5.0), layout="constrained")
        axes = figure.add_subplot()
        x_N, y_N = _xy(coordinates_N2, labels_N)
        # In random order: drawn class by class, the last class would hide the first.
        order_N = np.random.default_rng(0).permutation(len(labels_N))
        axes.scatter(
            x_N[order_N], y_N[order_N], c=colours_K4[class_N[order_N]], s=3, alpha=0.45,
            linewidths=0, rasterized=True, gid="images",
        )  # fmt: skip
        handles = [
            Line2D([], [], linestyle="none", marker="o", color=colour, label=str(label))
            for label, colour in zip(classes, colours_K4, strict=True)
        ]
        figure.legend(handles=handles, loc="outside right upper", title="class")
        axes.set_xlim(*_limits(x_N))
        axes.set_ylim(*_limits(y_N))
        names = [*axes_names, "class"][:2]
        axes.set_xlabel(plain(names[0]), parse_math=False)
        axes.set_ylabel(plain(names[1]), parse_math=False)
        axes.set_title(plain(title), parse_math=False, loc="left")
        medians = [
            (float(np.median(x_N[class_N == index])), float(np.median(y_N[class_N == index])))
            for index in range(len(classes))
        ]
        figure.draw_without_rendering()
        _name(axes, [*map(str, classes)], medians, colours_K4, pixels=figure.dpi / POINTS_PER_INCH)
    return figure


def _name(
    axes: Axes,
    names: Sequence[str],
    places: Sequence[tuple[float, float]],
    colours_K4: Array,
    *,
    pixels: float,
) -> None:
    """Write names at positions, or beside them where another name is in the way.

    Parameters
    ----------
    pixels
        Pixels per point, the typographic unit.
    """
    taken: list[Bbox] = []
    for name, place, colour in zip(names, places, colours_K4, strict=True):
        text = axes.annotate(
            name, place, xytext=(0, 0), textcoords="offset points", color=colour, fontsize=13,
            fontweight="bold", ha="center", va="center", zorder=3,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )  # fmt: skip
        box = text.get_window_extent()
        free = (
            offset
            for offset in OFFSETS
            if not any(box.translated(*(pixels * offset)).overlaps(other) for other in taken)
        )
        offset = next(free, OFFSETS[0])
        text.set_position(tuple(offset))
        taken.append(box.translated(*(pixels * offset)))


def _xy(coordinates_N2: Array, labels_N: Array) -> tuple[Array, Array]:
    if coordinates_N2.shape[1] == 1:
        return coordinates_N2[:, 0], labels_N.astype(float)
    return coordinates_N2[:, 0], coordinates_N2[:, 1]


def _limits(values_N: Array) -> tuple[float, float]:
    low, high = np.quantile(values_N, (EDGE, 1 - EDGE))
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
