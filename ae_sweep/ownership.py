"""The process that runs a sweep: a record of it, and a lock that ends when the process does.

The lock (``flock``) is the better witness where it works, as it does for processes on one machine,
in whatever containers; the record is the message's source and the witness elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import stat
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from ae_sweep.errors import ConflictError, StoreError
from ae_sweep.messages import visible
from ae_sweep.process_identity import ProcessIdentity, boot, runs, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORD = "owner.json"
TRIES = 10
SECONDS_BETWEEN_TRIES = 0.05
"""A command that only asks holds the lock for microseconds."""
MAX_RECORD_BYTES = 4096
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""A file system's errors if it has no locks."""


class State(Enum):
    """Whether an owner still runs."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """It ran on another machine, which cannot be asked."""


@dataclass(frozen=True)
class Found:
    """An owner's record."""

    owner: ProcessIdentity | None
    """None if the record cannot be read: its process was killed while it wrote it."""
    state: State

    def __str__(self) -> str:
        return "another process" if self.owner is None else str(self.owner)


def find(folder: Path) -> Found | None:
    """Return who runs a sweep, or ran it and did not end in order; None if nobody did.

    Nothing need be writable.

    Parameters
    ----------
    folder
        The state of the running sweep, `Store.running`.
    """
    try:
        descriptor = os.open(folder / RECORD, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # not of ours
            return None
        owner = _read(descriptor)
        return Found(owner, _state(owner, locked=_locked_by_another(descriptor, fcntl.LOCK_SH)))
    finally:
        os.close(descriptor)


class Holding:
    """The right of this process to run a sweep."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self._path = folder / RECORD
        self._descriptor = descriptor
        self._owner = this_process()

    def check(self) -> None:
        """Stop this process if it is to write nothing more.

        Raises
        ------
        ConflictError
            If another process has taken the sweep over.
        StoreError
            If the store was deleted, moved, or replaced by a copy: a database that is open would
            take what is written where nobody finds it, and the rest would go to the old place.
        """
        for _ in range(TRIES):
            if self._is_there():
                return
            # Another machine that takes the sweep over removes the record, and writes its own.
            time.sleep(SECONDS_BETWEEN_TRIES)
        folder = self._path.parent
        raise StoreError(
            f"the store {visible(folder.parent.parent)} was moved or deleted while the sweep "
            f"{folder.name} ran, and nothing more is written to it; move it back and complete the "
            "sweep with --resume, or begin it anew"
        )

    def _is_there(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            owner = _read(descriptor)
        finally:
            os.close(descriptor)
        if owner not in (None, self._owner):
            sweep = self._path.parent.name
            raise ConflictError(f"the sweep {sweep} was taken over by {owner}; this process ends")
        return _is_at(self._path, self._descriptor)


@contextlib.contextmanager
def hold(folder: Path, *, take_over_command: str, take_over: bool = False) -> Iterator[Holding]:
    """Run a sweep as the only process, for the length of a ``with`` block.

    Parameters
    ----------
    folder
        The state of the running sweep, `Store.running`: made where it is missing, and removed
        afterwards if nothing else is in it.
    take_over_command
        Takes the sweep over from another machine, for a message.
    take_over
        Whether to do so.

    Raises
    ------
    ConflictError
        If another process runs the sweep, or may run it on another machine.
    StoreError
        If the folder cannot be written.
    """
    path = folder / RECORD
    try:
        descriptor = _acquire(path, take_over_command=take_over_command, take_over=take_over)
    except OSError as error:
        raise StoreError(
            f"{visible(path)} cannot be written: {error.strerror}; make it writable, or name "
            "another --store"
        ) from error
    try:
        yield Holding(folder, descriptor)
    finally:
        # Removed before it is unlocked: who opens it now finds out that it is gone.
        with contextlib.suppress(OSError):
            if _is_at(path, descriptor):
                path.unlink()
        os.close(descriptor)
        remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Remove the folder of a sweep's state, and the one above, if nothing is in them."""
    with contextlib.suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()


def check_free(folder: Path, *, take_over_command: str, take_over: bool = False) -> Found | None:
    """Refuse a sweep that another process runs; write nothing.

    Returns
    -------
    Found
        The process that ran it and has not ended in order; None if there is none.

    Raises
    ------
    ConflictError
        If another process runs it, or may run it on another machine.
    """
    found = find(folder)
    if found is not None:
        _refuse(found, folder.name, take_over_command, take_over=take_over)
    return found


def _acquire(path: Path, *, take_over_command: str, take_over: bool) -> int:
    """Return the descriptor of the locked record, which holds this process."""
    found = None
    for _ in range(TRIES):
        taken = _take(path, take_over_command=take_over_command, take_over=take_over)
        if isinstance(taken, int):
            return taken
        found = taken or found
        time.sleep(SECONDS_BETWEEN_TRIES)
    if found is None:
        raise ConflictError(
            f"the sweep {path.parent.name} is being begun or ended by other processes; try again"
        )
    _refuse(found, path.parent.name, take_over_command, take_over=take_over)
    path.unlink()  # locked by a machine that is given up: its lock stays with its file
    return _acquire(path, take_over_command=take_over_command, take_over=False)


def _take(path: Path, *, take_over_command: str, take_over: bool) -> int | Found | None:
    """Try once: return the descriptor, or who has the lock, or None if nobody can be named."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        owner = _read(descriptor)
        locked = _locked_by_another(descriptor, fcntl.LOCK_EX)
        if not _is_at(path, descriptor):  # removed since it was opened
            os.close(descriptor)
            return None
        if locked:
            os.close(descriptor)
            return Found(owner, State.ALIVE)
        if os.fstat(descriptor).st_size:
            found = Found(owner, _state(owner, locked=locked))
            _refuse(found, path.parent.name, take_over_command, take_over=take_over)
            if found.state is State.UNKNOWN:  # if it runs after all, it shall see another file
                path.unlink()
                os.close(descriptor)
                return None
        _write(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse(found: Found, sweep: str, take_over_command: str, *, take_over: bool) -> None:
    elsewhere = found.owner is not None and not found.owner.is_local
    if found.state is State.DEAD or (take_over and elsewhere):
        return
    if elsewhere:
        raise ConflictError(
            f"the sweep {sweep} was begun by {found}, which this machine cannot see; if that has "
            f"ended, take the sweep over: `{take_over_command}`"
        )
    raise ConflictError(
        f"the sweep {sweep} is being run by {found}; wait until that has ended, or end it, or "
        "take another --name"
    )


def _state(owner: ProcessIdentity | None, *, locked: bool | None) -> State:
    """Judge by the lock if there are any (else None), and by the record."""
    if locked:
        return State.ALIVE
    if owner is None:
        return State.UNKNOWN if locked is None else State.DEAD
    if owner.boot == boot():
        return State.ALIVE if locked is None and runs(owner) else State.DEAD
    return State.DEAD if owner.is_local else State.UNKNOWN


def _locked_by_another(descriptor: int, kind: int) -> bool | None:
    """Lock a file if nobody else has; None on a file system without locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise
    return False


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file is still the one of that name."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _read(descriptor: int) -> ProcessIdentity | None:
    try:
        return ProcessIdentity.from_document(json.loads(os.pread(descriptor, MAX_RECORD_BYTES, 0)))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _write(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(dataclasses.asdict(this_process())).encode(), 0)
    os.fsync(descriptor)
