"""The worker that trains in processes, several jobs at a time."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from ae_sweep import interruption
from ae_sweep.errors import WorkerError
from ae_sweep.messages import in_words
from ae_sweep.sweep.child import Child, Died, Factory, Refused, Returned, Stopped, Yielded
from ae_sweep.sweep.worker import JobFailed, JobFinished, JobValidated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from ae_sweep.config import TrialConfig
    from ae_sweep.sweep.child import Message
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
    reading: bool = False
    """Whether a message is being read."""
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

    def save(self) -> None:
        """Ask the job to save itself and end; one that cannot have begun is given up."""
        if self.child is None or self.job is None:
            return
        # A message that was read in part leaves the pipe of no use.
        if not self.reading and self.child.interrupt():
            self.resume()
        else:
            self.dismiss()

    def take(self, child: Child, job: int) -> WorkerEvent | None:
        """Read one message of the process; None if it concerns nobody else."""
        self.silent_seconds = 0.0
        match self._receive(child):
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
            case Stopped():
                self.job = None
                return JobFailed(job, "its worker process was asked to end", killed=True)
            case Died(reason=reason):
                self.dismiss()
                return JobFailed(job, f"its worker process {reason}", killed=True)
        return None

    def _receive(self, child: Child) -> Message:
        self.reading = True  # and it stays so if a signal interrupts it
        try:
            message = child.receive()
        except Exception:
            self.job, self.reading = None, False
            raise
        self.reading = False
        return message

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
        self.job, self.paused, self.reading = None, False, False
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

    def save(self) -> None:
        """Have all jobs save themselves and end, within `interruption.SAVE_SECONDS` together.

        Raises
        ------
        RuntimeError
            If the program has a bug; the process's traceback is its note.
        """
        deadline = time.monotonic() + interruption.SAVE_SECONDS
        for seat in self._seats:
            seat.save()
        while (left := deadline - time.monotonic()) > 0 and (busy := self._busy()):
            for job in self._heard(busy, timeout_seconds=left):
                seat, child = busy[job]
                with contextlib.suppress(WorkerError):  # it ends, however it does
                    if isinstance(seat.take(child, job), JobValidated):
                        seat.resume()  # it saves itself at once

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
        busy = self._busy()
        # In slices, of which each counts for no more than it is: a machine, or a group of
        # processes, that was stopped for a night has not hung.
        started = time.monotonic()
        heard = self._heard(busy, timeout_seconds=SLICE_SECONDS)
        waited = min(time.monotonic() - started, SLICE_SECONDS)
        for seat, _ in busy.values():
            seat.silent_seconds += waited
        for job, (seat, _) in busy.items():
            if seat.hangs and job not in heard:
                return seat.end_hanging(job)
        if not heard:
            return None
        seat, child = busy[heard[0]]
        return seat.take(child, heard[0])

    def _busy(self) -> dict[int, tuple[_Seat, Child]]:
        return {
            job: (seat, child)
            for seat in self._seats
            if (child := seat.child) is not None and (job := seat.job) is not None
        }

    @staticmethod
    def _heard(busy: Mapping[int, tuple[_Seat, Child]], *, timeout_seconds: float) -> list[int]:
        """Wait for messages; return the jobs that have one, each once."""
        handles: dict[Connection | int, int] = {
            handle: job for job, (_, child) in busy.items() for handle in child.handles
        }
        ready = wait(list(handles), timeout=timeout_seconds)
        return list(dict.fromkeys(handles[each] for each in ready))  # type: ignore[index]
