"""Handling of SIGINT, SIGTERM and SIGHUP: an interruption waits until bookkeeping is done.

In a training it waits for the end of the step, so that the training can save itself.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING

from ae_sweep import interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DOUBLED_SECONDS = 0.1
"""A signal that follows another so soon is the same interruption: a shell hangs up its commands as
the terminal does, a launcher passes Ctrl-C on, systemd sends SIGHUP with SIGTERM."""


class Interrupts:
    """Turns these signals into KeyboardInterrupt, later where a shield is held or a training runs.

    A second Ctrl-C ends it at once, whatever shield is held.

    Attributes
    ----------
    at_once
        Called for that; it raises KeyboardInterrupt, or ends the process.
    """

    def __init__(self) -> None:
        self.at_once: Callable[[], None] = _raise
        self._shields = 0
        self._pending = False
        self._overdue = False
        self._last_seconds: float | None = None

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Handle the signals for as long as the context lasts; those that are ignored stay so.

        ``nohup`` has SIGHUP ignored. Python runs signal handlers in the main thread alone: in any
        other, this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self._take)
            for number in SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        interruption.withdraw()
        try:
            yield
        finally:
            interruption.withdraw()
            for number, handler in before.items():
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

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._overdue:
            self._overdue = False
            if interruption.is_requested():
                interruption.withdraw()
                raise KeyboardInterrupt
            return
        now, before = time.monotonic(), self._last_seconds
        if before is not None and now - before < DOUBLED_SECONDS:
            return
        self._last_seconds = now
        if before is not None and number == signal.SIGINT:
            self._pending = False
            self.at_once()
        elif self._shields:
            self._pending = True
        elif interruption.is_awaited():
            self._ask_to_save(number)
        else:
            raise KeyboardInterrupt

    def _ask_to_save(self, number: int) -> None:
        """Have the training end at its next step; at the end of its time, wherever it is."""
        main_thread = threading.get_ident()

        def end() -> None:
            if interruption.is_requested():
                self._overdue = True
                signal.pthread_kill(main_thread, number)

        if not interruption.is_requested():
            interruption.request()
            timer = threading.Timer(interruption.SAVE_SECONDS, end)
            timer.daemon = True
            timer.start()


def _raise() -> None:
    raise KeyboardInterrupt
