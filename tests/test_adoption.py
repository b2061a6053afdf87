"""A store that was moved or copied is written again after ``ae-sweep doctor --adopt``."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from export_support import everything
from mlflow import MlflowClient

import ae_sweep
from ae_sweep import ownership, tracking
from ae_sweep.errors import ConfigError, ConflictError, NotStoredError, StoreError
from ae_sweep.locations import Store
from ae_sweep.records import Finding, Status
from ae_sweep.runner import doctor
from ae_sweep.tracking import adoption

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ADVISED = re.compile(r"`(ae-sweep .*?)`")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with a sweep of one trial."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = support.fresh_store(tmp_path, name="it's here")
    commands = {"show it": f"ae-sweep show first --store {shlex.quote(str(store.root))}"}
    sweep = tracking.open_for_writing(store).start_sweep(
        support.config(), card=support.CARD, environment=support.ENVIRONMENT, commands=commands
    )
    support.finish(support.start(sweep))
    support.finish_sweep(sweep)
    return store


@pytest.fixture
def moved(store: Store, tmp_path: Path) -> Store:
    """The same store, moved to a directory with signs that an address escapes."""
    there = Store(tmp_path / "new place ü#")
    store.root.rename(there.root)
    return there


def locations(store: Store) -> set[str]:
    with contextlib.closing(sqlite3.connect(store.root / "mlflow.db")) as connection:
        return {
            text
            for table, column in adoption.LOCATIONS
            for (text,) in connection.execute(f"SELECT {column} FROM {table}")
            if "/shared" not in text  # MLflow's own experiment, of the store that was copied
        }


def root_of(store: Store) -> str:
    with contextlib.closing(sqlite3.connect(store.root / "mlflow.db")) as connection:
        query = "SELECT artifact_location FROM experiments WHERE name = 'ae-sweep'"
        (location,) = connection.execute(query).fetchone()
    return str(location)


def test_a_moved_store_is_written_after_the_command_that_the_message_prints(
    cli: Callable[..., Any], moved: Store, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="was moved or copied") as caught:
        tracking.open_for_writing(moved)
    (advised,) = ADVISED.findall(str(caught.value))
    fine = Finding(check="all", status=Status.OK, what="as it should be")
    monkeypatch.setattr(doctor, "diagnose", lambda *_, **__: doctor.Report(findings=(fine,)))
    done = cli(*shlex.split(advised)[1:])
    assert done.code == 0, done.err
    assert "adopted" in done.err
    assert all(text.startswith(f"{moved.root.as_uri()}/artifacts") for text in locations(moved))
    writer = tracking.open_for_writing(moved).start_sweep(
        support.config("second"), card=support.CARD, environment=support.ENVIRONMENT
    )
    support.finish(support.start(writer))
    assert not store.root.exists(), "nothing is written where it was"
    runs = tracking.open_for_reading(moved)
    for name in ("first", "second"):
        (trial,) = runs.trials(name)
        with runs.model_file(trial.run_id) as file:
            assert file.is_relative_to(moved.root)


def test_what_is_stored_and_the_commands_of_a_sweep_are_those_of_the_new_place(
    store: Store, tmp_path: Path
) -> None:
    before = everything(store, "first")
    there = Store(tmp_path / "there")
    store.root.rename(there.root)
    done = ae_sweep.adopt_store(there.root)
    assert done.before.endswith("it's here/artifacts")
    assert done.after == str(there.root / "artifacts")
    assert done.changed == len(locations(there)) >= 4
    assert everything(there, "first") == before
    client = MlflowClient(tracking_uri=there.tracking_uri)
    record = tracking.open_for_reading(there).sweep("first")
    note = client.get_run(record.run_id).data.tags["mlflow.note.content"]
    assert f"ae-sweep show first --store {there.root}\n" in note
    assert "it's here" not in note
    assert ae_sweep.adopt_store(there.root).changed == 0


def test_a_copy_is_a_store_of_its_own(store: Store, tmp_path: Path) -> None:
    copy = Store(tmp_path / "copy")
    shutil.copytree(store.root, copy.root)
    ae_sweep.adopt_store(copy.root)
    (trial,) = tracking.open_for_reading(copy).trials("first")
    tracking.open_for_writing(copy).add_to_run(trial.run_id, files={"mine.txt": b"x"})
    assert [path.name for path in copy.root.rglob("mine.txt")] == ["mine.txt"]
    assert list(store.root.rglob("mine.txt")) == []
    tracking.open_for_writing(store)


def test_all_locations_change_or_none(moved: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = locations(moved)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(adoption, "_rewrite_commands", fail)
    with pytest.raises(StoreError, match=r"disk is full; free some space there"):
        ae_sweep.adopt_store(moved.root)
    assert locations(moved) == before


def test_a_location_outside_of_the_store_stays_so(moved: Store) -> None:
    near = root_of(moved)
    with contextlib.closing(sqlite3.connect(moved.root / "mlflow.db")) as connection, connection:
        connection.execute(
            "UPDATE logged_models SET artifact_location = ?", (f"{near}-of-another/m",)
        )
    ae_sweep.adopt_store(moved.root)
    assert f"{near}-of-another/m" in locations(moved)


def test_a_store_that_cannot_be_adopted_is_refused(
    moved: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        ownership.hold(moved.running("first"), take_over_command=""),
        pytest.raises(ConflictError, match="is being run by"),
    ):
        ae_sweep.adopt_store(moved.root)
    shutil.move(moved.root / "artifacts", tmp_path / "left behind")
    with pytest.raises(StoreError, match=r"artifacts is missing.*copy it from .*it's here"):
        ae_sweep.adopt_store(moved.root)
    with pytest.raises(NotStoredError, match="nothing is stored in"):
        ae_sweep.adopt_store(tmp_path / "none")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="whose server knows where its files are"):
        ae_sweep.adopt_store()
