"""Interruption of a training, which waits until the training is between two steps.

Signals belong to the process, and so does the request that one of them makes.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SAVE_SECONDS = 10.0
"""For running trainings to end their step and save themselves; after that they are ended as they
are."""


class Interrupted(KeyboardInterrupt):
    """The process is asked to end, and the training that it carries out is between two steps."""


@dataclass
class _Request:
    awaited: bool = False
    made: bool = False


_request = _Request()


@contextlib.contextmanager
def awaited() -> Iterator[None]:
    """Have a request wait for the next `check`, for the length of a ``with`` block.

    Signals reach the main thread: in any other, this does nothing.

    Raises
    ------
    Interrupted
        At the end of the block, if a request came after the last `check`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _request.awaited = True
    try:
        yield
    finally:
        _request.awaited = False
    check()


def is_awaited() -> bool:
    """Return whether a training will check for a request."""
    return _request.awaited


def request() -> None:
    """Ask the training to end; for a signal handler."""
    _request.made = True


def is_requested() -> bool:
    """Return whether a request waits for a `check`."""
    return _request.made


def withdraw() -> None:
    """Forget a request."""
    _request.made = False


def check() -> None:
    """End the training here if that is requested; called where it can be saved.

    Raises
    ------
    Interrupted
        If it is.
    """
    if _request.made and threading.current_thread() is threading.main_thread():
        _request.made = False
        raise Interrupted
