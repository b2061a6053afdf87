"""A tiny image set, its files, and sources that stand in for the network."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.data import idx
from ae_sweep.data.image_set import ImageSet, Resource, SourceError
from ae_sweep.data.locate import find

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Barrier

    from ae_sweep.data.image_set import Form, Source

TRAIN, TEST, SIDE = 36, 6, 4
SHAPES: dict[str, tuple[int, ...]] = {
    "train-images-idx3-ubyte": (TRAIN, SIDE, SIDE),
    "train-labels-idx1-ubyte": (TRAIN,),
    "t10k-images-idx3-ubyte": (TEST, SIDE, SIDE),
    "t10k-labels-idx1-ubyte": (TEST,),
}
NAMES = tuple(SHAPES)
IMAGES = NAMES[0]


def arrays(seed: int = 0) -> dict[str, idx.Bytes]:
    """Random bytes in the four shapes."""
    numbers = np.random.default_rng(seed)
    return {name: numbers.integers(0, 256, shape, np.uint8) for name, shape in SHAPES.items()}


def files(seed: int = 0) -> dict[str, bytes]:
    """The four raw files."""
    return {name: idx.header(a.shape) + a.tobytes() for name, a in arrays(seed).items()}


def gz_files(seed: int = 0) -> dict[str, bytes]:
    """The four files compressed, the same bytes each time."""
    return {f"{name}.gz": gzip.compress(raw, mtime=0) for name, raw in files(seed).items()}


def tiny_set(
    *sources: Source, seed: int = 0, form: Form = "raw", system: Path | None = None
) -> ImageSet:
    """Describe the tiny set."""
    pinned = files(seed).values() if form == "raw" else gz_files(seed).values()
    resources = [
        Resource(name=name, shape=shape, sha256=hashlib.sha256(content).hexdigest(), form=form)
        for (name, shape), content in zip(SHAPES.items(), pinned, strict=True)
    ]
    return ImageSet(
        name="tiny",
        folder="Tiny",
        train_images=resources[0],
        train_labels=resources[1],
        test_images=resources[2],
        test_labels=resources[3],
        system_dirs=() if system is None else (system,),
        sources=sources,
    )


def write(directory: Path, contents: dict[str, bytes]) -> Path:
    """Write files into a directory, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return directory


@dataclass
class Brings:
    """A source that has the files; counts how often it was asked."""

    contents: dict[str, bytes]
    name: str = "a good source"
    asked: int = 0

    def bring(self, image_set: ImageSet, scratch: Path) -> Path:
        self.asked += 1
        return write(scratch / "somewhere", self.contents)


@dataclass
class Fails:
    """A source that fails."""

    reason: str = "no network"
    name: str = "a bad source"

    def bring(self, image_set: ImageSet, scratch: Path) -> Path:
        raise SourceError(self.reason)


@dataclass
class Dies:
    """A source whose process is killed in the midst of a download."""

    name: str = "a deadly source"

    def bring(self, image_set: ImageSet, scratch: Path) -> Path:
        write(scratch, {IMAGES: files()[IMAGES][:100]})
        os.kill(os.getpid(), signal.SIGKILL)
        return scratch


@dataclass
class Meets:
    """A source that waits until another process is in the midst of its download, too."""

    barrier: Barrier
    name: str = "a meeting source"

    def bring(self, image_set: ImageSet, scratch: Path) -> Path:
        self.barrier.wait(timeout=60)
        return write(scratch, files())


def fetch_together(barrier: Barrier, cache: Path) -> None:
    """Fetch in a process of its own, at the same time as another."""
    find(tiny_set(Meets(barrier)), cache_dir=cache)


def fetch_and_die(cache: Path) -> None:
    """Be killed while fetching."""
    find(tiny_set(Dies()), cache_dir=cache)
