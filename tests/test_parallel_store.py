"""Many trials at once, and two sweeps at once, in one store: each is there once, and whole."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from commands import ROOT, environment
from driver_support import all_trials
from mlflow import MlflowClient
from optuna.trial import TrialState
from parallel_sweep import DIMS
from sweep_support import check_databases

if TYPE_CHECKING:
    from mlflow.entities import Run

    from ae_sweep.locations import Store

SECONDS = 600.0
STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
STATUSES = {"finished": "FINISHED", "pruned": "KILLED"}


def run_together(store: Store, *names: str, options: list[str]) -> list[str]:
    """Run sweeps that all begin when the last of them is planned; return what each printed."""
    script = [
        sys.executable,
        "-W",
        "error::ResourceWarning",
        str(Path(__file__).parent / "parallel_sweep.py"),
    ]
    variables = environment(PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}", MLFLOW_DISABLE_TELEMETRY="true")
    running = [
        subprocess.Popen(
            [*script, str(store.root), name, *options],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "planned\n", process.communicate()
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        printed = [process.communicate(timeout=SECONDS) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, err) in zip(running, printed, strict=True):
        assert process.returncode == 0, err
    return ["".join(parts) for parts in printed]


def runs_of(store: Store, name: str) -> tuple[Run, list[Run]]:
    client = MlflowClient(store.tracking_uri)
    experiment = client.get_experiment_by_name("ae-sweep")
    runs = client.search_runs(
        [experiment.experiment_id], f"tags.sweep = '{name}'", max_results=5000
    )
    (parent,) = [run for run in runs if run.data.tags["kind"] == "sweep"]
    return parent, [run for run in runs if run.data.tags["kind"] == "trial"]


def settings(run: Run) -> tuple[int, float, int]:
    params = run.data.params
    return int(params["latent_dim"]), float(params["lr"]), int(params["epochs"])


def check_whole(store: Store, name: str, *, trials: int) -> None:
    """Check that both databases have each trial of a sweep once, whole, with the same numbers."""
    parent, runs = runs_of(store, name)
    assert parent.info.status == "FINISHED"
    points = Counter(run.data.tags["point"] for run in runs)
    assert len(points) == len(runs) == len(DIMS) * (trials + 1), "with a repeat for each dim"
    for run in runs:
        check_run(store, run, runs[0])
    searched = {settings(run): run for run in runs if run.data.tags["role"] == "search"}
    assert len(searched) == len(DIMS) * trials
    asked: dict[tuple[int, float, int], Any] = {}
    for dim in DIMS:
        told = [
            trial for trial in all_trials(store.optuna_path)[f"{name}/d={dim}"]
            if "duplicate_of" not in trial.user_attrs
        ]  # fmt: skip
        assert sorted(trial.user_attrs["slot"] for trial in told) == list(range(trials))
        asked |= {(dim, trial.params["lr"], trial.params["epochs"]): trial for trial in told}
    assert asked.keys() == searched.keys()
    for key, trial in asked.items():
        run = searched[key]
        assert trial.state is STATES[run.data.tags["outcome"]]
        assert len(trial.intermediate_values) >= 1
        if trial.state is TrialState.COMPLETE:
            assert trial.value == run.data.metrics["val_mse"]


def check_run(store: Store, run: Run, other: Run) -> None:
    outcome = run.data.tags["outcome"]
    assert run.info.status == STATUSES[outcome]
    assert run.data.params.keys() == other.data.params.keys()
    assert run.inputs.dataset_inputs
    assert run.info.start_time <= run.info.end_time
    assert ("test_mse" in run.data.metrics) == (outcome == "finished")
    if outcome == "finished":
        (model,) = run.outputs.model_outputs
        artifacts = store.root / "artifacts"
        assert list((artifacts / "models" / model.model_id / "artifacts").rglob("*.safetensors"))
        assert (artifacts / run.info.run_id / "artifacts" / "reconstructions.png").exists()


def check_printed(said: str) -> None:
    assert "locked" not in said
    assert "failed" not in said
    assert "Error" not in said


@pytest.mark.slow
def test_two_hundred_trials_of_eight_workers_are_two_hundred_whole_runs(tmp_path: Path) -> None:
    store = support.fresh_store(tmp_path)
    (said,) = run_together(store, "many", options=["--seats", "8", "--trials", "49"])
    check_printed(said)
    check_whole(store, "many", trials=49)
    check_databases(store.root)


@pytest.mark.slow
def test_two_sweeps_at_once_in_one_store_take_nothing_from_each_other(tmp_path: Path) -> None:
    store = support.fresh_store(tmp_path)
    options = ["--seats", "4", "--trials", "14", "--one-process"]
    for said in run_together(store, "one", "two", options=options):
        check_printed(said)
    for name in ("one", "two"):
        check_whole(store, name, trials=14)
    check_databases(store.root)
