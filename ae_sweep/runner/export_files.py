"""Writing of an export: a directory that appears whole, with a manifest of its files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.errors import ConflictError, StoreError
from ae_sweep.files import PRIVATE_DIRECTORY, PRIVATE_FILE, sync_directory
from ae_sweep.messages import shorten, visible
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST = "manifest.json"
FORMAT = "ae-sweep export"
VERSION = 1
MAX_DOCUMENT_BYTES = 2**28
"""Of a file of JSON, which takes ten times that in memory: 40,000 trials."""
MAX_FILE_BYTES = 2**30
"""Of any file; a run's have no more."""
PIECE_BYTES = 2**20
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
BINARY = getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A file of an export, as the manifest has it."""

    size: int
    """In bytes."""
    sha256: str


def check_target(directory: Path, *, force: bool) -> None:
    """Refuse a directory that could not be made, or holds something.

    Parameters
    ----------
    force
        Whether an earlier export is to be replaced.

    Raises
    ------
    ConflictError
        If it is an export, and no ``force``, or holds anything else.
    StoreError
        If it is a file, or in no directory, or cannot be read.
    """
    shown = shorten(str(directory), 200)
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise StoreError(f"{shown} cannot be written: it is a file; name another directory")
    if not directory.parent.is_dir():
        raise StoreError(f"{shown} cannot be written: it is in no directory; name another one")
    try:
        is_used = directory.is_dir() and any(directory.iterdir())
    except OSError as error:
        raise StoreError(
            f"{shown} cannot be read: {error.strerror}; name another directory"
        ) from error
    if not is_used:
        return
    if not (directory / MANIFEST).is_file():
        raise ConflictError(
            f"{shown} has files in it, and is not an export; name another directory"
        )
    if not force:
        raise ConflictError(
            f"{shown} is an export already; name another directory, or give --force to replace it"
        )


class ExportWriter:
    """Writes the files of an export into a directory that is unfinished.

    Parameters
    ----------
    directory
        To be written into.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.entries: dict[str, FileEntry] = {}

    def write(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        with self._new(name) as descriptor:
            _write(descriptor, content)
        digest = hashlib.sha256(content).hexdigest()
        self.entries[name] = FileEntry(size=len(content), sha256=digest)

    def write_json(self, name: str, document: object) -> None:
        """Write a document.

        Raises
        ------
        StoreError
            If it is larger than what can be imported.
        OSError
            If it cannot be written.
        """
        content = json.dumps(document, indent=1, allow_nan=False).encode()
        if len(content) > MAX_DOCUMENT_BYTES:
            raise StoreError(
                f"{name} would take {len(content):,} bytes, and an import reads at most "
                f"{MAX_DOCUMENT_BYTES:,}; copy the whole store instead"
            )
        self.write(name, content)

    def copy(self, name: str, source: Path) -> None:
        """Copy a file.

        Raises
        ------
        StoreError
            If it is not a regular file, or larger than any that ae-sweep writes.
        OSError
            If it cannot be read or written.
        """
        digest, size = hashlib.sha256(), 0
        with self._new(name) as descriptor:
            for piece in pieces_of(source):
                digest.update(piece)
                size += len(piece)
                if size > MAX_FILE_BYTES:
                    raise StoreError(
                        f"{visible(source)} has more than {MAX_FILE_BYTES:,} bytes, more than any "
                        "file that ae-sweep writes; delete it there"
                    )
                _write(descriptor, piece)
        self.entries[name] = FileEntry(size=size, sha256=digest.hexdigest())

    def finish(self, **facts: object) -> None:
        """Write the manifest, which makes an export of the files.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        entries = dict(self.entries)
        document = {
            "format": FORMAT,
            "version": VERSION,
            "ae_sweep_version": __version__,
            **facts,
            "files": {name: vars(entry) for name, entry in sorted(entries.items())},
        }
        self.write(MANIFEST, json.dumps(document, indent=1).encode())
        for folder in {self.directory / name for name in entries}:
            sync_directory(folder.parent)
        sync_directory(self.directory)

    @contextlib.contextmanager
    def _new(self, name: str) -> Iterator[int]:
        path = self.directory / name
        path.parent.mkdir(PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | BINARY, PRIVATE_FILE)
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def new_directory(directory: Path, *, force: bool = False) -> Iterator[ExportWriter]:
    """Make a directory that appears whole at the end of a ``with`` block, or not at all.

    Parameters
    ----------
    force
        Whether an earlier export there is replaced.

    Raises
    ------
    ConflictError, StoreError
        If it is not free, or cannot be written.
    """
    check_target(directory, force=force)
    unfinished = directory.parent / f".{directory.name}.{secrets.token_hex(8)}"
    try:
        unfinished.mkdir(PRIVATE_DIRECTORY)
        yield ExportWriter(unfinished)
        check_target(directory, force=force)  # hours may have passed
        _replace(unfinished, directory)
    except OSError as error:
        raise StoreError(
            f"{shorten(str(directory), 200)} cannot be written: {error.strerror or error}; free "
            "some space there, or name another directory"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _replace(finished: Path, directory: Path) -> None:
    if not directory.is_dir():
        finished.rename(directory)
    elif not any(directory.iterdir()):
        directory.rmdir()
        finished.rename(directory)
    else:
        old = finished.with_name(f"{finished.name}.old")
        directory.rename(old)
        try:
            finished.rename(directory)
        except BaseException:
            old.rename(directory)
            raise
        shutil.rmtree(old, ignore_errors=True)
    sync_directory(directory.parent)


def pieces_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a regular file, piece by piece; a link is not followed.

    Raises
    ------
    StoreError
        If it is not a regular file.
    OSError
        If it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | NO_FOLLOW | BINARY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StoreError(
                f"{visible(path)} is not a regular file; delete it, or put the file there"
            )
        while piece := os.read(descriptor, PIECE_BYTES):
            yield piece
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
