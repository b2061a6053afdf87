"""Signals become one interruption; a closed pipe or terminal ends a command without a word."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shlex
import signal
import sqlite3
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TextIO

import pytest
import tracking_support as support
from fake_engine import faking
from fakes import FakeTraining
from test_cli_contract import COMMANDS

import ae_sweep
from ae_sweep import interruption
from ae_sweep.cli import closed_output
from ae_sweep.cli.app import exit_code
from ae_sweep.cli.console import say
from ae_sweep.records import Outcome
from ae_sweep.runner import interrupts
from ae_sweep.runner.interrupts import Interrupts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ae_sweep.locations import Store


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time as the handler of signals reads it, to be moved."""
    now = [100.0]
    monkeypatch.setattr("ae_sweep.runner.interrupts.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_interrupts_and_the_handlers_are_put_back(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), Interrupts().caught():
        send(number)
    assert signal.getsignal(number) is before


def test_an_interruption_waits_until_the_bookkeeping_is_done() -> None:
    caught, done = Interrupts(), []

    def work() -> None:
        with caught.caught(), caught.shield():
            with caught.shield():
                send(signal.SIGHUP)
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "outer"]


def test_an_interruption_counts_for_more_than_an_error_of_the_bookkeeping() -> None:
    caught = Interrupts()

    def work(*, signalled: bool) -> None:
        with caught.caught(), caught.shield(), caught.shield():
            if signalled:
                send(signal.SIGTERM)
            raise ValueError("the server hangs")

    with pytest.raises(KeyboardInterrupt) as interrupted:
        work(signalled=True)
    assert isinstance(interrupted.value.__context__, ValueError)
    with pytest.raises(ValueError, match="the server hangs"):
        work(signalled=False)


