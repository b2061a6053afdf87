"""Progress of a measurement of rates: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ae_sweep.cli.console import say, stderr

if TYPE_CHECKING:
    from collections.abc import Generator

    from ae_sweep.inspection import MeasuredRates, RateProgress


def show_measuring(measuring: Generator[RateProgress, None, MeasuredRates]) -> MeasuredRates:
    """Run a measurement to its end, shown on stderr, and return its result."""
    from ae_sweep.inspection.rates import finish

    return _live(measuring) if stderr().is_terminal else finish(measuring, say)


def _live(measuring: Generator[RateProgress, None, MeasuredRates]) -> MeasuredRates:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    began = time.monotonic()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=stderr(), transient=True) as bar:
        task = bar.add_task("measuring rates", total=1.0, note="", visible=False)
        while True:
            try:
                progress = next(measuring)
            except StopIteration as end:
                result: MeasuredRates = end.value
                return result
            seconds = time.monotonic() - began
            note = f"{progress.name}{progress.time_left(seconds)}"
            bar.update(task, completed=progress.share, note=note, visible=True)
