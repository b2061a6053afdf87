"""Checks of the tracking store: reachable, whole, of a version that this MLflow reads."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from ae_sweep import sqlite_files
from ae_sweep.errors import NotStoredError, StoreError
from ae_sweep.messages import counted, split_advice, visible
from ae_sweep.records import Finding, Outcome, Status
from ae_sweep.store_advice import advice_on
from ae_sweep.tracking.connection import open_for_reading
from ae_sweep.tracking.database import is_there, sqlite_file

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.locations import Store

CHECK = "runs"


def check_runs(store: Store) -> list[Finding]:
    """Check where a store's runs are kept, a file or a server; write nothing."""
    try:
        file = sqlite_file(store.tracking_uri)
        if file is not None and is_there(file) and (damaged := _damages(file)) is not None:
            return [damaged]
        runs = open_for_reading(store)
        sweeps = runs.sweeps()
    except NotStoredError:
        what = f"none yet, in {visible(store.runs_place)}"
        return [Finding(check=CHECK, status=Status.OK, what=what)]
    except StoreError as error:
        what, remedy = split_advice(error)
        return [Finding(check=CHECK, status=Status.STOP, what=what, remedy=remedy)]
    schema = f", schema {_schema(file)}" if file is not None else ""
    found = [
        Finding(
            check=CHECK,
            status=Status.OK,
            what=f"{counted(len(sweeps), 'sweep')} in {visible(store.runs_place)}{schema}",
        )
    ]
    if (refusal := runs.refusal) is not None:
        what, remedy = split_advice(refusal)
        found.append(Finding(check=CHECK, status=Status.STOP, what=what, remedy=remedy))
    for record in sweeps:
        if record.outcome in (Outcome.INTERRUPTED, Outcome.FAILED):
            command = store.command("run", "--name", record.name, "--resume")
            found.append(
                Finding(
                    check="sweeps",
                    status=Status.WARN,
                    what=f"{visible(record.name)} has {record.outcome}"
                    if record.outcome is Outcome.FAILED
                    else f"{visible(record.name)} was interrupted",
                    remedy=f"complete it: `{command}`",
                )
            )
    return found


def _damages(file: Path) -> Finding | None:
    try:
        damages = sqlite_files.problems(sqlite_files.readable(file))
    except (OSError, sqlite3.Error) as error:
        return Finding(
            check=CHECK,
            status=Status.STOP,
            what=f"{visible(file)} cannot be read: {visible(error)}",
            remedy=advice_on(error),
        )
    if not damages:
        return None
    return Finding(
        check=CHECK,
        status=Status.STOP,
        what=f"{visible(file)} is damaged: {visible('; '.join(damages))}",
        remedy="restore it from a copy, or name another --store",
    )


def _schema(file: Path) -> str | None:
    try:
        return sqlite_files.schema_version(sqlite_files.readable(file))
    except (OSError, sqlite3.Error):
        return None
