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


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("API request to http://x failed with exception: Read timed out. (read timeout=12)",
         "MLFLOW_HTTP_REQUEST_TIMEOUT=60"),
        ("API request to http://x failed with exception: Connection refused",
         "check that the tracking server runs"),
        ('connection to server at "10.0.0.1", port 5432 failed: Connection refused',
         "check that the tracking server runs"),
        ('connection to server failed: FATAL: password authentication failed for user "ae"',
         "the user and the password in MLFLOW_TRACKING_URI"),
        ("No module named 'psycopg'", 'pip install "psycopg[binary]"'),
        ("No module named 'boto3'", "pip install boto3"),
        ('Could not connect to the endpoint URL: "http://127.0.0.1:1/b"', "keys of the cloud"),
        ("An error occurred (NoSuchBucket) when calling the PutObject operation",
         "keys of the cloud"),
    ],
)  # fmt: skip
def test_what_servers_databases_and_clouds_say_has_its_own_advice(reason: str, advice: str) -> None:
    assert advice in advice_on(ValueError(reason))


def test_what_a_clouds_library_raises_is_an_error_of_the_store_and_a_bug_stays_a_bug() -> None:
    cloud = type("EndpointConnectionError", (Exception,), {"__module__": "botocore.exceptions"})
    below = type("Other", (cloud,), {})
    for error in (cloud("unreachable"), below("unreachable"), ModuleNotFoundError("no boto3")):
        with pytest.raises(StoreError, match=r"mlruns.* failed: "), translated("mlruns"):
            raise error
    with pytest.raises(ValueError, match="a bug"), translated("mlruns"):
        raise ValueError("a bug")


def test_an_error_of_which_nothing_is_known_has_a_next_step() -> None:
    assert advice_on(ValueError("other")) == GENERAL_ADVICE
    assert "--store" in GENERAL_ADVICE
