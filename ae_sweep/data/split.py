"""The fixed split of the training images into training and validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.config import check_count, digest
from ae_sweep.errors import ConfigError

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


def check_train_limit(
    name: str, train_limit: int | None, *, train_images: int, val_images: int, test_images: int
) -> None:
    """Refuse a limit on the training images of a data set that is out of range.

    Parameters
    ----------
    train_images
        Number of training images without those for validation.

    Raises
    ------
    ConfigError
        If the limit is below 1, or above that number.
    """
    if train_limit is None:
        return
    check_count("train-limit", train_limit, most=None)
    if train_limit > train_images:
        raise ConfigError(
            f"train-limit {train_limit:,} is more than the {train_images:,} training images of "
            f"{name} ({val_images:,} are for validation and {test_images:,} for testing); give at "
            f"most {train_images}"
        )


def layout_digest(content_sha256: Sequence[str], *, train_images: int) -> str:
    """Identify a set of MNIST's layout by the content of its files and the images in use."""
    return digest(
        {
            "content_sha256": list(content_sha256),
            "split_version": SPLIT_VERSION,
            "train_images": train_images,
        }
    )
