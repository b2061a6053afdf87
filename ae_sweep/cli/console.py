"""Output to the two streams: data to stdout, messages and progress to stderr; without markup."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ae_sweep.cli.closed_output import is_closed
from ae_sweep.messages import redacted, visible

if TYPE_CHECKING:
    from ae_sweep import tables

MAX_TABLE_WIDTH = 10_000
"""In columns; a sweep's list of dims alone can take thousands."""


class _Output(Console):
    """A console that leaves a closed pipe to the command; rich's own ends the process."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - rich calls it while it handles the error


def stderr() -> Console:
    """Return the console for progress and messages."""
    return _Output(stderr=True, highlight=False, markup=False, soft_wrap=True)


def say(message: str) -> None:
    """Print a message to stderr without credentials; it is lost where nobody reads any more."""
    try:
        stderr().print(Text(redacted(message)))
    except OSError as error:
        if not is_closed(error):
            raise


def print_json(document: object) -> None:
    """Print a document to stdout as JSON."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_table(table: tables.Table) -> None:
    """Print a table to stdout; numbers are right-aligned."""
    printed = Table(box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        printed.add_column(
            Text(visible(column.title)),
            justify="right" if column.is_numeric else "left",
            no_wrap=True,
        )
    for row in table.texts():
        printed.add_row(*(Text(visible(cell, MAX_TABLE_WIDTH)) for cell in row))
    console = _Output(highlight=False, markup=False)
    # Wider than the terminal rather than truncated: it is data.
    options = console.options.update(max_width=MAX_TABLE_WIDTH)
    console.width = Measurement.get(console, options, printed).maximum
    console.print(printed)
