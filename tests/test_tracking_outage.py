"""Tracking may fail, training may not: what is published in the end is what would have been."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from fake_mlflow import FakeMlflow

from ae_sweep.errors import ConflictError, StoreError
from ae_sweep.locations import Store
from ae_sweep.records import Outcome
from ae_sweep.tracking import clock as steady_clock
from ae_sweep.tracking import kept, models, writer
from ae_sweep.tracking.entries import SWEEP_RUN
from ae_sweep.tracking.journal import Journal, JournalHeader
from ae_sweep.tracking.outbox import Outbox
from ae_sweep.tracking.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HEADER = JournalHeader(sweep="first", run_id="parent", place="")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save a model in one file, and let time be counted by those who ask for it."""

    def save(folder: Path, description: Any, weights: bytes, **_: object) -> None:
        folder.mkdir()
        (folder / "weights").write_bytes(weights)

    monkeypatch.setattr(models, "_save", save)
    monkeypatch.setattr("mlflow.models.Model", lambda **_: None)


@dataclass
class Process:
    """One process that logs a sweep to a server."""

    server: FakeMlflow
    folder: Path
    said: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder, HEADER)
        client: Any = self.server
        publisher = Publisher(client, place="server", experiment_id="1", sweep="first")
        self.outbox = Outbox(
            publisher,
            journal=self.journal,
            announce=self.said.append,
            clock=lambda: self.seconds,
            sleep=lambda _: None,
        )
        publisher.know(SWEEP_RUN, "parent")
        self.sweep = writer.SweepWriter(
            self.outbox, config=support.config(), card=support.CARD, commands={}
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Set one clock for all that is logged, the same whenever it is set."""

    def set_clock() -> None:
        times = itertools.count(1_700_000_000_000)
        monkeypatch.setattr(steady_clock, "system_ms", lambda: next(times))

    set_clock()
    return set_clock


def log_trials(process: Process) -> Iterator[None]:
    """Log a sweep that has every kind of entry; pause after each call."""
    first = support.start(process.sweep, name="t0")
    yield
    second = support.start(process.sweep, support.point(seed=1), name="t1")
    yield
    for step in (100, 200):
        first.log_epoch(support.epoch(step))
        yield
    second.log_epoch(support.epoch(100))
    yield
    second.prune()
    yield
    first.finish(support.result(200, weights=b"one"), picture=b"png")
    yield
    third = support.start(process.sweep, support.point(seed=2), name="t2")
    yield
    third.fail("val_mse is nan at step 3")
    yield
    fourth = support.start(process.sweep, support.point(seed=2), name="t2 again")
    yield
    fourth.finish(support.result(300, weights=b"two", test_psnr=None), picture=b"png")
    yield


@pytest.fixture
def undisturbed(clock: Callable[[], None], tmp_path: Path) -> dict[str, Any]:
    process = Process(FakeMlflow(), tmp_path / "none")
    for _ in log_trials(process):
        pass
    assert process.said == []
    assert not process.folder.exists(), "without a failure nothing is written"
    clock()
    content = process.server.content()
    *_, third, fourth = content["runs"]
    assert (third["lifecycle"], fourth["tags"]["earlier_try"], fourth["tags"]["try"]) == (
        "deleted", 2, "2",
    )  # fmt: skip
    assert fourth["tags"]["earlier_failure"] == "val_mse is nan at step 3"
    content["calls"] = process.server.calls
    return content


def check_same(server: FakeMlflow, undisturbed: dict[str, Any]) -> None:
    content = server.content()
    assert content["runs"] == undisturbed["runs"]
    assert content["models"] == undisturbed["models"]


def run(process: Process, *, seconds: float = 1.0) -> None:
    for _ in log_trials(process):
        process.seconds += seconds


LENGTHS = {"one call": 1, "two calls": 2, "a while": 7, "the rest": 10_000}


@pytest.mark.parametrize("late", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize("length", LENGTHS.values(), ids=LENGTHS)
def test_an_outage_at_any_call_changes_nothing_that_is_stored(
    undisturbed: dict[str, Any], clock: Callable[[], None], tmp_path: Path, length: int, late: bool
) -> None:
    for first in range(1, undisturbed["calls"] + 1):
        clock()
        process = Process(FakeMlflow(), tmp_path / str(first))
        process.server.late = late
        process.server.fails = lambda number, first=first: first <= number < first + length
        run(process, seconds=2.0)
        process.server.fails = lambda _: False
        process.outbox.flush()
        check_same(process.server, undisturbed)
        assert not process.folder.exists(), "nothing is left of the journal"
        assert bool(process.said) == (length > 1)


@pytest.mark.parametrize("late", [False, True], ids=["refused", "answer lost"])
def test_a_server_that_fails_now_and_then_gets_everything_once(
    undisturbed: dict[str, Any], clock: Callable[[], None], tmp_path: Path, late: bool
) -> None:
    for period in range(6, 12):  # the entry of most calls has five
        clock()
        process = Process(FakeMlflow(), tmp_path / str(period))
        process.server.late = late
        process.server.fails = lambda number, period=period: number % period == 0
        run(process, seconds=100.0)
        for _ in range(1_000):
            try:
                process.outbox.flush()
                break
            except StoreError:
                continue
        check_same(process.server, undisturbed)


def test_what_a_killed_process_left_is_published_by_another(
    undisturbed: dict[str, Any], clock: Callable[[], None], tmp_path: Path
) -> None:
    for failure in range(1, 60, 4):
        clock()
        process = Process(FakeMlflow(), tmp_path / str(failure))
        process.server.fails = lambda number: number > 3
        run(process)
        process.journal.close()  # as the kernel does

        # The next one publishes a part of it, and is killed as well.
        killed = Process(process.server, process.folder)
        process.server.calls = 0
        process.server.fails = lambda number, failure=failure: number == failure
        process.server.late = failure % 8 == 1
        killed.journal.open()
        try:
            killed.outbox.flush()
        except StoreError:
            assert killed.journal.waiting > 0
        killed.journal.close()

        process.server.fails = lambda _: False
        last = Process(process.server, process.folder)
        if process.folder.exists():
            last.journal.open()
            last.outbox.flush()
        check_same(process.server, undisturbed)


def test_a_server_that_is_back_gets_what_waits_before_anything_new(
    clock: Callable[[], None], tmp_path: Path
) -> None:
    process = Process(FakeMlflow(), tmp_path / "journal")
    trial = support.start(process.sweep)
    process.server.fails = lambda _: True
    trial.log_epoch(support.epoch(100))
    assert process.outbox.waiting == 2, "the start of the run too, so that it is complete in itself"
    [line] = process.said
    assert "'server' failed: API request to /api failed with exception refused" in line
    assert f"kept in {tmp_path / 'journal'}" in line

    process.server.fails = lambda _: False
    calls = process.server.calls
    process.seconds += 1
    trial.log_epoch(support.epoch(200))
    assert process.server.calls == calls, "it is not asked all the time"
    process.seconds += 10
    trial.log_epoch(support.epoch(300))
    [stored] = process.server.runs.values()
    assert {step for _, _, step, _ in stored["metrics"]} == {100, 200, 300}
    assert process.outbox.waiting == 0
    assert process.said[1:] == ["the tracking store is back: 4 kept entries published"]
    trial.prune()
    assert stored["status"] == "KILLED"


def test_a_dead_server_is_asked_ever_more_rarely(clock: Callable[[], None], tmp_path: Path) -> None:
    process = Process(FakeMlflow(), tmp_path / "journal")
    trial = support.start(process.sweep)
    process.server.fails = lambda _: True
    calls = []
    for step in range(1, 601):
        process.seconds += 1
        trial.log_epoch(support.epoch(step))
        calls.append(process.server.calls)
    assert len(set(calls)) < 20
    assert calls[-1] > calls[-70], "and never given up"
    assert len(process.said) == 1


def test_a_trial_of_a_run_that_was_deleted_meanwhile_is_dropped_and_the_others_are_not(
    clock: Callable[[], None], tmp_path: Path
) -> None:
    process = Process(FakeMlflow(), tmp_path / "journal")
    first, second = (support.start(process.sweep, support.point(seed=seed)) for seed in range(2))
    process.server.delete(first.run_id)
    first.log_epoch(support.epoch(100))
    assert "deleted in MLflow" in process.said[0]
    support.finish(first)
    process.server.fails = lambda _: True
    second.log_epoch(support.epoch(100))
    support.finish(second)
    third = support.start(process.sweep, support.point(seed=3))
    third.prune()
    process.server.fails = lambda _: False
    process.server.delete(second.run_id)
    process.outbox.flush()
    assert [run["status"] for run in process.server.runs.values()] == [
        "RUNNING", "RUNNING", "KILLED"
    ]  # fmt: skip
    assert len(process.said) == 3


def test_a_server_that_is_not_there_is_not_written_to(
    clock: Callable[[], None], tmp_path: Path
) -> None:
    process = Process(FakeMlflow(), tmp_path / "journal")
    process.server.fails = lambda _: True
    support.start(process.sweep)
    calls = process.server.calls

    def refuse() -> None:
        raise StoreError("nobody there")

    process.outbox._knock = refuse
    with pytest.raises(StoreError, match="nobody there"):
        process.outbox.flush()
    assert process.server.calls == calls


def test_without_a_journal_a_failure_is_an_error(tmp_path: Path) -> None:
    server: Any = FakeMlflow()
    publisher = Publisher(server, place="server", experiment_id="1", sweep="first")
    publisher.know(SWEEP_RUN, "parent")
    sweep = writer.SweepWriter(
        Outbox(publisher), config=support.config(), card=support.CARD, commands={}
    )
    server.fails = lambda _: True
    with pytest.raises(StoreError, match="server"):
        support.start(sweep)


def test_a_full_disk_under_the_journal_is_an_error_with_its_path(
    clock: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    process = Process(FakeMlflow(), tmp_path / "journal")
    trial = support.start(process.sweep)
    process.server.fails = lambda _: True
    trial.log_epoch(support.epoch(100))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StoreError, match=r"journal\.jsonl cannot"):
            trial.log_epoch(support.epoch(200))
    process.server.fails = lambda _: False
    process.outbox.flush()
    [run] = process.server.runs.values()
    assert {step for _, _, step, _ in run["metrics"]} == {100}


def test_ended_trials_that_wait_count_as_stored(clock: Callable[[], None], tmp_path: Path) -> None:
    store = Store(tmp_path)
    process = Process(FakeMlflow(), store.running("first"))
    first = support.start(process.sweep)
    first.log_epoch(support.epoch(100))
    process.server.fails = lambda _: True
    support.finish(first)
    support.start(process.sweep, support.point(seed=1)).prune()
    support.start(process.sweep, support.point(seed=2))
    trials = kept.kept_trials(store, "first")
    assert [trial.outcome for trial in trials] == [Outcome.FINISHED, Outcome.PRUNED]
    assert trials[0].point == support.point()
    assert (trials[0].val_mse, trials[0].test_mse, trials[0].test_psnr) == (0.005, 0.0051, 22.9)
    assert trials[0].run_id == first.run_id
    [sweep] = kept.kept_sweeps(store)
    assert (sweep.name, sweep.trials, sweep.is_finished) == ("first", 3, False)
    assert kept.kept_trials(Store(tmp_path, "http://127.0.0.1:1"), "first") == []


def test_nothing_is_kept_where_there_is_no_journal(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert kept.kept_sweeps(store) == []
    assert kept.kept_trials(store, "first") == []
    for name in ("..", "../../etc", "", "a/b", "."):
        assert kept.kept_sweep(store, name) is None
    assert [*tmp_path.iterdir()] == []


def test_the_journal_of_another_sweep_of_that_name_is_left_alone(
    clock: Callable[[], None], tmp_path: Path
) -> None:
    process = Process(FakeMlflow(), tmp_path / "journal")
    process.server.fails = lambda _: True
    support.start(process.sweep)
    process.journal.close()
    other = Journal(tmp_path / "journal", JournalHeader(sweep="first", run_id="new", place=""))
    with pytest.raises(ConflictError, match="is not in this store any more"):
        other.open()


def test_a_journal_of_a_later_version_is_refused(
    clock: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ae_sweep.tracking import journal

    with monkeypatch.context() as later:
        later.setattr(journal, "VERSION", 2)
        made = Journal(tmp_path / "journal", HEADER)
        made.open()
        made.close()
    with pytest.raises(StoreError, match="upgrade ae-sweep"):
        Journal(tmp_path / "journal", HEADER).open()
