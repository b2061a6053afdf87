"""Own images as a data set: read-only maps of the cache's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ae_sweep.data.image_dataset import ImageDataset
from ae_sweep.data.own.arrangement import PARTS, identity
from ae_sweep.data.own.preparation import prepare
from ae_sweep.data.split import check_train_limit, layout_digest
from ae_sweep.records import DatasetCard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ae_sweep.config import ImageOptions
    from ae_sweep.data.own.cache import Prepared


def load(
    path: Path,
    *,
    options: ImageOptions,
    cache_dir: Path,
    train_limit: int | None = None,
    announce: Callable[[str], None] | None = None,
) -> ImageDataset:
    """Load own images, after preparing them if they are new or have changed.

    Parameters
    ----------
    train_limit
        Number of training images to use, the first in their order; all by default.

    Raises
    ------
    ConfigError
        If ``train_limit`` is out of range, or see ``prepare``.
    DataError
        See ``prepare``.
    """
    prepared = prepare(path, options=options, cache_dir=cache_dir, announce=announce)
    facts = prepared.facts
    check_train_limit(
        facts.name,
        train_limit,
        train_images=facts.train_images,
        val_images=facts.val_images,
        test_images=facts.test_images,
    )
    train_images = train_limit or facts.train_images
    card = DatasetCard(
        name=facts.name,
        digest=_digest(prepared, train_images),
        source=facts.source,
        train_images=train_images,
        val_images=facts.val_images,
        test_images=facts.test_images,
        image_shape=facts.image_shape,
        leaks=facts.leaks,
        classes=len(prepared.class_names or ()),
    )
    return ImageDataset(
        card=card,
        train_NCHW=prepared.arrays["train.npy"][:train_images],
        val_NCHW=prepared.arrays["val.npy"],
        test_NCHW=prepared.arrays["test.npy"],
        train_labels_N=_labels(prepared, "train", train_images),
        val_labels_N=_labels(prepared, "val"),
        test_labels_N=_labels(prepared, "test"),
        class_names=prepared.class_names or (),
    )


def _digest(prepared: Prepared, train_images: int) -> str:
    if train_images == prepared.facts.train_images:
        return prepared.digest
    if prepared.content_sha256:
        return layout_digest(prepared.content_sha256, train_images=train_images)
    most = {"train": train_images, "val": None, "test": None}
    return identity(
        prepared.facts.image_shape,
        {part: prepared.arrays[f"{part}_hashes.npy"][: most[part]] for part in PARTS},
        {part: _labels(prepared, part, most[part]) for part in PARTS},
    )


def _labels(
    prepared: Prepared, part: str, most: int | None = None
) -> np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]] | None:
    labels_N = prepared.arrays.get(f"{part}_labels.npy")
    return None if labels_N is None else np.array(labels_N[:most])
