"""The worker that trains in processes of this machine, several jobs at a time."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from ae_sweep import interruption
from ae_sweep.errors import WorkerError
from ae_sweep.sweep import seats
from ae_sweep.sweep.child import Child
from ae_sweep.sweep.seats import Seat, SeatWorker
from ae_sweep.sweep.worker import JobValidated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ae_sweep.config import TrialConfig
    from ae_sweep.job_steps import Factory


class ProcessWorker(SeatWorker[Child]):
    """Trains in processes of its own, one job in each, started by spawn.

    Parameters
    ----------
    factories
        One for each process: called in it once, returns what trains there. A function of a module
        or a ``functools.partial`` of one, with arguments that can be pickled.
    patience_seconds
        Returns how long a job may be silent before its process is taken to hang and is ended; the
        start of the process is part of the first silence. None waits for ever.
    """

    def __init__(
        self,
        factories: Sequence[Factory],
        *,
        patience_seconds: Callable[[TrialConfig], float] | None = None,
    ) -> None:
        super().__init__(
            [Seat(partial(Child, factory)) for factory in factories],
            patience_seconds=patience_seconds,
        )

    def save(self) -> None:
        """Have all jobs save themselves and end, within `interruption.SAVE_SECONDS` together.

        Raises
        ------
        RuntimeError
            If the program has a bug; the process's traceback is its note.
        """
        deadline = time.monotonic() + interruption.SAVE_SECONDS
        for seat, child in self._busy().values():
            if not seat.reading and child.interrupt():
                seat.resume()
            else:  # it cannot have begun, or its pipe is of no use any more
                seat.dismiss()
        while (left := deadline - time.monotonic()) > 0 and (busy := self._busy()):
            for job in _heard({job: child for job, (_, child) in busy.items()}, seconds=left):
                seat, child = busy[job]
                with contextlib.suppress(WorkerError):  # it ends, however it does
                    if isinstance(seat.take(child, job), JobValidated):
                        seat.resume()  # it saves itself at once

    def _wait(self, busy: Mapping[int, Child]) -> Sequence[int]:
        return _heard(busy, seconds=seats.SLICE_SECONDS)


def _heard(busy: Mapping[int, Child], *, seconds: float) -> list[int]:
    """Wait for messages; return the jobs that have one, each once."""
    handles: dict[Connection | int, int] = {
        handle: job for job, child in busy.items() for handle in child.handles
    }
    ready = wait(list(handles), timeout=seconds)
    return list(dict.fromkeys(handles[each] for each in ready))  # type: ignore[index]
