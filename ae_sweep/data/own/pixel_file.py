"""Pixels of own images: their hash, their luma, and the scratch file in which they are collected.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
import math
import struct
import threading
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
PIXELS = "pixels"
"""Name of the scratch file."""
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
    """Images of one shape in a new file, written and read in any order by several threads.

    Plain reads and writes: pages of a memory map would count as this process's memory. The file is
    removed at the end of the ``with`` block.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    """Channels, height, width of an image; to be set before the first is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._file = path.open("x+b", buffering=0)
        except OSError as error:
            raise not_writable(path, error) from error

    def __enter__(self) -> PixelFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def write(self, first: int, pixels_NCHW: Bytes) -> None:
        """Write consecutive images.

        Raises
        ------
        DataError
            If there is no room.
        """
        content = np.ascontiguousarray(pixels_NCHW).data.cast("B")
        try:
            with self._lock:
                self._file.seek(first * math.prod(self.shape))
                while content:
                    content = content[self._file.write(content) :]
        except OSError as error:
            raise not_writable(self.path, error) from error

    def read(self, images_N: NDArray[np.int64], channels: int) -> Bytes:
        """Read images by number, the first ``channels`` channels of each: N×C×H×W.

        Raises
        ------
        DataError
            If the file ends before them, or cannot be read.
        """
        pixels_NCHW = np.empty((len(images_N), channels, *self.shape[1:]), np.uint8)
        try:
            with self._lock:
                for image_CHW, number in zip(pixels_NCHW, images_N.tolist(), strict=True):
                    self._file.seek(number * math.prod(self.shape))
                    self._fill(image_CHW.data.cast("B"))
        except OSError as error:
            raise DataError(f"{visible(self.path)} cannot be read ({error.strerror})") from error
        return pixels_NCHW

    def _fill(self, content: memoryview) -> None:
        while content:
            count = self._file.readinto(content)
            if not count:
                raise DataError(f"{visible(self.path)} was cut by another process; try again")
            content = content[count:]


def not_writable(path: Path, error: OSError) -> DataError:
    """Make the error for a cache that cannot be written."""
    return DataError(
        f"cannot write to {visible(path.parent)} ({error.strerror}); make room there, or set "
        "XDG_CACHE_HOME to a directory that can be written"
    )
