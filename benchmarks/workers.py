"""Parallel trials: how many trials an hour two workers finish, for those that one finishes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from common import spread
from section import cells, main, section, table, verdict
from timed import AE_SWEEP, timed

ROUNDS = 3
WORKERS = (1, 2)
TRIALS = 8
SWEEP = (
    "run", "--dims", "8", "32", "--trials", str(TRIALS // 2), "--epochs", "1",
    "--lr", "3e-3:5e-3", "--pruner", "none", "--sampler", "random", "--train-limit", "25000",
)  # fmt: skip
TARGET = 1.2


def measure() -> dict[str, Any]:
    """Run the same sweep with each number of workers, in turns."""
    seconds: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for _ in range(ROUNDS):
        for workers in WORKERS:
            seconds[workers].append(_sweep_seconds(workers))
    rates = {
        workers: [3600 * TRIALS / each for each in times] for workers, times in seconds.items()
    }
    gains = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    return {
        "trials_per_hour": {str(workers): spread(rate) for workers, rate in rates.items()},
        "gain": spread(gains),
    }


def _sweep_seconds(workers: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        timed([*AE_SWEEP, *SWEEP, "--workers", str(workers)], cwd=Path(directory))
        return time.perf_counter() - started


def report(document: dict[str, Any]) -> str:
    """Write the section of docs/benchmarks.md."""
    rows = [(name, *cells(rate, ".0f")) for name, rate in document["trials_per_hour"].items()]
    return section(
        "Parallel trials",
        f"Whole sweeps of {TRIALS} trials (one epoch of 25,000 MNIST images, d = 8 and 32, no "
        f"pruning) with each number of workers, in turns, {ROUNDS} rounds; start-up, the "
        "measurement before the first trial and all tracking are in the time.",
        table(("workers", "trials an hour, median", "min to max"), rows),
        "Gain of two workers on these cores: {} ({}).".format(*cells(document["gain"])),
        verdict("gain", document["gain"]["median"], target=TARGET, unit="×", at_least=True),
        name="workers",
    )


if __name__ == "__main__":
    main(measure, report)
