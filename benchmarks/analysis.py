"""Reading a large store: frontier, list and show on 10,000 trials.

The store is written by the product itself, all but the files of models and pictures, which the
reading commands never open. A large one is kept in the temporary directory for the next time.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from sqlalchemy import event
from sqlalchemy.engine import Engine

from ae_sweep import tracking
from ae_sweep.config import Hyperparameters, Range, SearchSpace, SweepConfig
from ae_sweep.locations import Store
from ae_sweep.records import (
    QUARTERS,
    DatasetCard,
    EpochResult,
    Reconstructions,
    Role,
    TrialIdentity,
    TrialResult,
)
from ae_sweep.runner.environment import environment
from benchmarks.benchmark import Benchmark, Figures
from benchmarks.text import cells, counted, paragraphs, spread, table, verdict
from benchmarks.timed import AE_SWEEP, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.tracking import SweepWriter

DIMS = (2, 8, 32, 128, 1024)
COMMANDS = ("frontier", "list", "show")
TARGET_SECONDS = 10.0
TARGET_MB = 600.0
SWEEP = "large"
NO_PICTURES = Reconstructions(shape=(1, 1, 28, 28), originals=b"", reconstructions=b"")
CARD = DatasetCard(
    name="mnist", digest="0123456789abcdef", source="generated", train_images=55_000,
    val_images=5_000, test_images=10_000, image_shape=(1, 28, 28),
)  # fmt: skip
PARAMETERS: dict[str, str | int | float] = {
    "batch_size": 128, "precision": "bf16", "precision_reason": "1.9 times as fast as float32 here",
    "device": "cpu", "device_name": "cpu, 2 threads",
}  # fmt: skip
FILES = (
    "ae_sweep.tracking.models._save",
    "ae_sweep.tracking.publisher.log_files",
    "ae_sweep.tracking.writer.log_files",
    "mlflow.MlflowClient.log_model_artifacts",
)
"""What writes files, and is left out."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    trials: int
    rounds: int
    keep: bool
    """Whether the store is kept for the next time."""


def measure(size: Size) -> Figures:
    """Read a store with each command, a few times in turn."""
    with _place(size) as place:
        generation_seconds = _generated(Store(place), size.trials)
        rounds = [{name: _timed(name, place) for name in COMMANDS} for _ in range(size.rounds)]
        database_bytes = (place / "mlflow.db").stat().st_size
    return {
        "trials": size.trials,
        "rounds": size.rounds,
        "generation_seconds": generation_seconds,
        "database_mb": database_bytes / 1e6,
        "commands": {
            command: {
                key: spread([measured[command][key] for measured in rounds])
                for key in ("seconds", "peak_mb")
            }
            for command in COMMANDS
        },
    }


def report(figures: Figures) -> str:
    """Render the figures."""
    rows = [
        [f"`ae-sweep {name}`", *cells(of["seconds"]), *cells(of["peak_mb"], ".0f")]
        for name, of in figures["commands"].items()
    ]
    frontier = figures["commands"]["frontier"]
    return paragraphs(
        f"{counted(figures['trials'], 'trial')}, four in five of them finished, in a database "
        f"of {figures['database_mb']:.0f} MB, written through MLflow in "
        f"{figures['generation_seconds']:.0f} s. Each command "
        f"{counted(figures['rounds'], 'time')}.",
        table(["", "s, median", "min to max", "peak MB, median", "min to max"], rows),
        verdict(
            "`ae-sweep frontier`",
            frontier["seconds"]["median"],
            target=TARGET_SECONDS,
            unit="s",
        )
        + " "
        + verdict(
            "its memory", frontier["peak_mb"]["max"], target=TARGET_MB, unit="MB", form=".0f"
        ),
    )


def _timed(command: str, place: Path) -> dict[str, float]:
    figure = ("--out", str(place / "frontier.png")) if command == "frontier" else ()
    return timed([*AE_SWEEP, command, "--store", str(place), *figure])


@contextlib.contextmanager
def _place(size: Size) -> Iterator[Path]:
    if size.keep:
        name = f"ae-sweep-bench-{size.trials}-mlflow-{version('mlflow')}"
        yield Path(tempfile.gettempdir()) / name
        return
    with tempfile.TemporaryDirectory(prefix="ae-sweep-analysis-") as directory:
        yield Path(directory)


def _generated(store: Store, trials: int) -> float:
    """Write a store where there is none yet; return how many seconds that took."""
    note = store.root / "generated.json"
    if not note.exists():
        shutil.rmtree(store.root, ignore_errors=True)
        started = time.perf_counter()
        _generate(store, trials)
        note.write_text(json.dumps({"seconds": time.perf_counter() - started}))
    return float(json.loads(note.read_text())["seconds"])


def _generate(store: Store, trials: int) -> None:
    space = SearchSpace(lr=Range(1e-3, 1e-2), epochs=Range(1, 8))
    config = SweepConfig(name=SWEEP, dims=DIMS, space=space, trials=trials // len(DIMS))
    rng = random.Random(0)
    parameters = {**environment(), **PARAMETERS}
    with contextlib.ExitStack() as patches:
        event.listen(Engine, "connect", _hurry)
        patches.callback(event.remove, Engine, "connect", _hurry)
        for name in FILES:
            patches.enter_context(mock.patch(name))
        runs = tracking.open_for_writing(store)
        writer = runs.start_sweep(config, card=CARD, environment=environment())
        for number in range(trials):
            _write_trial(writer, number, rng, parameters)
        writer.finish(figures={}, table=[], document={})


def _write_trial(
    writer: SweepWriter, number: int, rng: random.Random, parameters: dict[str, str | int | float]
) -> None:
    slot, dim = number // len(DIMS), DIMS[number % len(DIMS)]
    epochs = rng.randint(1, 8)
    point = TrialIdentity(
        dataset_digest=CARD.digest,
        model="conv",
        latent_dim=dim,
        hyperparameters=Hyperparameters(lr=10 ** rng.uniform(-3, -2), epochs=epochs),
        seed=0,
        recipe="1",
    )
    trial = writer.start_trial(
        name=f"d={dim} trial {slot}",
        point=point,
        role=Role.SEARCH,
        parameters=parameters,
    )
    mse = 0.0783 * dim**-0.851 * rng.uniform(1, 1.5)
    pruned = slot % 5 == 4
    for quarter in (1,) if pruned else (2, QUARTERS):
        trial.log_epoch(_validation(quarter, epochs, mse * QUARTERS / quarter))
    if pruned:
        trial.prune()
        return
    result = TrialResult(
        val_mse=mse, test_mse=mse * 1.01, test_psnr=20.0, compression_ratio=CARD.pixels / dim,
        parameters=10_000, train_seconds=1.0, step=100 * epochs, pictures=NO_PICTURES, weights=b"",
    )  # fmt: skip
    trial.finish(result, picture=b"")


def _validation(quarter: int, epochs: int, mse: float) -> EpochResult:
    return EpochResult(
        epoch=epochs * quarter / QUARTERS, step=25 * quarter * epochs, quarter=quarter,
        train_mse=mse, val_mse=mse, val_psnr=20.0, images_per_second=1_000.0, epoch_seconds=55.0,
    )  # fmt: skip


def _hurry(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


BENCHMARK = Benchmark(
    name="analysis",
    title="Reading a large store",
    about="One sweep in a store without files of models and pictures. Each command is a process "
    "of its own.",
    measure=measure,
    report=report,
    full=Size(trials=10_000, rounds=5, keep=True),
    smallest=Size(trials=25, rounds=1, keep=False),
)

if __name__ == "__main__":
    BENCHMARK.main()
