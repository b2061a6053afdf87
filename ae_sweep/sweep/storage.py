"""Owns Optuna's database: opening it, and finding a sweep's studies in it."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from ae_sweep.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def open_storage(path: Path) -> optuna.storages.RDBStorage:
    """Open Optuna's SQLite file, creating it where it is missing.

    Raises
    ------
    StoreError
        If it cannot be created, or is no database of Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.RDBStorage(f"sqlite:///{path}")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate what Optuna's storage raises into one message."""
    try:
        yield
    except (OSError, sqlite3.Error, SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        if isinstance(error, DuplicatedStudyError):
            raise
        raise StoreError(
            f"{path} cannot be used as Optuna's database: {_cause(error)}; "
            "name another directory with --store"
        ) from error


def study_name(sweep: str, latent_dim: int) -> str:
    """Name the study of one latent dimension."""
    return f"{sweep}/d={latent_dim}"


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
