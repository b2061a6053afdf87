"""Whether a tracking server or its database can be reached, found out within seconds."""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request
from urllib.parse import SplitResult, urlsplit, urlunsplit

from ae_sweep.errors import StoreError
from ae_sweep.messages import shorten
from ae_sweep.tracking.errors import first_line

REACH_SECONDS = 5.0
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


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
    except (OSError, ValueError) as error:
        raise StoreError(
            f"the tracking server {shorten(place, 200)} cannot be reached: {first_line(error)}; "
            "start it, or unset MLFLOW_TRACKING_URI to keep the runs in --store"
        ) from error


def _database_port(parts: SplitResult) -> int | None:
    return parts.port or DATABASE_PORTS.get(parts.scheme.partition("+")[0])


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
