"""Errors of images of bytes, as a decoder writes them.

Shapes: N images, B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    Array: TypeAlias = np.ndarray[Any, Any]


def byte_errors(images_NCHW: Array, batches: Iterable[Array]) -> Array:
    """Return the mean squared error of each image of bytes, of a scale of [0, 1], float64 N."""
    errors, first = [], 0
    for rebuilt_BCHW in batches:
        originals_BCHW = images_NCHW[first : first + len(rebuilt_BCHW)].astype(np.int32)
        squares_BCHW = np.square(originals_BCHW - rebuilt_BCHW)
        errors.append(squares_BCHW.mean(axis=(1, 2, 3), dtype=np.float64) / 255**2)
        first += len(rebuilt_BCHW)
    return np.concatenate(errors)


def mean_image_psnr(errors_N: Array) -> float | None:
    """Return the mean over images of each one's PSNR in dB; None if one is perfect."""
    if not errors_N.min(initial=np.inf) > 0:
        return None
    return float((-10 * np.log10(errors_N)).mean())
