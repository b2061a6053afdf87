"""Handling of SIGINT, SIGTERM and SIGHUP: an interruption waits until bookkeeping is done.

In a training it waits for the end of the step, so that the training can save itself.
"""

from __future__ import annotations

import contextlib
import os
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
HANDLER_SECONDS = 1.0
"""For a second Ctrl-C to reach the main thread, which may be waiting in a library."""


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
        self._own_signal = False
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
    def watched(self) -> Iterator[None]:
        """Have a second Ctrl-C reach `at_once` even if the main thread does not come to handle it.

        Python handles signals between two instructions of the main thread; a library may wait there
        for many seconds, as SQLite does for another program's lock. After `HANDLER_SECONDS`
        `at_once` is called in another thread, where it can only end the process. For a process of
        our own: others may have set its wake-up file themselves.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, args=(reading,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(writing)
            watcher.join()
            os.close(reading)

    def _watch(self, reading: int) -> None:
        """Read the numbers of the signals as they come."""
        last_seconds: float | None = None
        while numbers := os.read(reading, 1):
            now = time.monotonic()
            if numbers[0] not in SIGNALS or (
                last_seconds is not None and now - last_seconds < DOUBLED_SECONDS
            ):
                continue
            if self._own_signal:
                self._own_signal = False
                continue
            if last_seconds is not None and numbers[0] == signal.SIGINT:
                time.sleep(HANDLER_SECONDS)
                self.at_once()
            last_seconds = now

    @contextlib.contextmanager
    def shield(self) -> Iterator[None]:
        """Hold interruptions back until the context is left; one then replaces an error.

        What fails while a signal waits may well be what the signal is to end, such as the wait for
        a server that hangs.
        """
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
                self._overdue = self._own_signal = True
                signal.pthread_kill(main_thread, number)

        if not interruption.is_requested():
            interruption.request()
            timer = threading.Timer(interruption.SAVE_SECONDS, end)
            timer.daemon = True
            timer.start()


def _raise() -> None:
    raise KeyboardInterrupt
