"""Files of arrays, intact and not."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ae_sweep.data.arrays import ArrayPart


def npy(array: NDArray[Any]) -> bytes:
    """Return the bytes of an ``.npy`` file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(shape: tuple[int, ...], descr: str = "|u1", *, order: bool = False) -> bytes:
    """Return the header of an ``.npy`` file, whatever follows it."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": order, "shape": shape}
    )
    return file.getvalue()


def write(directory: Path, content: bytes, name: str = "images.npy") -> Path:
    """Write a file and return its path."""
    file = directory / name
    file.write_bytes(content)
    return file


def saved(directory: Path, array: NDArray[Any]) -> Path:
    """Save one array."""
    return write(directory, npy(array))


def archive(directory: Path, **arrays: Any) -> Path:
    """Save arrays as a compressed archive."""
    file = directory / "images.npz"
    np.savez_compressed(file, **arrays)
    return file


def all_images(part: ArrayPart, images: int = 1024) -> NDArray[np.uint8]:
    """Return the images of a part, read some at a time."""
    chunks = list(part.chunks(images))
    assert all(chunk.dtype == np.uint8 and len(chunk) <= images for chunk in chunks)
    return np.concatenate(chunks)
