"""Workers, which carry out trainings: their interface, and the one that trains in this process.

A worker is given jobs and asked for the next event of any of them. Others (processes, a cluster)
fit behind the same methods.

A job fails by an ``AeSweepError``: the sweep goes on without it. Anything else that a training
raises is a bug, and ``next_event`` raises it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from ae_sweep.config import TrialConfig
from ae_sweep.errors import AeSweepError, DeviceLostError
from ae_sweep.interruption import Interrupted
from ae_sweep.job_steps import is_divergence, reason_of
from ae_sweep.records import EpochResult, TrialResult

Train = Callable[[TrialConfig], Generator[EpochResult, None, TrialResult]]


@dataclass(frozen=True)
class JobValidated:
    """A job has validated."""

    job: int
    result: EpochResult


@dataclass(frozen=True)
class JobFinished:
    """A job has trained to its end."""

    job: int
    result: TrialResult


@dataclass(frozen=True)
class JobFailed:
    """A job could not go on."""

    job: int
    reason: str
    killed: bool = False
    """Whether its process was ended, or lost its device: the training itself did not fail."""
    diverged: bool = False
    """Whether it would do so each time it is trained."""


WorkerEvent = JobValidated | JobFinished | JobFailed


class Worker(Protocol):
    """Carries out trainings."""

    @property
    def slots(self) -> int:
        """How many jobs it takes at a time."""

    def submit(self, job: int, config: TrialConfig) -> None:
        """Begin a training under a number of the caller's."""

    def next_event(self) -> WorkerEvent:
        """Wait for the next event of any job that was submitted and has not ended.

        Raises
        ------
        AeSweepError
            If no job can be trained any more.
        Exception
            If the program has a bug.
        """

    def save(self) -> None:
        """Have all jobs save themselves before they are stopped, as far as they can within seconds.

        They train no further: nothing but `stop` and `close` may follow.
        """

    def stop(self, job: int) -> None:
        """Give a job up; no event of it follows."""

    def close(self) -> None:
        """Give up all jobs and end what was started for them."""


class InlineWorker:
    """Trains in this process, one job at a time, while the caller waits for its next event.

    Parameters
    ----------
    train
        Begins a training.
    release
        Gives back what was taken for the trainings; called when the worker is closed.
    """

    slots = 1

    def __init__(self, train: Train, *, release: Callable[[], object] | None = None) -> None:
        self._train = train
        self._release = release
        self._trainings: dict[int, Generator[EpochResult, None, TrialResult]] = {}

    def submit(self, job: int, config: TrialConfig) -> None:
        """Begin a training; it advances in ``next_event``."""
        self._trainings[job] = self._train(config)

    def next_event(self) -> WorkerEvent:
        """Train on to the next validation, or to the end.

        Raises
        ------
        DeviceLostError
            If the GPU has failed: it is of no use to this process any more.
        KeyboardInterrupt
            If the training was interrupted; it has saved itself.
        Exception
            If the program has a bug.
        """
        job, training = next(iter(self._trainings.items()))
        try:
            return JobValidated(job, next(training))
        except StopIteration as end:
            event: WorkerEvent = JobFinished(job, end.value)
        except Interrupted:  # Python ends a program as interrupted for this very class alone
            raise KeyboardInterrupt from None
        except DeviceLostError:
            raise
        except AeSweepError as error:
            event = JobFailed(job, reason_of(error), diverged=is_divergence(error))
        del self._trainings[job]
        return event

    def save(self) -> None:
        """Interrupt the trainings that wait; one that was interrupted in a step has ended."""
        for training in self._trainings.values():
            with contextlib.suppress(Interrupted, StopIteration, AeSweepError):
                training.throw(Interrupted())

    def stop(self, job: int) -> None:
        """Close the training's generator, if it has not ended by itself."""
        training = self._trainings.pop(job, None)
        if training is not None:
            training.close()

    def close(self) -> None:
        """Close the trainings that have not ended."""
        try:
            for job in list(self._trainings):
                self.stop(job)
        finally:
            release, self._release = self._release, None
            if release is not None:
                release()
