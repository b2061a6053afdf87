"""Distortion of images that were rounded to bytes, as a decoder writes them.

Shapes: N images, B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.analysis.gallery import CHUNK_NUMBERS, images_within

if TYPE_CHECKING:
    from collections.abc import Iterable

    Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class ByteDistortion:
    """Distortion of 8-bit reconstructions; pixels in [0, 1]."""

    mse: float
    """Mean squared error per number of an image."""
    psnr: float | None
    """10·log10(1 / mse) in dB; None for a perfect reconstruction."""
    mean_image_psnr: float | None
    """Mean over images of each one's PSNR in dB; None if one of them is perfect. By Jensen's
    inequality it is never below ``psnr``."""


def byte_distortion(originals_NCHW: Array, rebuilt_NCHW: Array) -> ByteDistortion:
    """Measure the distortion of images in bytes, exactly: the squares are added up as integers.

    Raises
    ------
    ValueError
        If there are no images, their shapes differ, or they are not bytes.
    """
    if originals_NCHW.shape != rebuilt_NCHW.shape or not originals_NCHW.size:
        raise ValueError(f"images {originals_NCHW.shape}, reconstructions {rebuilt_NCHW.shape}")
    if {originals_NCHW.dtype, rebuilt_NCHW.dtype} != {np.dtype(np.uint8)}:
        raise ValueError(f"not bytes: {originals_NCHW.dtype}, {rebuilt_NCHW.dtype}")
    step = images_within(CHUNK_NUMBERS, originals_NCHW.shape)
    chunks = (rebuilt_NCHW[first : first + step] for first in range(0, len(originals_NCHW), step))
    squares_N = _squares(originals_NCHW, chunks)
    most = 255**2 * math.prod(originals_NCHW.shape[1:])
    mse = int(squares_N.sum()) / (most * len(squares_N))
    return ByteDistortion(
        mse=mse, psnr=psnr_db(mse), mean_image_psnr=mean_image_psnr(squares_N / most)
    )


def byte_errors(images_NCHW: Array, batches: Iterable[Array]) -> Array:
    """Return the mean squared error of each image of bytes, of a scale of [0, 1], float64 N."""
    errors_N: Array = _squares(images_NCHW, batches) / math.prod(images_NCHW.shape[1:]) / 255**2
    return errors_N


def _squares(images_NCHW: Array, batches: Iterable[Array]) -> Array:
    """Return the sum of squared differences of each image of bytes, int64 N."""
    sums, first = [], 0
    for rebuilt_BCHW in batches:
        originals_BCHW = images_NCHW[first : first + len(rebuilt_BCHW)].astype(np.int32)
        squares_BCHW = np.square(originals_BCHW - rebuilt_BCHW)
        sums.append(squares_BCHW.sum(axis=(1, 2, 3), dtype=np.int64))
        first += len(rebuilt_BCHW)
    return np.concatenate(sums)


def mean_image_psnr(errors_N: Array) -> float | None:
    """Return the mean over images of each one's PSNR in dB; None if one is perfect."""
    if not errors_N.min(initial=np.inf) > 0:
        return None
    return float((-10 * np.log10(errors_N)).mean())
