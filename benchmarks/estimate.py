"""Estimated against taken time: how right a sweep's plan is about how long it takes."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ae_sweep
from ae_sweep.api.settings import request_of
from ae_sweep.messages import ignore
from ae_sweep.runner.execution import execute
from ae_sweep.runner.planning import plan_sweep
from benchmarks.benchmark import Benchmark, Figures
from benchmarks.text import counted, paragraphs, table, verdict
from benchmarks.timed import own_variables

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET_PERCENT = 30.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of sweep."""

    name: str
    settings: ae_sweep.SweepSettings
    shares_cores: bool = False
    """As `ae-sweep run` does by default, and a call in Python does not."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Which sweeps are estimated and run."""

    cases: Sequence[Case]


def measure(size: Size) -> Figures:
    """Run each sweep and compare its time with what its plan said."""
    return {"cases": [{"name": case.name, **_measure(case)} for case in size.cases]}


def _measure(case: Case) -> Figures:
    with tempfile.TemporaryDirectory(prefix="ae-sweep-estimate-") as store, own_variables():
        request = dataclasses.replace(
            request_of("estimate", store, case.settings, announce=ignore),
            share_cores=case.shares_cores,
        )
        with contextlib.closing(plan_sweep(request, announce=ignore)) as estimate:
            expected, most = estimate.expected_seconds, estimate.most_seconds
            started = time.perf_counter()
            events = execute(request, estimate)
            trials = sum(isinstance(event, ae_sweep.TrialEnded) for event in events)
            taken = time.perf_counter() - started
    return {
        "trials": trials,
        "expected_seconds": expected,
        "most_seconds": most,
        "taken_seconds": taken,
        "error_percent": 100 * (expected / taken - 1),
    }


def report(figures: Figures) -> str:
    """Render the figures."""
    rows = [
        (
            case["name"],
            str(case["trials"]),
            f"{case['expected_seconds']:.0f}",
            f"{case['most_seconds']:.0f}",
            f"{case['taken_seconds']:.0f}",
            f"{case['error_percent']:+.0f} %",
        )
        for case in figures["cases"]
    ]
    worst = max((abs(case["error_percent"]) for case in figures["cases"]), default=math.nan)
    return paragraphs(
        f"{counted(len(rows), 'sweep')}, each run once.",
        table(
            ("sweep", "trials", "estimated, s", "at most, s", "taken, s", "estimate is off by"),
            rows,
        ),
        verdict("largest error of an estimate", worst, target=TARGET_PERCENT, unit="%", form=".0f"),
    )


BENCHMARK = Benchmark(
    name="estimate",
    title="Estimated time",
    about="What `ae-sweep run` says before it trains, and what the same sweep then takes, from the "
    "plan to the last result stored. Unpromising trials are pruned where the case does not say "
    "otherwise, so that the estimate has to guess how many.",
    measure=measure,
    report=report,
    full=Size(
        cases=(
            Case(
                name="default, five dims",
                settings={"dims": [2, 8, 32, 128, 1024]},
                shares_cores=True,
            ),
            Case(
                name="10,000 training images",
                settings={"dims": [8, 32], "train_limit": 10_000, "trials": 3},
            ),
            Case(
                name="nested",
                settings={"dims": [2, 8, 32], "method": "nested", "lr": 4e-3, "epochs": 2},
            ),
            Case(name="vae", settings={"dims": [8, 32], "model": "vae", "trials": 2}),
            Case(name="two workers", settings={"dims": [8, 32], "workers": 2, "trials": 2}),
        )
    ),
    smallest=Size(
        cases=(
            Case(
                name="generated images",
                settings={
                    "dims": [2],
                    "dataset": "shapes",
                    "train_limit": 128,
                    "trials": 2,
                    "epochs": 1,
                },
            ),
        )
    ),
)

if __name__ == "__main__":
    BENCHMARK.main()
