"""Arrays in ``.npy`` files and members of ``.npz`` archives, read as streams of bounded memory.

Nothing that a file claims about itself is believed before it is compared with its real length, and
no Python objects are read. numpy's own reader holds a member of an archive whole.
"""

from __future__ import annotations

import io
import math
import os
import struct
import warnings
import zipfile
import zlib
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ae_sweep.data.bounded_file import RefusedFileError, open_regular
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

HEADER_BYTES = 16_384
"""Read at the start of an array; numpy itself refuses headers of more than 10,000 characters."""
DIRECTORY_BYTES = 1 << 20
"""Most bytes of an archive's list of members: thousands of them."""
BOMB_BYTES = 64 << 20
BOMB_RATIO = 500
"""An array of more bytes than that, compressed more than so often, is a zip bomb: deflate's limit
of 1,032 is reached by constant data only; binary drawings of 64×64 pixels have been seen at 115."""
MAX_DIMENSIONS = 8
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, OverflowError,
    RuntimeError, ValueError, struct.error,
)  # fmt: skip
"""What ``zipfile`` raises on damaged archives."""
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""Version 3.0 is for names of fields, which images do not have."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ZIP_MAGIC = b"PK"
NPY_MAGIC = b"\x93NUMPY"


class BadArrayError(Exception):
    """The reason, as a predicate, why an array is not read; never leaves ``ae_sweep.data``."""


@dataclass(frozen=True, kw_only=True)
class StoredArray:
    """An array in a file, whose header has been checked against the file's length."""

    path: Path
    key: str | None
    """Name within the archive, without ``.npy``; None for a ``.npy`` file."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool
    offset: int
    """Bytes before the data."""

    def rows(self, number: int) -> Iterator[NDArray[Any]]:
        """Yield ``number`` entries of the first axis at a time, the last ones may be fewer.

        Raises
        ------
        BadArrayError
            If the data are damaged or cut off.
        """
        count, *rest = self.shape
        row_bytes = math.prod(rest) * self.dtype.itemsize
        with _stream(self.path, self.key) as stream:
            _skip(stream, self.offset)
            for first in range(0, count, number):
                here = min(number, count - first)
                content = _read_exactly(stream, here * row_bytes)
                yield np.frombuffer(content, dtype=self.dtype).reshape(here, *rest)
            # An archive's checksum is compared at the end of the member.
            if stream.read(1):
                raise BadArrayError("is longer than its header says")


def list_arrays(path: Path) -> dict[str | None, StoredArray]:
    """Return the arrays of a file by key (None for ``.npy``), their headers checked.

    Raises
    ------
    BadArrayError
        If the file is neither, or an array is not what its header says.
    """
    with _translated(), closing(open_regular(path)) as file:
        magic = file.read(len(NPY_MAGIC))
        if magic.startswith(ZIP_MAGIC):
            return _list_members(path, file)
        if magic != NPY_MAGIC:
            raise BadArrayError("is neither an npy nor an npz file")
        file.seek(0)
        length = os.fstat(file.fileno()).st_size
        return {None: _read_header(file, path=path, key=None, length=length)}


def _list_members(path: Path, file: Any) -> dict[str | None, StoredArray]:
    arrays: dict[str | None, StoredArray] = {}
    with _open_archive(file) as archive:
        for member in archive.infolist():
            key = member.filename.removesuffix(".npy")
            if key == member.filename:
                raise BadArrayError(f"holds {member.filename[:60]!a}, which is not an array")
            if key in arrays:
                raise BadArrayError(f"holds two arrays of the name {key[:60]!a}")
            try:
                arrays[key] = _read_member(archive, member, path=path, key=key)
            except BadArrayError as error:
                raise BadArrayError(f"holds an array {key[:60]!a} that {error}") from error
    if not arrays:
        raise BadArrayError("holds no arrays")
    return arrays


def _open_archive(file: Any) -> zipfile.ZipFile:
    file.seek(0)
    file.allowance = DIRECTORY_BYTES
    archive = zipfile.ZipFile(file)
    file.allowance = None
    return archive


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, path: Path, key: str
) -> StoredArray:
    if member.flag_bits & 1:
        raise BadArrayError("is encrypted")
    if member.compress_type not in METHODS:
        raise BadArrayError(
            f"is compressed by method {member.compress_type}, and only stored and deflated ones "
            "are read"
        )
    # The compressed size is a claim as well.
    compressed = min(member.compress_size, path.stat().st_size)
    if member.file_size > max(BOMB_BYTES, BOMB_RATIO * compressed):
        raise BadArrayError(
            f"claims {member.file_size:,} bytes from {compressed:,} compressed ones: a zip bomb"
        )
    with archive.open(member) as stream:
        return _read_header(stream, path=path, key=key, length=member.file_size)


def _read_header(stream: IO[bytes], *, path: Path, key: str | None, length: int) -> StoredArray:
    """Read a header from at most ``HEADER_BYTES``, and compare it with the length in bytes."""
    start = io.BytesIO(stream.read(HEADER_BYTES))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = _READERS[np.lib.format.read_magic(start)]
            shape, is_fortran, dtype = read(start)
    except KeyError as error:
        raise BadArrayError("has a version of the npy format other than 1.0 and 2.0") from error
    except Exception as error:  # the header is a Python literal of any content
        raise BadArrayError("has a damaged header, or is not an npy array") from error
    found = StoredArray(
        path=path,
        key=key,
        shape=shape,
        dtype=dtype,
        is_fortran=is_fortran,
        offset=start.tell(),
    )
    _check_claims(found, length)
    return found


def _check_claims(array: StoredArray, length: int) -> None:
    if array.dtype.hasobject:
        raise BadArrayError(
            "holds Python objects, which are never read because they can run code; save numbers"
        )
    if len(array.shape) > MAX_DIMENSIONS or any(side < 0 for side in array.shape):
        raise BadArrayError(f"claims the impossible shape {array.shape}")
    claimed = math.prod(array.shape) * array.dtype.itemsize
    held = length - array.offset
    if claimed != held:
        raise BadArrayError(
            f"claims {'×'.join(map(str, array.shape)) or 'a single value'} of {array.dtype}, which "
            f"are {claimed:,} bytes, and holds {held:,}"
        )


@contextmanager
def _stream(path: Path, key: str | None) -> Iterator[IO[bytes]]:
    with _translated(), closing(open_regular(path)) as file:
        if key is None:
            yield file
            return
        with _open_archive(file) as archive, archive.open(f"{key}.npy") as stream:
            yield stream


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RefusedFileError as error:
        raise BadArrayError(str(error)) from error
    except _DAMAGE as error:
        raise BadArrayError(f"is damaged ({visible(error, 100)})") from error
    except OSError as error:
        raise BadArrayError(f"cannot be read ({error.strerror or error})") from error


def _skip(stream: IO[bytes], number: int) -> None:
    _read_exactly(stream, number)


def _read_exactly(stream: IO[bytes], number: int) -> bytearray:
    content = bytearray()
    while len(content) < number:
        block = stream.read(min(1 << 20, number - len(content)))
        if not block:
            raise BadArrayError(f"is cut off ({number - len(content):,} bytes are missing)")
        content += block
    return content
