"""Append-only file of checksummed lines, and files beside it that are named by their content.

Each line holds the SHA-256 of its record, shortened, and the record as JSON::

    3f786850e387550f {"op":"metrics","run":"..."}

A line counts once its newline is on the disk. What follows the last whole line is what a killed
process or a power cut left of another, and is dropped.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import sys
from typing import TYPE_CHECKING

from ae_sweep.errors import ConflictError, StoreError
from ae_sweep.files import read_regular, sync_directory, write_atomically
from ae_sweep.messages import visible

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Record = dict[str, object]

JOURNAL = "journal.jsonl"
BLOBS = "journal-files"
CHECKSUM_DIGITS = 16


class DamagedError(ValueError):
    """A line that is not what was written, with whole ones after it."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line} is damaged")
        self.line = line


def line_of(record: Mapping[str, object]) -> bytes:
    """Return a record as a line of the file."""
    text = json.dumps(record, allow_nan=False, separators=(",", ":")).encode("ascii")
    return _checksum(text) + b" " + text + b"\n"


def parse(content: bytes) -> tuple[list[Record], int]:
    """Return the records of a file, and how many of its bytes they take.

    Raises
    ------
    DamagedError
        If a line is damaged that is not at the end.
    """
    records: list[Record] = []
    end = 0
    damaged = 0
    lines = content.split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is None:
            damaged = damaged or number
            continue
        if damaged:
            raise DamagedError(damaged)
        records.append(record)
        end += len(line) + 1
    return records, end


def _record(line: bytes) -> Record | None:
    checksum, _, text = line.partition(b" ")
    if checksum != _checksum(text):
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:CHECKSUM_DIGITS].encode()


class JournalFile:
    """A journal in a directory of its own, open in one process at a time.

    Parameters
    ----------
    folder
        Of the journal; created with the first record.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / JOURNAL
        self._blobs = folder / BLOBS
        self._descriptor: int | None = None
        self._size = 0

    def open(self) -> list[Record]:
        """Take the journal for this process and return its records; make it if there is none.

        Raises
        ------
        ConflictError
            If another process has it.
        StoreError
            If it is damaged.
        OSError
            If it cannot be read or made.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        sync_directory(self.folder.parent)
        descriptor = _locked(self.path)
        try:
            content = _content(descriptor)
            records, self._size = checked(content, self.path)
            if self._size != len(content):
                os.ftruncate(descriptor, self._size)
            os.fsync(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        sync_directory(self.folder)
        return records

    def append(self, record: Mapping[str, object]) -> None:
        """Add a record; it is on the disk when this returns.

        Raises
        ------
        OSError
            If it cannot be written. Then nothing of it stays.
        """
        if self._descriptor is None:
            raise RuntimeError("the journal is not open")
        line = line_of(record)
        os.lseek(self._descriptor, self._size, os.SEEK_SET)
        try:
            _write(self._descriptor, line)
            os.fsync(self._descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(line)

    def keep(self, content: bytes) -> str:
        """Keep a file's content and return its name.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        name = hashlib.sha256(content).hexdigest()
        path = self._blobs / name
        if not path.exists():
            self._blobs.mkdir(mode=0o700, exist_ok=True)
            write_atomically(path, content)
        return name

    def content(self, name: str) -> bytes:
        """Return the content of a kept file.

        Raises
        ------
        StoreError
            If it cannot be read, or is not what was kept.
        """
        path = self._blobs / name
        if len(name) == hashlib.sha256().digest_size * 2 and name.isalnum():  # no path elsewhere
            with contextlib.suppress(OSError):
                content = read_regular(path)
                if hashlib.sha256(content).hexdigest() == name:
                    return content
        raise StoreError(
            f"the journal's file {visible(path)} is not what was kept there; restore it from a "
            f"copy, or move {visible(self.folder)} away and complete the sweep with --resume"
        )

    def close(self) -> None:
        """Leave the journal to others."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        """Delete the journal and its files.

        Raises
        ------
        OSError
            If it cannot be deleted.
        """
        self.path.unlink(missing_ok=True)  # first: without it, the files mean nothing
        self.close()
        self._size = 0
        shutil.rmtree(self._blobs, ignore_errors=True)
        with contextlib.suppress(OSError):  # others may keep something there
            self.folder.rmdir()
            self.folder.parent.rmdir()


def read(folder: Path) -> list[Record]:
    """Return the records of a journal without changing it; none where there is no journal.

    Raises
    ------
    StoreError
        If it is damaged or cannot be read.
    """
    path = folder / JOURNAL
    try:
        content = read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(
            f"the journal {visible(path)} cannot be read: {error.strerror}; check that you may "
            "read it and its directory"
        ) from error
    return checked(content, path)[0]


def checked(content: bytes, path: Path) -> tuple[list[Record], int]:
    """Parse the content of a journal.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    try:
        return parse(content)
    except DamagedError as error:
        raise StoreError(
            f"the journal {visible(path)} is damaged in line {error.line}; restore it from a copy, "
            "or move it away and complete the sweep with --resume, which trains again what is "
            "stored nowhere else"
        ) from error


def _locked(path: Path) -> int:
    """Open a file, made if there is none, that no other process has open."""
    while True:
        # Ours alone: what was measured is nobody else's business.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            _lock(descriptor, path)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was removed by the process that had it before


def _content(descriptor: int) -> bytes:
    parts = []
    os.lseek(descriptor, 0, os.SEEK_SET)
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _lock(descriptor: int, path: Path) -> None:
    """Lock a regular file; a pipe would be waited for."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConflictError(
            f"another process has the journal {visible(path)} open: its sweep is running, or is "
            "being published; wait until it has ended"
        ) from None
    except OSError:  # a file system without locks
        return


def _write(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
