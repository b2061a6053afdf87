"""Third parties' settings and files: none changes what a command does, or what a caller has set."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any

import process_fakes
import pytest
import tracking_support as support
from conftest import ROOT, environment
from fakes import trial_config
from sweep_support import SMALL

from ae_sweep import isolation, sweep, tracking
from ae_sweep.isolation import child_environment, threads_are_set
from ae_sweep.sweep.worker import JobValidated
from ae_sweep.tracking.mlflow_env import LOG_LEVELS, quiet_mlflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LATE_TRAPS = (
    "mlflow", "torch", "numpy", "optuna", "matplotlib", "sqlalchemy", "uvicorn", "flask"
)  # fmt: skip
"""Modules that a user may happen to have a file of the same name as; a command imports them."""
EARLY_TRAPS = ("typer", "rich", "signal", "pickle", "threading", "random", "tempfile")
"""The start of a process imports these."""


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Make a working directory full of files that must not be read."""
    for name in LATE_TRAPS + EARLY_TRAPS:
        mark = tmp_path / "imported"
        (tmp_path / f"{name}.py").write_text(
            f"open({str(mark)!r}, 'a').write('{name} ')\nraise ImportError('{name} of the trap')\n"
        )
    # Not UTF-8: matplotlib fails on it, in the working directory as in its own.
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe\xe9")
    styles = tmp_path / "config" / "stylelib"
    styles.mkdir(parents=True)
    (styles / "own.mplstyle").write_bytes(b"\xff\xfe\xe9")
    return tmp_path


FOREIGN_SETTINGS = {
    "MPLBACKEND": "module://matplotlib_inline.no_such_backend",
    "PYTHONWARNINGS": "error",
    "MLFLOW_RUN_ID": "0" * 32,
    "MLFLOW_EXPERIMENT_NAME": "another",
    "MLFLOW_EXPERIMENT_ID": "77",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
    "MLFLOW_DISABLE_TELEMETRY": "false",
    "UVICORN_ROOT_PATH": "/elsewhere",
    "LC_ALL": "C",
}


def _write_sweep(root: Path) -> None:
    store = support.fresh_store(root)
    runs = tracking.open_for_writing(store)
    writer = runs.start_sweep(support.config(), card=support.CARD, environment={})
    support.finish(support.start(writer))
    support.finish_sweep(writer)


@pytest.mark.slow
def test_a_hostile_environment_and_directory_change_nothing_that_a_command_does(
    process: Callable[..., Any], trap: Path
) -> None:
    _write_sweep(trap)
    changes = {**FOREIGN_SETTINGS, "MPLCONFIGDIR": str(trap / "config")}
    command = (sys.executable, "-W", "error", str(ROOT / "cli.py"))
    done = process("frontier", "--json", cwd=trap, changes=changes, command=command)
    assert done.code == 0, done.err
    assert json.loads(done.out)["points"][0]["latent_dim"] == 8
    assert (trap / "frontier-first.png").stat().st_size > 1_000
    assert "Warning" not in done.err
    assert not (trap / "imported").exists(), (trap / "imported").read_text()


