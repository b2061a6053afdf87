"""Parallel trials: how many trials an hour several workers finish, and one alone."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.benchmark import Benchmark, Figures
from benchmarks.images import MNIST, Images
from benchmarks.text import cells, counted, paragraphs, spread, table, verdict
from benchmarks.timed import AE_SWEEP, timed

WORKERS = (1, 2)
TARGET = 1.2


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    images: Images
    dims: tuple[int, ...]
    trials_per_dim: int
    rounds: int


def measure(size: Size) -> Figures:
    """Run the same sweep with each number of workers, in turns."""
    trials = size.trials_per_dim * len(size.dims)
    rates: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for _ in range(size.rounds):
        for workers in WORKERS:
            rates[workers].append(3600 * trials / _sweep_seconds(size, workers))
    gains = [two / one for one, two in zip(*rates.values(), strict=True)]
    return {
        "dataset": size.images.dataset,
        "train_limit": size.images.train_limit,
        "dims": list(size.dims),
        "trials": trials,
        "rounds": size.rounds,
        "trials_per_hour": {str(workers): spread(rate) for workers, rate in rates.items()},
        "gain": spread(gains),
    }


def _sweep_seconds(size: Size, workers: int) -> float:
    with tempfile.TemporaryDirectory(prefix="ae-sweep-workers-") as directory:
        sweep = (
            "run", "--dims", *map(str, size.dims), "--trials", str(size.trials_per_dim),
            "--epochs", "1", "--lr", "3e-3:5e-3", "--pruner", "none", "--sampler", "random",
            "--dataset", size.images.dataset, "--train-limit", str(size.images.train_limit),
            "--workers", str(workers),
        )  # fmt: skip
        started = time.perf_counter()
        timed([*AE_SWEEP, *sweep], cwd=Path(directory))
        return time.perf_counter() - started


def report(figures: Figures) -> str:
    """Render the figures."""
    rows = [(name, *cells(rate, ".0f")) for name, rate in figures["trials_per_hour"].items()]
    return paragraphs(
        f"{counted(figures['trials'], 'trial')} of one epoch of {figures['train_limit']:,} "
        f"images of {figures['dataset']} (d = {', '.join(map(str, figures['dims']))}), "
        f"{counted(figures['rounds'], 'round')}.",
        table(("workers", "trials an hour, median", "min to max"), rows),
        "Gain of two workers on these cores: {} ({}).".format(*cells(figures["gain"])),
        verdict("gain", figures["gain"]["median"], target=TARGET, unit="×", at_least=True),
    )


BENCHMARK = Benchmark(
    name="workers",
    title="Parallel trials",
    about="Whole sweeps without pruning, with each number of workers in turns. "
    "Start-up, the measurement before the first trial and all tracking are in the time.",
    measure=measure,
    report=report,
    full=Size(
        images=Images(MNIST.dataset, train_limit=25_000), dims=(8, 32), trials_per_dim=4, rounds=3
    ),
    smallest=Size(images=Images("shapes", train_limit=128), dims=(2,), trials_per_dim=2, rounds=1),
)

if __name__ == "__main__":
    BENCHMARK.main()
