"""Start-up time: the help, and the imports until a process could train."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.benchmark import Benchmark, Figures
from benchmarks.text import cells, counted, paragraphs, spread, table, verdict
from benchmarks.timed import AE_SWEEP, ROOT, timed

TARGET_SECONDS = 0.3
PROCESSES = {
    "import torch": "import torch",
    "import ae_sweep.training": "import ae_sweep.training",
    "... and make an optimiser": (
        "import torch, ae_sweep.training; torch.optim.Adam([torch.zeros(1, requires_grad=True)])"
    ),
    "import ae_sweep.analysis": "import ae_sweep.analysis",
    "import ae_sweep.sweep": "import ae_sweep.sweep",
    "import ae_sweep.tracking": "import ae_sweep.tracking",
    "import ae_sweep.plots": "import ae_sweep.plots",
}
"""Code that is run in a fresh process, by its label."""
IMPORT_LINE = re.compile(r"^import time:\s+\d+ \|\s+(\d+) \|( +)(\S+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    runs: int
    """Of the help."""
    import_runs: int
    """Of each process."""
    processes: tuple[str, ...]
    """Labels of `PROCESSES`."""
    profiled: str
    """The module whose imports are listed by cost."""


def measure(size: Size) -> Figures:
    """Time the help, and each import in fresh processes, in turn."""
    helps = [timed([*AE_SWEEP, "--help"])["seconds"] for _ in range(size.runs)]
    rounds = [
        {
            name: timed([sys.executable, "-c", PROCESSES[name]], cwd=ROOT)["seconds"]
            for name in size.processes
        }
        for _ in range(size.import_runs)
    ]
    return {
        "help_seconds": spread(helps),
        "runs": size.runs,
        "import_runs": size.import_runs,
        "process_seconds": {name: spread([one[name] for one in rounds]) for name in size.processes},
        "profiled": size.profiled,
        "import_seconds": import_seconds(size.profiled),
    }


def import_seconds(module: str, *, count: int = 6) -> dict[str, float]:
    """Return the slowest imports below a module by ``-X importtime``, nested ones included."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    totals = {name: int(us) / 1e6 for us, _, name in IMPORT_LINE.findall(done.stderr)}
    slowest = sorted(totals.items(), key=lambda item: -item[1])
    return dict(slowest[:count])


def report(figures: Figures) -> str:
    """Render the figures."""
    rows = [["`ae-sweep --help`", *cells(figures["help_seconds"])]]
    rows += [[f"`{name}`", *cells(of)] for name, of in figures["process_seconds"].items()]
    slowest = ", ".join(
        f"{name} {seconds:.2f} s" for name, seconds in figures["import_seconds"].items()
    )
    return paragraphs(
        f"The help {counted(figures['runs'], 'time')}, each import "
        f"{counted(figures['import_runs'], 'time')} in turn.",
        table(["process", "s, median", "min to max"], rows),
        f"The slowest imports of `{figures['profiled']}` by `-X importtime`, each with all "
        f"below it: {slowest}.",
        verdict(
            "`ae-sweep --help`",
            figures["help_seconds"]["median"],
            target=TARGET_SECONDS,
            unit="s",
        ),
    )


BENCHMARK = Benchmark(
    name="startup",
    title="Starting",
    about="Wall time of whole processes, the interpreter's own start included.",
    measure=measure,
    report=report,
    full=Size(runs=15, import_runs=5, processes=tuple(PROCESSES), profiled="ae_sweep.training"),
    smallest=Size(
        runs=1, import_runs=1, processes=("import ae_sweep.analysis",), profiled="ae_sweep.analysis"
    ),
)

if __name__ == "__main__":
    BENCHMARK.main()
