"""Small sets of own images in every form, and what is loaded of them."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ae_sweep import data
from ae_sweep.config import ImageOptions
from ae_sweep.data import idx

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ae_sweep.data.idx import Bytes
    from ae_sweep.data.image_dataset import ImageDataset


def images(count: int = 300, *, side: int = 4, channels: int = 0, seed: int = 0) -> Bytes:
    """Random images N×H×W, or N×H×W×C with channels."""
    shape = (count, side, side, channels) if channels else (count, side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_pictures(folder: Path, pictures: Iterable[Bytes], *, prefix: str = "") -> list[Path]:
    """Write each picture as a PNG into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, pixels in enumerate(pictures):
        paths.append(folder / f"{prefix}{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def write_idx(folder: Path, arrays: dict[str, Bytes], *, compressed: bool = False) -> Path:
    """Write arrays as IDX files of these names into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        content = idx.header(array.shape) + array.tobytes()
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


def load(
    path: Path, cache: Path, *, train_limit: int | None = None, **options: Any
) -> ImageDataset:
    """Load own images."""
    return data.load(
        str(path), options=ImageOptions(**options), cache_dir=cache, train_limit=train_limit
    )


def prepare(
    path: Path, cache: Path, said: list[str] | None = None, **options: Any
) -> data.Prepared:
    """Prepare own images."""
    return data.prepare(
        path,
        options=ImageOptions(**options),
        cache_dir=cache,
        announce=None if said is None else said.append,
    )


def as_set(array: Bytes) -> set[bytes]:
    """The images of an array, whatever their order."""
    return {image.tobytes() for image in array}


def parts(loaded: ImageDataset) -> Sequence[set[bytes]]:
    """The images of training, validation and test."""
    return [as_set(part) for part in (loaded.train_NCHW, loaded.val_NCHW, loaded.test_NCHW)]
