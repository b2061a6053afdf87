"""A cluster whose seats train by a clock: waiting for them is skipped, all else takes its time."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.records import QUARTERS, EpochResult
from ae_sweep.sweep.worker import JobFinished, JobValidated

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.config import TrialConfig
    from ae_sweep.records import TrialResult
    from ae_sweep.sweep.worker import WorkerEvent


class SkippingClock:
    """Seconds since it was made: those that passed, and those that were skipped."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._skipped = 0.0

    def now(self) -> float:
        """Return the seconds since the start."""
        return time.perf_counter() - self._started + self._skipped

    def skip_to(self, moment: float) -> None:
        """Have a moment come at once, unless it is over."""
        self._skipped += max(moment - self.now(), 0.0)


@dataclass
class _Job:
    """A trial in a seat."""

    config: TrialConfig
    validations: int = 0


class SimulatedCluster:
    """Seats that train for some seconds per trial and validate at each quarter of it.

    As the seats of a real cluster do, one waits after each validation until the driver has dealt
    with it and asks for the next event. What the driver does takes the time that it takes; only
    where every seat is training, and the driver waits, the clock goes on to the next event.

    Parameters
    ----------
    seats
        How many trials are trained at a time.
    trial_seconds
        Of training per trial.
    result
        Returns the result of a trial.
    """

    def __init__(
        self,
        *,
        seats: int,
        trial_seconds: float,
        result: Callable[[TrialConfig], TrialResult],
    ) -> None:
        self.slots = seats
        self._quarter_seconds = trial_seconds / QUARTERS
        self._result = result
        self._clock = SkippingClock()
        self._jobs: dict[int, _Job] = {}
        self._due: list[tuple[float, int]] = []
        self._paused: int | None = None
        self._trained: list[tuple[float, float]] = []
        self._full_since: float | None = None
        self._last_submitted = 0.0

    def submit(self, job: int, config: TrialConfig) -> None:
        """Begin a trial in a free seat."""
        self._jobs[job] = _Job(config)
        self._train(job)
        self._last_submitted = self._clock.now()
        if self._full_since is None and len(self._jobs) == self.slots:
            self._full_since = self._last_submitted

    def next_event(self) -> WorkerEvent:
        """Let the paused trial go on, and go to the moment of the next event."""
        if self._paused is not None and self._paused in self._jobs:
            self._train(self._paused)
        moment, number = heapq.heappop(self._due)
        while number not in self._jobs:  # it was stopped
            moment, number = heapq.heappop(self._due)
        self._clock.skip_to(moment)
        job = self._jobs[number]
        if job.validations == QUARTERS:
            del self._jobs[number]
            self._paused = None
            return JobFinished(number, self._result(job.config))
        job.validations += 1
        self._paused = number
        return JobValidated(number, _validation(job.validations))

    def stop(self, job: int) -> None:
        """Give a trial up."""
        self._jobs.pop(job, None)

    def save(self) -> None:
        """Do nothing: no trial goes on later."""

    def close(self) -> None:
        """Give all trials up."""
        self._jobs.clear()

    def busy_share(self) -> float:
        """Return the share of the seats that trained, between the first and the last refill.

        That is from the moment when all seats had a trial to the beginning of the last trial.
        """
        begin, end = self._full_since, self._last_submitted
        if begin is None or end <= begin:
            raise RuntimeError("there were too few trials to fill the seats twice")
        trained = sum(max(min(last, end) - max(first, begin), 0.0) for first, last in self._trained)
        return trained / (self.slots * (end - begin))

    def seconds(self) -> float:
        """Return how long the sweep has taken by the clock."""
        return self._clock.now()

    def _train(self, number: int) -> None:
        """Train up to the next validation, or hand the result over after the last."""
        now = self._clock.now()
        done = self._jobs[number].validations == QUARTERS
        until = now if done else now + self._quarter_seconds
        self._trained.append((now, until))
        heapq.heappush(self._due, (until, number))


def _validation(quarter: int) -> EpochResult:
    """Return the same of every trial, so that none is pruned."""
    mse = 0.01 * QUARTERS / quarter
    return EpochResult(
        epoch=float(quarter), step=100 * quarter, quarter=quarter, train_mse=mse, val_mse=mse,
        val_psnr=20.0, images_per_second=1_000.0, epoch_seconds=1.0,
    )  # fmt: skip
