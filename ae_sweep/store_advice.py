"""Advice on errors of a store: of its databases, file system, tracking server and cloud."""

from __future__ import annotations

from typing import NamedTuple


class _Row(NamedTuple):
    advice: str
    errors: tuple[str, ...] = ()
    """Names of SQLite's errors, of which extended codes are longer (SQLITE_IOERR_READ)."""
    words: tuple[str, ...] = ()
    """In the messages of errors that have no such name, in lower case."""


TABLE = (
    _Row(
        "end the other program that is using it, then try again",
        ("SQLITE_BUSY", "SQLITE_LOCKED"),
        ("is locked",),
    ),
    _Row(
        "name a directory that can be written with --store",
        ("SQLITE_READONLY",),
        ("readonly", "read-only", "permission denied"),
    ),
    _Row(
        "check that you may read it and its directory, or name another --store",
        ("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"),
        ("unable to open database",),
    ),
    _Row(
        "free some space there, then try again",
        ("SQLITE_FULL",),
        ("disk is full", "no space left"),
    ),
    _Row(
        "restore it from a copy, or name another --store",
        ("SQLITE_CORRUPT",),
        ("malformed", "disk image"),
    ),
    _Row(
        "move it away, or name another --store",
        ("SQLITE_NOTADB",),
        ("file is not a database",),
    ),
    _Row(
        "check the disk that it is on, then try again",
        ("SQLITE_IOERR",),
        ("disk i/o error", "input/output error"),
    ),
    _Row(
        "a newer MLflow wrote it: upgrade MLflow, or name another --store",
        words=("can't locate revision",),
    ),
    _Row(
        "another version of Optuna wrote it: install that one, or name another --store",
        words=("compatible with the table schema",),
    ),
    _Row(
        "wait until the tracking server answers again, or give it more time: "
        "MLFLOW_HTTP_REQUEST_TIMEOUT=60 (seconds)",
        words=("read timed out",),
    ),
    _Row(
        "check the user and the password in MLFLOW_TRACKING_URI",
        words=("password authentication failed",),
    ),
    _Row(
        "check that the tracking server runs, or unset MLFLOW_TRACKING_URI",
        words=("api request", "connection to server", "server closed the connection"),
    ),
    _Row(
        'install the driver of its database: `pip install "psycopg[binary]"`',
        words=("no module named 'psycopg",),
    ),
    _Row(
        "install what MLflow needs to reach S3: `pip install boto3`",
        words=("no module named 'boto",),
    ),
    _Row(
        "check the address and the keys of the cloud that holds the artifacts",
        words=("endpoint url", "unable to locate credentials", "an error occurred ("),
    ),
)
GENERAL_ADVICE = "check that it can be read and written, or name another --store"


def advice_on(error: BaseException, reason: str | None = None) -> str:
    """Return what the user can do about an error of a store.

    Parameters
    ----------
    error
        SQLite's name of it decides, if it has one.
    reason
        What the message says of it; the error's own text if left out.
    """
    name = getattr(error, "sqlite_errorname", "")
    text = (str(error) if reason is None else reason).lower()
    named = (row for row in TABLE if name.startswith(row.errors))
    described = (row for row in TABLE if any(words in text for words in row.words))
    row = next(named, None) or next(described, None)
    return GENERAL_ADVICE if row is None else row.advice
