"""MLflow's UI as a child process: its command, environment, start and end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from ae_sweep import config
from ae_sweep.errors import PortError, StoreError
from ae_sweep.isolation import MLFLOW_SETTINGS, child_environment
from ae_sweep.messages import shorten, visible
from ae_sweep.sqlite_files import is_writable
from ae_sweep.tracking.database import sqlite_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ae_sweep.locations import Store

HOST = "127.0.0.1"
START_SECONDS = 120.0
"""MLflow's server imports for 5 to 10 seconds, and for longer on a busy machine."""
STOP_SECONDS = 5.0
POLL_SECONDS = 0.1
LOG_TAIL_CHARACTERS = 2_000
PORTS_TO_SUGGEST_FROM = 50
SERVER_PREFIXES = ("MLFLOW_", "_MLFLOW", "UVICORN_", "GUNICORN_", "FLASK_", "WEB_CONCURRENCY")
"""Of environment variables that MLflow, its web server and its web framework read."""
SWITCHED_OFF: Mapping[str, str] = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS": "false",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    # MLflow's Flask application, which gunicorn serves, has no assistant. Should a later one have
    # it: no other machine reaches it, and its shell has no host to run on.
    "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",
    "MLFLOW_ENABLE_ASSISTANT_SANDBOX": "true",
}
"""Parts of the server that run commands or code on this machine, or call other services."""
GUNICORN_OPTIONS = "--worker-class gthread --threads 8 --timeout 300 --graceful-timeout 2"
"""One worker that answers a page's many requests at once; a large file may take minutes."""


@dataclass(frozen=True)
class UiServer:
    """A running UI."""

    url: str
    process: subprocess.Popen[bytes]

    def wait(self) -> int:
        """Wait until the server ends by itself, and return its exit status."""
        return self.process.wait()


@contextlib.contextmanager
def running_ui(
    store: Store,
    *,
    port: int,
    environment: Mapping[str, str],
    host: str = HOST,
    timeout_seconds: float = START_SECONDS,
) -> Iterator[UiServer]:
    """Run MLflow's UI on a store for as long as the context lasts.

    The server and all its processes have ended when the context is left, also by Ctrl-C. On
    SIGTERM it is not left unless the caller turns that into an exception.

    Parameters
    ----------
    environment
        The environment of this process; MLflow's own settings in it do not reach the server.

    Raises
    ------
    PortError
        If the port cannot be listened on.
    StoreError
        If the store is read-only, or the server does not start.
    """
    command = ui_command(store, port=port, host=host)
    variables = ui_environment(environment, store, port=port, host=host)
    _refuse_read_only(store)
    check_port(port, host=host)
    url = f"http://{host}:{port}"
    with (
        tempfile.TemporaryDirectory(prefix="ae-sweep-ui-") as empty,
        tempfile.TemporaryFile() as log,
    ):
        process = subprocess.Popen(
            command,
            cwd=empty,  # the web server makes the working directory an import path
            # The web server's control socket belongs to this run, not to the user's session.
            env={**variables, "XDG_RUNTIME_DIR": empty},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own: Ctrl-C reaches this process alone, which then ends the group.
            start_new_session=True,
        )
        try:
            wait_until_ready(url, process, timeout_seconds=timeout_seconds, log=log)
            yield UiServer(url, process)
        finally:
            stop(process)


def ui_command(store: Store, *, port: int, host: str = HOST) -> list[str]:
    """Return the command that runs MLflow's UI on a store.

    Raises
    ------
    StoreError
        If the runs are kept by a tracking server, which has a UI already.
    """
    if store.tracking_uri.startswith(("http://", "https://")):
        raise StoreError(
            f"the runs are kept by the tracking server {store.runs_place}, which has its own "
            "UI; open that address, or unset MLFLOW_TRACKING_URI"
        )
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        # With gunicorn MLflow serves its Flask application: without the assistant, which runs
        # commands on this machine, without the gateway's and the jobs' routes.
        *("--gunicorn-opts", GUNICORN_OPTIONS),
        # Runs hold absolute paths, so the server reads artifacts itself; its proxy for uploads
        # and downloads stays off.
        "--no-serve-artifacts",
        *("--host", host, "--port", str(port), "--workers", "1"),
    ]


