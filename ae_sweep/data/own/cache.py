"""Cache of prepared images: one directory for each path and each way to convert its pictures.

A directory is made aside and renamed, so that it is complete or not there. A process that still
maps the arrays of a replaced directory keeps them until it ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ae_sweep.config import MEMORY_PREFIX
from ae_sweep.data.file_map import open_map
from ae_sweep.data.own.facts import ImageFacts
from ae_sweep.data.own.pixel_file import HASH_BYTES, not_writable
from ae_sweep.errors import DataError
from ae_sweep.files import make_private, read_regular, write_atomically
from ae_sweep.messages import visible

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np

    from ae_sweep.config import ImageOptions
    from ae_sweep.data.file_map import FileMap

VERSION = 1
"""Of the form of a prepared directory; another one is made anew."""
MANIFEST = "manifest.json"
FILES = "files.jsonl"
"""Each image's file, size, time and pixel hash, one line each in the order of the parts."""
MAKING = ".making-"
LOCK = "lock"
STALE_SECONDS = 60.0
"""Age from which a directory in the making is looked at: its lock is taken by then."""
ABANDONED_SECONDS = 24 * 3600.0
"""Age from which it counts as abandoned where there are no locks."""
MAX_MANIFEST_BYTES = 64 << 20
TRIES = 100
"""To replace a directory, and to open one, while other processes replace it too."""
WAIT_SECONDS = 0.02
"""Between two tries to open one."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A complete directory of prepared images."""

    directory: Path
    fingerprint: str | None
    """Hash of the sources' paths, sizes and times; None if they were in memory."""
    digest: str
    content_sha256: tuple[str, ...]
    """Of IDX files, by which a set of MNIST's layout is identified; else empty."""
    class_names: tuple[str, ...] | None
    facts: ImageFacts
    arrays: Mapping[str, np.ndarray[Any, Any]] = field(repr=False)
    """Read-only maps of the files, by name."""


def images_dir(cache_dir: Path) -> Path:
    """Return the directory of all prepared images."""
    return cache_dir / "images"


def place(path: Path, options: ImageOptions, cache_dir: Path) -> Path:
    """Return the directory for the images of a path, converted in this way."""
    wanted = dict(options.written)
    wanted.pop("strict", None)  # it changes no pixel
    return images_dir(cache_dir) / f"{_key(os.fsencode(path))}-{_key(json.dumps(wanted).encode())}"


