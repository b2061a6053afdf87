"""Large sweeps: how many seats of a cluster one driver keeps busy, and what sets the limit.

The driver, the studies and the tracker are those of a sweep. The cluster is simulated: its seats
train by a clock that skips the waiting, so that an hour of 200 seats takes the driver's own time
alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ae_sweep import models, ownership, sweep, tracking
from ae_sweep.config import Range, SearchSpace, SweepConfig, TrialConfig
from ae_sweep.locations import Store
from ae_sweep.models import storage
from ae_sweep.records import Reconstructions, TrialResult
from ae_sweep.runner.environment import environment
from ae_sweep.runner.tracker import MlflowTracker
from ae_sweep.tracking import ui_server
from benchmarks.analysis import CARD, PARAMETERS
from benchmarks.benchmark import Benchmark, Figures
from benchmarks.overhead import REST, Stopwatch, watching
from benchmarks.simulated import SimulatedCluster
from benchmarks.text import paragraphs, table, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TRACKERS = {
    "none": "not tracked",
    "database": "MLflow in SQLite",
    "server": "MLflow's server on SQLite",
}
TARGET_SHARE = 0.95
ENOUGH = 1.2
"""Seconds of the longer trials, as a multiple of what the driver needs for one trial per seat."""
WAITING = "waiting"
PARTS = {
    "ae_sweep.sweep.study.ConditionStudy.ask": "ask",
    "ae_sweep.sweep.study.ConditionStudy.report": "report, prune",
    "ae_sweep.sweep.study.ConditionStudy.complete": "tell",
    "ae_sweep.tracking.writer.SweepWriter.start_trial": "start_trial",
    "ae_sweep.tracking.writer.TrialWriter.log_epoch": "log_epoch",
    "ae_sweep.tracking.writer.TrialWriter.finish": "picture stored, run ended",
    "ae_sweep.tracking.models.log_model": "model",
    "ae_sweep.plots.reconstructions_figure": "picture",
    "ae_sweep.plots.render": "picture",
    "ae_sweep.ownership.Holding.check": "owner checked",
    "benchmarks.simulated.SimulatedCluster.next_event": WAITING,
}
"""What is timed, and as which part; a part's time is without that of the parts it calls."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A sweep that is driven."""

    tracker: Literal["none", "database", "server"]
    sampler: Literal["tpe", "random"]
    pruner: Literal["median", "none"]
    dims: int
    """Studies, of as many trials each."""
    trials: int

    @property
    def title(self) -> str:
        """What is different from the other cases."""
        each = self.trials // self.dims
        sweep_text = f"{self.sampler}, {self.pruner}, {self.dims} × {each:,} trials"
        return f"{sweep_text}, {TRACKERS[self.tracker]}"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    seats: int
    cases: tuple[Case, ...]


def measure(size: Size) -> Figures:
    """Drive each sweep with trials of one second, then with trials long enough for its driver."""
    cases = []
    for case in size.cases:
        short = _driven(case, seats=size.seats, trial_seconds=1.0)
        # As a study grows, so does the time of the driver.
        most_seconds = sum(short["last_part_seconds"].values())
        long = _driven(case, seats=size.seats, trial_seconds=size.seats * most_seconds * ENOUGH)
        cases.append({"title": case.title, "one second": short, "long": long})
    return {"seats": size.seats, "cases": cases}


def report(figures: Figures) -> str:
    """Render the figures."""
    seats, cases = figures["seats"], figures["cases"]
    parts = {part: None for case in cases for part in case["one second"]["part_seconds"]}
    shares = [
        [
            f"{index}: {case['title']}",
            f"{1 / case['one second']['driver_seconds']:.1f}",
            f"{1_000 * case['one second']['processor_seconds']:.1f}",
            f"{100 * case['one second']['busy_share']:.1f} %",
            f"{case['long']['trial_seconds']:.1f}",
            f"{100 * case['long']['busy_share']:.1f} %",
        ]
        for index, case in enumerate(cases, 1)
    ]
    rows = [
        [part, *(cell for case in cases for cell in _milliseconds(case["one second"], part))]
        for part in parts
    ]
    heading = ["ms per trial"]
    for index in range(1, len(cases) + 1):
        heading += [f"{index}: all", f"{index}: last tenth"]
    return paragraphs(
        f"{seats} simulated seats; every trial reports at four quarters, and none is pruned.",
        table(
            ["sweep", "trials/s of the driver", "processor, ms per trial",
             "seats busy, trials of 1 s", "longer trials, s", "seats busy"],
            shares,
        ),
        "Where the driver's time goes, with trials of one second:",
        table(heading, rows),
        " ".join(
            verdict(
                f"seats busy in {index}, trials of 1 s",
                100 * case["one second"]["busy_share"],
                target=100 * TARGET_SHARE,
                unit="%",
                form=".1f",
                at_least=True,
            )
            for index, case in enumerate(cases, 1)
        ),
    )  # fmt: skip


def _milliseconds(driven: Figures, part: str) -> list[str]:
    both = (driven["part_seconds"], driven["last_part_seconds"])
    return [f"{1_000 * of[part]:.2f}" if part in of else "" for of in both]


