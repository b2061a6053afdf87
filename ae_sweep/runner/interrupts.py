"""Handling of SIGINT and SIGTERM: an interruption waits until bookkeeping is done."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Interrupts:
    """Turns SIGINT and SIGTERM into KeyboardInterrupt, later where a shield is held."""

    def __init__(self) -> None:
        self._shields = 0
        self._pending = False

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Handle both signals for as long as the context lasts.

        Python runs signal handlers in the main thread alone: in any other, this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._take) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                if handler is not None:  # else it was installed by other code than Python's
                    signal.signal(number, handler)

    @contextlib.contextmanager
    def shield(self) -> Iterator[None]:
        """Hold interruptions back until the context is left."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if self._pending and not self._shields:
            self._pending = False
            raise KeyboardInterrupt

    def _take(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._shields:
            raise KeyboardInterrupt
        self._pending = True
