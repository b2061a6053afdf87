"""Owns Optuna's database: opening it, and finding a sweep's studies in it."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import optuna
import sqlalchemy.event
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from ae_sweep.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def open_storage(path: Path) -> optuna.storages.RDBStorage:
    """Open Optuna's SQLite file, creating it where it is missing.

    Raises
    ------
    StoreError
        If it cannot be created, or is no database of Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create_with_log(path)
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        sqlalchemy.event.listen(storage.engine, "connect", _trust_the_log)
        storage.engine.dispose()  # a connection made before would not be listened to
    return storage


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate what Optuna's storage raises into one message."""
    try:
        yield
    except (OSError, sqlite3.Error, SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        if isinstance(error, DuplicatedStudyError):
            raise
        raise StoreError(
            f"{path} cannot be used as Optuna's database: {_cause(error)}; "
            "name another directory with --store"
        ) from error


def study_name(sweep: str, latent_dim: int) -> str:
    """Name the study of one latent dimension."""
    return f"{sweep}/d={latent_dim}"


def _create_with_log(path: Path) -> None:
    """Make the file with a write-ahead log, which stays in it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _trust_the_log(connection: sqlite3.Connection, _record: object) -> None:
    """Have a commit not wait for the disk, where a write-ahead log makes that safe.

    A killed process loses nothing. A power cut may take the last commits, never the database: the
    driver finds a finished trial in the tracking store, and asks anew for what was not. A trial
    commits ten times, and waited 4 to 20 ms each time.
    """
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode == "wal":
        connection.execute("PRAGMA synchronous = NORMAL")


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
