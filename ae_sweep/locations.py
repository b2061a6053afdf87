"""Owns where things are on the user's machine: the store, the data, the cache, as absolute paths.

With the command line, the only part that reads the environment.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ae_sweep.errors import ConfigError, DataError, StoreError
from ae_sweep.messages import shorten

DEFAULT_STORE = Path("mlruns")
PASSWORD_PATTERN = re.compile(r"(://[^/@:]*:)[^/@]*@")
"""In an address, as in ``https://user:password@host``."""


@dataclass(frozen=True)
class Store:
    """Where a sweep is kept; all paths are absolute."""

    root: Path
    """The directory that holds the three parts."""
    tracking_override: str | None = None
    """A tracking URI of the user's own, instead of the SQLite file under ``root``."""

    def __post_init__(self) -> None:
        if not self.root.is_absolute():
            raise ConfigError(f"the store must be an absolute path, got {self.root}")

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI."""
        return self.tracking_override or f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def told_tracking_uri(self) -> str:
        """MLflow's tracking URI as it may be shown: a password in it is not."""
        return PASSWORD_PATTERN.sub(r"\1***@", self.tracking_uri)

    @property
    def runs_place(self) -> str:
        """Where the runs are, to be told: ``root``, or the user's own tracking URI."""
        return self.told_tracking_uri if self.tracking_override else str(self.root)

    @property
    def option(self) -> str:
        """The option that names this store in a command; empty for the default one."""
        if self.root == Path.cwd() / DEFAULT_STORE:
            return ""
        return f" --store {shlex.quote(str(self.root))}"

    @property
    def artifact_root(self) -> Path | None:
        """Where MLflow keeps artifacts; None where the user's own tracking server decides."""
        return None if self.tracking_override else self.root / "artifacts"

    @property
    def optuna_path(self) -> Path:
        """Optuna's SQLite file."""
        return self.root / "optuna.db"


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
