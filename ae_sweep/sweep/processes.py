"""The worker that trains in processes, several jobs at a time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from ae_sweep.messages import in_words
from ae_sweep.sweep.child import Child, Died, Factory, Refused, Returned, Yielded
from ae_sweep.sweep.worker import JobFailed, JobFinished, JobValidated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from ae_sweep.config import TrialConfig
    from ae_sweep.sweep.worker import WorkerEvent

SLICE_SECONDS = 20.0
"""Longest wait for an event before silent processes are looked at."""


@dataclass
class _Seat:
    """Room for one process, which is started when it is needed, and again where it has ended."""

    factory: Factory
    child: Child | None = None
    job: int | None = None
    paused: bool = False
    """Whether the job waits for an answer whether to go on."""
    patience_seconds: float = math.inf
    """How long the job may be silent."""
    silent_seconds: float = 0.0
    """How long it has been since its last event, as far as it could work in that time."""

    def begin(self, job: int, config: TrialConfig, *, patience_seconds: float) -> None:
        """Give a job to the process."""
        self.patience_seconds, self.silent_seconds = patience_seconds, 0.0
        if self.child is not None and not self.child.is_alive():
            self.dismiss()
        if self.child is None:
            self.child = Child(self.factory)
        self.job = job
        self.child.begin(config)

    def resume(self) -> None:
        """Let a paused job go on."""
        if self.child is not None and self.paused:
            self.paused = False
            self.child.go_on()

    def take(self, child: Child, job: int) -> WorkerEvent | None:
        """Read one message of the process; None if it concerns nobody else."""
        self.silent_seconds = 0.0
        match child.receive():
            case Yielded(value=result):
                self.paused = True
                return JobValidated(job, result)
            case Returned(value=result):
                self.job = None
                return JobFinished(job, result)
            case Refused(reason=reason, spoilt=spoilt, diverged=diverged):
                self.job = None
                if spoilt:
                    self.dismiss()
                return JobFailed(job, reason, killed=spoilt, diverged=diverged)
            case Died(reason=reason):
                self.dismiss()
                return JobFailed(job, f"its worker process {reason}", killed=True)
        return None

    @property
    def hangs(self) -> bool:
        """Whether the job has been silent for too long."""
        return self.silent_seconds > self.patience_seconds

    def end_hanging(self, job: int) -> WorkerEvent:
        """End the process of a job that hangs."""
        silence = in_words(self.silent_seconds)
        self.dismiss()
        reason = (
            f"its worker process was ended by signal 9 (SIGKILL) by ae-sweep: it hung, with no "
            f"result for {silence}, many times what was measured"
        )
        return JobFailed(job, reason, killed=True)

    def stop(self) -> None:
        """Give the job up: in peace at a pause, else together with the process."""
        if self.child is not None and self.paused:
            self.job, self.paused = None, False
            self.child.give_up()
        else:
            self.dismiss()

    def dismiss(self) -> None:
        """End the process; the next job gets a new one."""
        self.job, self.paused = None, False
        if self.child is not None:
            self.child.kill()
            self.child = None


class ProcessWorker:
    """Trains in processes of its own, one job in each, started by spawn.

    A process that dies fails the job it had and no other; so does one whose GPU fails, and the
    next job gets a new process. After each ``JobValidated`` its job
    waits until the caller asks for the next event or stops it, so that a decision to stop is never
    late. Leave the context to end all processes.

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
        self._seats = [_Seat(factory) for factory in factories]
        self._patience_seconds = patience_seconds

    def __enter__(self) -> ProcessWorker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def slots(self) -> int:
        """How many jobs it takes at a time: one in each process."""
        return len(self._seats)

    def submit(self, job: int, config: TrialConfig) -> None:
        """Give a job to a free process."""
        seat = next(seat for seat in self._seats if seat.job is None)
        patience = math.inf if self._patience_seconds is None else self._patience_seconds(config)
        seat.begin(job, config, patience_seconds=patience)

    def next_event(self) -> WorkerEvent:
        """Let all paused jobs go on, and wait for the next event of any job.

        Raises
        ------
        WorkerError
            If a process cannot be started or set up.
        RuntimeError
            If the program has a bug; the process's traceback is its note.
        """
        for seat in self._seats:
            seat.resume()
        event = None
        while event is None:
            event = self._take()
        return event

    def stop(self, job: int) -> None:
        """Give a job up; in the middle of its training its process ends with it."""
        for seat in self._seats:
            if seat.job == job:
                seat.stop()

    def close(self) -> None:
        """End all processes."""
        for seat in self._seats:
            seat.dismiss()

    def _take(self) -> WorkerEvent | None:
        busy = {
            job: (seat, child)
            for seat in self._seats
            if (child := seat.child) is not None and (job := seat.job) is not None
        }
        handles: dict[Connection | int, int] = {
            handle: job for job, (_, child) in busy.items() for handle in child.handles
        }
        # In slices, of which each counts for no more than it is: a machine, or a group of
        # processes, that was stopped for a night has not hung.
        started = time.monotonic()
        ready = wait(list(handles), timeout=SLICE_SECONDS)
        waited = min(time.monotonic() - started, SLICE_SECONDS)
        for seat, _ in busy.values():
            seat.silent_seconds += waited
        heard = [handles[each] for each in ready]  # type: ignore[index]
        for job, (seat, _) in busy.items():
            if seat.hangs and job not in heard:
                return seat.end_hanging(job)
        if not heard:
            return None
        seat, child = busy[heard[0]]
        return seat.take(child, heard[0])
