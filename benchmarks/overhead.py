"""Overhead of a trial: what it costs beside its training, from asking a study to ending its run.

Two measurements. The first finds where the time goes; the second compares whole trials with their
bare training, in turns.

A real sweep runs in this process, through the command line, with a stopwatch at its parts. Every
moment belongs to exactly one part, so that the parts of a trial sum up to its wall time. Its
overhead is all of it but the trainer's steps and evaluations.
"""

from __future__ import annotations

import contextlib
import functools
import io
import pkgutil
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import ae_sweep
from ae_sweep import sweep, training
from ae_sweep.cli.app import app
from ae_sweep.config import Range
from benchmarks.benchmark import Benchmark, Figures
from benchmarks.text import cells, counted, paragraphs, spread, table, verdict
from benchmarks.timed import own_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

TARGET_SECONDS = 1.0
TARGET_PERCENT = 2.0
"""Of a bare training of one epoch of MNIST, that tracking and all that makes a trial safe cost."""

TRAINING = "training and evaluation"
REST = "driver and display"
PARTS = {
    "ae_sweep.training.trainer.Trainer.train_until": TRAINING,
    "ae_sweep.training.trainer.mean_squared_error": TRAINING,
    "ae_sweep.sweep.worker.InlineWorker.next_event": "model made, handed over",
    "ae_sweep.sweep.study.ConditionStudy.ask": "ask",
    "ae_sweep.sweep.study.ConditionStudy.report": "tell",
    "ae_sweep.sweep.study.ConditionStudy.complete": "tell",
    "ae_sweep.tracking.writer.SweepWriter.start_trial": "start_trial",
    "ae_sweep.tracking.writer.TrialWriter.log_epoch": "log_epoch",
    "ae_sweep.tracking.writer.TrialWriter.finish": "picture stored, run ended",
    "ae_sweep.tracking.models.log_model": "model",
    "ae_sweep.ownership.Holding.check": "owner checked",
    "ae_sweep.plots.reconstructions_figure": "picture",
    "ae_sweep.plots.render": "picture",
}
"""What is timed, and as which part; a part's time is without that of the parts it calls."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Trials of one epoch, and the bare training of each."""

    dataset: str
    latent_dim: int
    pairs: int
    train_limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    dims: tuple[int, ...]
    trials_per_dim: int
    train_limit: int
    pairs: Pairs

    @property
    def command(self) -> str:
        """The sweep, as it is typed after ``ae-sweep``."""
        return (
            f"run --dims {' '.join(map(str, self.dims))} --trials {self.trials_per_dim} "
            f"--dataset shapes --train-limit {self.train_limit} --epochs 1 --pruner none"
        )


class Stopwatch:
    """Shares wall time out among parts, trial by trial."""

    def __init__(self) -> None:
        self.trials: list[dict[str, float]] = []
        self._part = REST
        self._since = 0.0
        self._seconds: dict[str, float] = defaultdict(float)

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Wrap a function, so that its time goes to ``part``."""

        @functools.wraps(function)
        def wrapper(*arguments: Any, **named: Any) -> Any:
            outer = self._switch(part)
            try:
                return function(*arguments, **named)
            finally:
                self._switch(outer)

        return wrapper

    def watched(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the driver's ``run``: a trial lasts from the end of the one before to its own."""

        def wrapper(driver: sweep.Driver) -> Generator[sweep.SweepEvent, None, None]:
            self._since = time.perf_counter()
            for event in run(driver):
                yield event
                if isinstance(event, sweep.TrialEnded):
                    self._switch(REST)
                    dim = event.trial.config.latent_dim
                    self.trials.append({**self._seconds, "latent_dim": dim})
                    self._seconds.clear()

        return wrapper

    def _switch(self, part: str) -> str:
        now, outer = time.perf_counter(), self._part
        self._seconds[outer] += now - self._since
        self._since, self._part = now, part
        return outer


def measure(size: Size) -> Figures:
    """Run a sweep of tiny trials and share its time out among the parts."""
    stopwatch = Stopwatch()
    with (
        tempfile.TemporaryDirectory(prefix="ae-sweep-overhead-") as store,
        watching(stopwatch, PARTS),
    ):
        status = _run_quietly([*size.command.split(), "--store", store])
    expected = len(size.dims) * size.trials_per_dim
    if status or len(stopwatch.trials) != expected:
        raise RuntimeError(f"{len(stopwatch.trials)} of {expected} trials ended; status {status}")
    of_dim: dict[int, list[float]] = defaultdict(list)
    for trial in stopwatch.trials:
        of_dim[int(trial.pop("latent_dim"))].append(_overhead(trial))
    parts = [*dict.fromkeys(PARTS.values()), REST]
    return {
        "command": f"ae-sweep {size.command}",
        "trials": expected,
        "wall_seconds": spread([sum(trial.values()) for trial in stopwatch.trials]),
        "overhead_seconds": spread([_overhead(trial) for trial in stopwatch.trials]),
        "overhead_seconds_by_dim": {
            str(dim): spread(overheads)["median"] for dim, overheads in of_dim.items()
        },
        "part_seconds": {
            part: spread([trial.get(part, 0.0) for trial in stopwatch.trials]) for part in parts
        },
        "whole_trials": _compare(size.pairs),
    }


