"""Adoption of a store that was moved or copied: MLflow's database names the files where they are.

MLflow stores an absolute location with each experiment, run and model. They change in one
transaction: all of them or none.
"""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.utils.file_utils import local_file_uri_to_path

from ae_sweep.errors import ConfigError, ConflictError, StoreError
from ae_sweep.locations import RUNNING
from ae_sweep.messages import shorten, visible
from ae_sweep.ownership import State, find
from ae_sweep.sqlite_files import BUSY_SECONDS
from ae_sweep.tracking import names
from ae_sweep.tracking.connection import open_for_reading
from ae_sweep.tracking.database import sqlite_file
from ae_sweep.tracking.errors import translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.locations import Store

LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's database that hold locations."""


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """A store whose database names the files where they are."""

    before: str
    """The directory that the database named."""
    after: str
    changed: int
    """How many locations were changed: none if the store was not moved."""


def adopt(store: Store) -> Adoption:
    """Make a store that was moved or copied writable where it is; see `ae_sweep.adopt_store`."""
    if store.artifact_root is None:
        raise ConfigError(
            f"the runs are in {shorten(store.runs_place, 200)}, whose server knows where its files "
            "are; name the directory of a store with --store"
        )
    access = open_for_reading(store).access
    before, after = access.artifacts.stored, access.artifacts.here
    was = _directory(before)
    if before == after:
        return Adoption(before=was, after=_directory(after), changed=0)
    if not store.artifact_root.is_dir():
        raise StoreError(
            f"{visible(store.artifact_root)} is missing, which holds the models and pictures of "
            f"the store; copy it from {visible(was)} first"
        )
    _refuse_running(store)
    file = sqlite_file(store.tracking_uri)
    assert file is not None, "the store's own database is one"  # noqa: S101
    with translated(access.place), _transaction(file) as connection:
        changed = sum(
            _move(connection, table, column, before, after)
            for table, column in LOCATIONS
            if _has(connection, table, column)
        )
        _rewrite_commands(connection, Path(was).parent, store.root)
    return Adoption(before=was, after=_directory(after), changed=changed)


@contextlib.contextmanager
def _transaction(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for a change that is made as a whole; another writer is waited for."""
    try:
        with contextlib.closing(
            sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
    except sqlite3.Error as error:
        raise OSError(str(error)) from error


def _move(connection: sqlite3.Connection, table: str, column: str, before: str, after: str) -> int:
    """Change the locations in a column that begin with a directory; return how many there were."""
    # Names of tables and columns cannot be parameters; these are the literals above.
    done = connection.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
        (after, len(before) + 1, before, len(before) + 1, f"{before}/"),
    )
    return done.rowcount


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    return column in {name for (name,) in rows}


def _rewrite_commands(connection: sqlite3.Connection, was: Path, root: Path) -> None:
    """Have the commands in the descriptions of sweeps name the store where it is now."""
    old, new = (f" --store {shlex.quote(str(place))}\n" for place in (was, root))
    connection.execute(
        "UPDATE tags SET value = replace(value, ?, ?) WHERE key = ?", (old, new, names.NOTE)
    )


def _refuse_running(store: Store) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for folder in sorted((store.root / RUNNING).iterdir()):
            found = find(folder)
            if found is not None and found.state is State.ALIVE:
                raise ConflictError(
                    f"the sweep {visible(folder.name)} is being run by {found}; wait until that "
                    "has ended, or end it"
                )


def _directory(location: str) -> str:
    return str(Path(local_file_uri_to_path(location)))  # type: ignore[no-untyped-call]
