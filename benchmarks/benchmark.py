"""The form of a benchmark: a measurement at a given size, and a report of its figures."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Figures: TypeAlias = "dict[str, Any]"
"""What a benchmark measured, as a JSON-able value."""

SizeT = TypeVar("SizeT")


def _nothing() -> None:
    """Return that nothing is missing."""


@dataclass(frozen=True, kw_only=True)
class Benchmark(Generic[SizeT]):
    """A measurement of one part of ae-sweep."""

    name: str
    """Of the module and of the section in docs/benchmarks.md."""
    title: str
    about: str
    """One paragraph that holds on every machine: what is measured, and how."""
    measure: Callable[[SizeT], Figures]
    report: Callable[[Figures], str]
    """Renders figures as Markdown: tables, and each target with its verdict."""
    full: SizeT
    smallest: SizeT
    """Runs every line of ``measure`` in seconds; its figures mean nothing."""
    long: bool = False
    """Whether it takes so many minutes that it runs only where it is named."""

    missing: Callable[[], str | None] = _nothing
    """Returns what this machine lacks for the full size, in words."""

    @property
    def command(self) -> str:
        """The command that measures it alone."""
        return f"python -m benchmarks.{self.name}"

    def main(self) -> None:
        """Measure, and print the report, or the figures with ``--json``."""
        parser = argparse.ArgumentParser(prog=self.command, description=self.about)
        parser.add_argument("--json", action="store_true", help="print the figures as JSON")
        parser.add_argument(
            "--smallest", action="store_true", help="check that it runs; the figures mean nothing"
        )
        options = parser.parse_args()
        figures = self.measure(self.smallest if options.smallest else self.full)
        print(json.dumps(figures) if options.json else self.report(figures))
