"""Optuna's database file: opening and checking it, the names in it, translation of its errors.

Everything is checked before Optuna sees the file: it would put its tables into a database that
belongs to another program.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import optuna
import sqlalchemy.event
from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from ae_sweep import files, sqlite_files
from ae_sweep.errors import StoreError
from ae_sweep.messages import visible
from ae_sweep.store_advice import advice_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ae_sweep.config import Condition

ENOUGH_TABLES = frozenset({"studies", "trials", "version_info"})
"""A database with all of these is Optuna's."""
OPTUNA_TABLES = ENOUGH_TABLES | {
    "alembic_version", "study_directions", "study_system_attributes", "study_user_attributes",
    "trial_heartbeats", "trial_intermediate_values", "trial_params", "trial_system_attributes",
    "trial_user_attributes", "trial_values",
}  # fmt: skip
"""A database with some of these and no other is Optuna's too: its making was cut off."""


def open_storage(path: Path) -> optuna.storages.RDBStorage:
    """Open Optuna's SQLite file, creating it where it is missing.

    Raises
    ------
    StoreError
        If it cannot be created, or is not an Optuna database.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    has_studies(path)
    with storage_errors(path):
        files.make_private(path.parent)
        if not path.exists():
            _create(path)
        try:
            storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        except RuntimeError as error:  # a schema of another version of Optuna
            raise StorageInternalError from error
        sqlalchemy.event.listen(storage.engine, "connect", _prepare)
        storage.engine.dispose()  # a connection made before would not be listened to
    return storage


def open_for_reading(path: Path) -> optuna.storages.RDBStorage:
    """Open Optuna's SQLite file, which has studies, to read them; it need not be writable.

    Raises
    ------
    StoreError
        If it is not a database of Optuna, or of another version.
    """
    with storage_errors(path):
        file = sqlite_files.readable(path)
        if file.is_writable:
            return open_storage(path)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        query = {**file.query, "uri": "true"}
        address = URL.create("sqlite", database=file.database, query=query).render_as_string()
        try:
            return optuna.storages.RDBStorage(address)
        except RuntimeError as error:  # a schema of another version of Optuna
            raise StorageInternalError from error


def has_studies(path: Path) -> bool:
    """Return whether there may be studies in a file, without changing it; it need not be there.

    Raises
    ------
    StoreError
        If it is no SQLite database, or another program's.
    """
    with storage_errors(path):
        try:
            if path.stat().st_size == 0:
                return False
        except FileNotFoundError:
            return False
        with contextlib.closing(sqlite_files.readable(path).connect()) as connection:
            query = "SELECT name FROM sqlite_master WHERE type = 'table'"
            tables = {name for (name,) in connection.execute(query)}
    if not (tables >= ENOUGH_TABLES or tables <= OPTUNA_TABLES):
        raise StoreError(
            f"{path} is a database, but not Optuna's (it has no table of studies); move it away, "
            "or name another --store"
        )
    return tables >= ENOUGH_TABLES


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate what Optuna's storage raises into one message."""
    try:
        yield
    except (OSError, sqlite3.Error, SQLAlchemyError, StorageInternalError) as error:
        cause = _cause(error)
        reason = visible(cause) or type(cause).__name__
        raise StoreError(
            f"{path} cannot be used as Optuna's database: {reason}; {advice_on(cause, reason)}"
        ) from error


def study_name(sweep: str, condition: Condition) -> str:
    """Name a study: ``digits/d=32``, ``digits/d=32 beta=0.1``."""
    return f"{sweep}/{condition}"


def sweep_of(study: str) -> str:
    """Return the sweep in a name made by ``study_name``; empty for another program's study."""
    return study.rpartition("/d=")[0]


def _create(path: Path) -> None:
    """Make the file with its tables; it appears complete or not at all.

    Of several processes that do this at once, the first one's stays: Optuna fails where another
    makes the same tables. The write-ahead log stays in the file, whose permissions it has.
    """
    with files.scratch_directory(path.parent, prefix=".optuna-new-") as scratch:
        if path.exists():  # made by another process, while this one waited
            return
        fresh = scratch / path.name
        files.create_private(fresh)
        with contextlib.closing(sqlite3.connect(fresh)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        optuna.storages.RDBStorage(f"sqlite:///{fresh}").engine.dispose()
        files.publish(fresh, path)


def _prepare(connection: sqlite3.Connection, record: object) -> None:
    # Two sweeps in one store wait for each other; SQLite's own 5 seconds can be a busy disk's.
    connection.execute(f"PRAGMA busy_timeout = {1_000 * sqlite_files.BUSY_SECONDS:.0f}")
    _trust_the_log(connection, record)


def _trust_the_log(connection: sqlite3.Connection, _record: object) -> None:
    """Have a commit not wait for the disk, where a write-ahead log makes that safe.

    A killed process loses nothing. A power cut may take the last commits, never the database: the
    driver finds a finished trial in the tracking store, and asks anew for what was not. A trial
    commits ten times, and waited 4 to 20 ms each time.
    """
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode == "wal":
        connection.execute("PRAGMA synchronous = NORMAL")


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
