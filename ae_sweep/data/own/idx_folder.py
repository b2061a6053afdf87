"""Folders of IDX files in MNIST's layout, plain or compressed, of any content and size.

They are read piece by piece: what a header claims is checked against the file's real size, and
decides nothing that is allocated.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import stat
import struct
import zlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from ae_sweep.data import idx
from ae_sweep.data.arrays import MAX_IMAGE_BYTES
from ae_sweep.data.own.conditions import check_amount
from ae_sweep.errors import ConfigError, DataError
from ae_sweep.messages import times, visible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from ae_sweep.data.arrays import Part
    from ae_sweep.data.idx import Bytes

NAME = re.compile(
    r"(?P<prefix>.*?)(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(?:\.gz)?"
)
PARTS: dict[str, Part] = {"train": "train", "t10k": "test", "test": "test"}
MOST_EXPANSION = 200
"""Times its own size that a compressed file may claim to hold; images of MNIST's kind have 2."""
FREE_BYTES = 1 << 20
"""What any file may hold, however small it is."""
BLOCK_BYTES = 1 << 20
FOLDER = "folder"


@dataclass(frozen=True, kw_only=True)
class IdxFile:
    """An IDX file whose header agrees with its size, so far as that is known unread."""

    path: Path
    shape: tuple[int, ...]

    def blocks(self, size: int) -> Iterator[bytes]:
        """Read the content behind the header in blocks of ``size`` bytes, the last one shorter.

        Raises
        ------
        DataError
            If it is damaged, or shorter or longer than the header says.
        """
        left = math.prod(self.shape)
        with _reading(self.path) as file:
            file.read(len(idx.header(self.shape)))
            while left:
                block = file.read(min(size, left))
                if len(block) < min(size, left):
                    raise DataError(
                        f"{visible(self.path)} ends {left - len(block):,} bytes before the "
                        f"{times(self.shape)} that its header claims; fetch it again"
                    )
                left -= len(block)
                yield block
            if file.read(1):
                raise DataError(
                    f"{visible(self.path)} goes on behind the {times(self.shape)} that its header "
                    "claims; fetch it again"
                )

    def content_sha256(self) -> str:
        """Hash the uncompressed content, header included."""
        found = hashlib.sha256(idx.header(self.shape))
        for block in self.blocks(BLOCK_BYTES):
            found.update(block)
        return found.hexdigest()


@dataclass(frozen=True, kw_only=True)
class IdxImages:
    """Images of one part, in order."""

    file: IdxFile
    part: Part | None

    @property
    def count(self) -> int:
        """How many there are."""
        return self.file.shape[0]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, and one channel."""
        return self.file.shape[1], self.file.shape[2], 1

    def chunks(self, images: int = 1024) -> Iterator[Bytes]:
        """Read them as N×H×W×1."""
        for block in self.file.blocks(images * math.prod(self.image_shape)):
            yield np.frombuffer(block, np.uint8).reshape(-1, *self.image_shape)


@dataclass(frozen=True, kw_only=True)
class IdxFolder:
    """Files of MNIST's layout."""

    train_images: IdxFile
    train_labels: IdxFile | None
    test_images: IdxFile | None
    test_labels: IdxFile | None
    others: Counter[str] = field(default_factory=Counter)
    """How many files and folders beside them are something else, by ending."""

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """All that there are, in the order of the named sets."""
        four = (self.train_images, self.train_labels, self.test_images, self.test_labels)
        return tuple(file for file in four if file is not None)

    @property
    def sources(self) -> tuple[IdxImages, ...]:
        """Training images, and test images if there are any."""
        if self.test_images is None:
            return (IdxImages(file=self.train_images, part=None),)
        return (
            IdxImages(file=self.train_images, part="train"),
            IdxImages(file=self.test_images, part="test"),
        )

    def labels(self) -> NDArray[np.int64] | None:
        """Read the labels of all images, in the order of the sources; None if there are none."""
        found = (
            [self.train_labels]
            if self.test_images is None
            else [self.train_labels, self.test_labels]
        )
        if not all(found):
            return None
        content = b"".join(block for file in found if file for block in file.blocks(BLOCK_BYTES))
        return np.frombuffer(content, np.uint8).astype(np.int64)


def find_idx(folder: Path) -> IdxFolder | None:
    """Find IDX files of MNIST's names in a folder, or in its sub-folder ``raw``, as torchvision's.

    Returns
    -------
    IdxFolder or None
        None if there are none.

    Raises
    ------
    ConfigError
        If they are of several sets, or some of a set are missing.
    DataError
        If a file is not what its name says.
    """
    for place in (folder, folder / "raw"):
        names = sorted(_names(place))
        if names:
            return replace(_open(place, names), others=_others(place))
    return None


