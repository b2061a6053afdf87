"""Deletion of a sweep, in MLflow and in Optuna's database, whatever is left of it in either."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep import ownership, sweep, tracking
from ae_sweep.config import NAME_PATTERN
from ae_sweep.errors import ConflictError, NotStoredError
from ae_sweep.messages import counted, shorten

if TYPE_CHECKING:
    from ae_sweep.locations import Store


@dataclass(frozen=True, kw_only=True)
class StoredParts:
    """What is stored under the name of a sweep."""

    name: str
    runs: int
    """Runs of the sweep itself in MLflow: one, none if it was deleted there."""
    trials: int
    """Runs of trials in MLflow."""
    has_studies: bool
    """Whether Optuna's database has any study of it."""

    def __str__(self) -> str:
        studies = ["its studies in Optuna's database"] if self.has_studies else []
        runs = [f"{counted(self.runs + self.trials, 'run')} in MLflow with models and pictures"]
        return " and ".join([*(runs if self.runs + self.trials else []), *studies])

    def __bool__(self) -> bool:
        return self.runs > 0 or self.trials > 0 or self.has_studies


def stored_parts(name: str, store: Store) -> StoredParts:
    """Return what is stored under the name of a sweep, which may be nothing.

    Raises
    ------
    StoreError
        If the store cannot be read.
    """
    runs, trials, has_studies = 0, 0, False
    if NAME_PATTERN.fullmatch(name):
        with contextlib.suppress(NotStoredError):
            runs, trials = tracking.open_for_reading(store).count_runs(name)
        has_studies = sweep.has_studies_of(store.optuna_path, name)
    return StoredParts(name=name, runs=runs, trials=trials, has_studies=has_studies)


def refuse_remains(name: str, store: Store) -> None:
    """Refuse a name under which something is stored, but not the sweep's own run.

    Raises
    ------
    ConflictError
        With the command that frees the name.
    """
    parts = stored_parts(name, store)
    if parts and not parts.runs:
        raise ConflictError(
            f"the run of the sweep {name} was deleted from MLflow, and {parts} are left; to free "
            f"the name: `{store.command('delete', name, '--yes')}`, or restore the run in the "
            "MLflow UI"
        )


def delete_sweep(name: str, store: Store) -> StoredParts:
    """Delete a sweep and all that is left of it; see `ae_sweep.delete_sweep`.

    Killed on the way, it can be done again.
    """
    parts = stored_parts(name, store)
    if not parts:
        raise NotStoredError(
            f"no sweep is named {shorten(name)}; `{store.command('list')}` lists all"
        )
    folder = store.running(name)
    again = store.command("run", "--name", name, "--resume", "--take-over")
    with ownership.hold(folder, take_over_command=again):
        if parts.runs or parts.trials:
            tracking.open_for_reading(store).delete_sweep(name)
        sweep.delete_studies(store.optuna_path, name)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != ownership.RECORD:
                path.unlink()
    return parts
