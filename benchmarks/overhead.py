"""Measures what a trial costs beside its training: asking, tracking, telling.

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
from typing import TYPE_CHECKING, Any
from unittest import mock

import section
from common import spread

from ae_sweep import sweep
from ae_sweep.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

DIMS = (2, 8, 32, 128, 1024)
TRIALS_PER_DIM = 10
TARGET_SECONDS = 1.0
OPTIONS = "--dataset shapes --train-limit 512 --epochs 1 --pruner none"
COMMAND = f"run --dims {' '.join(map(str, DIMS))} --trials {TRIALS_PER_DIM} {OPTIONS}"

TRAINING = "training and evaluation"
REST = "driver and display"
PARTS = {
    "ae_sweep.training.trainer.Trainer.train_until": TRAINING,
    "ae_sweep.training.trainer.mean_squared_error": TRAINING,
    "ae_sweep.sweep.worker.InlineWorker.next_event": "model made, handed over",
    "ae_sweep.sweep.study.DimStudy.ask": "ask",
    "ae_sweep.sweep.study.DimStudy.report": "tell",
    "ae_sweep.sweep.study.DimStudy.complete": "tell",
    "ae_sweep.tracking.writer.SweepWriter.start_trial": "start_trial",
    "ae_sweep.tracking.writer.TrialWriter.log_epoch": "log_epoch",
    "ae_sweep.tracking.writer.TrialWriter.finish": "picture stored, run ended",
    "ae_sweep.tracking.models.log_model": "model",
    "ae_sweep.plots.reconstructions_figure": "picture",
    "ae_sweep.plots.render": "picture",
}
"""What is timed, and as which part; a part's time is without that of the parts it calls."""


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


def measure() -> dict[str, Any]:
    """Run a sweep of 50 tiny trials and tell where the time went."""
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as directory, _watching(stopwatch):
        status = _run_quietly([*COMMAND.split(), "--store", directory])
    expected = len(DIMS) * TRIALS_PER_DIM
    if status or len(stopwatch.trials) != expected:
        raise RuntimeError(f"{len(stopwatch.trials)} of {expected} trials ended; status {status}")
    of_dim: dict[int, list[dict[str, float]]] = defaultdict(list)
    for trial in stopwatch.trials:
        of_dim[int(trial.pop("latent_dim"))].append(trial)
    return {
        "command": f"ae-sweep {COMMAND}",
        "trials": expected,
        "wall_seconds": _spread(stopwatch.trials, lambda trial: sum(trial.values())),
        "overhead_seconds": _spread(stopwatch.trials, _overhead),
        "overhead_seconds_by_dim": {
            dim: _spread(trials, _overhead) for dim, trials in of_dim.items()
        },
        "part_seconds": {
            part: _spread(stopwatch.trials, lambda trial, part=part: trial.get(part, 0.0))
            for part in [*dict.fromkeys(PARTS.values()), REST]
        },
    }


def report(document: dict[str, Any]) -> str:
    """Tell the figures as a section of docs/benchmarks.md."""
    rows = [[part, *section.cells(of, ".3f")] for part, of in document["part_seconds"].items()]
    rows.append(["wall time", *section.cells(document["wall_seconds"], ".3f")])
    rows.append(["**overhead**", *section.cells(document["overhead_seconds"], ".3f")])
    by_dim = ", ".join(
        f"d={dim}: {of['median']:.2f} s" for dim, of in document["overhead_seconds_by_dim"].items()
    )
    return section.section(
        "Overhead of a trial",
        f"`{document['command']}`: {document['trials']} trials on generated images, in one process "
        "through the command line. A trial lasts from the end of the one before to its own; its "
        "overhead is all of that but the trainer's steps and its measurements of validation and "
        "test images. Nothing is pruned, so every trial has its picture and its model; the first "
        "trial pays for what is imported late.",
        section.table(["part", "s a trial, median", "min to max"], rows),
        f"Overhead by dim, median: {by_dim}.",
        section.verdict(
            "overhead", document["overhead_seconds"]["median"], target=TARGET_SECONDS, unit="s"
        ),
        name="overhead",
    )


@contextlib.contextmanager
def _watching(stopwatch: Stopwatch) -> Iterator[None]:
    with contextlib.ExitStack() as patches:
        for target, part in PARTS.items():
            function = pkgutil.resolve_name(target)
            patches.enter_context(mock.patch(target, stopwatch.timed(function, part)))
        run = stopwatch.watched(sweep.Driver.run)
        patches.enter_context(mock.patch.object(sweep.Driver, "run", run))
        yield


def _run_quietly(words: list[str]) -> int:
    """Run ae-sweep in this process without its table; tell its exit status."""
    with contextlib.redirect_stdout(io.StringIO()):
        return app(args=words, standalone_mode=False) or 0


def _overhead(trial: dict[str, float]) -> float:
    return sum(trial.values()) - trial[TRAINING]


def _spread(
    trials: list[dict[str, float]], value: Callable[[dict[str, float]], float]
) -> dict[str, float]:
    return spread([value(trial) for trial in trials])


if __name__ == "__main__":
    section.main(measure, report)
