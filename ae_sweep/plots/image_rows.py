"""Figure of labelled rows of images, the basis of other figures.

Shapes: N images, H height, W width, C channels (1 grey, 3 RGB).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ae_sweep.config import with_symbols
from ae_sweep.errors import ConfigError
from ae_sweep.plots.export import Figure
from ae_sweep.plots.style import paper_style, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bytes: TypeAlias = NDArray[np.uint8]

GAP = 1
"""Pixels of background between two images."""
PAPER = 255
INCHES_PER_IMAGE = 0.42
"""Longer side of an image of up to ``USUAL_SIDE`` pixels."""
USUAL_SIDE = 28
LARGEST_INCHES = 1.26
"""Longer side of an image of many pixels."""
PAGE_INCHES = 9.0
"""Side of a grid up to which images are drawn larger than ``INCHES_PER_IMAGE``."""
LABEL_INCHES = 0.16
"""Height of a row's label."""
USUAL_DPI = 160
LEAST_DOTS = 1.5
"""Dots for a pixel from which every pixel is drawn as it is."""
INCHES_PER_LETTER = 0.066
TITLE_INCHES = 0.28
MARGIN_INCHES = 0.06


@dataclass(frozen=True, eq=False)
class ImageRow:
    """Images side by side with a label to their left."""

    label: str
    """Taken literally."""
    images_NCHW: Bytes


def image_rows_figure(rows: Sequence[ImageRow], *, title: str = "", gap: int = GAP) -> Figure:
    """Draw rows of images below each other.

    All images are tiled into one array and drawn at once; one axis per image takes seconds. Large
    images are drawn larger, as far as the grid has room on a page.

    Parameters
    ----------
    rows
        At least one image; all of one shape, 1 (grey) or 3 (RGB) channels.
    title
        Title above the rows; taken literally.
    gap
        Pixels of background between two images of 28 pixels; in proportion between larger ones.

    Returns
    -------
    Figure
        A figure with one axes that holds one image.

    Raises
    ------
    ConfigError
        If there is no image, or the channels are neither 1 nor 3.
    """
    for row in rows:
        _check(row.images_NCHW.shape)
    if not rows:
        raise ConfigError("there are no images to draw")
    with paper_style():
        grid = _Grid.of(rows, gap)
        return _draw(_tile(rows, grid), rows, grid, title=title)


def _check(shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or min(shape) < 1 or shape[1] not in {1, 3}:
        raise ConfigError(f"images to draw must have the shape N×1×H×W or N×3×H×W, got {shape}")


@dataclass(frozen=True)
class _Grid:
    """Sizes of a grid of images; in pixels, but for the scale."""

    height: int
    width: int
    gap: int
    """Between two images of a row."""
    row_gap: int
    """Between two rows."""
    inches_per_pixel: float

    @classmethod
    def of(cls, rows: Sequence[ImageRow], gap: int) -> _Grid:
        """Choose sizes: of 28 pixels and fewer an image is 0.42 inches, of more up to three times.

        Large grids of large images stay within a page, and long thin images keep a row as high as
        its label.
        """
        _, _, height, width = rows[0].images_NCHW.shape
        side = max(height, width)
        gap *= max(1, round(side / USUAL_SIDE))
        most = max(len(rows), *(len(row.images_NCHW) for row in rows))
        inches = min(INCHES_PER_IMAGE * max(1, side / USUAL_SIDE), LARGEST_INCHES)
        inches = max(INCHES_PER_IMAGE, min(inches, PAGE_INCHES / most))
        # With the gap, as the size of a row was first chosen for MNIST.
        scale = inches / (side + gap)
        lacking = math.ceil(LABEL_INCHES / scale) - height if any(row.label for row in rows) else 0
        return cls(height, width, gap, max(gap, lacking), scale)


def _tile(rows: Sequence[ImageRow], grid: _Grid) -> Bytes:
    """Tile rows below each other, with gaps between them and no margin."""
    channels = rows[0].images_NCHW.shape[1]
    columns = max(len(row.images_NCHW) for row in rows)
    step_y, step_x = grid.height + grid.row_gap, grid.width + grid.gap
    shape = (len(rows) * step_y - grid.row_gap, columns * step_x - grid.gap, channels)
    tiles_HWC = np.full(shape, PAPER, np.uint8)
    for top, row in zip(range(0, shape[0], step_y), rows, strict=False):
        for left, image_CHW in zip(range(0, shape[1], step_x), row.images_NCHW, strict=False):
            place = tiles_HWC[top : top + grid.height, left : left + grid.width]
            place[:] = image_CHW.transpose(1, 2, 0)
    return tiles_HWC


def _draw(tiles_HWC: Bytes, rows: Sequence[ImageRow], grid: _Grid, *, title: str) -> Figure:
    height, width, channels = tiles_HWC.shape
    labels = [with_symbols(plain(row.label)) for row in rows]
    longest = max(map(len, labels))
    label_inches = 2 * MARGIN_INCHES + longest * INCHES_PER_LETTER
    inches = grid.inches_per_pixel
    figure_height = height * inches + MARGIN_INCHES + (TITLE_INCHES if title else MARGIN_INCHES)
    # Placed explicitly: a layout engine would draw everything twice.
    figure = Figure(figsize=(1.0, figure_height))
    heading = figure.text(0, 0, title, va="center", ha="left", parse_math=False)
    content_width = max(width * inches, heading.get_window_extent().width / figure.dpi)
    figure_width = label_inches + content_width + MARGIN_INCHES
    figure.set_size_inches(figure_width, figure_height)
    box = (
        label_inches / figure_width,
        MARGIN_INCHES / figure_height,
        width * inches / figure_width,
        height * inches / figure_height,
    )
    axes = figure.add_axes(box)
    pixels = tiles_HWC[..., 0] if channels == 1 else tiles_HWC
    # With few dots for a pixel, nearest would skip some and show patterns that are not there.
    smooth = inches * USUAL_DPI < LEAST_DOTS
    axes.imshow(
        pixels, cmap="gray", vmin=0, vmax=PAPER, aspect="auto",
        interpolation="antialiased" if smooth else "nearest",
    )  # fmt: skip
    axes.set_frame_on(False)
    axes.set_xticks([])
    middles = np.arange(len(rows)) * (grid.height + grid.row_gap) + (grid.height - 1) / 2
    axes.set_yticks(middles, labels, parse_math=False)
    axes.tick_params(length=0)
    heading.set_position((box[0], 1 - 0.5 * TITLE_INCHES / figure_height))
    return figure
