"""Start-up time: the help, and the imports until a process could train."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.benchmark import Benchmark, Figures
from benchmarks.text import cells, counted, paragraphs, spread, table, verdict
from benchmarks.timed import AE_SWEEP, ROOT, timed

TARGET_SECONDS = 0.2
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
CLIENT, DATABASE = "from mlflow import MlflowClient", "mlflow.store.tracking.sqlalchemy_store"
MLFLOW = {CLIENT: CLIENT, f"import {DATABASE}": f"import {DATABASE}"}
"""What MLflow itself takes: its client, and what the client imports to read from a database."""
READING = ("list", "show", "frontier")
"""Commands that read from a store."""
TARGET_RATIO = 1.3
SMALL_SWEEP = (
    "run", "--dims", "2", "4", "--dataset", "shapes", "--train-limit", "128", "--epochs", "1",
    "--trials", "1", "--model", "mlp",
)  # fmt: skip
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
    reading = _reading_seconds(size.import_runs)
    return {
        "help_seconds": spread(helps),
        "runs": size.runs,
        "import_runs": size.import_runs,
        "process_seconds": {name: spread([one[name] for one in rounds]) for name in size.processes},
        "reading_seconds": {name: spread(seconds) for name, seconds in reading.items()},
        "ratio": {
            command: {
                name: spread([one / other for one, other in zip(reading[command], of, strict=True)])
                for name, of in reading.items()
                if name in MLFLOW
            }
            for command in READING
        },
        "profiled": size.profiled,
        "import_seconds": import_seconds(size.profiled),
    }


def _reading_seconds(rounds: int) -> dict[str, list[float]]:
    """Time commands on a small store, and what MLflow itself takes, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in (*MLFLOW, *READING)}
    with tempfile.TemporaryDirectory(prefix="ae-sweep-startup-") as directory:
        place = Path(directory)
        timed([*AE_SWEEP, *SMALL_SWEEP], cwd=place)
        for _ in range(rounds):
            for name, program in MLFLOW.items():
                seconds[name].append(timed([sys.executable, "-c", program], cwd=place)["seconds"])
            for command in READING:
                seconds[command].append(timed([*AE_SWEEP, command], cwd=place)["seconds"])
    return seconds


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
        *_report_reading(figures),
    )


def _report_reading(figures: Figures) -> list[str]:
    """Render what commands take that read from a store; results of earlier versions have none."""
    if "ratio" not in figures:
        return []
    rows = [
        [f"`{name if name in MLFLOW else f'ae-sweep {name}'}`", *cells(of)]
        for name, of in figures["reading_seconds"].items()
    ]
    ratios = [
        [f"`ae-sweep {command}` over `{name}`", *cells(of)]
        for command, by_name in figures["ratio"].items()
        for name, of in by_name.items()
    ]
    worst = max(of[CLIENT]["median"] for of in figures["ratio"].values())
    return [
        "Commands on a store of two trials, and what MLflow itself takes, in turns:",
        table(["process", "s, median", "min to max"], rows),
        table(["ratio", "median", "min to max"], ratios),
        verdict(f"any of them over `{CLIENT}`", worst, target=TARGET_RATIO, unit="×"),
    ]


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
