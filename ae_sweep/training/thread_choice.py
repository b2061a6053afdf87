"""Choice of the number of threads that train fastest on a machine that may be busy.

Threads of one training wait for each other at the end of every parallel region, several hundred
times a step. Where another program keeps one core busy, the thread on that core is late each time
and the others spin: on two cores, two threads then train at a quarter of the speed of one
(docs/LOG.md, 2026-11-27).
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ae_sweep.training.device import computing_with
from ae_sweep.training.failures import environment_errors
from ae_sweep.training.speed import STEPS_PER_ROUND, take_steps
from ae_sweep.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ae_sweep.config import TrialConfig
    from ae_sweep.training.images import DeviceImages
    from ae_sweep.training.precision import Precision

ROUNDS = 5
PAUSE_SECONDS = 1.0
"""Between two rounds, so that the load of a moment does not decide."""
WORTH = 1.25
"""How many times as fast fewer threads have to be: on an idle machine they are slower by as much
or more, so that noise alone does not make them win."""


@dataclass(frozen=True, kw_only=True)
class ThreadChoice:
    """A number of threads, and what it was chosen from."""

    threads: int
    seconds: Mapping[int, float]
    """Median time of the same steps by number of threads; of one round on an idle machine."""

    @property
    def speedup(self) -> float:
        """How many times as fast as with all threads."""
        return self.seconds[max(self.seconds)] / self.seconds[self.threads]


@environment_errors()
def fastest_threads(
    config: TrialConfig, images: DeviceImages, *, precision: Precision
) -> ThreadChoice:
    """Choose from all threads of torch and fewer by some steps of a training.

    Parameters
    ----------
    config
        The training; what it learns is thrown away.

    Raises
    ------
    TrainingFailedError
        If there is not enough memory, or a library of torch fails.
    """
    trainer = Trainer(config, images, precision=precision)
    return choose_threads(torch.get_num_threads(), lambda: take_steps(trainer, STEPS_PER_ROUND))


def choose_threads(
    most: int,
    steps: Callable[[], object],
    *,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[float], object] = time.sleep,
) -> ThreadChoice:
    """Time some training steps with all threads and with fewer, and choose the fastest.

    On an idle machine the first round shows that all threads are fastest, and it ends there.
    Otherwise the medians of some rounds decide, taken over several seconds.

    Parameters
    ----------
    most
        All threads.
    steps
        Takes the steps; it is called once more at the beginning, to warm up.
    clock
        Returns seconds on the wall: time in which a thread waits counts.
    pause
        Waits for some seconds between two rounds.
    """
    counts = sorted({most, most - 1, most // 2} - {0}, reverse=True)
    timed: dict[int, list[float]] = {threads: [] for threads in counts}
    with computing_with(most):
        steps()
    for number in range(ROUNDS if len(counts) > 1 else 1):
        if number:
            pause(PAUSE_SECONDS)
        for threads in counts:
            with computing_with(threads):
                started = clock()
                steps()
                timed[threads].append(clock() - started)
        if number == 0 and min(counts, key=lambda threads: timed[threads][0]) == most:
            break
    seconds = {threads: statistics.median(each) for threads, each in timed.items()}
    fastest = min(counts, key=lambda threads: seconds[threads])
    worth = seconds[most] >= WORTH * seconds[fastest]
    return ThreadChoice(threads=fastest if worth else most, seconds=seconds)
