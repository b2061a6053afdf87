"""Time stamps of what is logged, which never go back."""

from __future__ import annotations

import time


class SteadyClock:
    """The system's time, but for its being set back meanwhile.

    Then it goes on from its last time: no run ends before it began, and runs stay in the order in
    which they were started.
    """

    def __init__(self) -> None:
        self._last_ms = 0
        self._set_back_ms = 0

    def now_ms(self) -> int:
        """Return the time in milliseconds since the epoch."""
        now_ms = system_ms() + self._set_back_ms
        if now_ms < self._last_ms:
            self._set_back_ms += self._last_ms - now_ms
            now_ms = self._last_ms
        self._last_ms = now_ms
        return now_ms


def system_ms() -> int:
    """Return the system's time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
