"""Choice of the images to show: the first of each class, evenly spaced, or those rebuilt worst.

Shapes: N images, M models, K images chosen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array: TypeAlias = np.ndarray[Any, Any]


SAMPLE_IMAGES = 10_000
SAMPLE_NUMBERS = 2**30
CHUNK_NUMBERS = 2**23
"""Pixels times channels whose squares are held at a time: 64 MB."""


def images_within(numbers: int, shape: tuple[int, ...]) -> int:
    """Return how many images of a shape N×C×H×W have that many numbers in all; at least one."""
    return max(1, numbers // math.prod(shape[1:]))


def sample_of(x_NCHW: Array) -> Array:
    """Return which of many images stand for all where each is encoded: evenly spaced ones.

    Returns
    -------
    numpy.ndarray
        Indices of at most 10,000 images, with at most 1 GB of bytes.
    """
    count = min(SAMPLE_IMAGES, images_within(SAMPLE_NUMBERS, x_NCHW.shape))
    return evenly_spaced(len(x_NCHW), count=count)


def squared_errors(originals_NCHW: Array, rebuilt_NCHW: Array) -> Array:
    """Return the mean squared error of each image over its C×H×W numbers, float64 N.

    Parameters
    ----------
    originals_NCHW
        Bytes, which are divided by 255.
    rebuilt_NCHW
        Floats in [0, 1].
    """
    # In chunks, because the differences of 10,000 images in float64 take much memory.
    step = min(1000, images_within(CHUNK_NUMBERS, originals_NCHW.shape))
    errors = [
        np.square(originals_NCHW[i : i + step] / 255 - rebuilt_NCHW[i : i + step]).mean((1, 2, 3))
        for i in range(0, len(originals_NCHW), step)
    ]
    return np.concatenate(errors) if errors else np.empty(0)


def first_of_each(labels_N: Array, classes: Sequence[int], *, count: int) -> Array:
    """Choose the first images of each class, divided as evenly as ``count`` allows.

    Returns
    -------
    numpy.ndarray
        Indices K, by class; fewer than ``count`` where a class has too few images.

    Raises
    ------
    ConfigError
        If there are more classes than images to choose.
    """
    if len(classes) > count:
        raise ConfigError(
            f"{count} images cannot show {len(classes)} classes; give --count {len(classes)} or "
            "name fewer --classes"
        )
    share, more = divmod(count, len(classes))
    chosen = [
        np.flatnonzero(labels_N == label)[: share + (index < more)]
        for index, label in enumerate(classes)
    ]
    return np.concatenate(chosen)


def evenly_spaced(total: int, *, count: int) -> Array:
    """Choose ``count`` of ``total`` things at equal distances, the first and the last among them.

    Returns
    -------
    numpy.ndarray
        Indices, ascending; all of them where there are no more than ``count``.
    """
    if total <= count:
        return np.arange(total)
    return np.linspace(0, total - 1, count).round().astype(np.intp)


def worst(
    errors: Sequence[Array],
    *,
    labels_N: Array | None = None,
    classes: Sequence[int] = (),
    count: int,
) -> Array:
    """Choose the images that several models rebuild worst.

    Each model's errors are divided by their mean, so that all models have equal weight, although
    the error of a narrow bottleneck can be fifty times that of a wide one.

    Parameters
    ----------
    errors
        Mean squared error of each image, N, one array per model.
    labels_N
        Classes of the images; None if the images have none, or those of all classes may be chosen.
    classes
        Classes whose images may be chosen.

    Returns
    -------
    numpy.ndarray
        Indices K, the worst first.
    """
    errors_MN = np.stack(errors)
    means_M1 = errors_MN.mean(axis=1, keepdims=True)
    # A model without any error has no worst image and is left out.
    shares_MN = np.divide(errors_MN, means_M1, out=np.zeros_like(errors_MN), where=means_M1 > 0)
    order_N: Array = np.argsort(-shares_MN.sum(axis=0), kind="stable")
    if labels_N is not None:
        order_N = order_N[np.isin(labels_N[order_N], classes)]
    return order_N[:count]


def as_bytes(x: Array) -> Array:
    """Round numbers in [0, 1] to bytes; values outside are clipped."""
    bytes_: Array = np.clip(np.rint(np.asarray(x) * 255), 0, 255).astype(np.uint8)
    return bytes_
