"""The data set ``shapes``: generated images for tests and for a first sweep offline.

Two soft-edged shapes per image (ellipse, box, stroke), each with its own position, size, direction
and brightness: a dozen degrees of freedom, so that wider bottlenecks help. It uses only exactly
rounded arithmetic (+ - * / and square roots) on a random stream that numpy keeps stable, so every
machine generates the same images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ae_sweep.data.idx import Bytes

SEED = 7
TRAIN_IMAGES, TEST_IMAGES, SIDE = 2_400, 400, 28
KINDS = 3
SHAPES_PER_IMAGE = 2
NUMBERS_PER_SHAPE = 8

Floats = NDArray[np.float64]


def draw() -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Generate the data set.

    Returns
    -------
    tuple
        Training images N×28×28 and labels N, test images and labels. A label is the kind of the
        first shape.
    """
    images = TRAIN_IMAGES + TEST_IMAGES
    shapes = images * SHAPES_PER_IMAGE
    numbers = _uniform(shapes * NUMBERS_PER_SHAPE).reshape(shapes, NUMBERS_PER_SHAPE)
    kind_S = (numbers[:, 0] * KINDS).astype(np.uint8)
    drawn = np.concatenate([_draw(kind, numbers[kind_S == kind, 1:]) for kind in range(KINDS)])
    drawn_SHW = np.empty_like(drawn)
    drawn_SHW[np.argsort(kind_S, kind="stable")] = drawn
    pictures = drawn_SHW.reshape(images, SHAPES_PER_IMAGE, SIDE, SIDE).max(axis=1)
    pixels = (pictures * 255.0 + 0.5).astype(np.uint8)
    labels = kind_S.reshape(images, SHAPES_PER_IMAGE)[:, 0]
    return (
        pixels[:TRAIN_IMAGES],
        labels[:TRAIN_IMAGES],
        pixels[TRAIN_IMAGES:],
        labels[TRAIN_IMAGES:],
    )


def _uniform(count: int) -> Floats:
    raw = np.random.PCG64(SEED).random_raw(count)
    return (raw >> np.uint64(11)).astype(np.float64) / 2.0**53


def _draw(kind: int, numbers_SP: Floats) -> Floats:
    """Draw one shape per image, in [0, 1]."""
    y, x, long, thin, turn_y, turn_x, bright = (column[:, None, None] for column in numbers_SP.T)
    row = np.arange(SIDE)[None, :, None] - (8.0 + 11.0 * y)
    column = np.arange(SIDE)[None, None, :] - (8.0 + 11.0 * x)
    turn_y, turn_x = turn_y * 2.0 - 1.0, turn_x * 2.0 - 1.0
    norm = np.sqrt(turn_y * turn_y + turn_x * turn_x) + 1e-9
    along = np.abs((row * turn_y + column * turn_x) / norm)
    across = np.abs((row * turn_x - column * turn_y) / norm)
    outside = _outside(kind, along, across, long=3.0 + 5.0 * long, thin=1.5 + 2.5 * thin)
    # An edge two pixels wide: antialiased, and smooth in every parameter.
    coverage: Floats = np.clip(0.5 - 0.5 * outside, 0.0, 1.0) * (0.4 + 0.6 * bright)
    return coverage


def _outside(kind: int, along: Floats, across: Floats, *, long: Floats, thin: Floats) -> Floats:
    """Return how far each pixel is outside the shape, in pixels; negative inside."""
    if kind == 0:  # ellipse; first-order distance
        u, v = along / long, across / thin
        return (np.sqrt(u * u + v * v) - 1.0) * thin
    if kind == 1:  # box
        return np.maximum(along - long, across - thin)
    beyond = np.maximum(along - long, 0.0)  # stroke with round ends
    distance: Floats = np.sqrt(beyond * beyond + across * across) - 1.0
    return distance
