"""The small sweep that is interrupted, resumed and shared out to workers, and what it leaves."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from commands import Command, Done

CONV = (
    "--dataset", "shapes", "--train-limit", "512", "--trials", "2", "--repeats", "1",
    "--epochs", "1:2", "--seed", "5", "--name", "small", "--dims", "2", "4", "--store", "store",
)  # fmt: skip
SMALL = (*CONV, "--model", "mlp")
"""The same in a fifth of the time, for tests that need not catch a training in the middle."""


@dataclass(frozen=True)
class Stored:
    """What both databases hold of a sweep, in a form in which two sweeps can be compared."""

    statuses: Counter[str]
    parent: str
    filled: dict[str, tuple[str, float | None]]
    """Outcome and test MSE by point."""
    trials: list[str]
    """States of Optuna's trials."""


def stored(store: Path, name: str = "small") -> Stored:
    import optuna
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    experiment = client.get_experiment_by_name("ae-sweep")
    runs = client.search_runs([experiment.experiment_id], f"tags.sweep = '{name}'")
    (parent,) = [run for run in runs if run.data.tags["kind"] == "sweep"]
    children = [run for run in runs if run.data.tags["kind"] == "trial"]
    filled = [run for run in children if run.data.tags["outcome"] in ("finished", "pruned")]
    points = [run.data.tags["point"] for run in filled]
    assert len(set(points)) == len(points), "a point was trained to its end twice"
    return Stored(
        Counter(run.info.status for run in runs),
        parent.info.status,
        {
            run.data.tags["point"]: (run.data.tags["outcome"], run.data.metrics.get("test_mse"))
            for run in filled
        },
        _trial_states(optuna, store),
    )


def _trial_states(optuna: Any, store: Path) -> list[str]:
    if not (store / "optuna.db").exists():
        return []
    storage = optuna.storages.RDBStorage(f"sqlite:///{store}/optuna.db")
    try:
        names = optuna.get_all_study_names(storage)
        studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
        return [trial.state.name for study in studies for trial in study.trials]
    finally:
        storage.engine.dispose()


def check_databases(store: Path, *, whole: bool = True) -> None:
    """Check that both databases are sound, and that there are both of a whole sweep."""
    names = {path.name for path in store.iterdir() if not path.name.endswith(("-wal", "-shm"))}
    owned = set() if whole else {"running"}  # what a killed process leaves
    half_made = names - {"artifacts", "mlflow.db", "optuna.db", *owned}
    assert not half_made, "nothing half-made"
    databases = {name for name in names if name.endswith(".db")}
    assert databases == {"mlflow.db", "optuna.db"} or not whole
    for name in databases:
        with contextlib.closing(sqlite3.connect(store / name)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def check_agree(stored: Stored, undisturbed: Stored) -> None:
    """Check for the same numbers; what the pruner stopped depends on what ended first."""
    assert stored.filled.keys() >= undisturbed.filled.keys()
    for point, (outcome, test_mse) in undisturbed.filled.items():
        if "pruned" not in (outcome, stored.filled[point][0]):
            assert stored.filled[point] == (outcome, test_mse)


def empty_store(place: Path) -> Path:
    """Copy an empty store of MLflow to where the small sweep has its own."""
    import tracking_support as support

    return support.fresh_store(place, name="store").root


def read_until(running: Command | subprocess.Popen[str], marker: str) -> str:
    """Read what a command reports until a line begins with a pattern."""
    said = []
    assert running.stderr is not None
    for line in running.stderr:
        said.append(line)
        if re.match(marker, line):
            return "".join(said)
    pytest.fail(f"no line matched {marker!r}: {said}")


def resume(process: Callable[..., Done], cwd: Path, *words: str) -> Done:
    """Complete the small sweep."""
    command = ("run", "--name", "small", "--resume", "--store", "store", *words)
    done = process(*command, cwd=cwd, known_speed=True)
    assert done.code == 0, done.err
    return done
