"""Engines of one machine: trials trained in this process, or in several at a time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ae_sweep import sweep, training
from ae_sweep.config import bounds
from ae_sweep.config.parsing import MAX_WORKERS
from ae_sweep.isolation import threads_are_set
from ae_sweep.runner.worker_process import Probe, open_probe, open_training

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ae_sweep.config import TrialConfig
    from ae_sweep.runner.setup import SweepSetup
    from ae_sweep.sweep import Worker

WORTH = 1.05
"""How much more images a second are worth more workers, which need more memory."""
ROUNDS = 2
"""Measurements of a number of workers; the better one counts, as noise only makes slower."""
WORKERS_PER_GPU = (1, 2, 4)
WORTH_PROCESSES = 500_000
"""Images to train on, all epochs of all trials together, from which several processes gain more
than they take to start."""
PATIENCE = 20
"""How many times as long as measured a worker may be silent before it is taken to hang: other
programs on the machine may slow it down, and a timing is never off by that much."""
LEAST_PATIENCE_SECONDS = 600.0
"""In which a process starts and loads its images, too."""


@dataclass(frozen=True, kw_only=True)
class InlineEngine:
    """Trains one trial at a time, in this process."""

    setup: SweepSetup
    speeds: Mapping[int, training.Speed]
    """Speed by latent_dim."""
    threads: int
    """Threads of one trial."""
    workers: int = 1

    def parameters(self) -> dict[str, str | int]:
        """Return the run parameters that affect rounding: threads and devices."""
        return _parameters(self.setup.devices[:1], self.threads)

    def open(self) -> Worker:
        """Return a worker that trains in this process, with its threads until it is closed."""
        setup = self.setup
        train: sweep.Train
        if setup.config.method == "nested":
            train = training.NestedTrainings(
                setup.images,
                dims=setup.config.dims,
                precision=setup.precision,
                checkpoints=setup.checkpoints,
            )
        else:
            train = partial(
                training.train,
                images=setup.images,
                precision=setup.precision,
                checkpoints=setup.checkpoints,
            )
        computing = contextlib.ExitStack()
        computing.enter_context(training.computing_with(self.threads))
        return sweep.InlineWorker(train, release=computing.close)


@dataclass(frozen=True, kw_only=True)
class WorkerPool:
    """Trains several trials at a time, each in a process of its own."""

    setup: SweepSetup
    workers: int
    speeds: Mapping[int, training.Speed]
    """Speed of one worker by latent_dim."""
    threads: int
    """Threads of one trial."""

    def parameters(self) -> dict[str, str | int]:
        """Return the run parameters that affect rounding: threads and devices."""
        return _parameters(self.setup.devices[: self.workers], self.threads)

    def open(self) -> Worker:
        """Return a worker whose processes start as trials are submitted."""
        specs = [
            self.setup.worker_spec(number, threads=self.threads) for number in range(self.workers)
        ]
        return sweep.ProcessWorker(
            [partial(open_training, spec) for spec in specs], patience_seconds=self.patience_seconds
        )

    def patience_seconds(self, config: TrialConfig) -> float:
        """Return how long a trial may take to its next validation, or from the last to its end."""
        return patience_seconds(self.speeds[config.latent_dim], config)


def patience_seconds(speed: training.Speed, config: TrialConfig) -> float:
    """Return how long a trial of a measured speed may be silent before it is taken to hang."""
    longest = speed.longest_silence_seconds(config.hyperparameters.epochs)
    return max(LEAST_PATIENCE_SECONDS, PATIENCE * longest)


def _parameters(devices: Sequence[str], threads: int) -> dict[str, str | int]:
    described = [training.describe_device(name, threads=threads) for name in devices]
    return {
        "threads": threads,
        "device": " ".join(devices),
        "device_name": ", ".join(described),
        "kernels": training.kernels_version(devices[0]),
    }


def fastest_threads(setup: SweepSetup, announce: Callable[[str], None]) -> int:
    """Return how many threads one training should have that shares the machine with no other.

    All of torch's, unless fewer are faster now, because other programs keep cores busy. A number
    that the user has set stays as it is.
    """
    most = training.threads_per_worker(1)
    if most == 1 or not setup.on_cpu or threads_are_set():
        return most
    dims = setup.config.dims
    choice = training.fastest_threads(
        setup.timed_config(dims[len(dims) // 2]), setup.images, precision=setup.precision
    )
    if choice.threads < most:
        announce(
            f"this machine is busy: training with {choice.threads} of {most} threads is "
            f"{choice.speedup:.1f} times as fast as with all; taking {choice.threads} "
            f"(OMP_NUM_THREADS={most} takes all)"
        )
    return choice.threads


def measured_inline(setup: SweepSetup, *, threads: int) -> InlineEngine:
    """Measure the speed of this process, with some threads, by a few training steps."""
    with training.computing_with(threads):
        return InlineEngine(setup=setup, speeds=speeds_by_dim(setup, setup.speed), threads=threads)


def sharing_studies(setup: SweepSetup) -> int:
    """Return how many studies share the cores where the user has not said; 1 shares nothing.

    Threads of one training wait for each other, and trainings do not. So a trial of each of as many
    studies is trained at a time as there are cores, if the sweep is long enough. The number depends
    on nothing that is measured, and not on what is trained already: a machine takes the same each
    time, and a resumed sweep what it began with. 1 on a GPU, and where a number of threads was
    asked for.
    """
    config = setup.config
    alone = config.method == "nested" or config.auto is not None or threads_are_set()
    if alone or not setup.on_cpu:
        return 1
    longest = int(max(bounds(config.space["epochs"])))
    trainings = config.trainings_per_dim * len(config.dims)
    if trainings * longest * setup.card.train_images < WORTH_PROCESSES:
        return 1
    return max(1, min(training.usable_cores(), len(config.conditions), setup.most_workers))


def measured_sharing(setup: SweepSetup, studies: int, *, trials: int) -> InlineEngine | WorkerPool:
    """Measure in this process a training that has its share of the cores.

    Parameters
    ----------
    studies
        That share the cores.
    trials
        Trials to train: more processes than that would have nothing to do.
    """
    threads, workers = training.threads_per_worker(studies), min(studies, trials)
    engine = measured_inline(setup, threads=threads)
    if workers <= 1:
        return engine
    return WorkerPool(setup=setup, workers=workers, speeds=engine.speeds, threads=threads)


def measured_pool(
    setup: SweepSetup,
    wanted: int | None,
    *,
    trials: int,
    threads: int,
    announce: Callable[[str], None],
) -> InlineEngine | WorkerPool:
    """Measure a few training steps in as many processes at once as there will be.

    Where one worker is best, no process is kept for it.

    Parameters
    ----------
    wanted
        Number of workers; None takes as many as the measurement finds best.
    trials
        Trials to train: more workers than that would have nothing to do.
    threads
        Of a training that has the machine to itself; several share them out.
    announce
        Called with a line on each measurement.

    Raises
    ------
    WorkerError
        If a process cannot be started or set up.
    """
    with _Probes(setup, threads) as probes:
        workers = min(wanted, trials) if wanted else _best(setup, probes, trials, announce)
        speeds = speeds_by_dim(setup, lambda dim: probes.slowest(dim, workers))
    if workers == 1:
        return InlineEngine(setup=setup, speeds=speeds, threads=threads)
    each = training.threads_per_worker(workers, most=threads)
    return WorkerPool(setup=setup, workers=workers, speeds=speeds, threads=each)


class _Probes(contextlib.ExitStack):
    """Processes that measure together, started as they are needed."""

    def __init__(self, setup: SweepSetup, threads: int) -> None:
        super().__init__()
        self._setup = setup
        self._threads = threads
        self._children: list[sweep.Child] = []

    def threads(self, workers: int) -> int:
        """Return the threads of each of some workers."""
        return training.threads_per_worker(workers, most=self._threads)

    def speeds(self, dim: int, workers: int) -> list[training.Speed]:
        """Measure a dim in several processes at once."""
        threads = self.threads(workers)
        for number in range(len(self._children), workers):
            spec = self._setup.worker_spec(number, threads=threads)
            child = sweep.Child(partial(open_probe, spec))
            self.callback(child.kill)
            self._children.append(child)
        probe = Probe(self._setup.timed_config(dim), threads)
        return sweep.run_together(self._children[:workers], probe)

    def slowest(self, dim: int, workers: int) -> training.Speed:
        """Return the slowest of them.

        On a CPU each counts the time that it computed, so what more threads than cores wait for
        each other is added here.
        """
        slowest = max(self.speeds(dim, workers), key=lambda speed: speed.epoch_seconds)
        if not self._setup.on_cpu:
            return slowest
        threads = workers * self.threads(workers)
        return slowest.slowed(max(1.0, threads / training.usable_cores()))


def _best(setup: SweepSetup, probes: _Probes, trials: int, announce: Callable[[str], None]) -> int:
    """Choose the fewest workers that train about as many images a second as any number does."""
    dims = setup.config.dims
    dim = dims[len(dims) // 2]
    images = setup.card.train_images
    rates: dict[int, float] = {}
    for workers in _counts(setup, trials):
        rates[workers] = max(
            sum(images / speed.epoch_seconds for speed in probes.speeds(dim, workers))
            for _ in range(ROUNDS)
        )
        if rates[workers] < max(rates.values()):
            break  # more would be slower still
    best = choose_workers(rates)
    measured = ", ".join(
        f"{count} × {probes.threads(count)} {rate:,.0f}" for count, rate in rates.items()
    )
    announce(
        f"workers × threads and the images/s they train together at d={dim}: {measured}; "
        f"taking {best}"
    )
    return best


def choose_workers(rates: Mapping[int, float]) -> int:
    """Choose the smallest number whose rate is within a few per cent of the best.

    Parameters
    ----------
    rates
        Images per second of all workers together, by their number.
    """
    return min(count for count, rate in rates.items() if rate * WORTH >= max(rates.values()))


def _counts(setup: SweepSetup, trials: int) -> list[int]:
    """List the numbers of workers to try, ascending."""
    if setup.on_cpu:
        cores = training.usable_cores()
        counts = [2**power for power in range(cores.bit_length())]
    else:
        counts = [count * len(setup.devices) for count in WORKERS_PER_GPU]
    most = min(trials, MAX_WORKERS, setup.most_workers)
    return [count for count in counts if count <= most] or [1]


def speeds_by_dim(
    setup: SweepSetup, measure: Callable[[int], training.Speed]
) -> dict[int, training.Speed]:
    """Measure the smallest and the largest dim, and interpolate the others.

    Between them a step's time grows linearly with latent_dim, as the linear layers do.
    """
    dims = setup.config.dims
    low = measure(dims[0])
    high = measure(dims[-1]) if len(dims) > 1 else low
    span = max(dims[-1] - dims[0], 1)
    return {dim: training.between(low, high, (dim - dims[0]) / span) for dim in dims}
