"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)
"""What file systems answer that cannot synchronise a directory."""


def write_atomically(path: Path, content: bytes, *, scratch: Path | None = None) -> None:
    """Write a file so that it is never seen in part, in place of an earlier one.

    A process that is killed, or a power cut, leaves the old file, none, or the new one. Processes
    that write the same content at once do each other no harm.

    Parameters
    ----------
    scratch
        An existing directory on the file system of ``path`` for the unfinished file; the
        directory of ``path`` if left out.

    Raises
    ------
    OSError
        If it cannot be written. The unfinished file is removed. The old file is there, or, if
        only its durability is in doubt, the new one.
    """
    folder = path.parent if scratch is None else scratch
    unfinished = folder / f".{path.name}.{secrets.token_hex(8)}"
    try:
        # With the permissions of any new file: others may share a cache.
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def publish(finished: Path, path: Path) -> bool:
    """Give a finished file its name, unless there is a file of that name already.

    Parameters
    ----------
    finished
        On the file system of ``path``; may be gone afterwards.

    Returns
    -------
    bool
        Whether it got the name.

    Raises
    ------
    OSError
        If it cannot be moved.
    """
    try:
        os.link(finished, path)  # unlike a rename, it never replaces another process's file
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        finished.rename(path)
    _sync(path.parent)
    return True


def _sync(directory: Path) -> None:
    # A name is durable once its directory is; not every system can open or synchronise one.
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(descriptor)
