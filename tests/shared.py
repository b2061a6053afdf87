"""What is made once for a whole run of the tests, however many processes run them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

base: Path | None = None
"""Directory of this run of the tests; conftest sets it."""


def directory(worker_directory: Path) -> Path:
    """Return the directory that all test processes of a run share, given that of one of them."""
    return worker_directory.parent if "PYTEST_XDIST_WORKER" in os.environ else worker_directory


def made_once(name: str, make: Callable[[Path], Any]) -> tuple[Path, Any]:
    """Make something in a directory of its own, unless any test process of this run has.

    Parameters
    ----------
    make
        Is given the empty directory; returns what JSON can hold, or None.

    Returns
    -------
    The directory, for reading only, and what ``make`` returned.
    """
    assert base is not None, "conftest sets it"
    place, told = base / f"shared {name}", base / f"shared {name}.json"
    with FileLock(base / f"shared {name}.lock"):
        if not told.exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            value = json.dumps(make(place))
            told.write_text(value)
    return place, json.loads(told.read_text())


def copy_store(store: Path, target: Path) -> Path:
    """Copy a store to be changed; its runs and models then lie in the copy."""
    shutil.copytree(store, target)
    columns = {
        "experiments": "artifact_location", "runs": "artifact_uri",
        "logged_models": "artifact_location",
    }  # fmt: skip
    with contextlib.closing(sqlite3.connect(target / "mlflow.db")) as database, database:
        for table, column in columns.items():
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                (store.as_uri(), target.as_uri()),
            )
    return target