def test_a_signal_that_is_ignored_stays_so_as_nohup_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().caught():
            send(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_ctrl_c_ends_at_once_what_waits_for_bookkeeping(clock: list[float]) -> None:
    caught, reached = Interrupts(), []

    def work() -> None:
        with caught.caught(), caught.shield():
            send(signal.SIGINT)
            reached.append("it waits")
            clock[0] += 0.2
            send(signal.SIGINT)
            reached.append("it went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["it waits"]


def test_what_ends_it_at_once_can_be_chosen(clock: list[float]) -> None:
    caught, called = Interrupts(), []
    caught.at_once = lambda: called.append("at once")
    with contextlib.suppress(KeyboardInterrupt), caught.caught(), caught.shield():
        send(signal.SIGTERM)
        assert called == []
        clock[0] += 60
        send(signal.SIGINT)
        assert called == ["at once"]


@pytest.mark.parametrize(
    ("numbers", "seconds"),
    [
        ((signal.SIGINT, signal.SIGINT), 0.01),
        ((signal.SIGHUP, signal.SIGHUP), 0.01),
        ((signal.SIGTERM, signal.SIGHUP), 0.01),
        ((signal.SIGTERM, signal.SIGTERM), 5.0),
        ((signal.SIGINT, signal.SIGTERM), 5.0),
    ],
    ids=["passed on by a launcher", "by kernel and shell", "systemd", "docker stop", "then TERM"],
)
def test_signals_that_come_in_pairs_are_one_interruption(
    clock: list[float], numbers: tuple[int, int], seconds: float
) -> None:
    caught, done = Interrupts(), []
    caught.at_once = lambda: done.append("at once")

    def work() -> None:
        with caught.caught(), caught.shield():
            send(numbers[0])
            clock[0] += seconds
            send(numbers[1])
            done.append("bookkeeping")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["bookkeeping"]


def test_in_a_training_it_waits_for_the_end_of_the_step() -> None:
    caught, steps = Interrupts(), []

    def train() -> None:
        with caught.caught(), interruption.awaited():
            for step in itertools.count():
                if step == 3:
                    send(signal.SIGTERM)
                steps.append(step)
                interruption.check()

    with pytest.raises(interruption.Interrupted):
        train()
    assert steps == [0, 1, 2, 3]


def test_a_request_after_the_last_step_is_met_too() -> None:
    caught, done = Interrupts(), []

    def train() -> None:
        with caught.caught(), interruption.awaited():
            send(signal.SIGINT)
            done.append("the last step")
        done.append("more")

    with pytest.raises(interruption.Interrupted):
        train()
    assert done == ["the last step"]


def test_a_step_without_end_is_ended_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "SAVE_SECONDS", 0.2)
    started = time.monotonic()

    def train() -> None:
        with Interrupts().caught(), interruption.awaited():
            send(signal.SIGTERM)
            time.sleep(60)

    with pytest.raises(KeyboardInterrupt) as caught:
        train()
    assert not isinstance(caught.value, interruption.Interrupted), "it cannot be saved there"
    assert time.monotonic() - started < 30
    assert not interruption.is_requested()


def test_a_second_ctrl_c_does_not_wait_for_the_step(clock: list[float]) -> None:
    caught, called = Interrupts(), []
    caught.at_once = lambda: called.append("at once")
    with contextlib.suppress(KeyboardInterrupt), caught.caught(), interruption.awaited():
        send(signal.SIGINT)
        assert called == []
        clock[0] += 1
        send(signal.SIGINT)
        assert called == ["at once"]


def test_a_second_ctrl_c_is_heard_while_the_main_thread_waits_in_a_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SQLite waits for a lock in one call: no handler of Python's runs meanwhile."""
    monkeypatch.setattr(interrupts, "HANDLER_SECONDS", 0.05)
    caught, heard = Interrupts(), threading.Event()
    caught.at_once = heard.set

    def interrupt() -> None:
        for _ in range(2):
            time.sleep(0.3)
            send(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as other,
        contextlib.closing(sqlite3.connect(tmp_path / "x.db", timeout=3.0)) as ours,
    ):
        other.execute("BEGIN EXCLUSIVE")
        with (
            contextlib.suppress(KeyboardInterrupt),
            caught.caught(),
            caught.watched(),
            caught.shield(),
        ):
            thread.start()
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                ours.execute("BEGIN IMMEDIATE")
            assert heard.is_set(), "before the wait was over"
    thread.join()
    assert signal.set_wakeup_fd(-1) == -1, "as it was"


def test_one_ctrl_c_is_not_taken_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step without end is ended by another signal, which is ours."""
    monkeypatch.setattr(interrupts, "HANDLER_SECONDS", 0.05)
    monkeypatch.setattr(interruption, "SAVE_SECONDS", 0.3)
    caught, called = Interrupts(), []
    caught.at_once = lambda: called.append("at once")

    def train() -> None:
        with caught.caught(), caught.watched():
            with contextlib.suppress(KeyboardInterrupt), interruption.awaited():
                send(signal.SIGINT)
                send(signal.SIGINT)  # a launcher passes it on
                time.sleep(30)
            time.sleep(0.3)

    train()
    assert called == []


def test_a_training_of_another_thread_is_not_interrupted() -> None:
    seen = []

    def train() -> None:
        with interruption.awaited():
            seen.append(interruption.is_awaited())
            interruption.check()

    interruption.request()
    try:
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
        assert seen == [False]
        assert interruption.is_requested()
    finally:
        interruption.withdraw()


def test_in_another_thread_nothing_is_caught() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def look() -> None:
        with Interrupts().caught():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], TextIO]]:
    """Make stdout or stderr a pipe that nobody reads."""
    with contextlib.ExitStack() as opened:

        def close(name: str) -> TextIO:
            reading, writing = os.pipe()
            os.close(reading)
            stream = opened.enter_context(os.fdopen(writing, "w"))
            monkeypatch.setattr(sys, name, stream)
            return stream

        yield close
        closed_output.discard_closed()  # what a test leaves in a buffer


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_a_closed_pipe_ends_every_command_quietly(
    closed: Callable[[str], TextIO], capfd: pytest.CaptureFixture[str], command: str
) -> None:
    closed("stdout")
    assert exit_code([*command.split(), "--help"]) == 141
    assert capfd.readouterr().err == ""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    made = support.fresh_store(tmp_path)
    writer = support.tracking.open_for_writing(made).start_sweep(
        support.config("digits", dims=(8,)), card=support.CARD, environment={}
    )
    support.finish(support.start(writer))
    support.finish_sweep(writer)
    return made


@pytest.mark.parametrize(
    "words",
    ["list", "list --json", "show digits", "show --json", "data shapes", "frontier digits --json"],
)
def test_data_for_a_closed_pipe_ends_the_command_quietly(
    store: Store,
    closed: Callable[[str], TextIO],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    closed("stdout")
    assert exit_code(words.split()) == 141
    err = capfd.readouterr().err
    assert "Traceback" not in err
    assert "error" not in err


def test_an_error_keeps_its_code_where_nobody_reads_the_message(
    closed: Callable[[str], TextIO], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    closed("stderr")
    assert exit_code(["list", "--store", "none"]) == 3
    assert exit_code(["run", "--dims", "0"]) == 2


def test_a_disk_that_fails_is_no_closed_terminal() -> None:
    assert not closed_output.is_closed(OSError(errno.EIO, "Input/output error"))
    assert not closed_output.is_closed(OSError(errno.ENOSPC, "No space left on device"))


def test_a_terminal_that_is_gone_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        say("heard")
        os.close(master)
        say("not heard")
        say("nor this")
        closed_output.discard_closed()
        terminal.flush()


@pytest.fixture
def faked(
    monkeypatch: pytest.MonkeyPatch, no_probe: None, plain_pictures: None
) -> Callable[..., list[int | str | None]]:
    """Have the command line train nothing; return the numbers of workers it asks for."""

    def fake(training: FakeTraining) -> list[int | str | None]:
        asked: list[int | str | None] = []

        def engine(workers: int | None, *, share_cores: bool) -> Any:
            asked.append("shared" if share_cores else workers)
            return faking(training)

        monkeypatch.setattr("ae_sweep.runner.engine.local_engine", engine)
        return asked

    return fake


RUN = ("run", "--dataset", "shapes", "--train-limit", "256", "--dims", "2", "4", "--trials", "1")


def test_the_printed_command_completes_an_interrupted_sweep_with_every_option_it_needs(
    cli: Callable[..., Any], faked: Callable[..., list[int | str | None]], tmp_path: Path
) -> None:
    place = support.fresh_store(tmp_path / "it's a store")
    asked = faked(FakeTraining(interrupt_at=6))
    stopped = cli(
        *RUN, "--name", "r", "--store", str(place.root), "--workers", "2", "--device", "cpu",
        "--image-memory", "0.5", "--data-dir", str(tmp_path),
    )  # fmt: skip
    assert (stopped.code, stopped.out) == (130, "")
    last = stopped.err.splitlines()[-1]
    assert last.startswith("interrupted; complete it with: ae-sweep run")
    command = shlex.split(last.partition("with: ")[2])[1:]
    asked = faked(FakeTraining())
    done = cli(*command)
    assert done.code == 0, done.err
    assert asked == [2]
    given = dict(itertools.pairwise(command))
    assert (given["--device"], given["--image-memory"]) == ("cpu", "0.5")
    assert given["--data-dir"] == str(tmp_path)
    trials = ae_sweep.load_sweep("r", store=place.root).trials
    assert [trial.outcome for trial in trials].count(Outcome.FINISHED) == 2


def test_no_command_is_advised_where_nothing_is_stored_yet(
    cli: Callable[..., Any],
    faked: Callable[..., list[int | str | None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    faked(FakeTraining())
    monkeypatch.setattr(support.tracking, "open_for_writing", interrupt)
    stopped = cli(*RUN, "--name", "r")
    assert (stopped.code, stopped.err.splitlines()[-1]) == (130, "interrupted")


def test_a_sweep_whose_progress_nobody_reads_ends_in_order(
    store: Store,
    faked: Callable[..., list[int | str | None]],
    closed: Callable[[str], TextIO],
    capfd: pytest.CaptureFixture[str],
) -> None:
    fake = FakeTraining()
    faked(fake)
    closed("stderr")
    assert exit_code([*RUN, "--name", "r"]) == 130
    assert capfd.readouterr() == ("", "")
    assert fake.ended == []
    stopped = ae_sweep.load_sweep("r")
    assert stopped.record.outcome is Outcome.INTERRUPTED
    assert [trial.outcome for trial in stopped.trials] == [Outcome.INTERRUPTED]
