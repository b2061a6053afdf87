"""A whole sweep of faked trainings as a process of its own, with real databases.

    python parallel_sweep.py STORE NAME --seats 8 --trials 49

Prints a line when it is planned and waits for one on stdin, so that several begin at once.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fakes import difficulty, epoch_result, trial_result

from ae_sweep.sweep import ProcessWorker

if TYPE_CHECKING:
    from collections.abc import Generator

    from ae_sweep.config import TrialConfig
    from ae_sweep.records import EpochResult, TrialResult
    from ae_sweep.runner.engine import EngineFactory
    from ae_sweep.sweep import Train, Worker

DIMS = (2, 4, 8, 16)


def open_training() -> Train:
    return train


def train(config: TrialConfig) -> Generator[EpochResult, None, TrialResult]:
    for quarter in range(1, 5):
        yield epoch_result(quarter, difficulty(config) * (2 - quarter / 4))
    return trial_result(config, weights=b"no safetensors")


def processes(seats: int) -> Worker:
    return ProcessWorker([partial(open_training)] * seats)


def in_turns(seats: int) -> Worker:
    """Train in this process; chance decides which seat is next."""
    from fakes import FakeTraining, FakeWorker

    return FakeWorker(FakeTraining(), slots=seats, seed=seats)


def engine(seats: int, *, one_process: bool) -> EngineFactory:
    from fake_engine import FakeEngine

    class Engine(FakeEngine):
        def open(self) -> Worker:
            return in_turns(seats) if one_process else processes(seats)

    def make(setup: object, _trials: int, _announce: object) -> Engine:
        sys.stdout.write("planned\n")
        sys.stdout.flush()
        sys.stdin.readline()
        return Engine(setup, train, workers=seats)  # type: ignore[arg-type]

    return make


def draw_nothing() -> None:
    """Take pictures and the precision as known: what is stored is the matter here."""
    from tracking_support import png

    from ae_sweep import plots, training
    from ae_sweep.runner import setup

    for name in ("frontier_figure", "reconstructions_figure"):
        setattr(plots, name, lambda *_, **__: None)
    plots.render = lambda _, kind: png() if kind == "png" else b"<svg/>"  # type: ignore[assignment]
    setup.__dict__["remembered_precision"] = lambda *_, **__: training.FP32


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("name")
    parser.add_argument("--seats", type=int, required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--one-process", action="store_true")
    options = parser.parse_args()
    from fake_engine import SMALL

    import ae_sweep

    draw_nothing()
    ae_sweep.run_sweep(
        options.name,
        store=options.store,
        dims=DIMS,
        trials=options.trials,
        repeats=1,
        lr=ae_sweep.Range(1e-4, 1e-1),
        epochs=[2, 4],
        engine=engine(options.seats, one_process=options.one_process),
        **SMALL,
    )


if __name__ == "__main__":
    main()