@pytest.mark.slow
def test_a_sweep_of_several_workers_runs_at_an_odd_place_without_a_home(
    process: Callable[..., Any], trap: Path
) -> None:
    odd = trap / "a b#c&d;e'f\"g+h@i:j[k]ü"
    command = ("env", "-u", "HOME", sys.executable, "-W", "error", str(ROOT / "cli.py"))
    changes = {**FOREIGN_SETTINGS, "XDG_CACHE_HOME": str(odd / "cache")}
    ran = process(
        "run", *SMALL, "--trials", "1", "--repeats", "0", "--workers", "2", "--name", "odd",
        "--store", str(odd),
        cwd=trap, changes=changes, command=command,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    listed = process("list", "--json", "--store", str(odd), cwd=trap, changes=changes)
    (record,) = json.loads(listed.out)
    assert (record["name"], record["counts"]["finished"]) == ("odd", 2)
    assert not (trap / "imported").exists(), (trap / "imported").read_text()
    assert {path.name for path in trap.iterdir() if path.is_dir()} == {"config", odd.name}


@pytest.mark.slow
def test_a_colon_too_many_in_pythonpath_makes_no_command_import_the_working_directory(
    process: Callable[..., Any], trap: Path
) -> None:
    for name in EARLY_TRAPS:  # Python imports them before a line of ours runs
        (trap / f"{name}.py").unlink()
    _write_sweep(trap)
    done = process("frontier", cwd=trap, changes={"PYTHONPATH": f":{ROOT}:"})
    assert done.code == 0, done.err
    assert not (trap / "imported").exists(), (trap / "imported").read_text()


@pytest.mark.slow
def test_a_process_started_by_spawn_imports_nothing_from_the_working_directory(
    trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trap)
    # As in a notebook; a script's own directory is another entry.
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(sys, "warnoptions", ["error"])
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    factory = partial(process_fakes.open_fake, trap)
    with sweep.ProcessWorker([factory]) as worker:
        worker.submit(0, trial_config())
        assert isinstance(worker.next_event(), JobValidated)
    assert not (trap / "imported").exists(), (trap / "imported").read_text()
    assert sys.path[0] == ""
    assert sys.warnoptions == ["error"]
    assert os.environ["PYTHONWARNINGS"] == "error"
    assert "PYTHONSAFEPATH" not in os.environ


@pytest.mark.slow
def test_the_server_of_the_ui_imports_nothing_from_the_working_directory(
    trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = support.fresh_store(trap)
    monkeypatch.chdir(trap)
    foreign = environment(**FOREIGN_SETTINGS)
    with (
        tracking.running_ui(store, port=support.free_port(), environment=foreign) as server,
        urllib.request.urlopen(f"{server.url}/version", timeout=10) as answer,
    ):
        assert answer.status == 200
    assert not (trap / "imported").exists(), (trap / "imported").read_text()


def test_a_child_has_no_empty_import_path_and_no_warning_filters() -> None:
    base = {"PYTHONPATH": ":/a::.:/b:", "PYTHONWARNINGS": "error", "PATH": "/bin"}
    assert child_environment(base) == {
        "PYTHONPATH": "/a:/b", "PATH": "/bin", "PYTHONSAFEPATH": "1"
    }  # fmt: skip
    assert child_environment({}) == {"PYTHONSAFEPATH": "1"}


def test_a_process_of_our_own_keeps_warnings_from_ending_it_and_hidden_ones_hidden() -> None:
    program = (
        "import warnings\n"
        "from ae_sweep.isolation import isolate_process\n"
        "isolate_process()\n"
        "warnings.warn('shown', UserWarning)\n"
        "warnings.warn('hidden', RuntimeWarning)\n"
        "warnings.warn('of no interest', DeprecationWarning, stacklevel=2)\n"
        "import sys; print(sys.warnoptions)\n"
    )
    command = [sys.executable, "-W", "error", "-W", "ignore::RuntimeWarning", "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment()
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert "UserWarning: shown" in done.stderr
    assert "hidden" not in done.stderr


IMPORT_PROGRAM = """
import json, logging, os, sys, warnings
warnings.simplefilter("ignore")
if sys.argv[1] == "mlflow":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
before = dict(os.environ)
__import__(sys.argv[1])
names = ("", "mlflow", "alembic", "mlflow.store.db.utils", "ae_sweep", "matplotlib")
levels = {name: logging.getLogger(name).level for name in names}
print(json.dumps([dict(os.environ) == before, levels]))
"""


@pytest.mark.parametrize(("line", "left_out"), [("isolate_process()", True), ("", False)])
def test_a_process_of_our_own_leaves_what_it_imports_out_of_collections(
    line: str, left_out: bool
) -> None:
    program = (
        "import gc, weakref\n"
        "from ae_sweep.isolation import isolate_process, lasting_imports, paused_collector\n"
        f"{line}\n"
        "class Node: pass\n"
        "garbage = Node(); garbage.itself = garbage\n"
        "gone = weakref.ref(garbage); del garbage\n"
        "with paused_collector():\n"
        "    assert not gc.isenabled()\n"
        "assert gc.get_freeze_count() == 0\n"
        "with lasting_imports(): pass\n"
        "assert gc.get_freeze_count() == 0, 'nothing was imported'\n"
        "with lasting_imports():\n"
        "    import colorsys\n"
        "    assert not gc.isenabled()\n"
        "    made = [[] for _ in range(10_000)]\n"
        "frozen = gc.get_freeze_count()\n"
        "gc.collect()\n"
        "assert gone() is None\n"
        "print(gc.isenabled(), frozen >= len(made))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", str(left_out)]


@pytest.mark.parametrize(
    ("text", "are_set"),
    [
        ("2", True), ("4,2", True), (" 1", True), ("+1", True), ("2 , 1", True), ("007", True),
        ("", False), ("0", False), ("many", False), ("1,many", False), ("1,0", False),
        ("1,", False), ("\N{ARABIC-INDIC DIGIT ONE}", False), ("1" * 5_000, False),
    ],
)  # fmt: skip
def test_threads_are_set_by_a_number_of_them(
    monkeypatch: pytest.MonkeyPatch, text: str, are_set: bool
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert not threads_are_set()
    monkeypatch.setenv("MKL_NUM_THREADS", text)
    assert threads_are_set() == are_set


@pytest.mark.slow
def test_importing_the_tracking_changes_no_variable_and_no_log_level() -> None:
    """More than importing MLflow does by itself, that is: it sets the levels of its loggers."""
    with_ours, alone = (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", IMPORT_PROGRAM, module],
                capture_output=True, text=True, check=True, cwd=ROOT, env=environment(),
            ).stdout
        )
        for module in ("ae_sweep.tracking", "mlflow")
    )  # fmt: skip
    assert with_ours[0], "the environment was changed"
    assert with_ours == alone


def test_a_callers_variables_and_log_levels_are_as_they_were_after_each_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in isolation.MLFLOW_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_UV_AUTO_DETECT", "true")
    before, levels = dict(os.environ), _levels()
    logging.getLogger("alembic").setLevel(logging.DEBUG)
    levels["alembic"] = logging.DEBUG
    _write_sweep(tmp_path)
    assert dict(os.environ) == before
    assert _levels() == levels


def test_settings_hold_until_the_last_of_several_threads_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    inside, leave = threading.Event(), threading.Event()

    def wait() -> None:
        with quiet_mlflow():
            inside.set()
            leave.wait(10)

    levels = _levels()
    thread = threading.Thread(target=wait)
    with quiet_mlflow():
        thread.start()
        assert inside.wait(10)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert logging.getLogger("mlflow").level == logging.ERROR
    leave.set()
    thread.join()
    assert "MLFLOW_DISABLE_TELEMETRY" not in os.environ
    assert _levels() == levels


def _levels() -> dict[str, int]:
    return {name: logging.getLogger(name).level for name in LOG_LEVELS}


def test_a_setting_holds_unless_the_user_has_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AE_SWEEP_A", raising=False)
    monkeypatch.setenv("AE_SWEEP_B", "theirs")
    with isolation.unless_set({"AE_SWEEP_A": "outer", "AE_SWEEP_B": "ours"}):
        with isolation.unless_set({"AE_SWEEP_A": "inner"}):
            assert os.environ["AE_SWEEP_A"] == "outer"
        assert (os.environ["AE_SWEEP_A"], os.environ["AE_SWEEP_B"]) == ("outer", "theirs")
    assert "AE_SWEEP_A" not in os.environ
    assert os.environ["AE_SWEEP_B"] == "theirs"


def test_mlflow_sends_what_creates_something_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for theirs in (None, "7"):
        if theirs is not None:
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", theirs)
        with isolation.once:
            assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
        assert os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES") == theirs
