"""Opening files that may be anything: regular files only, of limited size, with limited headers."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

READ_COST = 64
"""Bytes that each call of ``read`` takes from the allowance, so that calls are bounded as well."""


class RefusedFileError(Exception):
    """The reason why a file is not read, as a predicate; never leaves ``ae_sweep.data``."""


class BoundedFile(io.BufferedReader):
    """A file whose reader may be made to take more than a header should have.

    While ``allowance`` is a number, ``read`` takes from it, and refuses what exceeds it. So a
    library that trusts the lengths inside a file cannot be made to fill the memory.
    """

    allowance: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most ``size`` bytes, or all of them.

        Raises
        ------
        RefusedFileError
            If that is more than is left of the allowance.
        """
        if self.allowance is None:
            return super().read(size)
        most = self.allowance + 1
        content = super().read(most if size is None or size < 0 else min(size, most))
        left = self.allowance - len(content)
        if left < 0:
            raise RefusedFileError("has a header or metadata of too many bytes")
        self.allowance = max(0, left - READ_COST) if content else left
        return content


def open_regular(path: Path | bytes, *, most_bytes: int | None = None) -> BoundedFile:
    """Open a regular file for reading, without waiting for anything else it may be.

    Raises
    ------
    RefusedFileError
        If it is missing, unreadable, empty, not a regular file, or of more than ``most_bytes``.
    """
    try:
        # Opening a device can have effects of its own, so the type is asked for before and after.
        _check(os.stat(path), most_bytes)  # noqa: PTH116 - the path may be bytes
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags | getattr(os, "O_NOCTTY", 0))
    except OSError as error:
        raise RefusedFileError(f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL character
        raise RefusedFileError(f"is not a path ({error})") from error
    file = BoundedFile(io.FileIO(descriptor))
    try:
        _check(os.fstat(descriptor), most_bytes)
    except BaseException:
        file.close()
        raise
    return file


def _check(found: os.stat_result, most_bytes: int | None) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise RefusedFileError("is a directory")
    if not stat.S_ISREG(found.st_mode):
        raise RefusedFileError("is not a regular file")
    if found.st_size == 0:
        raise RefusedFileError("is empty")
    if most_bytes is not None and found.st_size > most_bytes:
        raise RefusedFileError(f"holds {found.st_size:,} bytes, more than {most_bytes:,}")
