"""How a benchmark is run alone, and how its section of docs/benchmarks.md looks."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def main(measure: Callable[[], dict[str, Any]], report: Callable[[dict[str, Any]], str]) -> None:
    """Measure, and print the section, or the document with ``--json``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    as_json = parser.parse_args().json
    document = measure()
    print(json.dumps(document) if as_json else report(document))


def section(title: str, *paragraphs: str, name: str) -> str:
    """Join a section: its title, its paragraphs, the command that measured it."""
    command = f"Command: `python benchmarks/{name}.py`."
    return "\n\n".join([f"## {title}", *paragraphs, command])


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table, the columns after the first aligned to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def cells(spread: dict[str, float], form: str = ".2f", factor: float = 1.0) -> list[str]:
    """Tell a spread in two cells: the median, and the least to the most."""
    median, low, high = (format(spread[key] * factor, form) for key in ("median", "min", "max"))
    return [median, f"{low} to {high}"]


def verdict(
    what: str, value: float, *, target: float, unit: str, form: str = ".2f", at_least: bool = False
) -> str:
    """Say whether a value keeps below its target, or above it with ``at_least``."""
    met = value >= target if at_least else value <= target
    sign, word = "≥" if at_least else "≤", "met" if met else "**missed**"
    wanted, had = f"{target:g} {unit}".rstrip(), f"{value:{form}} {unit}".rstrip()
    return f"Target: {what} {sign} {wanted}: {word} ({had})."
