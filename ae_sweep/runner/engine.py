"""Where trials are trained: the interface of an engine, and the choice of a local one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ae_sweep import training
from ae_sweep.runner.workers import (
    InlineEngine,
    WorkerPool,
    fastest_threads,
    measured_inline,
    measured_pool,
    measured_sharing,
    sharing_studies,
)

if TYPE_CHECKING:
    from ae_sweep.runner.setup import SweepSetup
    from ae_sweep.sweep import Worker

Announce: TypeAlias = Callable[[str], None]
"""Called with one line of text about what is being done."""


class Engine(Protocol):
    """Trains the trials of one sweep."""

    @property
    def workers(self) -> int:
        """How many trials are trained at a time."""

    @property
    def threads(self) -> int:
        """Threads of one trial."""

    @property
    def speeds(self) -> Mapping[int, training.Speed]:
        """Speed of one worker by latent_dim, as it is with all of them at work."""

    def parameters(self) -> dict[str, str | int]:
        """Return the run parameters that affect rounding: threads and devices."""

    def open(self) -> Worker:
        """Start the worker; closing it ends all that was started."""


EngineFactory: TypeAlias = Callable[["SweepSetup", int, Announce], Engine]
"""Makes the engine of a sweep, given its setup, the number of trials to train, and where to
announce measurements."""


def local_engine(workers: int | None, *, share_cores: bool = False) -> EngineFactory:
    """Return the factory of an engine on this machine.

    Parameters
    ----------
    workers
        Trials at a time: one in this process, more in a process each; None takes as many as a
        short measurement finds best.
    share_cores
        Whether to train trials of several dims at a time instead, where that is worth it.
    """
    return partial(_local_engine, workers, share_cores)


def _local_engine(
    wanted: int | None, share_cores: bool, setup: SweepSetup, trials: int, announce: Announce
) -> InlineEngine | WorkerPool:
    announce("measuring the speed of a few training steps")
    studies = sharing_studies(setup) if share_cores else 1
    if studies > 1:
        return measured_sharing(setup, studies, trials=trials)
    threads = fastest_threads(setup, announce) if trials else training.threads_per_worker(1)
    if wanted == 1 or trials <= 1:
        return measured_inline(setup, threads=threads)
    return measured_pool(setup, wanted, trials=trials, threads=threads, announce=announce)
