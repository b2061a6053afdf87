"""Absolute paths of the store, the data and the cache, and how a command names them.

Only this module, `isolation` and the command line read the environment.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from ae_sweep.errors import AeSweepError, ConfigError, DataError, StoreError
from ae_sweep.messages import redacted, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_STORE = Path("mlruns")
RUNNING = "running"
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
ADDRESS_PATTERN = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
"""The beginning of a URI."""
SQLITE_PREFIX = "sqlite:///"
NAMED_SERVICES = ("databricks", "uc")
"""Tracking URIs without a slash, alone or with a profile (``databricks://profile``)."""


@dataclass(frozen=True)
class Store:
    """Where sweeps are stored; all paths are absolute."""

    root: Path
    """The directory that holds the three parts."""
    tracking_override: str | None = None
    """The tracking URI of ``MLFLOW_TRACKING_URI``, instead of the SQLite file under ``root``."""

    def __post_init__(self) -> None:
        if not self.root.is_absolute():
            raise ConfigError(f"the store must be an absolute path, got {self.root}")

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI."""
        return self.tracking_override or f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def redacted_tracking_uri(self) -> str:
        """MLflow's tracking URI as it may be shown: credentials in it are not."""
        return redacted(self.tracking_uri)

    @property
    def runs_place(self) -> str:
        """Where the runs are, for messages: ``root``, or the user's own tracking URI."""
        return self.redacted_tracking_uri if self.tracking_override else str(self.root)

    @property
    def artifact_root(self) -> Path | None:
        """Where MLflow keeps artifacts; None where the user's own tracking server decides."""
        return None if self.tracking_override else self.root / "artifacts"

    @property
    def optuna_path(self) -> Path:
        """Optuna's SQLite file."""
        return self.root / "optuna.db"

    def running(self, sweep: str) -> Path:
        """Directory of what a sweep needs while it runs; its name has been checked."""
        return self.root / RUNNING / sweep

    @property
    def option(self) -> str:
        """The option that names this store in a command; empty where the command finds it."""
        if self.tracking_override is not None:  # an explicit store would win over the variable
            return ""
        if self.root == Path.cwd() / DEFAULT_STORE and not os.environ.get(TRACKING_VARIABLE):
            return ""
        return f" --store {shlex.quote(str(self.root))}"

    def command(self, *words: str) -> str:
        """Return a command line of ae-sweep that acts on this store, quoted for a shell.

        Parameters
        ----------
        words
            The command and its arguments, such as ``"show", "digits"``.
        """
        return f"ae-sweep {shlex.join(words)}{self.option}"

    @property
    def upgrade_command(self) -> str:
        """The command line of MLflow that brings this store's database to its newest schema."""
        if self.tracking_override is not None:
            return f'mlflow db upgrade "${TRACKING_VARIABLE}"'
        return f"mlflow db upgrade {shlex.quote(self.tracking_uri)}"

    def mlflow_command(self, *words: str) -> str:
        """Return a command line of MLflow that acts on this store's runs, quoted for a shell."""
        line = f"mlflow {shlex.join(words)}"
        if self.tracking_override is not None:
            return line  # the variable is set already, perhaps with a password in it
        return f"{TRACKING_VARIABLE}={shlex.quote(self.tracking_uri)} {line}"


def open_at(
    store: Path | str | None = None, *, announce: Callable[[str], None] | None = None
) -> Store:
    """Find the store: the named directory, else ``MLFLOW_TRACKING_URI``, else ``mlruns`` here.

    Parameters
    ----------
    store
        The directory, if one is named: then the runs are there whatever the variable says. None
        takes the runs from ``MLFLOW_TRACKING_URI`` if that is set.
    announce
        Called with one line if both name a store; None logs it.

    Raises
    ------
    ConfigError
        If an address is given where a directory is meant.
    StoreError
        If no such directory can exist, or ``MLFLOW_TRACKING_URI`` is not an address.
    """
    address = os.environ.get(TRACKING_VARIABLE)
    if store is None:
        root = _directory(DEFAULT_STORE, "--store", StoreError)
        return Store(root, _tracking_address(address) if address else None)
    _refuse_address(
        store,
        "--store takes a directory",
        advice=f"set {TRACKING_VARIABLE} to it and leave --store out",
    )
    root = _directory(Path(store), "--store", StoreError)
    if address:
        (announce or logging.getLogger(__name__).warning)(
            f"using the store {root}; {TRACKING_VARIABLE} is set too, to "
            f"{shorten(address, 200)}, and an explicit --store wins"
        )
    return Store(root)


def data_dir_at(data_dir: Path | str | None) -> Path | None:
    """Make the data directory's path absolute.

    Raises
    ------
    ConfigError
        If an address is given where a directory is meant.
    DataError
        If no such directory can exist.
    """
    if data_dir is None:
        return None
    _refuse_address(
        data_dir,
        "--data-dir takes a directory",
        advice="download the files and name their directory",
    )
    return _directory(Path(data_dir), "--data-dir", DataError)


def images_at(images: Path | str, *, option: str = "--dataset") -> Path:
    """Make the path of the user's own images absolute.

    Parameters
    ----------
    option
        What it was given as.

    Raises
    ------
    ConfigError
        If an address is given where a path is meant.
    DataError
        If no such path can exist.
    """
    _refuse_address(
        images,
        f"{option} takes a name or a path",
        advice="download the images and name their folder",
    )
    path = _directory(Path(images), option, DataError)
    # One place has one name, by which its prepared images are found again.
    return path.resolve() if ".." in path.parts else path


def out_at(out: Path | str, *, option: str = "--out", what: str = "file") -> Path:
    """Make the path of a file, or of a directory of files, to write absolute.

    Raises
    ------
    ConfigError
        If an address is given where a file is meant.
    StoreError
        If no such file can exist.
    """
    _refuse_address(out, f"{option} takes a {what}", advice=f"write a {what} here and upload it")
    return _directory(Path(out), option, StoreError)


def export_at(directory: Path | str) -> Path:
    """Make the path of an export that is read absolute.

    Raises
    ------
    ConfigError
        If an address is given where a directory is meant.
    DataError
        If no such directory can exist.
    """
    _refuse_address(
        directory, "import takes a directory", advice="download the export and name its directory"
    )
    return _directory(Path(directory), "DIR", DataError)


def cache_dir() -> Path:
    """Return the user cache, where fetched data sets are kept."""
    return platformdirs.user_cache_path("ae-sweep")


def _is_address(path: Path | str) -> bool:
    return ADDRESS_PATTERN.match(str(path)) is not None


def _refuse_address(value: Path | str, takes: str, *, advice: str) -> None:
    if _is_address(value):
        raise ConfigError(f"{takes}, and {shorten(str(value), 200)} is an address; {advice}")


def _tracking_address(address: str) -> str:
    """Check the variable's address, and make the path of an SQLite file absolute."""
    if address.split(":", 1)[0].lower() in NAMED_SERVICES or address == "databricks-uc":
        return address
    if not _is_address(address):
        raise StoreError(
            f"{TRACKING_VARIABLE} is {shorten(address, 200)}, which is not an address such as "
            "http://127.0.0.1:5000 or sqlite:////home/me/mlflow.db; to keep the runs in a "
            "directory, unset it and name the directory with --store"
        )
    if address.lower().startswith("file:"):
        raise StoreError(
            f"{TRACKING_VARIABLE} is {shorten(address, 200)}, and MLflow no longer keeps runs in "
            "plain files; unset it and name a directory with --store"
        )
    file, mark, options = address.removeprefix(SQLITE_PREFIX).partition("?")
    if address.startswith(SQLITE_PREFIX) and file and not file.startswith(("/", ":", "file:")):
        return f"{SQLITE_PREFIX}{Path(file).absolute()}{mark}{options}"
    return address


def _directory(path: Path, option: str, error: type[AeSweepError]) -> Path:
    """Make the path of an option absolute; raise ``error`` where no system could hold it."""
    try:
        absolute = path.expanduser().absolute()
        str(absolute).encode()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            absolute.stat()
    except UnicodeEncodeError:
        raise error(
            f"{option} {shorten(str(path), 200)} is not UTF-8, which databases and pages that name "
            f"it need; rename what is in its path, or name another {option}"
        ) from None
    except (OSError, RuntimeError, ValueError) as problem:
        # RuntimeError: no such user's home. ValueError: a null byte.
        reason = (getattr(problem, "strerror", None) or str(problem)).rstrip(".")
        raise error(
            f"{option} cannot be {shorten(str(path), 200)}: {reason}; name another {option}"
        ) from problem
    return absolute
