"""A sweep, or a worker process of it, is killed or interrupted in mid-training, and resumed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT, environment
from store_reader import read_runs, trials_of

pytestmark = pytest.mark.slow

SCRIPT = """
import os, sys, threading
from ae_sweep.training import checkpoints
os.fsync = lambda descriptor: None  # no power cut is tested; worker processes do this as well
store, workers, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
# Saved after every step, so that a short training is killed behind a checkpoint; or never.
share = 0.0 if how.isdecimal() else float("inf")
checkpoints.Pace.__init__.__kwdefaults__ = {"share": share, "seconds_between": 0.0}
import ae_sweep

def interrupt(events, number):
    running = set()
    for event in events:
        if isinstance(event, ae_sweep.TrialValidated) and len(running) < workers:
            running.add(event.trial.name)
            if len(running) == workers:
                threading.Timer(0.03, os.kill, (os.getpid(), number)).start()

if __name__ == "__main__":
    settings = dict(store=store, workers=workers)
    if how == "resume":
        settings |= dict(resume=True)
    else:
        settings |= dict(
            dims=[2, 4], trials=1, epochs=2, lr=4e-3, dataset="shapes", train_limit=2048)
    if how.isdecimal():
        interrupt(ae_sweep.iter_sweep("killed", **settings), int(how))
    else:
        ae_sweep.run_sweep("killed", **settings)
"""
STEPS = 32
"""Of a trial."""
SECONDS = 800.0


def start(place: Path, *, workers: int, how: str = "new") -> subprocess.Popen[str]:
    (place / "sweep.py").write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(place / "sweep.py"), str(place / "store"), str(workers), how],
        env=environment(PYTHONPATH=str(ROOT), MLFLOW_DISABLE_TELEMETRY="true"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(place: Path, *, workers: int, how: str = "new") -> str:
    with start(place, workers=workers, how=how) as process:
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    return err


def wait_until_saved(place: Path, process: subprocess.Popen[str], *, trials: int = 1) -> None:
    """Wait until so many trials have a checkpoint."""
    deadline = time.monotonic() + SECONDS
    folder = place / "store" / "running" / "killed" / "checkpoints"
    while len(list(folder.glob("[!.]*.safetensors"))) < trials:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def worker_pids(parent: int) -> list[int]:
    """Return the worker processes of a sweep, by how they were started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == parent and b"spawn_main" in words:
            found.append(int(entry.name))
    return found


def results(place: Path) -> dict[int, dict[str, float]]:
    """Return what was measured of each finished trial, by its latent dim."""
    finished = trials_of(read_runs(str(place / "store")), "finished")
    names = ("val_mse", "test_mse", "test_psnr", "train_mse")
    return {
        int(trial["params"]["latent_dim"]): {name: trial["metrics"][name] for name in names}
        for trial in finished
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("undisturbed")
    err = run(place, workers=1)
    assert "goes on" not in err
    assert "checkpoint" not in err
    left = place / "store" / "running" / "killed" / "checkpoints"
    assert not left.exists(), "deleted with the trials"
    return results(place)


def test_trials_killed_in_mid_training_go_on_and_end_with_the_numbers_of_undisturbed_ones(
    undisturbed: Any, tmp_path: Path
) -> None:
    with start(tmp_path, workers=1) as process:
        try:
            wait_until_saved(tmp_path, process)
        finally:
            process.kill()
    err = run(tmp_path, workers=1, how="resume")
    check_gone_on(err, tmp_path, undisturbed)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_trials_whose_workers_are_killed_go_on_in_the_same_run_and_end_with_the_same_numbers(
    undisturbed: Any, tmp_path: Path
) -> None:
    with start(tmp_path, workers=2) as process:
        try:
            wait_until_saved(tmp_path, process, trials=2)
            pids = worker_pids(process.pid)
            assert len(pids) == 2
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            _, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert err.count("was ended by signal 9 (SIGKILL") == err.count("trying again") == 2
    check_gone_on(err, tmp_path, undisturbed)
    told = read_runs(str(tmp_path / "store"))
    assert [trial["tags"]["try"] for trial in trials_of(told)] == ["2", "2"], "a run per point"


@pytest.mark.parametrize(
    ("number", "workers"),
    [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGHUP, 1), (signal.SIGINT, 2)],
)
def test_what_runs_saves_itself_at_an_interruption_and_goes_on_from_that_step(
    number: signal.Signals, workers: int, undisturbed: Any, tmp_path: Path
) -> None:
    """No checkpoint is written before; the signal comes after a validation, in the steps."""
    with start(tmp_path, workers=workers, how=str(int(number))) as process:
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGINT, err
    folder = tmp_path / "store" / "running" / "killed" / "checkpoints"
    assert len(list(folder.iterdir())) == workers, "each that ran, whole"
    err = run(tmp_path, workers=workers, how="resume")
    check_gone_on(err, tmp_path, undisturbed)
    steps = [int(step) for step in re.findall(r"goes on from step (\d+) of 32", err)]
    assert len(steps) == workers
    assert all(STEPS / 4 <= step < STEPS for step in steps), "less is left to be trained"


def check_gone_on(err: str, place: Path, undisturbed: Any) -> None:
    assert "where it was interrupted" in err
    assert "trained from the start" not in err
    assert results(place) == undisturbed
    assert not (place / "store" / "running" / "killed" / "checkpoints").exists()