def _refuse_read_only(store: Store) -> None:
    file = sqlite_file(store.tracking_uri)
    if file is not None and file.exists() and not is_writable(file):
        raise StoreError(
            f"the store {shorten(store.runs_place, 200)} is read-only, and MLflow's UI writes to "
            "its database from the start; make it writable, or copy it and name the copy with "
            "--store"
        )


def ui_environment(
    base: Mapping[str, str], store: Store, *, port: int, host: str = HOST
) -> dict[str, str]:
    """Return the server's environment: ``base`` without settings of servers, and ours.

    A setting of the user's could switch the checks of hosts off, or move the server elsewhere.
    A file of the working directory, such as ``mlflow.py``, is not imported. The store's address,
    which may hold a password, is here and not in the command, which every user of the machine can
    list.
    """
    kept = {
        key: value
        for key, value in child_environment(base).items()
        if not key.startswith(SERVER_PREFIXES)
    }
    return {
        **kept,
        **MLFLOW_SETTINGS,
        **SWITCHED_OFF,
        "MLFLOW_BACKEND_STORE_URI": store.tracking_uri,
        # Only for experiments that others make in the UI.
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": (store.artifact_root or store.root / "artifacts").as_uri(),
        # MLflow's default lets 10.* and the like pass, which 10.evil.com matches.
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(_allowed_hosts(host, port)),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": f"http://{host}:{port}",
    }


def check_port(port: int, *, host: str = HOST) -> None:
    """Refuse a port that cannot be listened on.

    Raises
    ------
    ConfigError
        If it is not a port at all.
    PortError
        If it is taken or forbidden.
    """
    config.check_port(port)
    try:
        _listen(port, host)
    except PermissionError as error:
        raise PortError(
            f"port {port} on {host} needs special rights; choose one above 1023 with --port"
        ) from error
    except OSError as error:
        raise PortError(
            f"port {port} on {host} is taken ({error.strerror}); choose another with --port, for "
            f"example --port {_free_port(port + 1, host)}"
        ) from error


def wait_until_ready(
    url: str,
    process: subprocess.Popen[bytes],
    *,
    timeout_seconds: float = START_SECONDS,
    log: IO[bytes] | None = None,
) -> None:
    """Wait until the server answers.

    Raises
    ------
    StoreError
        If it ends or does not answer in time, with the end of its log.
    """
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StoreError(
                f"MLflow's UI ended with status {process.returncode} before it was ready"
                f"{_tail(log)}; try again with another --port if that one is taken"
            )
        if _answers(url):
            return
        time.sleep(POLL_SECONDS)
    raise StoreError(
        f"MLflow's UI did not answer at {url} within {timeout_seconds:g} seconds{_tail(log)}; "
        "try again when the machine is less busy"
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and all processes of its group, at last by force."""
    try:
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            if not _signal_group(process, signal_number):
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
                # The parent may end before its worker.
                _wait_for_group(process)
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _allowed_hosts(host: str, port: int) -> list[str]:
    names = dict.fromkeys((host, "127.0.0.1", "localhost"))
    hosts = [f"{name}:{port}" for name in names]
    return hosts + list(names) if port == 80 else hosts  # browsers leave :80 out


def _listen(port: int, host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # As the server does: connections of an earlier one that linger are no obstacle.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)


def _free_port(start: int, host: str) -> int:
    for port in range(start, min(start + PORTS_TO_SUGGEST_FROM, config.MAX_PORT + 1)):
        with contextlib.suppress(OSError):
            _listen(port, host)
            return port
    return 8_080


def _answers(url: str) -> bool:
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"{url}/health", timeout=1.0
        ).close()
    except OSError:
        return False
    return True


def _tail(log: IO[bytes] | None) -> str:
    if log is None:
        return ""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - LOG_TAIL_CHARACTERS))
    lines = log.read().decode(errors="replace").strip().splitlines()
    return f": {visible(lines[-1])}" if lines else ""


def _signal_group(process: subprocess.Popen[bytes], signal_number: int) -> bool:
    """Signal the server's group; return whether a process was left in it."""
    try:
        os.killpg(process.pid, signal_number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _wait_for_group(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and _signal_group(process, 0):
        time.sleep(POLL_SECONDS)
