"""A real tracking server that can be killed and started again, and a proxy that fails on demand."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import tracking_support as support
from commands import environment

from ae_sweep import tracking
from ae_sweep.tracking import ui_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


READY_SECONDS = 600.0
"""A machine may have other work."""


class MlflowServer:
    """`mlflow server` as a company would run it: artifacts are uploaded to and fetched from it."""

    def __init__(
        self,
        folder: Path,
        *,
        database: str | None = None,
        artifacts: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        folder.mkdir()
        self._database = database or f"sqlite:///{folder / 'mlflow.db'}"
        self._artifacts = artifacts or str(folder / "artifacts")
        self._variables = variables or {}
        self.port = support.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server"),
                    *("--artifacts-destination", self._artifacts),
                    *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
                ],
                env=environment(
                    **self._variables,
                    MLFLOW_BACKEND_STORE_URI=self._database,  # a password is no argument
                    MLFLOW_DISABLE_TELEMETRY="true",
                    MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",  # ten processes to no purpose
                ),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        tracking.wait_until_ready(self.url, self._process, timeout_seconds=READY_SECONDS)

    def stop(self) -> None:
        if self._process is not None:
            ui_server.stop(self._process)
            self._process = None


class Proxy:
    """Passes requests on to a server, answers them with an error, or not at all."""

    def __init__(self, port: int) -> None:
        self.mode = "pass"
        self.only = ""
        """Part of the paths whose requests it does not answer in the mode "hang"."""
        self.hanging = threading.Event()
        """Whether a request waits."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if proxy.mode == "hang" and proxy.only in self.path:
                    proxy.hanging.set()
                    while proxy.mode == "hang":
                        time.sleep(0.05)
                    self.close_connection = True
                    return
                if proxy.mode == "500":
                    self._send(500, {}, b"<h1>Internal Server Error</h1>")
                    return
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                with contextlib.closing(connection):
                    kept = {key: text for key, text in self.headers.items() if key != "Host"}
                    connection.request(self.command, self.path, body, kept)
                    answer = connection.getresponse()
                    headers = {"Content-Type": answer.getheader("Content-Type", "text/plain")}
                    self._send(answer.status, headers, answer.read())

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                with contextlib.suppress(OSError):  # the client has given up
                    self.send_response(status)
                    for key, text in {**headers, "Content-Length": str(len(body))}.items():
                        self.send_header(key, text)
                    self.end_headers()
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.mode = "pass"
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def tracking_server(folder: Path) -> Iterator[MlflowServer]:
    server = MlflowServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def proxied(server: MlflowServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    try:
        yield proxy
    finally:
        proxy.close()
