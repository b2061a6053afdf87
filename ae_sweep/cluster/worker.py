"""The worker that trains in seats on the nodes of a cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ae_sweep.cluster.remote import RemoteSeat, late_of, no_room, ready_of
from ae_sweep.errors import ClusterError
from ae_sweep.sweep import seats
from ae_sweep.sweep.seats import Seat, SeatWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ae_sweep.cluster.connection import Connection
    from ae_sweep.config import TrialConfig

COUNT_SECONDS = 5.0
"""Between two counts of how many seats the cluster holds."""


class ClusterWorker(SeatWorker[RemoteSeat]):
    """Trains in seats on the nodes of a cluster, one job in each.

    A job whose seat waits for room is handed to the first seat that is free meanwhile.

    Parameters
    ----------
    start
        Starts a seat that is set up for training.
    started
        Seats that are there already.
    count
        Returns how many jobs there are to be at a time; it may change, as nodes come and go.
    patience_seconds
        Returns how long a job may be silent before its seat is taken to hang and is ended; waiting
        for room does not count. None waits for ever.
    announce
        Called with a line where a seat finds no room.
    """

    def __init__(
        self,
        cluster: Connection,
        *,
        start: Callable[[], RemoteSeat],
        started: Sequence[RemoteSeat] = (),
        count: Callable[[], int],
        patience_seconds: Callable[[TrialConfig], float] | None = None,
        announce: Callable[[str], None],
    ) -> None:
        super().__init__(
            [Seat(start, name="its seat", process=seat) for seat in started],
            patience_seconds=patience_seconds,
        )
        self._cluster = cluster
        self._start = start
        self._count = count
        self._announce = announce
        self._reported: set[int] = set()
        self._slots = count()
        self._counted_at = time.monotonic()

    @property
    def slots(self) -> int:
        """How many jobs it takes at a time, as the cluster is now."""
        if time.monotonic() - self._counted_at > COUNT_SECONDS:
            self._slots, self._counted_at = self._count(), time.monotonic()
        return self._slots

    def close(self) -> None:
        """End all seats, and part from the cluster."""
        super().close()
        self._cluster.close()

    def _free_seat(self) -> Seat[RemoteSeat]:
        self._hand_on()
        free = [seat for seat in self._seats if seat.job is None]
        if not free:
            free = [Seat(self._start, name="its seat")]
            self._seats += free
        return next(filter(_is_placed, free), free[0])

    def _wait(self, busy: Mapping[int, RemoteSeat]) -> Sequence[int]:
        jobs = {id(process): job for job, process in busy.items()}
        until = time.monotonic() + seats.SLICE_SECONDS
        while time.monotonic() < until:
            if self._hand_on():
                return []
            if ready := ready_of(self._cluster, list(busy.values())):
                return [jobs[id(process)] for process in ready]
            self._report_late(busy)
        return []

    def _hand_on(self) -> bool:
        """Give jobs that wait for room to seats that are free; return whether there were both."""
        waiting = [seat for seat in self._seats if seat.job is not None and not _is_placed(seat)]
        free = [seat for seat in self._seats if seat.job is None and _is_placed(seat)]
        for seat, other in zip(waiting, free, strict=False):
            job, config = seat.job, seat.config
            assert job is not None and config is not None  # noqa: S101, PT018 - it was begun
            seat.dismiss()
            self._give(other, job, config)
        return bool(waiting and free)

    def _report_late(self, busy: Mapping[int, RemoteSeat]) -> None:
        late = late_of(self._cluster, busy.values())
        if late and not any(process.placed for process in busy.values()):
            raise ClusterError(no_room(self._cluster, late[0]))
        for process in late:
            if id(process) not in self._reported:
                self._reported.add(id(process))
                self._announce(f"{no_room(self._cluster, process)}; its trial waits")


def _is_placed(seat: Seat[RemoteSeat]) -> bool:
    return seat.process is not None and seat.process.placed
