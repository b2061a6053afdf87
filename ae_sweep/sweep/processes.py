"""The worker that trains in processes of this machine, several jobs at a time."""

from __future__ import annotations

from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from ae_sweep.sweep import seats
from ae_sweep.sweep.child import Child
from ae_sweep.sweep.seats import Seat, SeatWorker

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

    def _wait(self, busy: Mapping[int, Child]) -> Sequence[int]:
        handles: dict[Connection | int, int] = {
            handle: job for job, child in busy.items() for handle in child.handles
        }
        ready = wait(list(handles), timeout=seats.SLICE_SECONDS)
        return [handles[each] for each in ready]  # type: ignore[index]
