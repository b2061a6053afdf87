"""The SQLite file of MLflow: created at once or not at all, and checked before it is used.

Everything is checked before MLflow sees the file: MLflow would retry for minutes on what is no
database, and would put its tables into a database that belongs to another program.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import ExperimentTag

from ae_sweep import sqlite_files
from ae_sweep.errors import StoreError
from ae_sweep.files import PRIVATE_FILE, make_private, publish, scratch_directory
from ae_sweep.locations import SQLITE_PREFIX
from ae_sweep.store_advice import advice_on
from ae_sweep.tracking import names
from ae_sweep.tracking.errors import first_line

if TYPE_CHECKING:
    from ae_sweep.locations import Store

DRIVER = "sqlite+pysqlite"
"""With the driver's name MLflow does not take a URI's ``file:`` for a directory to make."""


def sqlite_file(tracking_uri: str) -> Path | None:
    """Return which file a tracking URI means; None if it means no SQLite file."""
    if not tracking_uri.startswith(SQLITE_PREFIX):
        return None
    return Path(tracking_uri.removeprefix(SQLITE_PREFIX).partition("?")[0])


def is_there(file: Path) -> bool:
    """Return whether there is a database; an empty file is none.

    Raises
    ------
    StoreError
        If ``file`` cannot be there, because a part of its path is a file.
    """
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(
            f"the store cannot be at {file.parent}: {error.strerror}; name a directory with --store"
        ) from error


def check(file: Path) -> sqlite_files.ReadableFile:
    """Refuse a file that is not a database of MLflow's, without changing it.

    Returns
    -------
    ReadableFile
        How it can be read.

    Raises
    ------
    StoreError
        If it is not a SQLite database, is damaged, or belongs to another program.
    """
    if file.is_dir():
        raise StoreError(f"{file} is a directory; move it away, or name another --store")
    try:
        found = sqlite_files.readable(file)
        with contextlib.closing(found.connect()) as connection:
            query = "SELECT name FROM sqlite_master WHERE type = 'table'"
            tables = {name for (name,) in connection.execute(query)}
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"{file} cannot be read as a database: {first_line(error)}; {advice_on(error)}"
        ) from error
    if not {"experiments", "runs", "alembic_version"} <= tables:
        raise StoreError(
            f"{file} is a database, but not MLflow's (it has no table of runs); move it away, or "
            "name another --store"
        )
    return found


def reading_uri(file: sqlite_files.ReadableFile) -> str:
    """Return the tracking URI by which MLflow reads a file that cannot be written."""
    from sqlalchemy.engine import URL

    query = {**file.query, "uri": "true"}
    return URL.create(DRIVER, database=file.database, query=query).render_as_string()


def create(store: Store, file: Path) -> None:
    """Make MLflow's database with our experiment in it; it appears complete or not at all.

    Of several processes that do this at once, the first one's database stays.
    """
    artifact_root = store.artifact_root
    assert artifact_root is not None, "a tracking server makes its own database"  # noqa: S101
    make_private(file.parent)
    with scratch_directory(file.parent, prefix=".mlflow-new-") as scratch:
        if is_there(file):  # made by another process, while this one waited
            return
        fresh = scratch / file.name
        _fill(fresh, artifact_root)
        fresh.chmod(PRIVATE_FILE)
        _publish(fresh, file)
    make_private(artifact_root)


def _fill(file: Path, artifact_root: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # MLflow's client would put its default experiment below the working directory.
    database: Any = SqlAlchemyStore(  # type: ignore[no-untyped-call]
        f"{SQLITE_PREFIX}{file}", artifact_root.as_uri()
    )
    try:
        tags = [ExperimentTag(key, value) for key, value in names.EXPERIMENT_TAGS.items()]
        database.create_experiment(
            names.EXPERIMENT, artifact_location=artifact_root.as_uri(), tags=tags
        )
    finally:
        database.engine.dispose()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        # Readers (the UI) then never wait for the writer. It stays in the file.
        connection.execute("PRAGMA journal_mode = WAL")


def _publish(fresh: Path, file: Path) -> None:
    if file.exists() and file.stat().st_size == 0:
        file.unlink()
    publish(fresh, file)
