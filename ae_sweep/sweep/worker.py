"""Owns how trainings are carried out: one small interface, whatever runs them.

A worker is given jobs and asked for the next event of any of them. The inline worker trains in this
process, one job at a time; others (processes, a cluster) fit behind the same three methods.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from ae_sweep.config import TrialConfig
from ae_sweep.errors import AeSweepError
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


WorkerEvent = JobValidated | JobFinished | JobFailed


class Worker(Protocol):
    """Carries out trainings."""

    @property
    def slots(self) -> int:
        """How many jobs it takes at a time."""

    def submit(self, job: int, config: TrialConfig) -> None:
        """Begin a training under a number of the caller's."""

    def next_event(self) -> WorkerEvent:
        """Wait for the next event of any job that was submitted and has not ended."""

    def stop(self, job: int) -> None:
        """Give a job up; no event of it follows."""

    def close(self) -> None:
        """Give up all jobs and end what was started for them."""


class InlineWorker:
    """Trains in this process, one job at a time, while the caller waits for its next event."""

    slots = 1

    def __init__(self, train: Train) -> None:
        self._train = train
        self._trainings: dict[int, Generator[EpochResult, None, TrialResult]] = {}

    def submit(self, job: int, config: TrialConfig) -> None:
        """Begin a training; it advances in ``next_event``."""
        self._trainings[job] = self._train(config)

    def next_event(self) -> WorkerEvent:
        """Train on to the next validation, or to the end."""
        job, training = next(iter(self._trainings.items()))
        try:
            return JobValidated(job, next(training))
        except StopIteration as end:
            event: WorkerEvent = JobFinished(job, end.value)
        # torch reports a lack of memory and failing kernels as RuntimeError: they fail the trial.
        except (AeSweepError, RuntimeError) as error:
            event = JobFailed(job, f"{error}" or type(error).__name__)
        del self._trainings[job]
        return event

    def stop(self, job: int) -> None:
        """Close the training's generator, if it has not ended by itself."""
        training = self._trainings.pop(job, None)
        if training is not None:
            training.close()

    def close(self) -> None:
        """Close the trainings that have not ended."""
        for job in list(self._trainings):
            self.stop(job)
