"""Verification of a file by size, SHA-256 and IDX header, in one read."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ae_sweep.data import idx
from ae_sweep.errors import DataError
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.data.idx import Bytes
    from ae_sweep.data.image_set import ImageSet, Resource

GZ_OVERHEAD = 1 << 16
"""Gzip never makes a file longer by more than this: 18 bytes, a name, 5 per 32 KiB."""


@dataclass(frozen=True, kw_only=True)
class VerifiedFile:
    """A verified file; the bytes held here are those that were verified."""

    path: Path
    resource: Resource
    array: Bytes = field(repr=False)
    """The content, read-only, in the resource's shape."""
    pinned: bytes = field(repr=False)
    """The file's bytes in the hashed form."""
    content_sha256: str
    """Hash of the uncompressed content."""


class MissingFileError(DataError):
    """A file is missing; a plain ``DataError`` means that it exists and is wrong."""


def read_all(image_set: ImageSet, directory: Path) -> tuple[tuple[VerifiedFile, ...], list[str]]:
    """Read and verify the four files of a directory.

    Returns
    -------
    tuple
        The files, in the order of ``image_set.resources``, and what was wrong with others that they
        replaced (a damaged file beside its intact ``.gz``).

    Raises
    ------
    MissingFileError
        If files are missing; the message is a predicate of the directory.
    DataError
        If a file is damaged or not the one expected; the message names it.
    """
    _check_presence(image_set, directory)
    damaged: list[str] = []
    files = tuple(_read_first(resource, directory, damaged) for resource in image_set.resources)
    return files, damaged


def read(resource: Resource, path: Path) -> VerifiedFile:
    """Read one file once, and verify the bytes that were read.

    Raises
    ------
    DataError
        If it is unreadable, damaged, or not the file expected; the message names it.
    """
    try:
        return _read(resource, path)
    except DataError as error:
        raise DataError(f"{visible(path)} {error}") from error
    except OSError as error:
        raise DataError(f"{visible(path)} cannot be read ({error.strerror})") from error


def _read(resource: Resource, path: Path) -> VerifiedFile:
    compressed = path.name.endswith(".gz")
    stored = idx.read_at_most(path, resource.size + GZ_OVERHEAD if compressed else resource.size)
    if resource.form == "gz":
        _check_hash(stored, resource.sha256)
    raw = idx.gunzip(stored, resource.size) if compressed else stored
    # Length before hash: "holds 1,000 bytes" says more than "has another hash".
    array = idx.parse(raw, resource.shape)
    content_sha256 = hashlib.sha256(raw).hexdigest()
    if resource.form == "raw" and content_sha256 != resource.sha256:
        raise DataError(f"holds content of SHA-256 {content_sha256}, expected {resource.sha256}")
    return VerifiedFile(
        path=path,
        resource=resource,
        array=array,
        pinned=raw if resource.form == "raw" else stored,
        content_sha256=content_sha256,
    )


def _check_hash(content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(
            f"has {len(content):,} bytes of SHA-256 {found}, expected the SHA-256 {expected}"
        )


def _read_first(resource: Resource, directory: Path, damaged: list[str]) -> VerifiedFile:
    problems: list[DataError] = []
    for path in _candidates(resource, directory):
        try:
            file = read(resource, path)
        except DataError as error:
            problems.append(error)
        else:
            damaged.extend(map(str, problems))
            return file
    # Another process may have removed it between the check and the reading.
    raise problems[0] if problems else MissingFileError(f"has lost {resource.pinned_name}")


def _check_presence(image_set: ImageSet, directory: Path) -> None:
    missing = [
        resource.pinned_name
        for resource in image_set.resources
        if not _candidates(resource, directory)
    ]
    if len(missing) == len(image_set.resources):
        raise MissingFileError(f"holds none of the files ({missing[0]}, ...)")
    if missing:
        raise MissingFileError(f"lacks {', '.join(missing)}")


def _candidates(resource: Resource, directory: Path) -> list[Path]:
    paths = (directory / name for name in resource.accepted_names)
    return [path for path in paths if stat.S_ISREG(mode(path) or 0)]


def mode(path: Path) -> int | None:
    """Return the type and permission bits of a path; None if it does not exist.

    Raises
    ------
    DataError
        If there is no permission, or it is not a path.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{visible(path)} cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL character
        raise DataError(f"{visible(path)} is not a path ({error})") from error
