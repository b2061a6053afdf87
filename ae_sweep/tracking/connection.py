"""Opening of the tracking store: checked, reached, created where it is missing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow.store.db_migrations
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.utils.file_utils import local_file_uri_to_path

from ae_sweep.errors import StoreError
from ae_sweep.isolation import lasting_imports
from ae_sweep.messages import shorten
from ae_sweep.tracking import database, names
from ae_sweep.tracking.artifact_place import ArtifactPlace
from ae_sweep.tracking.errors import first_line, nothing_stored, store_error, translated
from ae_sweep.tracking.reach import check_reachable, with_limits
from ae_sweep.tracking.store import TrackingStore

if TYPE_CHECKING:
    from mlflow.entities import Experiment

    from ae_sweep.locations import Store
    from ae_sweep.sqlite_files import ReadableFile

FOUND_REVISION = re.compile(r"found version (\w+)")
"""Of a database's schema, in MLflow's message."""
REVISIONS = Path(mlflow.store.db_migrations.__path__[0]) / "versions"
"""A file for each schema that this MLflow knows, the earlier ones too."""


def open_for_writing(store: Store) -> TrackingStore:
    """Open the tracking store, and make it first where there is none.

    Call it once, before any worker starts: MLflow's database cannot be made by several at once.

    Raises
    ------
    StoreError
        If it cannot be made, reached or read. Nothing half-made is left behind.
    """
    place = store.runs_place
    _refuse_a_file(store)
    file = _sqlite_file(store)
    found = None if file is None else _checked(file)
    if (refusal := _read_only(found, place)) is not None:
        raise refusal
    with translated(place):
        own = store.tracking_override is None
        if own and file is not None and found is None:
            database.create(store, file)
        client = _connect(store, place)
        experiment = _find_experiment(client) or _create_experiment(client, store)
    _refuse_deleted(experiment, store)
    if (moved := _moved(experiment, store)) is not None:
        raise moved
    with translated(place):
        _mark(client, experiment)
    return TrackingStore(
        client,
        store=store,
        experiment_id=experiment.experiment_id,
        artifacts=_artifacts(experiment, store),
    )


def open_for_reading(store: Store) -> TrackingStore:
    """Open the tracking store as it is; nothing need be writable.

    A store that was moved or copied is read where it is now.

    Raises
    ------
    NotStoredError
        If nothing is stored there.
    StoreError
        If it cannot be reached or read.
    """
    place = store.runs_place
    _refuse_a_file(store)
    file = _sqlite_file(store)
    found = None if file is None else _checked(file)
    if file is not None and found is None:
        raise nothing_stored(store)
    with translated(place):
        client = _connect(store, place, found)
        experiment = _find_experiment(client)
    if experiment is None:
        raise nothing_stored(store)
    _refuse_deleted(experiment, store)
    return TrackingStore(
        client,
        store=store,
        experiment_id=experiment.experiment_id,
        artifacts=_artifacts(experiment, store),
        refusal=_read_only(found, place) or _moved(experiment, store),
    )


def _refuse_a_file(store: Store) -> None:
    if store.tracking_override is None and store.root.is_file():
        raise StoreError(
            f"the store {store.root} is a file; name a directory with --store, or move the file"
        )


def _sqlite_file(store: Store) -> Path | None:
    """Return the path of the SQLite file; None where the runs are kept elsewhere."""
    # A database address ends at '?', and '%41' in it means 'A' to some versions of SQLAlchemy.
    if store.tracking_override is None and (sign := re.search(r"[?%]", str(store.root))):
        raise StoreError(
            f"the store {store.root} has a {sign[0]!r} in its path, which MLflow's SQLite "
            "addresses cannot hold; name another --store"
        )
    return database.sqlite_file(store.tracking_uri)


def _checked(file: Path) -> ReadableFile | None:
    """Return how the SQLite file can be read; None where there is none yet."""
    return database.check(file) if database.is_there(file) else None


def _read_only(found: ReadableFile | None, place: str) -> StoreError | None:
    """Make the error of writing to a store that can only be read."""
    if found is None or found.is_writable:
        return None
    return StoreError(
        f"the store {shorten(place, 200)} is read-only; make it writable, or name another --store"
    )


def _connect(store: Store, place: str, found: ReadableFile | None = None) -> MlflowClient:
    check_reachable(store.tracking_uri, place)
    uri = with_limits(store.tracking_uri)
    if found is not None and not found.is_writable:
        uri = database.reading_uri(found)
    try:
        with lasting_imports():  # the first one of a database imports SQLAlchemy
            return MlflowClient(tracking_uri=uri)
    except Exception as error:
        if "schema" in first_line(error).lower():
            raise _other_schema(store, place, error) from error
        # A missing database driver, a failed migration: whatever it is, the store did not open.
        raise store_error(place, error) from error


def _other_schema(store: Store, place: str, error: Exception) -> StoreError:
    reason = first_line(error).partition(". ")[0]  # MLflow's own advice leaves the address open
    failed = f"the store {shorten(place, 200)} failed: {reason}"
    revision = FOUND_REVISION.search(reason)
    if revision is not None and not any(REVISIONS.glob(f"{revision[1]}_*.py")):
        return StoreError(
            f"{failed}; a newer MLflow wrote it: upgrade MLflow with "
            "`pip install --upgrade mlflow`, or name another --store"
        )
    return StoreError(
        f"{failed}; an older MLflow wrote it: copy it, then run `{store.upgrade_command}`, or name "
        "another --store"
    )


def _find_experiment(client: MlflowClient) -> Experiment | None:
    """Return our experiment, also where it was renamed in MLflow's UI."""
    if (named := client.get_experiment_by_name(names.EXPERIMENT)) is not None:
        return named
    everything = client.search_experiments(view_type=ViewType.ALL)
    for each in everything:
        if names.EXPERIMENT_MARK in each.tags:
            return each
    # Version 0.1.0 left no mark: it is the one with our runs.
    ours = client.search_runs(
        [each.experiment_id for each in everything],
        filter_string=names.own_sweeps_filter(),
        run_view_type=ViewType.ALL,
        max_results=1,
    )
    return client.get_experiment(ours[0].info.experiment_id) if ours else None


