"""Runs the benchmarks, all but the long ones or those that are named, and writes the page.

Each runs in a process of its own, on a machine that should do nothing else. Its result is stored as
soon as it is measured; one that fails does not keep the others from running.

    python -m benchmarks.run_all startup studies
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import (
    analysis,
    busy,
    dims_auto,
    estimate,
    frontier_time,
    gpu,
    large_sweeps,
    nested,
    overhead,
    results,
    startup,
    streaming,
    studies,
    training,
    workers,
)
from benchmarks.machine import processor, versions
from benchmarks.page import PAGE, render
from benchmarks.timed import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.benchmark import Benchmark, Figures

ALL: tuple[Benchmark[Any], ...] = (
    training.BENCHMARK,
    frontier_time.BENCHMARK,
    nested.BENCHMARK,
    dims_auto.BENCHMARK,
    workers.BENCHMARK,
    busy.BENCHMARK,
    estimate.BENCHMARK,
    gpu.BENCHMARK,
    streaming.BENCHMARK,
    startup.BENCHMARK,
    overhead.BENCHMARK,
    studies.BENCHMARK,
    analysis.BENCHMARK,
    large_sweeps.BENCHMARK,
)
"""In the page's order."""


def main(words: Sequence[str] | None = None) -> int:
    """Measure what is named, store the results, write the page; return the exit status."""
    options = _options(words)
    failed = []
    for benchmark in [] if options.render else _chosen(options.names):
        if not options.smallest and (reason := benchmark.missing()) is not None:
            print(f"skipping {benchmark.name}: {reason}", file=sys.stderr)
            continue
        print(f"measuring {benchmark.name}", file=sys.stderr)
        try:
            figures = measured(benchmark, smallest=options.smallest)
        except subprocess.CalledProcessError:
            failed.append(benchmark.name)
            continue
        result = results.Result(
            benchmark=benchmark.name,
            processor=processor(),
            date=dt.date.today().isoformat(),
            versions=versions(),
            note=options.note,
            figures=figures,
        )
        print(f"stored in {results.add(result, options.results)}", file=sys.stderr)
    options.page.write_text(render(results.read(options.results), ALL), encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}; the reasons are above", file=sys.stderr)
    return 1 if failed else 0


def measured(benchmark: Benchmark[Any], *, smallest: bool = False) -> Figures:
    """Run one benchmark in a process of its own and return its figures.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; what it wrote to stderr is there already.
    """
    command = [sys.executable, "-m", f"benchmarks.{benchmark.name}", "--json"]
    done = subprocess.run(
        [*command, *(["--smallest"] if smallest else [])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: Figures = json.loads(done.stdout)
    return figures


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    names = [benchmark.name for benchmark in ALL]
    usual = ", ".join(benchmark.name for benchmark in _chosen([]))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run_all", description=__doc__.partition("\n")[0]
    )
    add = parser.add_argument
    add(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"one of {', '.join(names)}; without a name: {usual}",
    )
    add("--note", help="what the reader must know, such as other work beside it")
    add("--render", action="store_true", help="write the page, measure nothing")
    add("--results", type=Path, default=results.RESULTS, help="the directory of results")
    add("--page", type=Path, default=PAGE, help="the page to write")
    add("--smallest", action="store_true", help="check that they run; the figures mean nothing")
    options = parser.parse_args(words)
    if unknown := set(options.names) - set(names):
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}")
    if options.smallest and options.results.resolve() == results.RESULTS:
        parser.error("figures of the smallest size mean nothing; name other --results and --page")
    return options


def _chosen(names: Sequence[str]) -> list[Benchmark[Any]]:
    return [each for each in ALL if (each.name in names if names else not each.long)]


if __name__ == "__main__":
    sys.exit(main())
