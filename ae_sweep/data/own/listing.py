"""Listing of a folder: its pictures, its other files; no file is opened.

Links are followed to files inside the folder only. What is neither file nor folder is refused, so
that no read can block.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ae_sweep.errors import DataError
from ae_sweep.messages import visible

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""Of the files that are read as pictures, in lower case."""
NOT_FOLDERS_OF_IMAGES = frozenset({"__MACOSX"})
"""What other programs leave behind; counted as a file that is not a picture."""
LINKED_FOLDER = "linked folder"


class ListedFile(NamedTuple):
    """A picture's file as it was found."""

    parts: tuple[str, ...]
    """Names of the folders below the listed one, and of the file."""
    path: str
    """Path to open; of a link, the path of its target."""
    size: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A folder's files, in the order of their names' bytes."""

    root: Path
    pictures: list[ListedFile] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    """How many files are not pictures, by ending."""
    folders: set[tuple[str, ...]] = field(default_factory=set)
    """All folders, those without pictures included."""


def list_folder(root: Path) -> Listing:
    """List a folder with all folders in it; hidden ones are skipped.

    Raises
    ------
    DataError
        If a folder cannot be read, a link leads out of it, or there is a pipe, socket or device.
    """
    listing = Listing(root=root)
    real_root = os.path.realpath(root)
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        folder = waiting.pop()
        inner: list[tuple[str, ...]] = []
        for entry in _entries(root, folder):
            if entry.name.startswith("."):
                continue
            parts = (*folder, entry.name)
            if entry.is_symlink():
                _add_link(listing, entry, parts, real_root)
            elif entry.is_dir(follow_symlinks=False):
                if entry.name in NOT_FOLDERS_OF_IMAGES:
                    listing.others[entry.name] += 1
                else:
                    listing.folders.add(parts)
                    inner.append(parts)
            else:
                _add_file(listing, entry, parts, entry.path)
        waiting.extend(reversed(inner))
    return listing


def _entries(root: Path, folder: tuple[str, ...]) -> list[os.DirEntry[str]]:
    path = root.joinpath(*folder)
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise DataError(
            f"{visible(path)} cannot be read ({error.strerror}); allow it, or move it elsewhere"
        ) from error


def _add_link(
    listing: Listing, entry: os.DirEntry[str], parts: tuple[str, ...], real_root: str
) -> None:
    target = os.path.realpath(entry.path)
    if os.path.commonpath((real_root, target)) != real_root:
        raise DataError(
            f"{visible(entry.path)} is a link that leads out of the folder, to {visible(target)}; "
            "replace it by the file, or remove it"
        )
    if Path(target).is_dir():
        # Followed, it could lead in a circle, and would repeat images that are found anyway.
        listing.others[LINKED_FOLDER] += 1
    elif Path(target).exists():
        _add_file(listing, entry, parts, target)
    else:
        raise DataError(
            f"{visible(entry.path)} is a link to {visible(target)}, which does not exist; remove it"
        )


def _add_file(listing: Listing, entry: os.DirEntry[str], parts: tuple[str, ...], path: str) -> None:
    if not entry.is_file():
        raise DataError(
            f"{visible(entry.path)} is a pipe, a socket or a device, and never opened; remove it "
            "from the folder"
        )
    ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a Path for each of millions
    if ending not in ENDINGS:
        listing.others[ending or "without ending"] += 1
        return
    found = entry.stat()
    listing.pictures.append(ListedFile(parts, path, found.st_size, found.st_mtime_ns))
