"""A sweep that is interrupted at any moment is whole, and is completed by what it advises."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from commands import ROOT, Done, SignalAfter, SignalIn, environment
from sweep_support import (
    CONV,
    SMALL,
    check_databases,
    empty_store,
    read_until,
    resume,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commands import Server

pytestmark = pytest.mark.slow


def _stopped(server: Server, cwd: Path, signal_at: SignalIn | SignalAfter) -> Done:
    """Run the small sweep, which is sent a signal at a moment."""
    empty_store(cwd)
    command = server.start("run", *SMALL, cwd=cwd, known_speed=True, signal_at=signal_at)
    with command as running:
        out, err = running.communicate()
        return Done(running.wait(), out, err)


MID_TRIAL = r"d=4 trial 0: epoch 0\.5"
MOMENTS = {
    "before a first step": SignalAfter(r"d=2 trial 0: lr"),
    "in mid-trial": SignalAfter(MID_TRIAL),
    "in mid-trial, SIGTERM": SignalAfter(MID_TRIAL, signal.SIGTERM),
    "in mid-trial, SIGHUP": SignalAfter(MID_TRIAL, signal.SIGHUP),
    "while a model is logged": SignalIn("ae_sweep.tracking.models", "log_model"),
    "between search and repeats": SignalAfter(r"\[4/6\]"),
    "in the last repeat": SignalAfter(r"d=4 repeat 1: epoch"),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_an_interrupted_sweep_is_whole_and_resumes_to_what_an_undisturbed_one_is(
    server: Server,
    process: Callable[..., Done],
    undisturbed: Path,
    tmp_path: Path,
    moment: SignalIn | SignalAfter,
) -> None:
    stopped = _stopped(server, tmp_path, moment)
    assert stopped.code == 130, stopped
    assert stopped.out == ""
    assert "Traceback" not in stopped.err
    again = f"ae-sweep run --name small --resume --store {tmp_path / 'store'}"
    assert stopped.err.splitlines()[-1] == f"interrupted; complete it with: {again}"

    left = stored(tmp_path / "store")
    assert left.statuses["RUNNING"] == 0
    assert left.parent == "KILLED"
    assert "RUNNING" not in left.trials
    assert "WAITING" not in left.trials
    check_databases(tmp_path / "store", whole=False)

    words = shlex.split(again)[1:]
    resumed = process(*words, cwd=tmp_path, known_speed=True)
    assert resumed.code == 0, resumed.err
    whole = stored(tmp_path / "store")
    assert whole.parent == "FINISHED"
    assert whole.filled == stored(undisturbed).filled, "the same points with the same numbers"
    assert left.filled.items() <= whole.filled.items(), "what was there is left as it was"


@pytest.mark.parametrize("delay_seconds", [0.0, 0.15])
def test_ctrl_c_at_the_very_end_loses_nothing(
    server: Server,
    process: Callable[..., Done],
    undisturbed: Path,
    tmp_path: Path,
    delay_seconds: float,
) -> None:
    empty_store(tmp_path)
    with server.start("run", *SMALL, cwd=tmp_path, known_speed=True) as running:
        said = read_until(running, r"\[6/6\]")
        time.sleep(delay_seconds)  # the moment is what the test varies
        running.send_signal(signal.SIGINT)
        out, err = running.communicate()
    stopped = Done(running.wait(), out, said + err)
    # While Python shuts down the signal itself ends it, which a shell tells as 130 too.
    assert stopped.code in (0, 130, -signal.SIGINT), stopped
    assert "Traceback" not in stopped.err
    left = stored(tmp_path / "store")
    assert left.statuses["RUNNING"] == 0
    assert left.filled == stored(undisturbed).filled
    resumed = resume(process, tmp_path)
    assert "[1/" not in resumed.err, "nothing is trained again"
    assert stored(tmp_path / "store").parent == "FINISHED"


def test_ctrl_c_before_anything_is_stored_leaves_nothing_and_the_command_can_be_given_again(
    server: Server, tmp_path: Path
) -> None:
    with server.start("run", *CONV, cwd=tmp_path) as running:
        read_until(running, "measuring")
        time.sleep(0.2)  # it takes seconds
        running.send_signal(signal.SIGINT)
        out, err = running.communicate()
    assert (running.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_second_ctrl_c_does_no_harm(server: Server, tmp_path: Path) -> None:
    empty_store(tmp_path)
    with server.start("run", *CONV, cwd=tmp_path, known_speed=True) as running:
        read_until(running, "d=2 trial 0: epoch")
        for _ in range(3):
            running.send_signal(signal.SIGINT)
            time.sleep(0.01)  # bookkeeping takes longer
        _, err = running.communicate()
    assert running.returncode == 130, err
    assert err.count("interrupted") == 1
    assert "Traceback" not in err
    left = stored(tmp_path / "store")
    assert left.statuses["RUNNING"] == 0
    assert "RUNNING" not in left.trials


def test_a_second_ctrl_c_that_is_meant_ends_at_once_and_the_sweep_is_resumable(
    server: Server, process: Callable[..., Done], undisturbed: Path, tmp_path: Path
) -> None:
    empty_store(tmp_path)
    with server.start("run", *CONV, cwd=tmp_path, known_speed=True) as running:
        read_until(running, "d=2 trial 0: epoch")
        running.send_signal(signal.SIGINT)
        time.sleep(0.15)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate()
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith(
        f"complete it with: ae-sweep run --name small --resume --store {tmp_path / 'store'}"
    )
    resume(process, tmp_path)
    assert stored(tmp_path / "store").statuses["RUNNING"] == 0


def test_a_second_ctrl_c_does_not_wait_for_a_locked_database(
    server: Server, process: Callable[..., Done], undisturbed: Path, tmp_path: Path
) -> None:
    database = empty_store(tmp_path) / "mlflow.db"
    with (
        server.start("run", *SMALL, cwd=tmp_path, known_speed=True) as running,
        contextlib.closing(sqlite3.connect(database, timeout=60)) as other,
    ):
        read_until(running, "d=2 trial 0: epoch")
        other.execute("BEGIN EXCLUSIVE")  # the next validation waits for it
        time.sleep(1.0)
        running.send_signal(signal.SIGINT)
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, err = running.communicate()
        assert time.monotonic() - started < 10, "SQLite waits for 20 seconds"
    assert running.returncode == 130, err
    assert err.splitlines()[-1].startswith("ended at once; complete it with: ")
    resume(process, tmp_path)
    assert stored(tmp_path / "store").filled == stored(undisturbed).filled


def test_a_terminal_that_is_closed_ends_a_sweep_in_order(tmp_path: Path) -> None:
    """Signal and failing output come together, as when an ssh connection breaks."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    empty_store(tmp_path)
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(
            sys.executable,
            [sys.executable, str(ROOT / "cli.py"), "run", *SMALL],
            environment(TERM="xterm"),
        )
    shown = b""
    while b"d=2 trial 0" not in shown:
        shown += os.read(master, 4096)
    os.close(master)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    left = stored(tmp_path / "store")
    assert left.statuses["RUNNING"] == 0
    assert left.parent == "KILLED"
    check_databases(tmp_path / "store", whole=False)


@pytest.mark.parametrize("words", ["--version", "list", "list --json", "show --json"])
def test_a_pipe_closed_by_its_reader_ends_a_command_without_a_word(
    undisturbed: Path, words: str
) -> None:
    """The whole path, with Python's own end: `ae-sweep list | head -0`."""
    options = [] if words == "--version" else ["--store", str(undisturbed)]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *words.split(), *options],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
