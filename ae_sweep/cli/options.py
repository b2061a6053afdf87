"""Owns the options that several commands share, and what they mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ae_sweep.config import Store

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
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where the data set's files are, or are to be kept; the user cache if left out.",
    ),
]


def open_at(store: Path) -> Store:
    """Make the store's path absolute; a tracking URI of the user's own is respected."""
    return Store(store.expanduser().absolute(), os.environ.get("MLFLOW_TRACKING_URI") or None)


def cache_dir() -> Path:
    """Tell the user cache, where fetched data sets are kept."""
    import platformdirs

    return platformdirs.user_cache_path("ae-sweep")
