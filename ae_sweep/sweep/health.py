"""Checks of Optuna's database: whole, of a version that this Optuna reads, no abandoned trials."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from ae_sweep import ownership, sqlite_files
from ae_sweep.errors import StoreError
from ae_sweep.messages import counted, split_advice, visible
from ae_sweep.records import Finding, Status
from ae_sweep.store_advice import advice_on
from ae_sweep.sweep.storage import has_studies, open_for_reading, sweep_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.locations import Store

CHECK = "studies"
RUNNING = """
SELECT studies.study_name, count(*) FROM trials JOIN studies USING (study_id)
WHERE trials.state = 'RUNNING' GROUP BY studies.study_name
"""


def check_studies(store: Store) -> list[Finding]:
    """Check Optuna's database of a store; write nothing."""
    path = store.optuna_path
    try:
        if not has_studies(path):
            return [Finding(check=CHECK, status=Status.OK, what="none yet, in optuna.db")]
        file = sqlite_files.readable(path)
        if damages := sqlite_files.problems(file):
            return [_damaged(path.name, damages)]
        open_for_reading(path)
        return [
            Finding(
                check=CHECK,
                status=Status.OK,
                what=f"optuna.db is whole, schema {sqlite_files.schema_version(file)}",
            ),
            *_abandoned(store, file),
        ]
    except StoreError as error:
        what, remedy = split_advice(error)
        return [Finding(check=CHECK, status=Status.STOP, what=what, remedy=remedy)]
    except (OSError, sqlite3.Error) as error:
        what = f"optuna.db cannot be read: {visible(error)}"
        return [Finding(check=CHECK, status=Status.STOP, what=what, remedy=advice_on(error))]


def _damaged(name: str, damages: list[str]) -> Finding:
    return Finding(
        check=CHECK,
        status=Status.STOP,
        what=f"{name} is damaged: {visible('; '.join(damages))}",
        remedy="restore it from a copy, or name another --store",
    )


def _abandoned(store: Store, file: sqlite_files.ReadableFile) -> Iterator[Finding]:
    """Find trials that are marked as running, but for those of a sweep that runs."""
    with contextlib.closing(file.connect()) as connection:
        rows = connection.execute(RUNNING).fetchall()
    by_sweep: dict[str, int] = {}
    for study, count in rows:
        by_sweep[sweep_of(str(study))] = by_sweep.get(sweep_of(str(study)), 0) + int(count)
    for name, count in by_sweep.items():
        if name and not _is_alive(store, name):  # without a name, another program's study
            yield Finding(
                check="trials",
                status=Status.WARN,
                what=f"{counted(count, 'trial')} of {visible(name)} marked as running",
                remedy="if no process trains them, complete the sweep: "
                f"`{store.command('run', '--name', name, '--resume')}`",
            )


def _is_alive(store: Store, name: str) -> bool:
    found = ownership.find(store.running(name))
    return found is not None and found.state is ownership.State.ALIVE
