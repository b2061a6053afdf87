"""Optuna's file has a write-ahead log, whose commits need not wait for the disk."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import optuna
import pytest

from ae_sweep.sweep.storage import open_storage

if TYPE_CHECKING:
    from pathlib import Path

FULL, NORMAL = 2, 1


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def settings(storage: optuna.storages.RDBStorage) -> tuple[str, int]:
    with storage.engine.connect() as connection:
        asked = (connection.exec_driver_sql(f"PRAGMA {n}") for n in ("journal_mode", "synchronous"))
        mode, synchronous = (answer.scalar_one() for answer in asked)
        return mode, synchronous


def test_a_new_file_has_a_log_and_its_commits_do_not_wait(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "new" / "optuna.db")
    assert settings(storage) == ("wal", NORMAL)
    storage.engine.dispose()
    assert settings(open_storage(tmp_path / "new" / "optuna.db")) == ("wal", NORMAL)


def test_a_file_without_a_log_stays_as_it_is_and_waits(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    optuna.storages.RDBStorage(f"sqlite:///{path}").engine.dispose()
    assert settings(open_storage(path)) == ("delete", FULL)


def test_a_file_whose_making_was_cut_off_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert open_storage(path).get_all_studies() == []
