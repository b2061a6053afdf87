"""Labels that lie neither on what is drawn nor on each other, by the boxes of what is drawn."""

from __future__ import annotations

import math
from itertools import pairwise, product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

    Array = np.ndarray[Any, Any]

DIRECTIONS = (45, 135, -45, -135, 90, -90, 0, 180)
"""In degrees, from a point to its label, the preferred first."""
DISTANCES = (4.5, 8.0, 13.0)
"""Typographic points between a point and its label, the nearest first."""
STEP_PIXELS = 3.0
"""Between the places of a line that a label must not cover."""
POINTS_PER_INCH = 72.0


class Label(NamedTuple):
    """A label, and where it may stand beside."""

    text: str
    places: Sequence[tuple[float, float]]
    """x and y in the units of the data, the preferred first."""
    colour: str


def place_labels(axes: Axes, labels: Iterable[Label], *, size: float) -> list[str]:
    """Write each label beside its point where nothing is drawn; leave out those without room.

    Call it after the last change of the axes' ranges and of the figure's layout.

    Parameters
    ----------
    labels
        Those named first find more room.
    size
        Of the letters, in typographic points.

    Returns
    -------
    list of str
        The labels that were written.
    """
    figure = axes.figure
    pixels = figure.dpi / POINTS_PER_INCH
    taken_K2 = _drawn(axes)
    radius = 3.0 * pixels
    inside = axes.get_window_extent()
    boxes: list[Bbox] = [text.get_window_extent() for text in axes.texts if text.get_visible()]
    written = []
    for each in labels:
        label = axes.annotate(
            each.text, each.places[0], xytext=(0, 0), textcoords="offset points", fontsize=size,
            color=each.colour, parse_math=False, gid="label",
        )  # fmt: skip
        for place, distance, degrees in product(each.places, DISTANCES, DIRECTIONS):
            label.xy = place
            _move(label, distance, degrees)
            box = label.get_window_extent()
            if (
                _within(box, inside)
                and not any(box.overlaps(other) for other in boxes)
                and not _covers(box, taken_K2, radius)
            ):
                boxes.append(box)
                written.append(each.text)
                break
        else:
            label.remove()
    return written


def _move(label: Any, distance: float, degrees: int) -> None:
    across, up = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    label.set_position((distance * across, distance * up))
    label.set_horizontalalignment(_side(across, "left", "center", "right"))
    label.set_verticalalignment(_side(up, "bottom", "center", "top"))


def _side(share: float, above: str, middle: str, below: str) -> str:
    return middle if abs(share) < 0.1 else above if share > 0 else below


def _within(box: Bbox, outer: Bbox) -> bool:
    inner: bool = (
        box.x0 >= outer.x0 and box.x1 <= outer.x1 and box.y0 >= outer.y0 and box.y1 <= outer.y1
    )
    return inner


def _covers(box: Bbox, taken_K2: Array, radius: float) -> bool:
    x_K, y_K = taken_K2.T
    across_K = (x_K > box.x0 - radius) & (x_K < box.x1 + radius)
    return bool((across_K & (y_K > box.y0 - radius) & (y_K < box.y1 + radius)).any())


def _drawn(axes: Axes) -> Array:
    """Return the places, in pixels, of all points of all lines and of what joins them."""
    places = [np.empty((0, 2))]
    for line in axes.lines:
        if not line.get_visible():
            continue
        at_P2 = line.get_transform().transform(np.column_stack(line.get_data(orig=False)))
        at_P2 = at_P2[np.isfinite(at_P2).all(axis=1)]
        joined = line.get_linestyle() not in ("None", "none", "")
        places.append(_along(at_P2) if joined else at_P2)
    return np.concatenate(places)


def _along(at_P2: Array) -> Array:
    """Return points of a line and what lies between them, at most three pixels apart."""
    if len(at_P2) < 2:
        return at_P2
    pieces: Sequence[Array] = [
        np.linspace(start, end, max(2, int(np.hypot(*(end - start)) / STEP_PIXELS)))
        for start, end in pairwise(at_P2)
    ]
    return np.concatenate(pieces)
