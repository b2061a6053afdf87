"""SQLite files are read where nothing can be written, with all that was committed to them."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from ae_sweep.sqlite_files import readable
from ae_sweep.store_advice import advice_on

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the system answer as on a read-only mount; test_readonly_store has a real one."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))


def rows(path: Path) -> list[tuple[int]]:
    with contextlib.closing(readable(path).connect()) as connection:
        return connection.execute("SELECT n FROM numbers ORDER BY n").fetchall()


def database(path: Path, *numbers: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE numbers (n INTEGER)")
    with connection:
        connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in numbers])
    return connection


def test_a_writable_file_is_opened_as_usual(tmp_path: Path) -> None:
    database(tmp_path / "a.db", 1).close()
    assert readable(tmp_path / "a.db").is_writable
    assert rows(tmp_path / "a.db") == [(1,)]


@pytest.mark.usefixtures("unwritable")
@pytest.mark.parametrize("name", ["a.db", "a b#c&d;e'f\"g+h@i:j[k]ü%41?.db"])
def test_an_unwritable_file_is_read_and_cannot_be_written(tmp_path: Path, name: str) -> None:
    database(tmp_path / name, 1, 2).close()
    found = readable(tmp_path / name)
    assert not found.is_writable
    assert rows(tmp_path / name) == [(1,), (2,)]
    with (
        contextlib.closing(found.connect()) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("INSERT INTO numbers VALUES (3)")
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing is made beside it"


@pytest.mark.usefixtures("unwritable")
def test_commits_that_are_in_the_log_alone_are_read(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    connection = database(tmp_path / "live" / "a.db", 1)
    assert rows(tmp_path / "live" / "a.db") == [(1,)], "beside a program that is writing"
    dead = tmp_path / "dead"
    dead.mkdir()
    for suffix in ("", "-wal"):  # what a killed program leaves, without the shared memory
        shutil.copyfile(tmp_path / "live" / f"a.db{suffix}", dead / f"a.db{suffix}")
    connection.close()
    before = {path.name: path.read_bytes() for path in dead.iterdir()}
    found = readable(dead / "a.db")
    assert not found.is_writable
    assert rows(dead / "a.db") == [(1,)]
    assert {path.name: path.read_bytes() for path in dead.iterdir()} == before


@pytest.mark.usefixtures("unwritable")
def test_a_file_that_changed_has_another_address(tmp_path: Path) -> None:
    database(tmp_path / "a.db", 1).close()
    before = readable(tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("INSERT INTO numbers VALUES (2)")
    assert readable(tmp_path / "a.db") != before
    assert rows(tmp_path / "a.db") == [(1,), (2,)]


def test_advice_fits_the_error(tmp_path: Path) -> None:
    garbage, cut, there = tmp_path / "garbage", tmp_path / "cut", tmp_path / "there"
    garbage.write_bytes(b"garbage" * 1000)
    database(there, *range(5_000)).close()
    cut.write_bytes(there.read_bytes()[:5_000])

    def advice(path: Path, statement: str) -> str:
        with (
            contextlib.closing(sqlite3.connect(path, timeout=0)) as connection,
            pytest.raises(sqlite3.Error) as caught,
        ):
            connection.execute(statement).fetchall()
        return advice_on(caught.value)

    assert "move it away" in advice(garbage, "SELECT * FROM sqlite_master")
    assert "restore it from a copy" in advice(cut, "SELECT * FROM numbers")
    with contextlib.closing(sqlite3.connect(there)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "end the other program" in advice(there, "INSERT INTO numbers VALUES (1)")
    with pytest.raises(sqlite3.Error) as caught:
        sqlite3.connect(tmp_path / "no" / "such")
    assert "check that you may read it" in advice_on(caught.value)
    assert "read and written, or name another --store" in advice_on(ValueError("other"))
