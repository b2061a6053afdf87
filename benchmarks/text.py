"""Markdown of the benchmarks: tables, spreads in cells, verdicts on targets."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def spread(values: Sequence[float]) -> dict[str, float]:
    """Summarise measurements: median, minimum and maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def paragraphs(*parts: str) -> str:
    """Join paragraphs and tables."""
    return "\n\n".join(parts)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table, the columns after the first aligned to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def cells(of: Mapping[str, float], form: str = ".2f", factor: float = 1.0) -> list[str]:
    """Format a spread as two cells: the median, and the range."""
    median, low, high = (format(of[key] * factor, form) for key in ("median", "min", "max"))
    return [median, f"{low} to {high}"]


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: ``1 round``, ``2 rounds``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def verdict(
    what: str, value: float, *, target: float, unit: str, form: str = ".2f", at_least: bool = False
) -> str:
    """Say whether a value stays below its target, or above it with ``at_least``."""
    met = value >= target if at_least else value <= target
    sign, word = "≥" if at_least else "≤", "met" if met else "**missed**"
    wanted, had = f"{target:g} {unit}".rstrip(), f"{value:{form}} {unit}".rstrip()
    return f"Target: {what} {sign} {wanted}: {word} ({had})."
