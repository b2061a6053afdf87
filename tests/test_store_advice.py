"""One table gives the same advice on the same error, whoever meets it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from ae_sweep.errors import StoreError
from ae_sweep.store_advice import GENERAL_ADVICE, advice_on
from ae_sweep.sweep.storage import storage_errors
from ae_sweep.tracking.errors import translated

MESSAGES = {
    "SQLITE_BUSY": "database is locked",
    "SQLITE_LOCKED": "database table is locked",
    "SQLITE_READONLY": "attempt to write a readonly database",
    "SQLITE_CANTOPEN": "unable to open database file",
    "SQLITE_FULL": "database or disk is full",
    "SQLITE_CORRUPT": "database disk image is malformed",
    "SQLITE_NOTADB": "file is not a database",
    "SQLITE_IOERR_READ": "disk I/O error",
}
"""What SQLite says of its errors."""


@pytest.mark.parametrize(("name", "message"), MESSAGES.items(), ids=MESSAGES)
def test_mlflow_and_optuna_give_one_advice_on_one_error(name: str, message: str) -> None:
    named = sqlite3.OperationalError(message)
    named.sqlite_errorname = name
    with pytest.raises(StoreError) as of_optuna, storage_errors(Path("optuna.db")):
        raise named
    with pytest.raises(StoreError) as of_mlflow, translated("mlruns"):
        raise MlflowException(f"(sqlite3.OperationalError) {message}\n[SQL: SELECT 1]")
    advice = advice_on(named)
    assert advice != GENERAL_ADVICE
    assert str(of_optuna.value).endswith(f"{message}; {advice}")
    assert str(of_mlflow.value).endswith(f"{message}; {advice}")


def test_an_error_of_which_nothing_is_known_has_a_next_step() -> None:
    assert advice_on(ValueError("other")) == GENERAL_ADVICE
    assert "--store" in GENERAL_ADVICE
