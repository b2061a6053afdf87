"""Reading of an export, which may come from anybody: verified before anything is done with it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ae_sweep.errors import DataError, StoreError
from ae_sweep.messages import shorten, visible
from ae_sweep.runner.export_files import (
    FORMAT,
    MANIFEST,
    MAX_DOCUMENT_BYTES,
    MAX_FILE_BYTES,
    VERSION,
    FileEntry,
    pieces_of,
)
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_MANIFEST_BYTES = 2**26
"""Of 300,000 files."""


@dataclass(frozen=True, kw_only=True)
class ExportReader:
    """An export whose files are those of its manifest."""

    directory: Path
    sweep: str
    """The sweep's name where it was exported."""
    entries: Mapping[str, FileEntry] = field(repr=False)

    def content(self, name: str) -> bytes:
        """Return the content of a file of the manifest.

        Raises
        ------
        DataError
            If it has changed since it was verified, or there is none.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise DataError(f"{visible(self.directory)} has no {name}; export the sweep again")
        pieces, size = [], 0
        for piece in _pieces_of_export(self.directory, name):
            pieces.append(piece)
            size += len(piece)
            if size > entry.size:  # it grows while it is read
                break
        content = b"".join(pieces)
        if len(content) != entry.size or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise _changed(self.directory / name)
        return content

    def document(self, name: str) -> Any:
        """Return a file's JSON.

        Raises
        ------
        DataError
            If it is none, or too large.
        """
        entry = self.entries.get(name)
        if entry is not None and entry.size > MAX_DOCUMENT_BYTES:
            raise DataError(
                f"{visible(self.directory / name)} has {entry.size:,} bytes, more than the "
                f"{MAX_DOCUMENT_BYTES:,} of any export; export the sweep again"
            )
        return _json(self.content(name), self.directory / name)

    def below(self, folder: str) -> dict[str, str]:
        """Return the files below a folder: their names there → in the export."""
        prefix = f"{folder}/"
        return {name.removeprefix(prefix): name for name in self.entries if name.startswith(prefix)}


def verified(directory: Path) -> ExportReader:
    """Open an export: every file is in the manifest, with its size and its SHA-256, and no other.

    Raises
    ------
    DataError
        If it is not an export, or of another version, or was changed.
    """
    manifest = _manifest(directory)
    entries = _entries(manifest.get("files"), directory)
    there = _files_of(directory)
    if missing := sorted(entries.keys() - there):
        raise DataError(
            f"{visible(directory / missing[0])} is missing; copy the export again, or export the "
            "sweep again"
        )
    if extra := sorted(there - entries.keys() - {MANIFEST}):
        raise DataError(
            f"{visible(directory / extra[0])} is not in {MANIFEST}; move it away, or export the "
            "sweep again"
        )
    for name, entry in entries.items():
        digest, size = hashlib.sha256(), 0
        for piece in _pieces_of_export(directory, name):
            digest.update(piece)
            size += len(piece)
            if size > entry.size:
                break
        if (size, digest.hexdigest()) != (entry.size, entry.sha256):
            raise _changed(directory / name)
    return ExportReader(directory=directory, sweep=str(manifest.get("sweep")), entries=entries)


def _manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    if not directory.is_dir() or not path.is_file():
        raise DataError(
            f"{visible(directory)} is not an export of a sweep: it has no {MANIFEST}; name a "
            "directory that `ae-sweep export` wrote"
        )
    pieces, size = [], 0
    for piece in _pieces_of_export(directory, MANIFEST):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_MANIFEST_BYTES:
            raise DataError(
                f"{visible(path)} has more than the {MAX_MANIFEST_BYTES:,} bytes of any export; "
                "export the sweep again"
            )
    found = _json(b"".join(pieces), path)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(
            f"{visible(path)} is not the manifest of an export; name a directory that "
            "`ae-sweep export` wrote"
        )
    if found.get("version") != VERSION:
        raise DataError(
            f"{visible(directory)} is an export of version {shorten(str(found.get('version')))}, "
            f"and ae-sweep {__version__} reads version {VERSION}; upgrade ae-sweep: "
            "`pip install --upgrade ae-sweep`"
        )
    return found


def _entries(files: Any, directory: Path) -> dict[str, FileEntry]:
    try:
        entries = {
            _checked_name(name): FileEntry(size=int(entry["size"]), sha256=str(entry["sha256"]))
            for name, entry in files.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{visible(directory / MANIFEST)} lists a file in no form of an export: "
            f"{visible(error)}; export the sweep again"
        ) from error
    for name, entry in entries.items():
        if entry.size > MAX_FILE_BYTES:
            raise DataError(
                f"{visible(directory / name)} has {entry.size:,} bytes, more than the "
                f"{MAX_FILE_BYTES:,} of any file that ae-sweep writes; export the sweep again"
            )
    return entries


def _checked_name(name: str) -> str:
    """Refuse a name that leads out of the export, or means another file on another system."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in name or not name.isprintable():
        raise ValueError(f"{shorten(name)} is not the name of a file below it")
    if ":" in parts[0] or name == MANIFEST:
        raise ValueError(f"{shorten(name)} is not the name of a file below it")
    return name


def _files_of(directory: Path) -> set[str]:
    """Return the names of all files, none of which is a link."""
    found = set()
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise DataError(
                    f"{visible(path)} is a link or not a regular file, which no export has; export "
                    "the sweep again"
                )
            if stat.S_ISREG(mode):
                found.add(path.relative_to(directory).as_posix())
    return found


def _pieces_of_export(directory: Path, name: str) -> Iterator[bytes]:
    path = directory / name
    try:
        yield from pieces_of(path)
    except (OSError, StoreError) as error:
        reason = getattr(error, "strerror", None) or "it is not a regular file"
        raise DataError(
            f"{visible(path)} cannot be read: {reason}; check that you may read it, or export the "
            "sweep again"
        ) from error


def _json(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{visible(path)} is not JSON: {visible(error)}; export the sweep again"
        ) from error


def _changed(path: Path) -> DataError:
    return DataError(
        f"{visible(path)} is not the file that was exported: its size or its SHA-256 is another; "
        "copy the export again, or export the sweep again"
    )
