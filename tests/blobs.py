"""Small grey or coloured images of soft blobs, made in a moment; and a data set of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ae_sweep.data import ImageDataset
from ae_sweep.records import DatasetCard


def blobs(count: int, shape: tuple[int, int, int], *, seed: int = 0) -> Any:
    """Bytes N×C×H×W: a blob at a random place, of a random width and colour."""
    channels, height, width = shape
    numbers = np.random.default_rng(seed)
    y_H1, x_W = np.arange(height)[:, None], np.arange(width)
    images = []
    for _ in range(count):
        top, left, spread = numbers.uniform([0.3, 0.3, 0.1], [0.7, 0.7, 0.2])
        scaled_HW = ((y_H1 / height - top) ** 2 + (x_W / width - left) ** 2) / spread**2
        colour_C11 = numbers.uniform(100, 255, (channels, 1, 1))
        images.append(colour_C11 * np.exp(-scaled_HW))
    return np.rint(images).astype(np.uint8)


def blob_dataset(
    shape: tuple[int, int, int] = (1, 8, 10), *, train: int = 300, test: int = 40, digest: str = "b"
) -> ImageDataset:
    """A data set of blobs without classes."""
    card = DatasetCard(
        name="blobs",
        digest=digest,
        source="generated",
        train_images=train,
        val_images=10,
        test_images=test,
        image_shape=shape,
    )
    return ImageDataset(
        card=card,
        train_NCHW=blobs(train, shape, seed=1),
        val_NCHW=blobs(10, shape, seed=2),
        test_NCHW=blobs(test, shape, seed=3),
        train_labels_N=None,
        val_labels_N=None,
        test_labels_N=None,
    )
