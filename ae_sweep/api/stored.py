"""Stored sweeps: loaded, listed, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.api.sweep import Sweep
from ae_sweep.locations import data_dir_at, open_at
from ae_sweep.messages import ignore
from ae_sweep.runner.request import dataset_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ae_sweep.records import SweepRecord
    from ae_sweep.runner.deletion import StoredParts


def load_sweep(
    name: str | None = None,
    *,
    store: Path | str | None = None,
    dataset: Path | str | None = None,
    data_dir: Path | str | None = None,
    announce: Callable[[str], None] | None = None,
) -> Sweep:
    """Read a stored sweep, the latest if none is named.

    Parameters
    ----------
    name
        Of the sweep.
    store
        The directory that holds it, which wins over ``MLFLOW_TRACKING_URI``; None takes that if it
        is set, else ``mlruns`` in the working directory.
    dataset
        Where your own images are now, if they have been moved; they are recognised by their pixels.
    data_dir
        Where a named data set's files are; the user cache if left out.
    announce
        Called with each message, one line: a download, a store that wins over the environment,
        trials that wait to be published, or that do not count since they were edited in MLflow.

    Raises
    ------
    NotStoredError
        If there is no such sweep.
    StoreError
        If the store cannot be read.
    """
    from ae_sweep import tracking
    from ae_sweep.runner.waiting import waiting_sweeps

    place = open_at(store, announce=announce)
    runs = tracking.open_for_reading(place)
    record, trials = runs.sweep_with_trials(name, announce=announce or ignore)
    if announce is not None:
        for each in waiting_sweeps(place, record.name):
            announce(each.text)
    return Sweep(
        record=record,
        trials=tuple(trials),
        store=place,
        runs=runs,
        moved_to=dataset_text(dataset),
        data_dir=data_dir_at(data_dir),
        announce=announce,
    )


def list_sweeps(*, store: Path | str | None = None) -> list[SweepRecord]:
    """Return the stored sweeps, the newest first: settings, state and counts of trials.

    Raises
    ------
    NotStoredError
        If nothing is stored there.
    StoreError
        If the store cannot be read.
    """
    from ae_sweep import tracking

    return tracking.open_for_reading(open_at(store)).sweeps()


def delete_sweep(name: str, *, store: Path | str | None = None) -> StoredParts:
    """Delete a sweep, or what is left of one whose run was deleted in MLflow; its name is free.

    Its runs become deleted runs of MLflow, which can be restored there.

    Returns
    -------
    StoredParts
        What there was.

    Raises
    ------
    NotStoredError
        If nothing is stored under the name.
    ConflictError
        If a process runs the sweep.
    StoreError
        If the store cannot be written.
    """
    from ae_sweep.runner import deletion

    return deletion.delete_sweep(name, open_at(store))
