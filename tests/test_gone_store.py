"""A store that is deleted, moved or replaced under a running sweep: it ends, and says so."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from driver_support import all_trials
from fake_engine import SMALL, faking
from fakes import FakeTraining
from optuna.trial import TrialState
from sweep_support import check_databases

import ae_sweep
from ae_sweep.errors import StoreError
from ae_sweep.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ae_sweep.locations import Store

pytestmark = pytest.mark.usefixtures("faked_sweeps")

SECONDS = 30.0
"""Far below SQLite's and MLflow's patience of minutes, for whatever waits for them."""


def begun(training: FakeTraining | None = None) -> Iterator[Any]:
    """Begin a sweep, up to the second trial."""
    engine = faking(training or FakeTraining())
    events = ae_sweep.iter_sweep("r", engine=engine, dims=[2, 4], trials=2, pruner="none", **SMALL)
    for _ in range(8):
        next(events)
    return events


def moved(store: Store) -> None:
    store.root.rename(store.root.with_name("elsewhere"))


def deleted(store: Store) -> None:
    shutil.rmtree(store.root)


def emptied(store: Store) -> None:
    deleted(store)
    store.root.mkdir()


def replaced(store: Store) -> None:
    """Put a copy in its place, to which the open databases do not write."""
    shutil.copytree(store.root, store.root.with_name("copy"))
    moved(store)
    store.root.with_name("copy").rename(store.root)


@pytest.mark.parametrize("lose", [moved, deleted, emptied, replaced])
def test_a_sweep_whose_store_is_gone_ends_with_a_message_and_makes_nothing_there(
    store: Store, lose: Callable[[Store], None], snapshot: Callable[[], Any]
) -> None:
    with contextlib.closing(begun()) as events:  # type: ignore[type-var]
        lose(store)
        before = [name for name, _ in snapshot()]
        started = time.monotonic()
        message = "was moved or deleted while the sweep r ran, and nothing more is written to it"
        with pytest.raises(StoreError, match=message):
            list(events)
        assert time.monotonic() - started < SECONDS
    databases = ("-wal", "-shm")  # which SQLite merges when the last connection closes
    assert [name for name, _ in snapshot() if not name.endswith(databases)] == [
        name for name in before if not name.endswith(databases)
    ]


@pytest.mark.slow
def test_a_sweep_is_whole_once_its_moved_store_is_back(store: Store) -> None:
    with contextlib.closing(begun()) as events:  # type: ignore[type-var]
        moved(store)
        with pytest.raises(StoreError):
            list(events)
    store.root.with_name("elsewhere").rename(store.root)
    (listed,) = ae_sweep.list_sweeps()
    assert listed.outcome is Outcome.INTERRUPTED
    sweep = ae_sweep.run_sweep("r", resume=True, engine=faking(FakeTraining()), progress=False)
    assert [trial.outcome for trial in sweep.trials] == [Outcome.FINISHED] * 4
    states = [trial.state for trials in all_trials(store.optuna_path).values() for trial in trials]
    assert states.count(TrialState.COMPLETE) == 4
    assert TrialState.RUNNING not in states
    check_databases(store.root)


def test_an_interruption_after_the_store_has_gone_writes_nothing_either(
    store: Store, snapshot: Callable[[], Any]
) -> None:
    events = begun()
    deleted(store)
    before = snapshot()
    events.close()  # type: ignore[attr-defined]
    assert snapshot() == before


@pytest.mark.slow
def test_the_command_exits_with_3_when_its_store_is_moved(server: Any, tmp_path: Path) -> None:
    from sweep_support import SMALL as WORDS
    from sweep_support import empty_store, read_until

    empty_store(tmp_path)
    with server.start("run", *WORDS, cwd=tmp_path, known_speed=True) as running:
        read_until(running, r"\[1/")
        (tmp_path / "store").rename(tmp_path / "elsewhere")
        _, err = running.communicate(300)
        assert running.wait() == 3, err
    assert "error: the store" in err
    assert "was moved or deleted while the sweep small ran" in err
    assert not (tmp_path / "store").exists()
