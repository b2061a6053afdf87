"""Images given to the device batch by batch: from its own memory, from the host's, or from a file.

Whatever the kind, the batches are the same bytes in the same order, so that no result depends on
where the images are.
"""

from __future__ import annotations

import math
import os
import weakref
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ae_sweep.errors import DataError
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
    Indices: TypeAlias = np.ndarray[Any, np.dtype[np.integer[Any]]]

CHUNK_BYTES = 2**26
"""Bytes to copy from a file at a time."""


class ImageRows(ABC):
    """The images of one part of a data set, uint8 N×C×H×W.

    Parameters
    ----------
    device
        Where the batches are wanted.
    """

    def __init__(self, shape: Sequence[int], device: torch.device) -> None:
        self.shape = tuple(shape)
        self.device = device

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def numbers(self) -> int:
        """How many bytes they have: N·C·H·W."""
        return math.prod(self.shape)

    @abstractmethod
    def batches(self, size: int, *, order_N: Tensor | None = None) -> Iterator[Tensor]:
        """Yield batches on the device, the last one with what is left.

        Parameters
        ----------
        size
            Images in a batch.
        order_N
            The images to yield by index; None for all as they come.
        """

    @abstractmethod
    def first(self, count: int) -> ImageRows:
        """Return the first images, or all if there are fewer."""


class ResidentRows(ImageRows):
    """Images in the device's memory."""

    def __init__(self, x_NCHW: Tensor) -> None:
        super().__init__(x_NCHW.shape, x_NCHW.device)
        self.x_NCHW = x_NCHW

    def batches(self, size: int, *, order_N: Tensor | None = None) -> Iterator[Tensor]:
        """Yield batches of the tensor."""
        if order_N is None:
            yield from self.x_NCHW.split(size)
            return
        for index_B in order_N.to(self.device).split(size):
            yield self.x_NCHW[index_B]

    def first(self, count: int) -> ResidentRows:
        """Return the first images, or all if there are fewer."""
        return ResidentRows(self.x_NCHW[:count])


class StreamedRows(ImageRows):
    """Images that come to the device batch by batch, the next one read while one is used.

    Parameters
    ----------
    source
        Where they are read.
    """

    def __init__(self, source: ArrayRows | FileRows, device: torch.device) -> None:
        super().__init__(source.shape, device)
        self._source = source

    def batches(self, size: int, *, order_N: Tensor | None = None) -> Iterator[Tensor]:
        """Yield batches, each read by a background thread before it is asked for."""
        order = np.arange(len(self)) if order_N is None else order_N.numpy()
        parts = [order[begin : begin + size] for begin in range(0, len(order), size)]
        with ThreadPoolExecutor(1, thread_name_prefix="images") as reader:
            ahead: deque[Future[Tensor]] = deque()
            for part in parts:
                ahead.append(reader.submit(self._read, part))
                if len(ahead) > 1:
                    yield ahead.popleft().result().to(self.device, non_blocking=True)
            for last in ahead:
                yield last.result().to(self.device, non_blocking=True)

    def first(self, count: int) -> StreamedRows:
        """Return the first images, or all if there are fewer."""
        return StreamedRows(self._source.first(count), self.device)

    def _read(self, index_B: Indices) -> Tensor:
        shape = (len(index_B), *self.shape[1:])
        x_BCHW = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        self._source.read(index_B, into_BCHW=x_BCHW.numpy())
        return x_BCHW


class ArrayRows:
    """Images in an array of the host's."""

    def __init__(self, x_NCHW: Bytes) -> None:
        self._x_NCHW = x_NCHW
        self.shape = x_NCHW.shape

    def read(self, index_B: Indices, *, into_BCHW: Bytes) -> None:
        """Copy some images."""
        # An index out of range cannot be; with mode="raise" numpy copies everything twice.
        np.take(self._x_NCHW, index_B, axis=0, out=into_BCHW, mode="clip")

    def first(self, count: int) -> ArrayRows:
        """Return the first images, or all if there are fewer."""
        return ArrayRows(self._x_NCHW[:count])


class FileRows:
    """Images in a file, one behind the other.

    They are read and not mapped: the pages of a map count as this process's memory, and those of
    the file's cache do not.

    Parameters
    ----------
    descriptor
        Of the open file; it is duplicated.
    name
        Of the file, for messages: another file may be there by now.
    offset
        Of the first image, in bytes.
    """

    def __init__(self, descriptor: int, *, name: str, offset: int, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)
        self._name = name
        self._offset = offset
        self._image_bytes = math.prod(self.shape[1:])
        try:
            self._file = os.dup(descriptor)
        except OSError as error:
            raise DataError(
                f"{visible(name)} cannot be read: {error.strerror}; run the command again"
            ) from error
        weakref.finalize(self, os.close, self._file)

    def read(self, index_B: Indices, *, into_BCHW: Bytes) -> None:
        """Read some images.

        Raises
        ------
        DataError
            If the file is shorter than it was.
        """
        memory = memoryview(into_BCHW.data).cast("B")
        size = self._image_bytes
        breaks = np.flatnonzero(np.diff(index_B) != 1) + 1
        begins = [0, *breaks.tolist()]
        for begin, end in zip(begins, [*begins[1:], len(index_B)], strict=True):
            self._fill(memory[begin * size : end * size], int(index_B[begin]) * size)

    def first(self, count: int) -> FileRows:
        """Return the first images, or all if there are fewer."""
        shape = (min(count, self.shape[0]), *self.shape[1:])
        return FileRows(self._file, name=self._name, offset=self._offset, shape=shape)

    def whole(self) -> Tensor:
        """Read all images into memory."""
        x_NCHW = torch.empty(self.shape, dtype=torch.uint8)
        memory = memoryview(x_NCHW.numpy().data).cast("B")
        for begin in range(0, len(memory), CHUNK_BYTES):
            self._fill(memory[begin : begin + CHUNK_BYTES], begin)
        return x_NCHW

    def _fill(self, memory: memoryview, begin: int) -> None:
        while len(memory):
            try:
                count = os.preadv(self._file, [memory], self._offset + begin)
            except OSError as error:
                raise DataError(
                    f"{visible(self._name)} cannot be read: {error.strerror}; run the command again"
                ) from error
            if not count:
                raise DataError(
                    f"{visible(self._name)} became shorter while it was read; run the command again"
                )
            memory, begin = memory[count:], begin + count


def source_of(x_NCHW: Bytes) -> ArrayRows | FileRows:
    """Return where an array's images are read: its file, if it is a contiguous part of a map."""
    root: Any = x_NCHW
    while isinstance(root.base, np.ndarray):
        root = root.base
    file = getattr(root, "file", None)
    if file is None or not x_NCHW.flags.c_contiguous:
        return ArrayRows(x_NCHW)
    # The offset of a part of a map is still that of the whole.
    inside = x_NCHW.ctypes.data - root.ctypes.data
    return FileRows(file.fileno(), name=file.name, offset=root.offset + inside, shape=x_NCHW.shape)
