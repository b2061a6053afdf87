"""Measures what starting costs: the help, and the imports until a process could train."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import section
from common import spread
from timed import AE_SWEEP, ROOT, timed

RUNS = 15
IMPORT_RUNS = 5
TARGET_SECONDS = 0.3
READY = {
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
"""What a process does before it does anything, by what it is for."""
IMPORT_LINE = re.compile(r"^import time:\s+\d+ \|\s+(\d+) \|( +)(\S+)$", re.MULTILINE)


def measure() -> dict[str, Any]:
    """Time the help 15 times, and each import in fresh processes, in turn."""
    helps = [timed([*AE_SWEEP, "--help"])["seconds"] for _ in range(RUNS)]
    rounds = [
        {
            name: timed([sys.executable, "-c", code], cwd=ROOT)["seconds"]
            for name, code in READY.items()
        }
        for _ in range(IMPORT_RUNS)
    ]
    return {
        "help_seconds": spread(helps),
        "runs": RUNS,
        "import_runs": IMPORT_RUNS,
        "process_seconds": {name: spread([one[name] for one in rounds]) for name in READY},
        "importtime_training": import_seconds("ae_sweep.training"),
    }


def import_seconds(module: str, *, count: int = 6) -> dict[str, float]:
    """Tell the dearest imports below a module by ``-X importtime``, in seconds with their own."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    totals = {name: int(us) / 1e6 for us, _, name in IMPORT_LINE.findall(done.stderr)}
    dearest = sorted(totals.items(), key=lambda item: -item[1])
    return dict(dearest[:count])


def report(document: dict[str, Any]) -> str:
    """Tell the figures as a section of docs/benchmarks.md."""
    rows = [["`ae-sweep --help`", *section.cells(document["help_seconds"])]]
    rows += [[f"`{name}`", *section.cells(of)] for name, of in document["process_seconds"].items()]
    dearest = ", ".join(
        f"{name} {seconds:.2f} s" for name, seconds in document["importtime_training"].items()
    )
    return section.section(
        "Starting",
        f"Wall time of whole processes, the interpreter's own start included: the help "
        f"{document['runs']} times, each import {document['import_runs']} times in turn.",
        section.table(["process", "s, median", "min to max"], rows),
        f"The dearest imports of `ae_sweep.training` by `-X importtime`, each with all below it: "
        f"{dearest}.",
        section.verdict(
            "`ae-sweep --help`", document["help_seconds"]["median"], target=TARGET_SECONDS, unit="s"
        ),
        name="startup",
    )


if __name__ == "__main__":
    section.main(measure, report)
