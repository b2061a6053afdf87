"""Owns the picture of images as points in the plane of their latents.

Shapes: N images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from ae_sweep.plots.style import paper_style, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array: TypeAlias = np.ndarray[Any, Any]

EDGE = 0.002
"""Of the images on each side of an axis: so few outliers may lie outside."""


def latent_plane_figure(
    coordinates_N2: Array, labels_N: Array, *, axes_names: Sequence[str], title: str = ""
) -> Figure:
    """Draw images as points coloured by class, each class named at its median.

    Parameters
    ----------
    coordinates_N2
        Where the images lie. With one column, they are spread over a row for each class.
    labels_N
        Their classes.
    axes_names
        What the columns are; taken literally.
    title
        Taken literally.

    Returns
    -------
    Figure
        One axes with a cloud of points for each class.
    """
    classes = np.unique(labels_N)
    colours = mpl.colormaps["tab10" if len(classes) <= 10 else "tab20"]
    with paper_style():
        figure = Figure(figsize=(5.2, 5.0), layout="constrained")
        axes = figure.add_subplot()
        x_N, y_N = _xy(coordinates_N2, labels_N)
        for index, label in enumerate(classes):
            of_class = labels_N == label
            colour = colours(index % colours.N)
            axes.scatter(
                x_N[of_class], y_N[of_class], s=3, color=colour, alpha=0.45, linewidths=0,
                rasterized=True, label=str(label),
            )  # fmt: skip
            axes.text(
                np.median(x_N[of_class]), np.median(y_N[of_class]), str(label), color=colour,
                fontsize=13, fontweight="bold", ha="center", va="center", zorder=3,
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )  # fmt: skip
        # Classes that lie on each other hide each other's names.
        figure.legend(loc="outside right upper", markerscale=4, title="class")
        axes.set_xlim(*_limits(x_N))
        axes.set_ylim(*_limits(y_N))
        names = [*axes_names, "class"][:2]
        axes.set_xlabel(plain(names[0]), parse_math=False)
        axes.set_ylabel(plain(names[1]), parse_math=False)
        axes.set_title(plain(title), parse_math=False, loc="left")
    return figure


def _xy(coordinates_N2: Array, labels_N: Array) -> tuple[Array, Array]:
    if coordinates_N2.shape[1] == 1:
        return coordinates_N2[:, 0], labels_N.astype(float)
    return coordinates_N2[:, 0], coordinates_N2[:, 1]


def _limits(values_N: Array) -> tuple[float, float]:
    low, high = np.quantile(values_N, (EDGE, 1 - EDGE))
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
