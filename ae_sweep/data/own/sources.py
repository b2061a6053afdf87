"""Forms of own images: what a path is, recognised without reading an image."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ae_sweep.data.own.idx_folder import IdxFolder, find_idx
from ae_sweep.data.own.listing import ENDINGS, Listing, list_folder
from ae_sweep.data.registry import names
from ae_sweep.errors import ConfigError, DataError
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from ae_sweep.data.own.facts import Form

ARRAY_ENDINGS: dict[str, Form] = {".npz": "npz", ".npy": "npy"}


def is_path(text: str) -> bool:
    """Return whether the value of ``--dataset`` is a path rather than a name."""
    if not text or text in names():  # Path("") would be the working directory
        return False
    separators = {os.sep, os.altsep or os.sep}
    if any(sign in text for sign in separators) or text.startswith("~"):
        return True
    if Path(text).suffix.lower() in ARRAY_ENDINGS:
        return True
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """A path whose form is known; no image has been read."""

    path: Path
    form: Form
    fingerprint: str
    """Hash of names, sizes and times of the files."""
    listing: Listing | None = None
    idx: IdxFolder | None = None


def find_source(path: Path) -> Found:
    """Recognise the form of a path.

    Raises
    ------
    ConfigError
        If it is nothing that can be read.
    DataError
        If it does not exist or cannot be read, or has links that lead out of it, or pipes.
    """
    kind = _kind(path)
    if stat.S_ISDIR(kind.st_mode):
        idx = find_idx(path)
        if idx is not None:
            stats = [(os.fsencode(file.path.name), file.path.stat()) for file in idx.files]
            found = [(name, each.st_size, each.st_mtime_ns) for name, each in stats]
            return Found(path=path, form="idx", fingerprint=_fingerprint(found), idx=idx)
        listing = list_folder(path)
        if not listing.pictures:
            raise ConfigError(_no_pictures(listing))
        files = [
            (b"/".join(map(os.fsencode, file.parts)), file.size, file.mtime_ns)
            for file in listing.pictures
        ]
        return Found(path=path, form="folder", fingerprint=_fingerprint(files), listing=listing)
    form = ARRAY_ENDINGS.get(path.suffix.lower())
    if form is None:
        what = "is one picture" if path.suffix.lower() in ENDINGS else "has no known file extension"
        raise ConfigError(
            f"{visible(path)} {what}; name a folder of pictures, or a file of arrays (.npz, .npy)"
        )
    return Found(
        path=path,
        form=form,
        fingerprint=_fingerprint([(b"", kind.st_size, kind.st_mtime_ns)]),
    )


def _kind(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{visible(path)} does not exist; name a folder of pictures, a file of arrays (.npz, "
            f".npy), or a data set: {', '.join(names())}"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{visible(path)} cannot be read ({reason})") from error


def _fingerprint(files: list[tuple[bytes, int, int]]) -> str:
    found = hashlib.sha256()
    for name, size, mtime_ns in files:
        found.update(b"%d %d %d " % (len(name), size, mtime_ns) + name)
    return found.hexdigest()


def _no_pictures(listing: Listing) -> str:
    has = ", ".join(f"{count:,} {ending}" for ending, count in listing.others.most_common(5))
    return (
        f"{visible(listing.root)} has no pictures (png, jpg, webp, bmp, gif, tif)"
        f"{f', only {has}' if has else ''}; name the folder that holds them, or a file of arrays "
        "(.npz, .npy) itself"
    )
