"""Progress of a running sweep: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ae_sweep.cli.console import stderr
from ae_sweep.messages import in_words
from ae_sweep.runner.event_text import counted_at_most, ended, note, settings, state
from ae_sweep.sweep import TrialEnded, TrialStarted, TrialValidated

if TYPE_CHECKING:
    from collections.abc import Generator

    from ae_sweep.runner.estimate import Estimate
    from ae_sweep.sweep import SweepEvent

T = TypeVar("T")


def show_progress(events: Generator[SweepEvent, None, T], *, estimate: Estimate) -> T:
    """Show events on stderr until there are no more, and return what the generator returns."""
    chosen = estimate.plan.config.auto is not None
    display = (
        _Live(estimate.trials)
        if stderr().is_terminal
        else _Lines(counted_at_most(estimate.trials, chosen=chosen))
    )
    forecast = estimate.forecast()
    with contextlib.closing(events), display:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                result: T = end.value
                return result
            forecast.take(event, now=time.monotonic())
            display.show(event, seconds_left=forecast.seconds_left)


class _Lines:
    """One line for everything that happens."""

    def __init__(self, trials: str) -> None:
        self._trials = trials
        self._ended = 0
        self._console = stderr()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: SweepEvent, *, seconds_left: float) -> None:
        """Print the event."""
        match event:
            case TrialStarted(trial=trial):
                self._console.print(Text(f"{trial.name}: {settings(trial)}"))
            case TrialValidated(trial=trial):
                for line in filter(None, (note(event), f"{trial.name}: {state(event)}")):
                    self._console.print(Text(line))
            case TrialEnded(trial=trial, again=again):
                self._ended += not again
                self._console.print(
                    Text(
                        f"[{self._ended}/{self._trials}] {trial.name}: {ended(event)}; "
                        f"about {in_words(seconds_left)} left"
                    )
                )


class _Live:
    """A bar for the sweep, a line for the running trial, and lasting lines for ended ones."""

    def __init__(self, trials: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=stderr(),
        )
        self._sweep = self._progress.add_task("sweep", total=trials, note="")
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> _Live:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: SweepEvent, *, seconds_left: float) -> None:
        """Move the bars, and print a line above them where a trial ended."""
        trial = event.trial
        match event:
            case TrialStarted():
                self._tasks[trial.name] = self._progress.add_task(
                    trial.name, total=trial.config.hyperparameters.epochs, note=settings(trial)
                )
            case TrialValidated(result=result):
                if line := note(event):
                    self._progress.console.print(Text(line))
                self._progress.update(
                    self._tasks[trial.name],  # type: ignore[arg-type]
                    completed=min(result.epoch, trial.config.hyperparameters.epochs),
                    note=state(event),
                )
            case TrialEnded():
                self._progress.remove_task(self._tasks.pop(trial.name))  # type: ignore[arg-type]
                self._progress.console.print(Text(f"{trial.name}: {ended(event)}"))
                self._progress.advance(self._sweep, 0 if event.again else 1)
        self._progress.update(self._sweep, note=f"about {in_words(seconds_left)} left")
