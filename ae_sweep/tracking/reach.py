"""Whether a tracking server or its database can be reached, found out within seconds."""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request
from urllib.parse import SplitResult, urlsplit, urlunsplit

import sqlalchemy
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from ae_sweep.errors import StoreError
from ae_sweep.messages import shorten
from ae_sweep.tracking.errors import first_line, store_error

REACH_SECONDS = 5.0
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
LIBPQ_SCHEMES = ("postgresql", "postgresql+psycopg", "postgresql+psycopg2")
LIBPQ_LIMITS = {
    "connect_timeout": "5",  # seconds
    "tcp_user_timeout": "10000",  # milliseconds, of what was sent and is not acknowledged
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
"""PostgreSQL's client would wait two hours for a machine that is gone."""


def check_reachable(uri: str, place: str) -> None:
    """Try to reach a server once, briefly: MLflow would retry for minutes.

    Raises
    ------
    StoreError
        If it cannot be reached.
    """
    try:
        parts = urlsplit(uri)
        if parts.scheme in ("http", "https"):
            _knock(uri)
        elif parts.hostname and (port := _database_port(parts)):
            socket.create_connection((parts.hostname, port), timeout=REACH_SECONDS).close()
        if parts.scheme in LIBPQ_SCHEMES:
            _log_in(uri)
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise store_error(place, error) from error
    except (OSError, ValueError) as error:
        raise StoreError(
            f"the tracking server {shorten(place, 200)} cannot be reached: {first_line(error)}; "
            "start it, or unset MLFLOW_TRACKING_URI to keep the runs in --store"
        ) from error


def with_limits(uri: str) -> str:
    """Return the address of a PostgreSQL database with the limits of waiting that it lacks.

    Any other address is returned as it is.
    """
    if urlsplit(uri).scheme not in LIBPQ_SCHEMES:
        return uri
    address = make_url(uri)
    missing = {name: text for name, text in LIBPQ_LIMITS.items() if name not in address.query}
    return address.update_query_dict(missing).render_as_string(hide_password=False)


def _database_port(parts: SplitResult) -> int | None:
    return parts.port or DATABASE_PORTS.get(parts.scheme.partition("+")[0])


def _log_in(uri: str) -> None:
    """Open a database once: MLflow would try ten times, in a hundred seconds."""
    engine = sqlalchemy.create_engine(with_limits(uri), poolclass=NullPool)
    with engine.connect():
        pass


def _knock(uri: str) -> None:
    parts = urlsplit(uri)
    # urllib takes a user and a password for a part of the host's name. MLflow sends them.
    place = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    address = f"{place.rstrip('/')}/health"
    try:
        urllib.request.urlopen(address, timeout=REACH_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        with error:
            if error.code >= 500:
                raise
    except urllib.error.URLError as error:
        # Certificates are judged by MLflow, which has its own settings for them.
        if not isinstance(error.reason, ssl.SSLError):
            raise
