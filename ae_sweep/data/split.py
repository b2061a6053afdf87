"""The fixed split of the training images into training and validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.config import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SPLIT_VERSION = 1
"""Part of a data set's digest: another split is another data set."""
SPLIT_SEED = 20_061_128
"""An arbitrary constant; it must never change without the version."""
HELD_OUT = 12
"""One image in this many is for validation: 5,000 of 60,000."""


def val_count(images: int) -> int:
    """Return the number of validation images among ``images`` training images."""
    return images // HELD_OUT


def split(
    images: int, *, train_limit: int | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose the indices for training and for validation.

    A smaller ``train_limit`` gives a prefix of a larger one, and does not change validation.

    Returns
    -------
    tuple
        Training indices, in shuffled order, and validation indices.
    """
    # Ranks of raw PCG64 numbers, since numpy guarantees the stream of a bit generator for ever, but
    # that of Generator.permutation only until it is improved.
    order = np.argsort(np.random.PCG64(SPLIT_SEED).random_raw(images), kind="stable")
    held_out = val_count(images)
    return order[held_out:][:train_limit], order[:held_out]


def layout_digest(content_sha256: Sequence[str], *, train_images: int) -> str:
    """Identify a set of MNIST's layout by the content of its files and the images in use."""
    return digest(
        {
            "content_sha256": list(content_sha256),
            "split_version": SPLIT_VERSION,
            "train_images": train_images,
        }
    )
