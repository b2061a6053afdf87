"""Figure of test images above their reconstructions."""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.errors import ConfigError
from ae_sweep.plots.image_rows import ImageRow, image_rows_figure
from ae_sweep.plots.style import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ae_sweep.plots.export import Figure
    from ae_sweep.records import Reconstructions

    Bytes: TypeAlias = NDArray[np.uint8]

COLUMNS = 10
"""Images side by side before a new pair of rows begins."""


def reconstructions_figure(
    reconstructions: Reconstructions, *, title: str = "", test_mse: float | None = None
) -> Figure:
    """Draw originals above their reconstructions, up to 10 side by side.

    Parameters
    ----------
    reconstructions
        N images of 1 (grey) or 3 (RGB) channels.
    title
        Title, such as a model and its latent_dim; taken literally.
    test_mse
        Mean squared error per pixel of the whole test set (not of the images shown), written in the
        title together with its PSNR.

    Returns
    -------
    Figure
        A figure with one axes that holds one image.

    Raises
    ------
    ConfigError
        If there is no image, the channels are neither 1 nor 3, or the bytes do not have the shape's
        length.
    """
    originals_NCHW = _images(reconstructions.originals, reconstructions.shape)
    rebuilt_NCHW = _images(reconstructions.reconstructions, reconstructions.shape)
    chunks = [slice(start, start + COLUMNS) for start in range(0, len(originals_NCHW), COLUMNS)]
    pairs = [
        (
            ImageRow("original", originals_NCHW[chunk]),
            ImageRow("reconstruction", rebuilt_NCHW[chunk]),
        )
        for chunk in chunks
    ]
    return image_rows_figure([*chain.from_iterable(pairs)], title=_title(title, test_mse))


def _images(content: bytes, shape: tuple[int, int, int, int]) -> Bytes:
    if min(shape) < 1 or shape[1] not in {1, 3}:
        raise ConfigError(f"images to draw must have the shape N×1×H×W or N×3×H×W, got {shape}")
    if len(content) != math.prod(shape):
        raise ConfigError(
            f"images of the shape {shape} are {math.prod(shape)} bytes, got {len(content)}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _title(title: str, test_mse: float | None) -> str:
    parts = [plain(title)] if title else []
    if test_mse is not None:
        parts.append(f"test MSE {test_mse:.4g}")
        psnr = psnr_db(test_mse)
        parts.append("perfect" if psnr is None else f"PSNR {psnr:.2f} dB")
    return " · ".join(parts)
