"""Owns the options that several commands share, and what they mean."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from ae_sweep.config import Store, shorten
from ae_sweep.errors import DataError, StoreError

DEFAULT_STORE = Path("mlruns")

StoreOption = Annotated[
    Path,
    typer.Option(
        "--store",
        metavar="DIR",
        help="Where runs, artifacts and studies are kept.",
        show_default=True,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
SweepArgument = Annotated[
    str | None, typer.Argument(metavar="SWEEP", help="Name of a sweep; the latest if left out.")
]
DimsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dims", metavar="D ...", help="Latent dimensions of the sweep; all if left out."
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where the data set's files are, or are to be kept; the user cache if left out.",
    ),
]


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


def store_option(store: Store) -> str:
    """Write the option that names a store in a command, empty for the usual one."""
    if store.root == Path.cwd() / DEFAULT_STORE:
        return ""
    return f" --store {shlex.quote(str(store.root))}"


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


def whole_number(text: str) -> int:
    """Read a number of an option.

    Raises
    ------
    typer.BadParameter
        If it is none; Typer's own message would not repeat the value.
    """
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{shorten(text)} is not a whole number") from None


def cache_dir() -> Path:
    """Return the user cache, where fetched data sets are kept."""
    import platformdirs

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