def _compare(pairs: Pairs) -> Figures:
    """Train the trials of a sweep, and after each of them the same without anything around it."""
    whole, bare = [], []
    settings: ae_sweep.SweepSettings = {
        "dataset": pairs.dataset,
        "dims": [pairs.latent_dim],
        "trials": 1 + pairs.pairs,
        "lr": Range(1e-3, 1e-2),
        "epochs": 1,
        "sampler": "random",
        "pruner": "none",
        "workers": 1,
    }
    if pairs.train_limit is not None:
        settings["train_limit"] = pairs.train_limit
    with tempfile.TemporaryDirectory(prefix="ae-sweep-overhead-") as store, own_variables():
        events = ae_sweep.iter_sweep("overhead", store=store, **settings)
        with contextlib.closing(events):
            planned = next(events)
            assert isinstance(planned, ae_sweep.SweepPlanned), "it comes first"
            setup = planned.estimate.setup
            for number in range(1 + pairs.pairs):
                started = _clocks()
                trial = next(e for e in events if isinstance(e, ae_sweep.TrialEnded)).trial
                around = _since(started)
                started = _clocks()
                _exhaust(training.train(trial.config, setup.images, precision=setup.precision))
                if number:  # the first pays for what is imported late
                    whole.append(around)
                    bare.append(_since(started))
    clocks = ("processor", "wall")
    return {
        "dataset": pairs.dataset,
        "latent_dim": pairs.latent_dim,
        "pairs": pairs.pairs,
        "bare_seconds": {
            clock: spread([each[index] for each in bare]) for index, clock in enumerate(clocks)
        },
        "overhead_percent": {
            clock: spread(
                [
                    100 * (one[index] / other[index] - 1)
                    for one, other in zip(whole, bare, strict=True)
                ]
            )
            for index, clock in enumerate(clocks)
        },
    }


def _clocks() -> tuple[float, float]:
    """Return the processor time of all threads, and the time on the wall."""
    return time.process_time(), time.perf_counter()


def _since(started: tuple[float, float]) -> tuple[float, float]:
    processor, wall = _clocks()
    return processor - started[0], wall - started[1]


def _exhaust(running: training.Training) -> None:
    for _ in running:
        pass


def report(figures: Figures) -> str:
    """Render the figures."""
    rows = [[part, *cells(of, ".3f")] for part, of in figures["part_seconds"].items()]
    rows.append(["wall time", *cells(figures["wall_seconds"], ".3f")])
    rows.append(["**overhead**", *cells(figures["overhead_seconds"], ".3f")])
    by_dim = ", ".join(
        f"d={dim}: {seconds:.2f} s" for dim, seconds in figures["overhead_seconds_by_dim"].items()
    )
    return paragraphs(
        f"`{figures['command']}`: {counted(figures['trials'], 'trial')}.",
        table(["part", "s per trial, median", "min to max"], rows),
        f"Overhead by dim, median: {by_dim}.",
        verdict("overhead", figures["overhead_seconds"]["median"], target=TARGET_SECONDS, unit="s"),
        *_report_whole(figures.get("whole_trials")),
    )


def _report_whole(figures: Figures | None) -> list[str]:
    """Render the comparison of whole trials; results of earlier versions have none."""
    if figures is None:
        return []
    rows = [
        [
            f"{clock} time",
            *cells(figures["bare_seconds"][clock], ".2f"),
            *cells(figures["overhead_percent"][clock], "+.1f"),
        ]
        for clock in figures["bare_seconds"]
    ]
    processor = figures["overhead_percent"]["processor"]["median"]
    what = f"Trials of one epoch of {figures['dataset']} at d={figures['latent_dim']}"
    return [
        f"{what} and their bare training, in turns: {counted(figures['pairs'], 'pair')}.",
        table(["clock", "bare, s", "min to max", "more for the trial, %", "min to max"], rows),
        verdict("processor time beside the training", processor, target=TARGET_PERCENT, unit="%"),
    ]


@contextlib.contextmanager
def watching(stopwatch: Stopwatch, parts: Mapping[str, str]) -> Iterator[None]:
    """Share out the time of functions, by their dotted names, for the length of a block."""
    with contextlib.ExitStack() as patches:
        for target, part in parts.items():
            function = pkgutil.resolve_name(target)
            patches.enter_context(mock.patch(target, stopwatch.timed(function, part)))
        run = stopwatch.watched(sweep.Driver.run)
        patches.enter_context(mock.patch.object(sweep.Driver, "run", run))
        yield


def _run_quietly(words: list[str]) -> int:
    """Run ae-sweep in this process without its table; return its exit status."""
    with contextlib.redirect_stdout(io.StringIO()), own_variables():
        return app(args=words, standalone_mode=False) or 0


def _overhead(trial: dict[str, float]) -> float:
    return sum(trial.values()) - trial[TRAINING]


BENCHMARK = Benchmark(
    name="overhead",
    title="Overhead of a trial",
    about="A sweep of generated images, in one process through the command line. A trial lasts "
    "from the end of the one before to its own; its overhead is all of that but the trainer's "
    "steps and its measurements of validation and test images. Nothing is pruned, so every trial "
    "has its picture and its model; the first trial pays for what is imported late. Whole trials "
    "of MNIST, with search, tracking, a journal at hand, checkpoints and the check of who runs the "
    "sweep, are compared with their training alone. In one process there is no watchdog: that of "
    "worker processes is the limit of a wait that there is anyway.",
    measure=measure,
    report=report,
    full=Size(
        dims=(2, 8, 32, 128, 1024),
        trials_per_dim=10,
        train_limit=512,
        pairs=Pairs(dataset="mnist", latent_dim=32, pairs=8),
    ),
    smallest=Size(
        dims=(2,),
        trials_per_dim=2,
        train_limit=128,
        pairs=Pairs(dataset="shapes", latent_dim=2, pairs=2, train_limit=256),
    ),
)

if __name__ == "__main__":
    BENCHMARK.main()