def _mark(client: MlflowClient, experiment: Experiment) -> None:
    if names.EXPERIMENT_MARK not in experiment.tags:
        mark = names.EXPERIMENT_TAGS[names.EXPERIMENT_MARK]
        client.set_experiment_tag(experiment.experiment_id, names.EXPERIMENT_MARK, mark)


def _create_experiment(client: MlflowClient, store: Store) -> Experiment:
    root = store.artifact_root
    experiment_id = client.create_experiment(
        names.EXPERIMENT,
        artifact_location=None if root is None else root.as_uri(),
        tags=names.EXPERIMENT_TAGS,
    )
    return client.get_experiment(experiment_id)


def _refuse_deleted(experiment: Experiment, store: Store) -> None:
    if experiment.lifecycle_stage == "deleted":
        restore = store.mlflow_command("experiments", "restore", "-x", experiment.experiment_id)
        raise StoreError(
            f"the experiment {shorten(experiment.name)} in {shorten(store.runs_place, 200)} is "
            f"deleted; restore it with `{restore}`, or name another --store"
        )


def _moved(experiment: Experiment, store: Store) -> StoreError | None:
    """Make the error of writing to a moved store: MLflow knows artifacts by absolute paths."""
    place = _artifacts(experiment, store)
    if place.here == place.stored:
        return None
    stored = Path(local_file_uri_to_path(experiment.artifact_location))  # type: ignore[no-untyped-call]
    return StoreError(
        f"the store {store.root} keeps its artifacts in {stored}: it was moved or copied; "
        f"to write where it is now: `{store.command('doctor', '--adopt')}`"
    )


def _artifacts(experiment: Experiment, store: Store) -> ArtifactPlace:
    """Return where the artifacts are: below the store, also where it was moved or copied."""
    stored = experiment.artifact_location
    if store.artifact_root is None:
        return ArtifactPlace(stored=stored, here=stored)
    known = Path(local_file_uri_to_path(stored))  # type: ignore[no-untyped-call]
    if known.resolve() == store.artifact_root.resolve():
        return ArtifactPlace(stored=stored, here=stored)
    return ArtifactPlace(stored=stored, here=store.artifact_root.as_uri())
