"""Busy machine: how much longer a sweep takes while another program keeps one core busy."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.benchmark import Benchmark, Figures
from benchmarks.images import MNIST, Images
from benchmarks.text import cells, counted, paragraphs, spread, table, verdict
from benchmarks.timed import AE_SWEEP, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = 2.2


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    images: Images
    dims: tuple[int, ...]
    rounds: int


def measure(size: Size) -> Figures:
    """Run the same sweep alone and beside a busy program, in turns."""
    alone, beside = [], []
    for _ in range(size.rounds):
        alone.append(_sweep_seconds(size))
        with _busy_core():
            beside.append(_sweep_seconds(size))
    return {
        "dataset": size.images.dataset,
        "train_limit": size.images.train_limit,
        "dims": list(size.dims),
        "rounds": size.rounds,
        "seconds": {"alone": spread(alone), "beside": spread(beside)},
        "ratio": spread([two / one for one, two in zip(alone, beside, strict=True)]),
    }


@contextlib.contextmanager
def _busy_core() -> Iterator[None]:
    other = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def _sweep_seconds(size: Size) -> float:
    with tempfile.TemporaryDirectory(prefix="ae-sweep-busy-") as directory:
        sweep = (
            "run", "--dims", *map(str, size.dims), "--trials", "1", "--epochs", "1",
            "--lr", "4e-3", "--dataset", size.images.dataset,
            "--train-limit", str(size.images.train_limit),
        )  # fmt: skip
        started = time.perf_counter()
        timed([*AE_SWEEP, *sweep], cwd=Path(directory))
        return time.perf_counter() - started


def report(figures: Figures) -> str:
    """Render the figures."""
    rows = [
        ("alone", *cells(figures["seconds"]["alone"], ".1f")),
        ("beside a busy program", *cells(figures["seconds"]["beside"], ".1f")),
        ("ratio", *cells(figures["ratio"])),
    ]
    return paragraphs(
        f"One trial of one epoch of {figures['train_limit']:,} images of {figures['dataset']} "
        f"at each d = {', '.join(map(str, figures['dims']))}, "
        f"{counted(figures['rounds'], 'round')}.",
        table(("sweep", "s, median", "min to max"), rows),
        verdict("times as long", figures["ratio"]["median"], target=TARGET, unit="×"),
    )


BENCHMARK = Benchmark(
    name="busy",
    title="Beside a busy program",
    about="A whole sweep alone, and beside a program that computes on one core all the time, in "
    "turns. Start-up and tracking are in the time.",
    measure=measure,
    report=report,
    full=Size(images=Images(MNIST.dataset, train_limit=25_000), dims=(8, 32), rounds=3),
    smallest=Size(images=Images("shapes", train_limit=128), dims=(2,), rounds=1),
)

if __name__ == "__main__":
    BENCHMARK.main()
