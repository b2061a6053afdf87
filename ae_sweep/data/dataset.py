"""Data sets by name: ``ImageDataset`` and the functions that find, fetch, verify and split one."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ae_sweep.config import ImageOptions, check_no_options
from ae_sweep.data import generated, own, registry
from ae_sweep.data.image_dataset import ImageDataset
from ae_sweep.data.locate import Located, find
from ae_sweep.data.registry import names
from ae_sweep.data.split import check_train_limit, layout_digest, split, val_count
from ae_sweep.errors import ConfigError
from ae_sweep.messages import visible
from ae_sweep.records import DatasetCard

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.data.idx import Bytes
    from ae_sweep.data.image_set import ImageSet

DEFAULT_OPTIONS = ImageOptions()

__all__ = ["ImageDataset", "fetch", "load", "load_image_set", "names"]


@dataclass(frozen=True, kw_only=True)
class _Pixels:
    """A data set before the split; images are N×H×W."""

    train_NHW: Bytes
    train_labels_N: Bytes
    test_NHW: Bytes
    test_labels_N: Bytes
    content_sha256: tuple[str, ...]
    source: str


def load(
    dataset: str,
    *,
    options: ImageOptions = DEFAULT_OPTIONS,
    cache_dir: Path,
    data_dir: Path | None = None,
    train_limit: int | None = None,
    announce: Callable[[str], None] | None = None,
) -> ImageDataset:
    """Load a data set, after fetching it if it is not on this machine, or own images.

    Parameters
    ----------
    dataset
        One of ``names()``, or an absolute path: a folder of pictures, a file of arrays (npz, npy),
        a folder of IDX files, or what ``from_memory`` returned.
    options
        How own images are converted; a named data set is used as it is.
    cache_dir
        The user cache of this tool; created when something is fetched.
    data_dir
        Directory given by the user: it holds the files themselves or torchvision's layout.
    train_limit
        Number of training images to use, the first of the shuffled ones; all by default. Own images
        are in order of their hashes.
    announce
        Called with one line for each download and each file that is skipped, and while own images
        are read.

    Raises
    ------
    ConfigError
        If there is no such data set, or ``train_limit`` is below 1 or above the number of images,
        or own images need another option, or are too few.
    DataError
        The files are damaged, or no source has them.
    """
    if Path(dataset).is_absolute():
        check_no_data_dir(dataset, data_dir)
        return own.load(
            Path(dataset),
            options=options,
            cache_dir=cache_dir,
            train_limit=train_limit,
            announce=announce,
        )
    name = dataset
    registry.check_name(name)
    check_no_options(name, options)
    if name == registry.GENERATED:
        _check_train_limit(
            name,
            train_limit,
            train_images=generated.TRAIN_IMAGES,
            test_images=generated.TEST_IMAGES,
        )
        return _assemble(name, _generate(), train_limit)
    return load_image_set(
        registry.IMAGE_SETS[name],
        cache_dir=cache_dir,
        data_dir=data_dir,
        train_limit=train_limit,
        announce=announce,
    )


def fetch(
    name: str,
    *,
    options: ImageOptions = DEFAULT_OPTIONS,
    cache_dir: Path,
    data_dir: Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> Located:
    """Find or fetch the files of a data set, verify them, and return where they are.

    Raises
    ------
    ConfigError
        No such data set, or options, which are for own images.
    DataError
        The files are damaged, or no source has them.
    """
    registry.check_name(name)
    check_no_options(name, options)
    if name == registry.GENERATED:
        return Located(name=name, source="generated", files=())
    image_set = registry.IMAGE_SETS[name]
    return find(image_set, cache_dir=cache_dir, data_dir=data_dir, announce=announce).located()


def load_image_set(
    image_set: ImageSet,
    *,
    cache_dir: Path,
    data_dir: Path | None = None,
    train_limit: int | None = None,
    announce: Callable[[str], None] | None = None,
) -> ImageDataset:
    """Load a set that may be outside the registry; see ``load``."""
    _check_train_limit(
        image_set.name,
        train_limit,
        train_images=image_set.train_images.shape[0],
        test_images=image_set.test_images.shape[0],
    )
    found = find(image_set, cache_dir=cache_dir, data_dir=data_dir, announce=announce)
    train, train_labels, test, test_labels = (file.array for file in found.files)
    pixels = _Pixels(
        train_NHW=train,
        train_labels_N=train_labels,
        test_NHW=test,
        test_labels_N=test_labels,
        content_sha256=tuple(file.content_sha256 for file in found.files),
        source=found.source,
    )
    return _assemble(image_set.name, pixels, train_limit)


def _check_train_limit(
    name: str, train_limit: int | None, *, train_images: int, test_images: int
) -> None:
    """Refuse a limit on the training images of a named set, some of which are for validation."""
    val_images = val_count(train_images)
    check_train_limit(
        name,
        train_limit,
        train_images=train_images - val_images,
        val_images=val_images,
        test_images=test_images,
    )


def check_no_data_dir(path: str, data_dir: Path | str | None) -> None:
    """Refuse a directory of files beside a path.

    Raises
    ------
    ConfigError
        If there is one.
    """
    if data_dir is not None:
        raise ConfigError(
            f"--data-dir {visible(data_dir)} is for the files of a named data set, and "
            f"{visible(path)} is a path already; leave it out"
        )


@functools.cache
def _generate() -> _Pixels:
    """Draw the shapes once a process: 2 MB in a quarter of a second; data sets are copies."""
    train, train_labels, test, test_labels = arrays = generated.draw()
    return _Pixels(
        train_NHW=train,
        train_labels_N=train_labels,
        test_NHW=test,
        test_labels_N=test_labels,
        content_sha256=tuple(hashlib.sha256(array.tobytes()).hexdigest() for array in arrays),
        source="generated",
    )


def _assemble(name: str, pixels: _Pixels, train_limit: int | None) -> ImageDataset:
    train, val = split(len(pixels.train_NHW), train_limit=train_limit)
    classes = int(pixels.train_labels_N.max()) + 1
    card = DatasetCard(
        name=name,
        digest=layout_digest(pixels.content_sha256, train_images=len(train)),
        source=pixels.source,
        train_images=len(train),
        val_images=len(val),
        test_images=len(pixels.test_NHW),
        image_shape=(1, *pixels.train_NHW.shape[1:]),
        classes=classes,
    )
    return ImageDataset(
        card=card,
        train_NCHW=pixels.train_NHW[train][:, None],
        train_labels_N=pixels.train_labels_N[train],
        val_NCHW=pixels.train_NHW[val][:, None],
        val_labels_N=pixels.train_labels_N[val],
        test_NCHW=pixels.test_NHW.copy()[:, None],
        test_labels_N=pixels.test_labels_N.copy(),
        class_names=tuple(map(str, range(classes))),
    )
