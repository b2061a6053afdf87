"""Runs the benchmarks, all or those that are named, and writes docs/benchmarks.md.

Each runs in a process of its own, on a machine that should do nothing else. The sections of those
that were not run stay as they were.

    python benchmarks/run_all.py startup studies --json-dir benchmarks/results
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import machine

BENCHMARKS = (
    "training", "frontier_time", "nested", "workers", "startup", "overhead", "studies", "analysis",
)  # fmt: skip
"""Modules here with ``measure() -> dict`` and ``report(dict) -> str``, in the page's order."""
LONG = ("frontier_time", "nested")
"""They take many minutes, and run only where they are named."""

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEADER = """\
# Benchmarks

What ae-sweep costs, measured by [`make bench`](../benchmarks/run_all.py), which writes this page.
Each section tells its target, whether that was met, and the command that measured it; figures are
medians, with the least and the most.

The last run, of {names}: {date}, {machine}{note}.
"""


def main() -> None:
    """Measure what is named, then write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json-dir", type=Path, help="write each document there as NAME.json")
    parser.add_argument("--note", help="what else is to be known, such as other work beside it")
    arguments = parser.parse_args()
    usual = set(BENCHMARKS) - set(LONG)
    names = [name for name in BENCHMARKS if name in (arguments.names or usual)]
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}")
    date, note = f"{dt.date.today():%Y-%m-%d}", f"; {arguments.note}" if arguments.note else ""
    sections = sections_of(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    for name in names:
        print(f"measuring {name}", file=sys.stderr)
        document = measured(name)
        if arguments.json_dir is not None:
            arguments.json_dir.mkdir(parents=True, exist_ok=True)
            file = arguments.json_dir / f"{name}.json"
            file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        sections[name] = f"{importlib.import_module(name).report(document)} Run on {date}{note}."
        header = HEADER.format(names=", ".join(names), date=date, machine=in_words(), note=note)
        # After each of them, so that what took minutes is not lost with a later one that fails.
        PAGE.write_text(page_of(header, sections), encoding="utf-8")


def measured(name: str) -> dict[str, Any]:
    """Run one benchmark in a process of its own and tell its document."""
    command = [sys.executable, str(HERE / f"{name}.py"), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def sections_of(page: str) -> dict[str, str]:
    """Take a page apart: its sections by name."""
    found = re.findall(r"^<!-- (\w+) -->\n(.*?)\n<!-- end \1 -->$", page, re.DOTALL | re.MULTILINE)
    return {name: text.strip() for name, text in found}


def page_of(header: str, sections: dict[str, str]) -> str:
    """Put a page together, its sections in the order of the benchmarks."""
    marked = [
        f"<!-- {name} -->\n{sections[name]}\n<!-- end {name} -->"
        for name in BENCHMARKS
        if name in sections
    ]
    return "\n\n".join([header.strip(), *marked]) + "\n"


def in_words() -> str:
    """Tell the machine and the versions in a clause."""
    told = machine()
    versions = ", ".join(f"{name} {told[name]}" for name in ("python", "torch", "mlflow", "optuna"))
    gpu = "no CUDA device" if told["cuda"] == "none" else told["cuda"]
    return f"{told['processor']}, {told['threads']} threads, {gpu}, {versions}"


if __name__ == "__main__":
    main()