def open_prepared(directory: Path) -> Prepared | None:
    """Open a prepared directory; None if there is none, or it is damaged."""
    path = directory / MANIFEST
    try:
        document = json.loads(read_regular(path, most_bytes=MAX_MANIFEST_BYTES))
        if document["version"] != VERSION:
            return None
        facts = ImageFacts.from_document(document["facts"])
        names = document["class_names"]
        shapes = _shapes(facts, labelled=names is not None)
        arrays = {name: _map(directory / name, document["arrays"][name]) for name in shapes}
        if any(arrays[name].shape != shape for name, shape in shapes.items()):
            return None
        return Prepared(
            directory=directory,
            fingerprint=document["fingerprint"],
            digest=str(document["digest"]),
            content_sha256=tuple(document["content_sha256"]),
            class_names=None if names is None else tuple(map(str, names)),
            facts=facts,
            arrays=arrays,
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def publish(
    scratch: Path, target: Path, *, manifest: dict[str, Any], arrays: Iterable[str]
) -> Prepared:
    """Complete a directory in the making, and give it its name.

    Raises
    ------
    DataError
        If the cache cannot be written.
    """
    try:
        for name in arrays:
            with (scratch / name).open("rb") as file:
                os.fsync(file.fileno())
        document = manifest | {
            "version": VERSION,
            "arrays": {name: _stamp((scratch / name).stat()) for name in arrays},
        }
        with (scratch / MANIFEST).open("x", encoding="ascii") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        _replace(scratch, target)
    except OSError as error:
        raise not_writable(target, error) from error
    # Another process that prepares the same images may be about to put its directory there.
    for _ in range(TRIES):
        prepared = open_prepared(target)
        if prepared is not None and prepared.digest == manifest["digest"]:
            return prepared
        time.sleep(WAIT_SECONDS)
    raise DataError(f"{visible(target)} was changed by another process; try again")


@contextlib.contextmanager
def making(cache_dir: Path) -> Iterator[Path]:
    """Create a directory for images in the making, which is removed unless it was published.

    What processes that were killed left behind is removed as well.
    """
    parent = images_dir(cache_dir)
    scratch = parent / f"{MAKING}{secrets.token_hex(8)}"
    try:
        make_private(scratch)
        lock = (scratch / LOCK).open("x")
    except OSError as error:
        raise not_writable(scratch, error) from error
    try:
        with lock:
            if sys.platform != "win32":
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_abandoned(parent, now=scratch.stat().st_mtime)
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def forget(path: Path, cache_dir: Path) -> int:
    """Remove all that is prepared of a path, and return how many directories that were.

    Raises
    ------
    DataError
        If the cache cannot be written.
    """
    parent = images_dir(cache_dir)
    found = list(parent.glob(f"{_key(os.fsencode(path))}-*"))
    if path.parent == parent and (path / MANIFEST).is_file():
        found.append(path)
    for directory in found:
        try:
            _remove(directory)
        except OSError as error:
            raise DataError(
                f"cannot remove {visible(directory)} ({error.strerror}); make it writable first"
            ) from error
    return len(found)


def recall(prepared: Prepared, name: str) -> dict[str, Any] | None:
    """Return what was computed of prepared images before, and kept with ``remember``."""
    try:
        path = prepared.directory / f"{name}.json"
        found = json.loads(read_regular(path, most_bytes=MAX_MANIFEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("digest") != prepared.digest:
        return None  # another process may have replaced the directory
    document = found.get("document")
    return document if isinstance(document, dict) else None


def remember(prepared: Prepared, name: str, document: dict[str, Any]) -> None:
    """Keep a JSON-able result with the images of which it was computed."""
    with contextlib.suppress(OSError):  # a cache that can only be read: it is computed again
        content = json.dumps({"digest": prepared.digest, "document": document})
        write_atomically(prepared.directory / f"{name}.json", content.encode())


def _replace(scratch: Path, target: Path) -> None:
    """Rename a directory, in place of an earlier one; another process may do the same."""
    (scratch / LOCK).unlink()
    for _ in range(TRIES):
        try:
            scratch.rename(target)
        except OSError:
            if not target.exists():
                raise
            _remove(target)
        else:
            return
    raise OSError(0, f"{visible(target)} is replaced by other processes all the time")


def _remove(directory: Path) -> None:
    """Remove a directory; others see it whole or not at all."""
    aside = directory.with_name(f"{MAKING}{secrets.token_hex(8)}")
    with contextlib.suppress(FileNotFoundError):
        directory.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _remove_abandoned(parent: Path, *, now: float) -> None:
    # Ages are measured by the file system's own clock, because machines may share it.
    for other in parent.glob(f"{MAKING}*"):
        with contextlib.suppress(OSError):  # another process may be faster
            age = now - other.stat().st_mtime
            locked = _is_locked(other / LOCK) if age > STALE_SECONDS else True
            if locked is False or (locked is None and age > ABANDONED_SECONDS):
                shutil.rmtree(other, ignore_errors=True)


def _is_locked(path: Path) -> bool | None:
    """Return whether a living process holds the lock; None if that cannot be known."""
    if sys.platform == "win32":
        return None
    if not path.exists():
        return False
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return None
    return False


def _shapes(facts: ImageFacts, *, labelled: bool) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array by the name of its file."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part, count in facts.counts.items():
        shapes[f"{part}.npy"] = (count, *facts.image_shape)
        shapes[f"{part}_hashes.npy"] = (count, HASH_BYTES)
        if labelled:
            shapes[f"{part}_labels.npy"] = (count,)
    return shapes


def _map(path: Path, stamp: list[int]) -> FileMap:
    mapped = open_map(path)
    if mapped.file is None or _stamp(os.fstat(mapped.file.fileno())) != stamp:
        raise ValueError(path)
    return mapped


def _stamp(found: os.stat_result) -> list[int]:
    return [found.st_size, found.st_mtime_ns]


def _key(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def place_in_memory(digest: str, class_names: tuple[str, ...], parent: Path) -> Path:
    """Return the directory for images that were in memory: the same for the same images."""
    return parent / f"{MEMORY_PREFIX}{digest}-{_key(json.dumps(class_names).encode())}"
