"""Pixels of own images: their hash, their luma, and the scratch file in which they are collected.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.errors import DataError
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from ae_sweep.data.idx import Bytes

HASH_BYTES = 32
LUMA = (19595, 38470, 7471)
"""Weights of red, green and blue by ITU-R 601-2 in 1/65536, as in Pillow's ``convert("L")``."""


def pixel_hash(pixels_CHW: Bytes) -> bytes:
    """Hash an image with its shape.

    A grey image is to be given as one channel, so that its hash, and with it its part, is the same
    whether the other images of the set are grey or not.
    """
    found = hashlib.sha256(struct.pack(">3I", *pixels_CHW.shape))
    found.update(np.ascontiguousarray(pixels_CHW).data)
    return found.digest()


def luma(pixels: Bytes, *, axis: int) -> Bytes:
    """Convert three channels to one that stays as an axis of length 1, as Pillow does."""
    red, green, blue = (
        np.take(pixels, [channel], axis=axis).astype(np.uint32) * weight
        for channel, weight in enumerate(LUMA)
    )
    return ((red + green + blue + 0x8000) >> 16).astype(np.uint8)


class PixelFile:
    """Images of one shape in a file, written and read in any order by several threads.

    Plain reads and writes: pages of a memory map would count as this process's memory.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self.path = path
        self.shape = shape
        self._bytes = shape[0] * shape[1] * shape[2]
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise not_writable(path, error) from error

    def __enter__(self) -> PixelFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)

    def write(self, first: int, pixels_NCHW: Bytes) -> None:
        """Write consecutive images.

        Raises
        ------
        DataError
            If there is no room.
        """
        content = np.ascontiguousarray(pixels_NCHW).data.cast("B")
        offset = first * self._bytes
        try:
            while content:
                written = os.pwrite(self._descriptor, content, offset)
                content, offset = content[written:], offset + written
        except OSError as error:
            raise not_writable(self.path, error) from error

    def read(self, images_N: NDArray[np.int64], channels: int) -> Bytes:
        """Read images by number, the first ``channels`` channels of each: N×C×H×W."""
        _, height, width = self.shape
        size = channels * height * width
        pixels = np.empty((len(images_N), size), np.uint8)
        for row, image in zip(pixels, images_N.tolist(), strict=True):
            content = os.pread(self._descriptor, size, image * self._bytes)
            row[:] = np.frombuffer(content, np.uint8)
        return pixels.reshape(len(images_N), channels, height, width)


def not_writable(path: Path, error: OSError) -> DataError:
    """Make the error for a cache that cannot be written."""
    return DataError(
        f"cannot write to {visible(path.parent)} ({error.strerror}); make room there, or set "
        "XDG_CACHE_HOME to a directory that can be written"
    )
