"""Owns where things are on the user's machine: the store, the data, the cache, as absolute paths.

With the command line, the only part that reads the environment.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from ae_sweep.config import Store, shorten
from ae_sweep.errors import DataError, StoreError

DEFAULT_STORE = Path("mlruns")


def open_at(store: Path) -> Store:
    """Make the store's path absolute; a tracking URI of the user's own is respected.

    Raises
    ------
    StoreError
        If no system could hold such a path.
    """
    try:
        root = _absolute(store)
    except ValueError as error:
        raise StoreError(
            f"the store cannot be at {shorten(str(store), 200)}: {error}; name another --store"
        ) from error
    return Store(root, os.environ.get("MLFLOW_TRACKING_URI") or None)


def data_dir_at(data_dir: Path | None) -> Path | None:
    """Make the data directory's path absolute.

    Raises
    ------
    DataError
        If no system could hold such a path.
    """
    if data_dir is None:
        return None
    try:
        return _absolute(data_dir)
    except ValueError as error:
        raise DataError(
            f"the data cannot be at {shorten(str(data_dir), 200)}: {error}; name another --data-dir"
        ) from error


def cache_dir() -> Path:
    """Return the user cache, where fetched data sets are kept."""
    return platformdirs.user_cache_path("ae-sweep")


def _absolute(path: Path) -> Path:
    """Make a path absolute; `ValueError` says why no system could hold it."""
    try:
        absolute = path.expanduser().absolute()
        absolute.exists()
    except OSError as error:
        raise ValueError(error.strerror) from error
    except RuntimeError as error:  # no such user's home
        raise ValueError(str(error)) from error
    return absolute
