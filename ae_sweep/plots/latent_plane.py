"""Figure of images as points in the plane of their latents.

Shapes: N images, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ae_sweep.config import with_symbols
from ae_sweep.plots.export import Figure
from ae_sweep.plots.style import BLUE, GREY, paper_style, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

    Array: TypeAlias = np.ndarray[Any, Any]

POINTS_PER_INCH = 72
MOST_COLOURS = 20
"""Classes that have a colour each."""
MOST_TICKS = 6
"""Of the horizontal axis: long numbers of a narrow range have room."""
USUAL_IMAGES = 2_000
"""Images from which points are small."""
MOST_LETTERS = 24
"""Of a class's name."""
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
    coordinates_N2: Array,
    labels_N: Array | None = None,
    *,
    axes_names: Sequence[str],
    title: str = "",
    class_names: Sequence[str] = (),
) -> Figure:
    """Draw images as points, coloured by class if they have one.

    Each class is named at its median or beside it. Of more than 20 classes, those of the most
    images are coloured and named, and the others grey.

    Parameters
    ----------
    coordinates_N2
        Positions of the images. With one column, each class is drawn in its own row; without
        classes, the points are spread over the other axis at random.
    labels_N
        Their classes.
    axes_names
        Names of the columns; taken literally.
    title
        Taken literally.
    class_names
        Names of the classes by their numbers; the numbers themselves if left out.

    Returns
    -------
    Figure
        A figure with one axes and one cloud of points.
    """
    classes = _Classes.of(labels_N, class_names, count=len(coordinates_N2))
    with paper_style():
        figure = Figure(figsize=(5.2, 5.0), layout="constrained")
        axes = figure.add_subplot()
        x_N, y_N = _xy(coordinates_N2, labels_N, classes)
        # In random order: drawn class by class, the last class would hide the first.
        order_N = np.random.default_rng(0).permutation(len(x_N))
        axes.scatter(
            x_N[order_N], y_N[order_N], c=classes.image_colours[order_N], s=_size(len(x_N)),
            alpha=0.45, linewidths=0, rasterized=True, gid="images",
        )  # fmt: skip
        if classes.names:
            figure.legend(handles=_legend(classes), loc="outside right upper", title="class")
        axes.locator_params(axis="x", nbins=MOST_TICKS)
        axes.set_xlim(*_limits(x_N))
        axes.set_ylim(*_limits(y_N))
        other = "class" if labels_N is not None else "at random"
        names = [*axes_names, other][:2]
        axes.set_xlabel(plain(names[0]), parse_math=False)
        axes.set_ylabel(plain(names[1]), parse_math=False)
        if coordinates_N2.shape[1] == 1 and not all(map(str.isdecimal, classes.names or ["?"])):
            axes.set_yticks([])  # the classes' names are written at their rows
        axes.set_title(with_symbols(plain(title)), parse_math=False, loc="left")
        medians = [
            (
                float(np.median(x_N[classes.index_N == index])),
                float(np.median(y_N[classes.index_N == index])),
            )
            for index in range(len(classes.names))
        ]
        figure.draw_without_rendering()
        _name(axes, classes, medians, pixels=figure.dpi / POINTS_PER_INCH)
    return figure


@dataclass(frozen=True, kw_only=True, eq=False)
class _Classes:
    """The classes that have colours, and the class of each image among them."""

    names: tuple[str, ...]
    colours_K4: Array
    index_N: Array
    """Indices into ``names``; -1 where a class has no colour."""
    others: int = 0
    """Number of classes without a colour."""

    @property
    def image_colours(self) -> Array:
        """The colour of each image, N×4."""
        grey_14 = np.array([mpl.colors.to_rgba(GREY if self.names else BLUE)])
        colours_N4: Array = np.concatenate([self.colours_K4, grey_14])[self.index_N]
        return colours_N4

    @classmethod
    def of(cls, labels_N: Array | None, names: Sequence[str], *, count: int) -> _Classes:
        if labels_N is None:
            return cls(names=(), colours_K4=np.empty((0, 4)), index_N=np.full(count, -1))
        numbers, index_N, images = np.unique(labels_N, return_inverse=True, return_counts=True)
        # The largest, of equal ones the first; in the order of their numbers.
        shown = np.sort(np.argsort(-images, kind="stable")[:MOST_COLOURS])
        place = np.full(len(numbers), -1)
        place[shown] = np.arange(len(shown))
        palette = mpl.colormaps["tab10" if len(shown) <= 10 else "tab20"]
        return cls(
            names=tuple(
                plain(names[number] if names else str(number), limit=MOST_LETTERS)
                for number in numbers[shown]
            ),
            colours_K4=palette(np.arange(len(shown))),
            index_N=place[index_N],
            others=len(numbers) - len(shown),
        )


def _legend(classes: _Classes) -> list[Line2D]:
    entries = [*zip(classes.names, classes.colours_K4, strict=True)]
    if classes.others:
        entries.append((f"{classes.others:,} others", np.array(mpl.colors.to_rgba(GREY))))
    return [
        Line2D([], [], linestyle="none", marker="o", color=colour, label=label)
        for label, colour in entries
    ]


def _name(
    axes: Axes, classes: _Classes, places: Sequence[tuple[float, float]], *, pixels: float
) -> None:
    """Write the names of classes at positions, or beside them where another name is in the way.

    Parameters
    ----------
    pixels
        Pixels per point, the typographic unit.
    """
    taken: list[Bbox] = []
    short = max(map(len, classes.names), default=0) <= 2
    size = 13 if short else 8
    # A long name would hide the images at its median.
    offsets = OFFSETS if short else OFFSETS[1:]
    for name, place, colour in zip(classes.names, places, classes.colours_K4, strict=True):
        text = axes.annotate(
            name, place, xytext=(0, 0), textcoords="offset points", color=colour, fontsize=size,
            fontweight="bold", ha="center", va="center", zorder=3, parse_math=False,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )  # fmt: skip
        box = text.get_window_extent()
        free = (
            offset
            for offset in offsets
            if not any(box.translated(*(pixels * offset)).overlaps(other) for other in taken)
        )
        offset = next(free, offsets[0])
        text.set_position(tuple(offset))
        taken.append(box.translated(*(pixels * offset)))


def _xy(coordinates_N2: Array, labels_N: Array | None, classes: _Classes) -> tuple[Array, Array]:
    if coordinates_N2.shape[1] > 1:
        return coordinates_N2[:, 0], coordinates_N2[:, 1]
    if labels_N is None:
        return coordinates_N2[:, 0], np.random.default_rng(0).uniform(size=len(coordinates_N2))
    # Classes without a colour share the lowest row.
    y_N = classes.index_N if classes.others else labels_N
    return coordinates_N2[:, 0], y_N.astype(float)


def _size(images: int) -> float:
    """Return the area of a point in square points: of few images they are larger."""
    return float(np.clip(3 * np.sqrt(USUAL_IMAGES / images), 3, 30))


def _limits(values_N: Array) -> tuple[float, float]:
    low, high = np.quantile(values_N, (EDGE, 1 - EDGE))
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
