"""Results of benchmarks: one file per processor, one line per run, and nothing ever rewritten."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import Processor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.benchmark import Figures

RESULTS = Path(__file__).resolve().parent / "results" / "processors"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run of one benchmark."""

    benchmark: str
    processor: Processor
    date: str
    """ISO 8601."""
    versions: Mapping[str, str]
    """Of Python and the packages that decide the figures, by name."""
    note: str | None
    """What else the reader must know, such as other work on the machine."""
    figures: Figures


def add(result: Result, directory: Path) -> Path:
    """Append a result to the file of its processor, and return that file."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{result.processor.key}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(dataclasses.asdict(result), allow_nan=False) + "\n")
    return path


def read(directory: Path) -> list[Result]:
    """Read all results, by processor in the order of their keys, oldest first.

    Raises
    ------
    ValueError
        If a line is no result, or lies in the file of another processor.
    """
    return [result for path in sorted(directory.glob("*.jsonl")) for result in _read_file(path)]


def latest(results: list[Result], benchmark: str) -> list[Result]:
    """Choose each processor's last result of a benchmark."""
    of_processor = {each.processor.key: each for each in results if each.benchmark == benchmark}
    return list(of_processor.values())


def _read_file(path: Path) -> list[Result]:
    results = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            fields = json.loads(line)
            result = Result(**{**fields, "processor": Processor(**fields["processor"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, line {number} is not a result: {error}") from error
        if result.processor.key != path.stem:
            raise ValueError(f"{path}, line {number} is a result of {result.processor.title}")
        results.append(result)
    return results
