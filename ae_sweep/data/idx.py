"""Strict reader of IDX files with bounded memory, whatever a file claims about itself.

IDX is the format of MNIST: two zero bytes, a type code (8 is unsigned byte), the number of
dimensions, each dimension as a big-endian 32-bit integer, then the data.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from gzip import BadGzipFile, GzipFile
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ae_sweep.errors import DataError
from ae_sweep.messages import times

if TYPE_CHECKING:
    from pathlib import Path

Bytes: TypeAlias = NDArray[np.uint8]
"""An array of unsigned bytes."""

UNSIGNED_BYTE = 0x08


def header(shape: tuple[int, ...]) -> bytes:
    """Return the header of an IDX file of unsigned bytes with this shape."""
    return bytes((0, 0, UNSIGNED_BYTE, len(shape))) + struct.pack(f">{len(shape)}I", *shape)


def size(shape: tuple[int, ...]) -> int:
    """Return the number of bytes of an IDX file of this shape."""
    return len(header(shape)) + math.prod(shape)


def parse(content: bytes, shape: tuple[int, ...]) -> Bytes:
    """View the content of an IDX file as an array of the expected shape.

    The file's own claims do not decide what is allocated: its header must be the expected one.

    Raises
    ------
    DataError
        If the length, type or shape differs. The message is a predicate: the caller puts the file's
        name before it.
    """
    expected = header(shape)
    if len(content) != size(shape):
        raise DataError(f"holds {len(content):,} bytes, expected {size(shape):,}")
    if content[:4] != expected[:4]:
        raise DataError(
            f"begins with {content[:4].hex()}, expected {expected[:4].hex()}: "
            f"not an IDX file of unsigned bytes in {len(shape)} dimensions"
        )
    if content[: len(expected)] != expected:
        found = struct.unpack(f">{len(shape)}I", content[4 : len(expected)])
        raise DataError(f"claims the shape {times(found)}, expected {times(shape)}")
    return np.frombuffer(content, dtype=np.uint8, offset=len(expected)).reshape(shape)


def read_at_most(path: Path, limit: int) -> bytes:
    """Read a whole file into memory; refuse one of more than ``limit`` bytes.

    Raises
    ------
    DataError
        If it is longer than ``limit``; the message is a predicate.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(limit + 1)
        if len(content) > limit:
            found = max(path.stat().st_size, len(content))
            raise DataError(f"holds {found:,} bytes, expected at most {limit:,}")
        return content


def gunzip(blob: bytes, limit: int) -> bytes:
    """Decompress gzip to at most ``limit`` bytes.

    Raises
    ------
    DataError
        If it is corrupt, truncated, or longer than ``limit``; the message is a predicate.
    """
    try:
        with GzipFile(fileobj=io.BytesIO(blob)) as file:
            content = file.read(limit + 1)
    except (BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"is not an intact gzip file ({error})") from error
    if len(content) > limit:
        raise DataError(f"decompresses to more than the expected {limit:,} bytes")
    return content