def _names(place: Path) -> Iterator[str]:
    try:
        yield from (path.name for path in place.iterdir() if _is_idx(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise DataError(f"{visible(place)} cannot be read ({error.strerror})") from error


def _is_idx(name: str) -> bool:
    return NAME.fullmatch(name) is not None and not name.startswith(".")


def _others(place: Path) -> Counter[str]:
    """Count what is in a folder beside IDX files; hidden files are skipped."""
    return Counter(
        FOLDER if path.is_dir() else path.suffix.lower() or "without ending"
        for path in place.iterdir()
        if not path.name.startswith(".") and not NAME.fullmatch(path.name)
    )


def _open(place: Path, names: list[str]) -> IdxFolder:
    # Sorted: the plain file comes before its compressed form, and is read first.
    found: dict[tuple[str, str, str], str] = {}
    for name in names:
        match = NAME.fullmatch(name)
        if match:
            found.setdefault((match["prefix"], PARTS[match["part"]], match["kind"]), name)
    first = {prefix: name for (prefix, _, _), name in reversed(found.items())}
    if len(first) > 1:
        raise ConfigError(
            f"{visible(place)} has the files of {len(first)} sets (such as "
            f"{' and '.join(visible(name, 60) for name in sorted(first.values())[:5])}); put those "
            "of one into a folder of their own"
        )
    files = {
        (part, kind): _header(place / name, dimensions=3 if kind == "images" else 1)
        for (_, part, kind), name in found.items()
    }
    return _checked(place, files)


def _checked(place: Path, files: dict[tuple[str, str], IdxFile]) -> IdxFolder:
    train = files.get(("train", "images"))
    if train is None:
        raise ConfigError(f"{visible(place)} has no train-images-idx3-ubyte, plain or as .gz")
    test = files.get(("test", "images"))
    for part, images in (("train", train), ("test", test)):
        labels = files.get((part, "labels"))
        if images is None and labels is not None:
            raise ConfigError(f"{visible(labels.path)} has no file of images beside it")
        if images is not None and labels is not None and labels.shape[0] != images.shape[0]:
            raise DataError(
                f"{visible(labels.path)} has {labels.shape[0]:,} labels for {images.shape[0]:,} "
                "images; fetch both files again"
            )
    if test is not None:
        if test.shape[1:] != train.shape[1:]:
            raise DataError(
                f"{visible(test.path)} has images of {times(test.shape[1:])}, and "
                f"{visible(train.path)} of {times(train.shape[1:])}"
            )
        if (("train", "labels") in files) != (("test", "labels") in files):
            raise ConfigError(
                f"{visible(place)} has labels of one part only; add those of the other, or remove "
                "them"
            )
    return IdxFolder(
        train_images=train,
        train_labels=files.get(("train", "labels")),
        test_images=test,
        test_labels=files.get(("test", "labels")),
    )


def _header(path: Path, *, dimensions: int) -> IdxFile:
    """Read and check the header of a file."""
    with _reading(path) as file:
        start = file.read(4 + 4 * dimensions)
    if start[:4] != bytes((0, 0, idx.UNSIGNED_BYTE, dimensions)) or len(start) < 4 + 4 * dimensions:
        raise DataError(
            f"{visible(path)} begins with {start[:4].hex() or 'nothing'}: not an IDX file of "
            f"unsigned bytes in {dimensions} dimension{'s' * (dimensions > 1)}; fetch it again, or "
            "save bytes"
        )
    shape = struct.unpack(f">{dimensions}I", start[4:])
    if 0 in shape:
        raise DataError(f"{visible(path)} claims the shape {times(shape)}: it is empty")
    size, claimed = path.stat().st_size, idx.size(shape)
    if path.name.endswith(".gz"):
        if claimed > FREE_BYTES + MOST_EXPANSION * size:
            raise DataError(
                f"{visible(path)} claims to hold {times(shape)} bytes in {size:,}; such a file is "
                "not decompressed"
            )
    elif claimed != size:
        raise DataError(
            f"{visible(path)} holds {size:,} bytes, and its header claims the shape "
            f"{times(shape)}, which are {claimed:,}; fetch it again"
        )
    check_amount(shape[0], place=visible(path))
    if math.prod(shape[1:]) > MAX_IMAGE_BYTES:
        raise DataError(
            f"{visible(path)} claims images of {times(shape[1:])} bytes, more than "
            f"{MAX_IMAGE_BYTES:,} each; make them smaller"
        )
    return IdxFile(path=path, shape=shape)


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """Open a file, decompressed; translate what can go wrong while it is read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{visible(path)} is not a file; remove it from the folder")
        if path.name.endswith(".gz"):
            with gzip.open(path, "rb") as compressed:
                yield cast("BinaryIO", compressed)
        else:
            with path.open("rb") as plain:
                yield plain
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{visible(path)} is not an intact gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"{visible(path)} cannot be read ({error.strerror})") from error
