"""Seats: room for one job each, in a process that is started when it is needed.

What the processes are, and where, is the business of those that derive from `SeatWorker`.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ae_sweep.errors import WorkerError
from ae_sweep.job_steps import Died, Refused, Returned, Stopped, Yielded
from ae_sweep.messages import in_words
from ae_sweep.sweep.worker import JobFailed, JobFinished, JobValidated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from ae_sweep.config import TrialConfig
    from ae_sweep.job_steps import Message
    from ae_sweep.sweep.worker import WorkerEvent

SLICE_SECONDS = 20.0
"""Longest wait for an event before silent processes are looked at."""
MOST_STARTS = 3
"""Of processes in a row that die before they are set up. One may have been killed by accident, or
for the memory that another program had for a moment; three have not."""


class Process(Protocol):
    """A process that carries out jobs, from the side of whoever gives them."""

    @property
    def placed(self) -> bool:
        """Whether it works on what it was given, and does not wait for room to start in."""

    def is_alive(self) -> bool:
        """Return whether it can take another job, as far as is known."""

    def begin(self, job: Any) -> None:
        """Give it a job when it has none."""

    def go_on(self) -> None:
        """Let a job that has yielded go on."""

    def give_up(self) -> None:
        """End a job that has yielded."""

    def receive(self) -> Message:
        """Wait for the next message; the last one is ``Died``.

        Raises
        ------
        WorkerError
            If it could not be set up.
        RuntimeError
            If the program has a bug.
        """

    def kill(self) -> None:
        """End the process, whatever it does."""


P = TypeVar("P", bound=Process)


@dataclass
class Seat(Generic[P]):
    """Room for one process, which is started when it is needed, and again where it has ended."""

    start: Callable[[], P]
    name: str = "its worker process"
    """Of the process, from the side of its job."""
    process: P | None = None
    job: int | None = None
    config: TrialConfig | None = None
    """Of the job."""
    paused: bool = False
    """Whether the job waits for an answer whether to go on."""
    reading: bool = False
    """Whether a message is being read; read in part, as a signal leaves it, no other follows."""
    patience_seconds: float = math.inf
    """How long the job may be silent."""
    silent_seconds: float = 0.0
    """How long it has been since its last event, as far as it could work in that time."""
    heard: int = 0
    """Number of the last message; the other seats' are older or newer."""
    failed_starts: int = 0
    """Processes in a row that died before they were set up."""

    def begin(self, job: int, config: TrialConfig, *, patience_seconds: float) -> None:
        """Give a job to the process."""
        self.patience_seconds, self.silent_seconds = patience_seconds, 0.0
        if self.process is not None and not self.process.is_alive():
            self.dismiss()
        if self.process is None:
            self.process = self.start()
        self.job, self.config = job, config
        self.process.begin(config)

    def resume(self) -> None:
        """Let a paused job go on."""
        if self.process is not None and self.paused:
            self.paused = False
            self.process.go_on()

    def take(self, process: P, job: int) -> WorkerEvent | None:
        """Read one message of the process; None if it concerns nobody else."""
        self.silent_seconds = 0.0
        message = self._receive(process)
        if isinstance(message, Died) and not message.ready:
            self._start_again(job, message.reason)
            return None
        self.failed_starts = 0
        return self._event(message, job)

    def _event(self, message: Message, job: int) -> WorkerEvent | None:
        match message:
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
                return JobFailed(job, f"{self.name} was asked to end", killed=True)
            case Died(reason=reason):
                self.dismiss()
                return JobFailed(job, f"{self.name} {reason}", killed=True)
        return None

    def _start_again(self, job: int, reason: str) -> None:
        """Give the job to another process, as this one died before it could begin it."""
        config, self.failed_starts = self.config, self.failed_starts + 1
        self.dismiss()
        if config is None or self.failed_starts == MOST_STARTS:
            raise WorkerError(
                f"{self.name} {reason} before it could train, {MOST_STARTS} times in a row; if "
                "memory is short, give fewer --workers"
            )
        self.begin(job, config, patience_seconds=self.patience_seconds)

    def _receive(self, process: P) -> Message:
        self.reading = True
        try:
            message = process.receive()
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
            f"{self.name} was ended by signal 9 (SIGKILL) by ae-sweep: it hung, with no "
            f"result for {silence}, many times what was measured"
        )
        return JobFailed(job, reason, killed=True)

    def stop(self) -> None:
        """Give the job up: in peace at a pause, else together with the process."""
        if self.process is not None and self.paused:
            self.job, self.paused = None, False
            self.process.give_up()
        else:
            self.dismiss()

    def dismiss(self) -> None:
        """End the process; the next job gets a new one."""
        self.job, self.paused, self.reading = None, False, False
        if self.process is not None:
            self.process.kill()
            self.process = None


