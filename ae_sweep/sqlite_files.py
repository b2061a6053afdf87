"""Reading of SQLite files, also where nothing can be written.

A database with a write-ahead log needs two files beside it, even to be read. Where those cannot be
made (a read-only mount, somebody else's directory), SQLite reads it as immutable.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

BUSY_SECONDS = 20.0


@dataclass(frozen=True)
class ReadableFile:
    """A SQLite file, and how it can be read here."""

    path: Path
    """The file, or a copy of it."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters of its SQLite URI; empty for a file that can be written."""

    @property
    def is_writable(self) -> bool:
        """Whether SQLite can write to it and beside it."""
        return not self.query

    @property
    def database(self) -> str:
        """The name by which SQLite opens it: a path, or a URI without its parameters."""
        return str(self.path) if self.is_writable else f"file:{quote(str(self.path))}"

    def connect(self) -> sqlite3.Connection:
        """Open it.

        Raises
        ------
        sqlite3.Error
            If it cannot be opened.
        """
        if self.is_writable:
            return sqlite3.connect(self.path, timeout=BUSY_SECONDS)
        address = f"{self.database}?{urlencode(self.query)}"
        return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)


def readable(file: Path) -> ReadableFile:
    """Return how a SQLite file can be read.

    Parameters
    ----------
    file
        A path to a file that exists.

    Raises
    ------
    OSError, sqlite3.Error
        If it cannot be read.
    """
    if is_writable(file):
        return ReadableFile(file)
    status = file.stat()
    log = _log_of(file)
    log_bytes = log.stat().st_size if log.exists() else 0
    # Another address for another content: connections to an immutable file keep what they read.
    version = f"{status.st_mtime_ns}-{status.st_size}-{log_bytes}"
    if not log_bytes:
        return _immutable(file, version)
    # Beside a program that is writing, its index of the log is used; else SQLite would make one.
    shared = ReadableFile(file, {"mode": "ro"})
    if file.with_name(f"{file.name}-shm").exists() and _can_be_queried(shared):
        return shared
    return _immutable(_merged_copy(file, version), version)


def is_writable(file: Path) -> bool:
    """Return whether SQLite can write to a file and make its log beside it."""
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)


def _immutable(file: Path, version: str) -> ReadableFile:
    return ReadableFile(file, {"mode": "ro", "immutable": "1", "version": version})


def _can_be_queried(file: ReadableFile) -> bool:
    try:
        with contextlib.closing(file.connect()) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return False
    return True


@functools.lru_cache(maxsize=8)
def _merged_copy(file: Path, version: str) -> Path:  # noqa: ARG001 - another version is copied anew
    """Copy a database and its log, which holds commits, and write the log into the copy."""
    folder = Path(tempfile.mkdtemp(prefix="ae-sweep-read-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = folder / file.name
    for source, target in ((file, copy), (_log_of(file), _log_of(copy))):
        shutil.copyfile(source, target)
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return copy


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def problems(file: ReadableFile, *, most: int = 3) -> list[str]:
    """Return what SQLite finds damaged in a file, in at most ``most`` lines; it reads all of it.

    Raises
    ------
    sqlite3.Error
        If it cannot be read at all.
    """
    with contextlib.closing(file.connect()) as connection:
        rows = connection.execute(f"PRAGMA integrity_check({int(most)})").fetchall()
    found = [str(row[0]) for row in rows]
    return [] if found == ["ok"] else found


def schema_version(file: ReadableFile) -> str | None:
    """Return the revision of a database's tables that Alembic keeps; None if there is none.

    Raises
    ------
    sqlite3.Error
        If it cannot be read.
    """
    with contextlib.closing(file.connect()) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])
