"""Read-only maps of array files, which keep their file open."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


class FileMap(np.memmap[Any, np.dtype[Any]]):
    """A read-only map of a file of type .npy.

    Whoever reads the file itself, which takes less memory than the map, does so through ``file``:
    another file may have its name by then.
    """

    file: BinaryIO | None = None
    """Open as long as the map lives; None of a part of a map."""


def open_map(path: Path) -> FileMap:
    """Map an array file with a header of version 1.0.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no such file, or shorter than its header says.
    """
    file = path.open("rb")
    try:
        mapped = _map(file)
    except BaseException:
        file.close()
        raise
    mapped.file = file
    weakref.finalize(mapped, file.close)
    return mapped


def _map(file: Any) -> FileMap:
    version = np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if version != (1, 0) or dtype.hasobject:
        raise ValueError(file.name)
    order: Any = "F" if fortran_order else "C"
    mapped: FileMap = FileMap(
        file, dtype=dtype, mode="r", offset=file.tell(), shape=shape, order=order
    )
    return mapped
