"""Delivery of a sweep's entries: at once, or by way of a journal while the store fails."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from ae_sweep.errors import StoreError
from ae_sweep.isolation import HURRIED, unless_set
from ae_sweep.messages import counted, ignore, shorten, visible
from ae_sweep.tracking.entries import EndRun, FinishSweep, StartRun
from ae_sweep.tracking.errors import reason_of
from ae_sweep.tracking.publisher import RunGoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ae_sweep.tracking.entries import Entry, RunEntry
    from ae_sweep.tracking.journal import Journal
    from ae_sweep.tracking.publisher import Publisher

DELIVERY_SECONDS = 5.0
"""For one delivery: the next training, and a signal that arrives meanwhile, wait for it."""
AGAIN_SECONDS = 0.2
"""Before a failed entry is tried again: a server that closed an idle connection answers then."""
QUICK_SECONDS = 1.0
"""A failure after longer is not a hiccup."""
FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 60.0


class Outbox:
    """Delivers the entries of one sweep in order, each once.

    Parameters
    ----------
    publisher
        Applies them to MLflow.
    journal
        Keeps what cannot be delivered; without one, a failure is an error.
    knock
        Raises `StoreError` if the store is not there, after few seconds.
    announce
        Called with one line when entries begin to wait, and when all are delivered.
    seconds
        After which a delivery is given up; None waits for a slow disk.
    clock, sleep
        Seconds, and the wait for some.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        journal: Journal | None = None,
        knock: Callable[[], None] = lambda: None,
        announce: Callable[[str], None] = ignore,
        seconds: float | None = DELIVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.publisher = publisher
        self._journal = journal
        self._knock = knock
        self._announce = announce
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._running: dict[str, StartRun] = {}
        self._kept: set[str] = set()
        self._gone: set[str] = set()
        self._wait = FIRST_WAIT_SECONDS
        self._next_try = 0.0

    @property
    def journal(self) -> Journal | None:
        """What keeps entries that wait."""
        return self._journal

    @property
    def waiting(self) -> int:
        """How many entries wait."""
        return 0 if self._journal is None else self._journal.waiting

    def put(self, *entries: RunEntry) -> None:
        """Deliver entries, or keep them until they can be delivered.

        Raises
        ------
        StoreError
            If they can be neither delivered nor kept.
        """
        for entry in entries:
            if isinstance(entry, StartRun):
                self._running[entry.run] = entry
        if self._journal is None:
            for entry in entries:
                self.publisher.apply(entry)
        elif self._journal.waiting:
            self._keep(entries)
            self._try_to_flush()
        else:
            self._deliver_or_keep(entries)
        for entry in entries:
            if isinstance(entry, EndRun):
                self._running.pop(entry.run, None)

    def keep_finish(self, finish: FinishSweep) -> None:
        """Keep the end of the sweep behind what waits already."""
        if self._journal is None:
            raise RuntimeError("there is no journal")
        self._journal.add([finish])

    def flush(self) -> None:
        """Deliver all that waits, however long that takes, but for the end of the sweep.

        Raises
        ------
        StoreError
            If it fails. What is not delivered waits on.
        """
        if self._due():
            self._knock()
        while self._due():
            self._deliver_first()

    def _due(self) -> bool:
        return bool(self.waiting) and not isinstance(self._first(), FinishSweep)

    def _first(self) -> Entry:
        assert self._journal is not None, "nothing waits without one"  # noqa: S101
        return self._journal.first

    def _deliver_or_keep(self, entries: Sequence[RunEntry]) -> None:
        with unless_set(HURRIED), self.publisher.within(self._seconds):
            for number, entry in enumerate(entries):
                try:
                    self._apply_twice(entry)
                except StoreError as error:
                    self._begin_to_keep(entries[number:], error)
                    return

    def _begin_to_keep(self, entries: Sequence[RunEntry], error: StoreError) -> None:
        self._keep(entries)
        self._put_off()
        self._announce(
            f"the tracking store {shorten(self.publisher.place, 200)} failed: "
            f"{reason_of(error)}; trials go on, and are kept in "
            f"{visible(self._folder)} until it is back"
        )

    def _apply_twice(self, entry: RunEntry) -> None:
        begin = self._clock()
        try:
            self._apply(entry)
        except StoreError:
            if self._clock() - begin > QUICK_SECONDS:
                raise
            self._sleep(AGAIN_SECONDS)
            self._apply(entry, again=True)

    def _apply(self, entry: RunEntry, *, again: bool = False) -> None:
        """Apply an entry; what is logged of a run that the user has deleted is dropped."""
        if entry.run in self._gone:
            return
        try:
            self.publisher.apply(entry, again=again)
        except RunGoneError:
            self._gone.add(entry.run)
            self._announce(
                "the run of a trial was deleted in MLflow while it was trained; what it measured "
                "is not stored, and --resume trains it again"
            )

    def _keep(self, entries: Sequence[RunEntry]) -> None:
        assert self._journal is not None  # noqa: S101 - the callers have looked
        for entry in entries:
            start = self._running.get(entry.run)
            if start is not None and entry is not start and entry.run not in self._kept:
                # A run's start comes first in the journal, which is then complete in itself.
                run_id = self.publisher.run_id(entry.run)
                self._journal.add([dataclasses.replace(start, run_id=run_id)])
            self._kept.add(entry.run)
            self._journal.add([entry])

    def _try_to_flush(self) -> None:
        if self._clock() < self._next_try:
            return
        begin = self._clock()
        number = self.waiting
        try:
            self._knock()
            with unless_set(HURRIED), self.publisher.within(self._seconds):
                while self._due() and self._clock() - begin < DELIVERY_SECONDS:
                    self._deliver_first()
        except StoreError:
            self._put_off()
            return
        self._wait = FIRST_WAIT_SECONDS
        if not self.waiting:
            self._announce(
                f"the tracking store is back: {counted(number, 'kept entry', 'kept entries')} "
                "published"
            )

    def _deliver_first(self) -> None:
        assert self._journal is not None  # noqa: S101 - something waits
        entry = self._journal.first
        assert not isinstance(entry, FinishSweep), "its trials come first"  # noqa: S101
        self._apply(entry, again=True)
        self._journal.done()
        if not self._journal.waiting:
            self._kept.clear()

    def _put_off(self) -> None:
        self._next_try = self._clock() + self._wait
        self._wait = min(2 * self._wait, LONGEST_WAIT_SECONDS)

    @property
    def _folder(self) -> Path | None:
        return None if self._journal is None else self._journal.folder
