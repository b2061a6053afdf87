"""Output that nobody reads any more: a pipe whose reader has ended, a terminal that is gone."""

from __future__ import annotations

import errno
import os
import select
import sys

EXIT_CLOSED = 141
"""The exit code that a shell reports of a program that a closed pipe has ended: 128 + SIGPIPE."""


def is_closed(error: OSError) -> bool:
    """Return whether an error is that of writing to a pipe or terminal that nobody reads."""
    if isinstance(error, BrokenPipeError):
        return True
    return error.errno == errno.EIO and bool(_closed_descriptors())


def discard_closed() -> None:
    """Have what is still to be written to closed outputs go nowhere."""
    for descriptor in _closed_descriptors():
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _closed_descriptors() -> list[int]:
    found = []
    for stream in (sys.stdout, sys.stderr):
        try:
            descriptor = stream.fileno()
        except (AttributeError, OSError, ValueError):  # none, or not a file
            continue
        asked = select.poll()
        asked.register(descriptor, select.POLLOUT)
        if any(state & (select.POLLERR | select.POLLHUP) for _, state in asked.poll(0)):
            found.append(descriptor)
    return found