class SeatWorker(ABC, Generic[P]):
    """Trains in seats, one job in each.

    A process that dies fails the job it had and no other; so does one whose GPU fails, and the
    next job gets a new process. After each ``JobValidated`` its job waits until the caller asks for
    the next event or stops it, so that a decision to stop is never late. Leave the context to end
    all processes.

    Parameters
    ----------
    patience_seconds
        Returns how long a job may be silent before its process is taken to hang and is ended. None
        waits for ever.
    """

    def __init__(
        self,
        seats: Iterable[Seat[P]],
        *,
        patience_seconds: Callable[[TrialConfig], float] | None = None,
    ) -> None:
        self._seats = list(seats)
        self._patience_seconds = patience_seconds
        self._messages = 0

    def __enter__(self) -> Self:
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
        """How many jobs it takes at a time: one in each seat."""
        return len(self._seats)

    def submit(self, job: int, config: TrialConfig) -> None:
        """Give a job to a free seat."""
        self._give(self._free_seat(), job, config)

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
        """Do nothing, where jobs keep no checkpoint: they begin anew."""

    def stop(self, job: int) -> None:
        """Give a job up; in the middle of its training its process ends with it."""
        for seat in self._seats:
            if seat.job == job:
                seat.stop()

    def close(self) -> None:
        """End all processes."""
        for seat in self._seats:
            seat.dismiss()

    @abstractmethod
    def _wait(self, busy: Mapping[int, P]) -> Sequence[int]:
        """Wait for messages for ``SLICE_SECONDS`` at most; return the jobs that have one."""

    def _free_seat(self) -> Seat[P]:
        return next(seat for seat in self._seats if seat.job is None)

    def _give(self, seat: Seat[P], job: int, config: TrialConfig) -> None:
        patience = math.inf if self._patience_seconds is None else self._patience_seconds(config)
        seat.begin(job, config, patience_seconds=patience)

    def _take(self) -> WorkerEvent | None:
        # In slices, of which each counts for no more than it is: a machine, or a group of
        # processes, that was stopped for a night has not hung.
        busy = self._busy()
        started = time.monotonic()
        heard = self._wait({job: process for job, (_, process) in busy.items()})
        waited = min(time.monotonic() - started, SLICE_SECONDS)
        for seat, process in busy.values():
            seat.silent_seconds += waited if process.placed else 0.0
        for job, (seat, _) in busy.items():
            if seat.hangs and job not in heard:
                return seat.end_hanging(job)
        if not heard:
            return None
        # The one that has waited longest: where many are ready, none of them waits for ever.
        job = min(heard, key=lambda each: busy[each][0].heard)
        seat, process = busy[job]
        self._messages += 1
        seat.heard = self._messages
        return seat.take(process, job)

    def _busy(self) -> dict[int, tuple[Seat[P], P]]:
        return {
            job: (seat, process)
            for seat in self._seats
            if (process := seat.process) is not None and (job := seat.job) is not None
        }
