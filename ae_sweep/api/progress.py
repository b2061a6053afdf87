"""Progress of a sweep run from Python: a bar in a terminal or notebook, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from typing import TYPE_CHECKING, Any

from ae_sweep.messages import in_words
from ae_sweep.runner.event_text import counted_at_most, ended, note, state
from ae_sweep.runner.execution import SweepPlanned
from ae_sweep.sweep import TrialEnded, TrialValidated

if TYPE_CHECKING:
    from collections.abc import Generator

    from ae_sweep.runner.estimate import Estimate
    from ae_sweep.runner.execution import FinishedSweep, RunEvent


class Silent:
    """Shows nothing."""

    def announce(self, line: str) -> None:
        """Drop a line."""

    def show(self, events: Generator[RunEvent, None, FinishedSweep]) -> FinishedSweep:
        """Run the events to their end and return their result."""
        with contextlib.closing(events):
            while True:
                try:
                    self.take(next(events))
                except StopIteration as end:
                    result: FinishedSweep = end.value
                    return result

    def take(self, event: RunEvent) -> None:
        """Drop an event."""


class Progress(Silent):
    """Shows a sweep on stderr.

    The bar counts trials; a line above it stays for each trial that ended. Where stderr is neither
    a terminal nor a notebook, only the lines are written.
    """

    def __init__(self) -> None:
        self._tqdm = _tqdm()
        self._bar: Any = None

    def announce(self, line: str) -> None:
        """Write a line that stays."""
        self._tqdm.write(line, file=sys.stderr)

    def show(self, events: Generator[RunEvent, None, FinishedSweep]) -> FinishedSweep:
        """Show the events to their end and return their result."""
        try:
            return super().show(events)
        finally:
            if self._bar is not None:
                self._bar.close()

    def take(self, event: RunEvent) -> None:
        """Show an event."""
        if isinstance(event, SweepPlanned):
            self._begin(event.estimate)
            return
        self._forecast.take(event, now=time.monotonic())
        left = f"about {in_words(self._forecast.seconds_left)} left"
        match event:
            case TrialValidated(trial=trial):
                if line := note(event):
                    self.announce(line)
                self._bar.set_postfix_str(f"{trial.name}: {state(event)}; {left}")
            case TrialEnded(trial=trial):
                self.announce(f"{trial.name}: {ended(event)}; {left}")
                self._bar.update(0 if event.again else 1)

    def _begin(self, estimate: Estimate) -> None:
        name, trials = estimate.plan.config.name, estimate.trials
        count = counted_at_most(trials, chosen=estimate.plan.config.auto is not None)
        self.announce(f"{name}: {count} to train, about {in_words(estimate.expected_seconds)}")
        self._forecast = estimate.forecast()
        self._bar = self._tqdm(total=trials, desc=name, unit="trial", disable=not _is_interactive())


def _is_interactive() -> bool:
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")


def _tqdm() -> Any:
    # tqdm.auto warns in a notebook that lacks ipywidgets; the text bar works there too.
    if importlib.util.find_spec("ipywidgets") is not None:
        from tqdm.auto import tqdm
    else:
        from tqdm.std import tqdm
    return tqdm