def _driven(case: Case, *, seats: int, trial_seconds: float) -> Figures:
    """Drive a sweep to its end."""
    config = SweepConfig(
        name="large", dims=tuple(range(1, case.dims + 1)), sampler=case.sampler,
        pruner=case.pruner, trials=case.trials // case.dims,
        space=SearchSpace(lr=Range(1e-3, 1e-2), epochs=Range(2, 8)),
    )  # fmt: skip
    cluster = SimulatedCluster(seats=seats, trial_seconds=trial_seconds, result=_results())
    stopwatch = Stopwatch()
    with contextlib.ExitStack() as opened:
        place = opened.enter_context(tempfile.TemporaryDirectory(prefix="ae-sweep-large-"))
        store = Store(Path(place))
        folder = store.running(config.name)
        holding = opened.enter_context(ownership.hold(folder, take_over_command=""))
        tracker: sweep.Tracker = sweep.NullTracker()
        if case.tracker != "none":
            if case.tracker == "server":
                store = Store(store.root, opened.enter_context(_server(Path(place))))
            tracker = _tracker(store, config)
        studies = sweep.open_studies(store.optuna_path, config, identity=config.identity())
        opened.enter_context(watching(stopwatch, PARTS))
        driver = sweep.Driver(
            config, studies=studies, worker=cluster, tracker=tracker, guard=holding.check
        )
        started, processor_before = time.perf_counter(), time.process_time()
        ended = sum(isinstance(event, sweep.TrialEnded) for event in driver.run())
        wall_seconds = time.perf_counter() - started
        processor_seconds = time.process_time() - processor_before
    if ended != case.trials:
        raise RuntimeError(f"{ended} of {case.trials} trials ended")
    of_trials = [
        {part: seconds for part, seconds in trial.items() if part != "latent_dim"}
        for trial in stopwatch.trials
    ]
    # The last trial of each seat ends without another being asked for.
    steady = of_trials[:-seats]
    last = steady[-max(len(steady) // 10, 1) :]
    waited = sum(trial.get(WAITING, 0.0) for trial in of_trials)
    return {
        "trial_seconds": trial_seconds,
        "sweep_seconds": cluster.seconds(),
        "driver_seconds": (wall_seconds - waited) / case.trials,
        "processor_seconds": processor_seconds / case.trials,
        "busy_share": cluster.busy_share(),
        "part_seconds": _means(of_trials),
        "last_part_seconds": _means(last),
    }


def _means(trials: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the seconds of each part per trial that took any, but for the waiting."""
    parts = [*dict.fromkeys(PARTS.values()), REST]
    totals = {part: sum(trial.get(part, 0.0) for trial in trials) for part in parts}
    return {
        part: total / len(trials) for part, total in totals.items() if total and part != WAITING
    }


@contextlib.contextmanager
def _server(place: Path) -> Iterator[str]:
    """Run MLflow's server with one worker, and provide its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{place / 'server.db'}"),
        *("--artifacts-destination", str(place / "server")),
    ]
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (place / "server.log").open("w+b") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            tracking.wait_until_ready(url, server, log=log)
            yield url
        finally:
            ui_server.stop(server)


def _tracker(store: Store, config: SweepConfig) -> MlflowTracker:
    runs = tracking.open_for_writing(store)
    writer = runs.start_sweep(config, card=CARD, environment=environment(), journal=_give_up)
    return MlflowTracker(
        writer, card=CARD, recipe="1", parameters={**environment(), **PARAMETERS}, finished={}
    )


def _give_up(failure: str) -> None:
    raise RuntimeError(f"what is not stored is not measured: {failure}")


def _results() -> Callable[[TrialConfig], TrialResult]:
    """Return what makes results: with pictures, and the weights of a real network of d=32."""
    network = models.build("conv", latent_dim=32, image_shape=(1, 28, 28))
    weights = storage.to_bytes(network, name="conv")
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 28, 28), dtype=np.uint8).tobytes()
    pictures = Reconstructions(shape=(20, 1, 28, 28), originals=images, reconstructions=images)

    def result(config: TrialConfig) -> TrialResult:
        mse = (abs(config.hyperparameters.lr - 4e-3) + 1e-3) / config.hyperparameters.epochs
        return TrialResult(
            val_mse=mse, test_mse=1.01 * mse, test_psnr=20.0, parameters=593_569,
            compression_ratio=CARD.pixels / config.latent_dim, train_seconds=1.0, step=400,
            pictures=pictures, weights=weights,
        )  # fmt: skip

    return result


BENCHMARK = Benchmark(
    name="large_sweeps",
    title="Large sweeps",
    about="How many seats of a cluster one driver keeps busy. Driver, studies and tracking are "
    "those of a sweep, in this process. The seats are simulated: they train by a clock that skips "
    "the waiting and takes the driver's own time as it is. The share of busy seats is that between "
    "the moment when all seats had a trial and the beginning of the last one. The longer trials "
    "take 1.2 times as long as the driver needs for one trial of each seat at the sweep's end. "
    "Where MLflow tracks, pictures are drawn and weights of 2.4 MB are stored.",
    measure=measure,
    report=report,
    full=Size(
        seats=200,
        cases=(
            Case(tracker="none", sampler="tpe", pruner="median", dims=10, trials=10_000),
            Case(tracker="none", sampler="random", pruner="none", dims=10, trials=10_000),
            Case(tracker="database", sampler="tpe", pruner="median", dims=10, trials=2_000),
            Case(tracker="server", sampler="tpe", pruner="median", dims=10, trials=500),
        ),
    ),
    smallest=Size(
        seats=2,
        cases=(
            Case(tracker="none", sampler="random", pruner="none", dims=2, trials=8),
            Case(tracker="database", sampler="tpe", pruner="median", dims=2, trials=6),
            Case(tracker="server", sampler="random", pruner="none", dims=2, trials=6),
        ),
    ),
    long=True,
)

if __name__ == "__main__":
    BENCHMARK.main()
