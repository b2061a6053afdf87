"""Owns the picture of test images over what a model made of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from matplotlib.figure import Figure

from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.errors import ConfigError
from ae_sweep.plots.style import paper_style, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ae_sweep.records import Reconstructions

    Bytes: TypeAlias = NDArray[np.uint8]

COLUMNS = 10
"""Images side by side before a new pair of rows begins."""
GAP = 1
"""Pixels of paper between two images."""
PAPER = 255
INCHES_PER_IMAGE = 0.42
LABEL_INCHES = 0.95
TITLE_INCHES = 0.28
MARGIN_INCHES = 0.06


def reconstructions_figure(
    reconstructions: Reconstructions, *, title: str = "", test_mse: float | None = None
) -> Figure:
    """Draw originals over their reconstructions, up to 10 side by side.

    All images are tiled into one array and drawn at once: an axis each costs seconds.

    Parameters
    ----------
    reconstructions
        N images of 1 (grey) or 3 (RGB) channels.
    title
        What trained them, such as a model and its latent_dim; taken literally.
    test_mse
        Mean squared error per pixel of the whole test set (not of the images shown), told in the
        title together with its PSNR.

    Returns
    -------
    Figure
        One axes that holds one image.

    Raises
    ------
    ConfigError
        Where there is no image, the channels are neither 1 nor 3, or the bytes do not have the
        shape's length.
    """
    originals_NHWC = _images(reconstructions.originals, reconstructions.shape)
    rebuilt_NHWC = _images(reconstructions.reconstructions, reconstructions.shape)
    tiles_HWC = _tile(originals_NHWC, rebuilt_NHWC)
    count, image_height = originals_NHWC.shape[:2]
    with paper_style():
        return _draw(
            tiles_HWC,
            row_pairs=math.ceil(count / COLUMNS),
            row_height=image_height + GAP,
            title=_title(title, test_mse),
        )


def _images(content: bytes, shape: tuple[int, int, int, int]) -> Bytes:
    if min(shape) < 1 or shape[1] not in {1, 3}:
        raise ConfigError(f"images to draw must have the shape N×1×H×W or N×3×H×W, got {shape}")
    if len(content) != math.prod(shape):
        raise ConfigError(
            f"images of the shape {shape} are {math.prod(shape)} bytes, got {len(content)}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape).transpose(0, 2, 3, 1)


def _tile(originals_NHWC: Bytes, rebuilt_NHWC: Bytes) -> Bytes:
    """Lay pairs of rows under each other, with gaps between and none around."""
    count, height, width, channels = originals_NHWC.shape
    columns = min(count, COLUMNS)
    rows = 2 * math.ceil(count / columns)
    step_y, step_x = height + GAP, width + GAP
    tiles_HWC = np.full((rows * step_y, columns * step_x, channels), PAPER, np.uint8)
    for index in range(count):
        row, column = divmod(index, columns)
        for offset, images_NHWC in enumerate((originals_NHWC, rebuilt_NHWC)):
            top, left = (2 * row + offset) * step_y, column * step_x
            tiles_HWC[top : top + height, left : left + width] = images_NHWC[index]
    return tiles_HWC[:-GAP, :-GAP]


def _title(title: str, test_mse: float | None) -> str:
    parts = [plain(title)] if title else []
    if test_mse is not None:
        parts.append(f"test MSE {test_mse:.4g}")
        psnr = psnr_db(test_mse)
        parts.append("perfect" if psnr is None else f"PSNR {psnr:.2f} dB")
    return " · ".join(parts)


def _draw(tiles_HWC: Bytes, *, row_pairs: int, row_height: int, title: str) -> Figure:
    height, width, channels = tiles_HWC.shape
    inches = INCHES_PER_IMAGE / row_height
    figure_height = height * inches + MARGIN_INCHES + (TITLE_INCHES if title else MARGIN_INCHES)
    # Placed by hand: a layout engine would draw everything twice.
    figure = Figure(figsize=(1.0, figure_height))
    heading = figure.text(0, 0, title, va="center", ha="left", parse_math=False)
    content_width = max(width * inches, heading.get_window_extent().width / figure.dpi)
    figure_width = LABEL_INCHES + content_width + MARGIN_INCHES
    figure.set_size_inches(figure_width, figure_height)
    box = (
        LABEL_INCHES / figure_width,
        MARGIN_INCHES / figure_height,
        width * inches / figure_width,
        height * inches / figure_height,
    )
    axes = figure.add_axes(box)
    pixels = tiles_HWC[..., 0] if channels == 1 else tiles_HWC
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=PAPER, interpolation="nearest", aspect="auto")
    axes.set_frame_on(False)
    axes.set_xticks([])
    middles = (np.arange(2 * row_pairs) + 0.5) * row_height - GAP
    axes.set_yticks(middles, ["original", "reconstruction"] * row_pairs)
    axes.tick_params(length=0)
    heading.set_position((box[0], 1 - 0.5 * TITLE_INCHES / figure_height))
    return figure
