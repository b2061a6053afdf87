"""Small sets of own images as they are loaded: in colour, of any size, with and without classes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ae_sweep import data
from ae_sweep.data import ImageDataset
from ae_sweep.records import DatasetCard

if TYPE_CHECKING:
    from collections.abc import Callable

NAMED = ("2", "10", "cat", "dog", "naïve", "sports car", "frog", "ship", "horse", "deer", "bird",
         "猫")  # fmt: skip
"""Twelve classes."""
SETS = ("photos", "animals", "things")
"""Without classes; of twelve with names; of thirty."""


def draw(count: int, shape: tuple[int, int, int], *, classes: int, seed: int = 0) -> Any:
    """Draw bright discs on coloured ground, whose colour follows from the class."""
    channels, height, width = shape
    rng = np.random.default_rng(seed)
    labels_N = rng.permutation(np.arange(count) % classes)
    ground_NC = np.random.default_rng(9).integers(0, 200, (classes, channels))[labels_N]
    y, x = np.mgrid[:height, :width]
    at_N = rng.uniform(0.2, 0.8, (count, 2, 1, 1)) * np.array([height, width])[:, None, None]
    radius_N = rng.uniform(0.1, 0.25, (count, 1, 1)) * min(height, width)
    disc_NHW = (y - at_N[:, 0]) ** 2 + (x - at_N[:, 1]) ** 2 < radius_N**2
    x_NCHW = ground_NC[:, :, None, None] + 20 * y / height + 35 * disc_NHW[:, None]
    return x_NCHW.clip(0, 255).astype(np.uint8), labels_N.astype(np.uint16)


def make(
    name: str,
    shape: tuple[int, int, int],
    *,
    names: tuple[str, ...] = (),
    images: tuple[int, int, int] = (160, 30, 60),
    leaks: int = 0,
) -> ImageDataset:
    """Make a data set of so many training, validation and test images."""
    drawn = [
        draw(count, shape, classes=len(names) or 7, seed=seed) for seed, count in enumerate(images)
    ]
    (train, train_labels), (val, val_labels), (test, test_labels) = drawn
    for array in (train, val, test):
        array.flags.writeable = False
    return ImageDataset(
        card=DatasetCard(
            name=name, digest=f"{hash(shape) & 0xFFFFFFFF:08x}{len(names):08x}", source="a folder",
            train_images=len(train), val_images=len(val), test_images=len(test),
            image_shape=shape, leaks=leaks,
        ),
        train_NCHW=train,
        train_labels_N=train_labels if names else None,
        val_NCHW=val,
        val_labels_N=val_labels if names else None,
        test_NCHW=test,
        test_labels_N=test_labels if names else None,
        class_names=names,
    )  # fmt: skip


@functools.cache
def own(name: str) -> ImageDataset:
    """Return one of the sets."""
    if name == "photos":
        return make(name, (3, 32, 48), leaks=3)
    if name == "animals":
        return make(name, (3, 16, 16), names=NAMED)
    return make(name, (1, 8, 8), names=tuple(f"thing {number}" for number in range(30)))


def loading() -> Callable[..., ImageDataset]:
    """Return what is to stand in for ``data.load``: a path that ends in a set's name has it."""
    load = data.load

    def load_own(name: str, **options: Any) -> ImageDataset:
        return own(Path(name).name) if Path(name).name in SETS else load(name, **options)

    return load_own
