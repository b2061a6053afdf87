"""Files that appear complete or not at all, and are the user's own; reading of those of others.

What ae-sweep keeps (stores, caches) is readable by this user alone: directories that it makes have
mode 0700, files 0600, less what the umask takes. A directory that is there already keeps its mode:
whoever shares a store or a cache opens it with ``chmod``. Data sets, which are public, and files
that a user names, such as ``--out``, have the modes of any new file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)
"""What file systems answer that cannot synchronise a directory."""


_BINARY = getattr(os, "O_BINARY", 0)
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
PUBLIC_FILE = 0o666
"""The mode of any new file, before the umask."""


def make_private(directory: Path) -> None:
    """Make a directory, and those that it is in; what is there already stays as it is.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    if directory.is_dir():
        return
    if directory.parent != directory:
        make_private(directory.parent)
    directory.mkdir(PRIVATE_DIRECTORY, exist_ok=True)


def create_private(path: Path) -> None:
    """Make an empty file, unless there is one.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, PRIVATE_FILE))


def write_atomically(
    path: Path, content: bytes, *, scratch: Path | None = None, mode: int = PRIVATE_FILE
) -> None:
    """Write a file so that it is never seen in part, in place of an earlier one.

    A process that is killed, or a power cut, leaves the old file, none, or the new one. Processes
    that write the same content at once do each other no harm.

    Parameters
    ----------
    scratch
        An existing directory on the file system of ``path`` for the unfinished file; the
        directory of ``path`` if left out.
    mode
        Permissions, of which the umask takes some away.

    Raises
    ------
    OSError
        If it cannot be written. The unfinished file is removed. The old file is there, or, if
        only its durability is in doubt, the new one.
    """
    folder = path.parent if scratch is None else scratch
    unfinished = folder / f".{path.name}.{secrets.token_hex(8)}"
    try:
        descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _BINARY, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


@contextlib.contextmanager
def scratch_directory(parent: Path, *, prefix: str) -> Iterator[Path]:
    """Provide a directory in which one process at a time makes a file of ``parent``.

    Removes what a process has left there that was killed: whoever has the lock of ``parent`` knows
    that nobody else is at work. A file system without locks keeps it.

    Parameters
    ----------
    prefix
        Of the directory's name, by which those that were left are known.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    with _locked(parent) as alone:
        if alone:
            for left in parent.glob(f"{prefix}*"):
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            dir=parent, prefix=prefix, ignore_cleanup_errors=True
        ) as scratch:
            yield Path(scratch)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[bool]:
    """Wait until no other process has a directory locked; return whether it can be locked."""
    try:
        import fcntl  # noqa: PLC0415 - Windows has none
    except ImportError:
        yield False
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without waiting for anything else that has its name.

    Raises
    ------
    OSError
        If it cannot be opened, or is not a regular file.
    ValueError
        If no file can have that name.
    """
    # Opening a device can have effects of its own, so the type is asked for before and after.
    _check_regular(path.stat())
    descriptor = os.open(path, os.O_RDONLY | _BINARY | _AT_ONCE)
    try:
        _check_regular(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def check_own(directory: Path) -> None:
    """Check that nobody but this user can have put files in a directory, on POSIX.

    Raises
    ------
    OSError
        If it is a link, another's or writable for others.
    """
    _check_own(directory.lstat())


def open_own(path: Path) -> BinaryIO:
    """Open a regular file that nobody but this user can have put there or changed, on POSIX.

    Neither it nor its directory may be a link, be another's, or be writable for others.

    Raises
    ------
    OSError
        If it is not so, or cannot be opened.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _check_own(os.fstat(directory))
        _check_regular(os.stat(path.name, dir_fd=directory, follow_symlinks=False))
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | _AT_ONCE, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        found = os.fstat(descriptor)
        _check_regular(found)
        _check_own(found)
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, *, most_bytes: int | None = None) -> bytes:
    """Return the content of a regular file.

    Raises
    ------
    OSError
        If it cannot be read, is not a regular file, or has more than ``most_bytes``.
    """
    with open_regular(path) as file:
        if most_bytes is None:
            return file.read()
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes:,} bytes")
    return content


def _check_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")


def _check_own(found: os.stat_result) -> None:
    is_others = found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if is_others or stat.S_ISLNK(found.st_mode):
        raise OSError(errno.EPERM, "others can write there")


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
    sync_directory(path.parent)
    return True


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable, where the system can open and synchronise one.

    Raises
    ------
    OSError
        If the disk fails.
    """
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
