"""Jobs that are carried out step by step at another place: messages of the steps, and their order.

A job is a generator. At each yield it waits for an answer, whether to go on, so that a decision of
the caller's reaches it at once.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

from ae_sweep import interruption
from ae_sweep.errors import AeSweepError, DeviceLostError, TrainingDivergedError, WorkerError
from ae_sweep.interruption import Interrupted

Work: TypeAlias = Callable[[Any], Generator[Any, None, Any]]
"""Carries out a job."""
Factory: TypeAlias = Callable[..., Work]
"""Called once at the place, to set it up; a function of a module or a partial of one."""


@dataclass(frozen=True)
class Ready:
    """The place is set up and takes jobs."""


@dataclass(frozen=True)
class Yielded:
    """A job has yielded and waits for the answer whether to go on."""

    value: Any


@dataclass(frozen=True)
class Returned:
    """A job has come to its end."""

    value: Any


@dataclass(frozen=True)
class Refused:
    """A job could not go on, for a reason of its own."""

    reason: str
    spoilt: bool = False
    """Whether the process can do no further job."""
    diverged: bool = False
    """Whether the job would end so each time."""


@dataclass(frozen=True)
class Stopped:
    """A job has ended at the request of whoever gave it, and saved itself if it can."""


@dataclass(frozen=True)
class Crashed:
    """The program has a bug."""

    reason: str
    trace: str


@dataclass(frozen=True)
class Died:
    """The process has ended."""

    reason: str
    ready: bool = True
    """Whether it was set up before."""


Step = Yielded | Returned | Refused | Stopped | Crashed
Message = Ready | Died | Step


class JobRunner:
    """Carries out jobs, one at a time, each from one answer to the next.

    Parameters
    ----------
    work
        Begins a job.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._steps: Generator[Any, None, Any] | None = None

    def begin(self, job: Any) -> Step:
        """Carry out a job until it yields or ends."""
        self._steps = self._work(job)
        return self.go_on()

    def go_on(self) -> Step:
        """Carry the job on until it yields again or ends."""
        assert self._steps is not None, "a job was begun"  # noqa: S101
        try:
            if interruption.is_requested():
                interruption.withdraw()
                self._steps.throw(Interrupted())
            return Yielded(next(self._steps))
        except StopIteration as end:
            return Returned(end.value)
        except Interrupted:
            return Stopped()
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller reports it
            return failure_of(error)

    def give_up(self) -> None:
        """End a job that has yielded."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None


def failure_of(error: Exception) -> Refused | Crashed:
    """Return the message of an error: of one that users meet, its reason; of a bug, its trace."""
    if isinstance(error, AeSweepError):
        return Refused(
            reason_of(error),
            spoilt=isinstance(error, DeviceLostError),
            diverged=is_divergence(error),
        )
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return Crashed(reason, "".join(traceback.format_exception(error)))


def reason_of(error: AeSweepError) -> str:
    """Return why a job failed, in words."""
    return str(error) or type(error).__name__


def is_divergence(error: Exception) -> bool:
    """Return whether a training failed by its own numbers, and not by the machine."""
    return isinstance(error, TrainingDivergedError)


def check_step(message: Message, *, ready: bool, place: str) -> None:
    """Refuse a message after which no job can be carried out.

    Parameters
    ----------
    ready
        Whether the place was set up before.
    place
        Where it comes from, in words: "a worker process".

    Raises
    ------
    WorkerError
        If the place could not be set up.
    RuntimeError
        If the program has a bug; the traceback of the place is its note.
    """
    if not ready and isinstance(message, Refused | Crashed):
        failure = WorkerError(f"{place} could not be set up: {message.reason}")
        if isinstance(message, Crashed):
            failure.add_note(message.trace)
        raise failure
    if isinstance(message, Crashed):
        error = RuntimeError(f"in {place}: {message.reason}")
        error.add_note(message.trace)
        raise error
