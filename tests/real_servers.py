"""Real servers behind a sweep: PostgreSQL, S3 by moto, and `mlflow server` on both.

All listen on 127.0.0.1 alone, at free ports, and are ended by their process ids.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import tracking_support as support
from commands import environment
from tracking_servers import MlflowServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NEEDED = ("boto3", "moto", "psycopg")
USER = "postgres"
"""PostgreSQL refuses to run as root."""
BUCKET = "ae-sweep"
STARTED_SECONDS = 600.0
S3_NAMES = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def skip_where_missing() -> Path:
    """Return the directory of PostgreSQL's programs; skip the test where anything is missing."""
    for name in NEEDED:
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # of Debian, not on the PATH
    needed = ("initdb", "pg_ctl")
    whole = (place for place in places if all((place / name).exists() for name in needed))
    programs = next(whole, None)
    if programs is None:
        pytest.skip("PostgreSQL is not installed: there is no initdb with a pg_ctl")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(USER)
        except KeyError:
            pytest.skip(f"PostgreSQL does not run as root, and there is no user {USER}")
    return programs


class Postgresql:
    """A PostgreSQL of its own, with a password."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder = folder
        self._programs = programs
        self._password = secrets.token_hex(16)
        self.port = support.free_port()
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        key = folder / "key"
        key.write_text(self._password)
        if os.geteuid() == 0:
            shutil.chown(key, USER)
        self._run(
            "initdb", "--username", "ae", "--auth", "scram-sha-256", "--pwfile", str(key),
            "--no-sync", "--encoding", "UTF8", "--locale", "C",
        )  # fmt: skip
        key.unlink()

    @property
    def password(self) -> str:
        return self._password

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://ae:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off "
            f"-c unix_socket_directories={self._folder}"
        )
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "--wait", "--log", log, "--options", options)

    def stop(self) -> None:
        """End it as a machine that fails would: connections break."""
        if (self._folder / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "--wait", "--mode", "immediate")

    def execute(self, statement: str) -> None:
        import psycopg

        address = self.url("postgres").replace("+psycopg", "")
        with contextlib.closing(psycopg.connect(address, autocommit=True)) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *words: str) -> None:
        as_user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
        command = [str(self._programs / program), "--pgdata", str(self._folder / "data"), *words]
        said = self._folder / "said"  # a pipe would be held open by the server
        with said.open("wb") as file:
            done = subprocess.run(
                [*as_user, *command],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=STARTED_SECONDS,
                check=False,
            )
        assert done.returncode == 0, said.read_text()


class S3:
    """Moto's S3, which keeps everything in memory: it can be stopped for a while, not restarted."""

    def __init__(self, folder: Path) -> None:
        self.port = support.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        self.variables = {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": self.url,
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                env=environment(),
                stdout=log,
                stderr=log,
            )
        self._make_bucket()

    def keys(self, under: str) -> list[str]:
        """Return the keys of all objects that begin with something."""
        found: list[str] = []
        mark = ""
        while True:
            address = f"{self.url}/{BUCKET}?prefix={under}&marker={mark}"
            with urllib.request.urlopen(address, timeout=30) as answer:
                listing = ET.fromstring(answer.read())
            page = [str(each.text) for each in listing.iter(f"{S3_NAMES}Key")]
            found += page
            if listing.findtext(f"{S3_NAMES}IsTruncated") != "true":
                return found
            mark = page[-1]

    def presigned_reads(self) -> int:
        """Count the requests so far that read an object by a presigned address."""
        lines = self.log.read_text().splitlines()
        return sum("GET /" in line and "X-Amz-Signature=" in line for line in lines)

    def pause(self) -> None:
        """Have it accept connections and answer none."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _make_bucket(self) -> None:
        deadline = time.monotonic() + STARTED_SECONDS
        while True:
            try:
                request = urllib.request.Request(f"{self.url}/{BUCKET}", method="PUT")
                urllib.request.urlopen(request, timeout=30).close()
            except (urllib.error.URLError, OSError):
                assert self._process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, "moto does not answer"
                time.sleep(0.1)
            else:
                return


@dataclass(frozen=True)
class RealServers:
    """`mlflow server` on PostgreSQL and S3, and a second database for clients without a server."""

    postgresql: Postgresql
    s3: S3
    folder: Path

    @cached_property
    def mlflow(self) -> MlflowServer:
        return MlflowServer(
            self.folder / "mlflow",
            database=self.postgresql.url("mlflow"),
            artifacts=f"s3://{BUCKET}/runs",
            variables=self.s3.variables,
        )

    @property
    def direct(self) -> dict[str, str]:
        """Variables of a client that uses the database and S3 itself."""
        return {"MLFLOW_TRACKING_URI": self.postgresql.url("direct"), **self.s3.variables}


@contextlib.contextmanager
def real_servers(folder: Path) -> Iterator[RealServers]:
    """Start all of them; skip the test where their programs are not installed."""
    programs = skip_where_missing()
    with contextlib.ExitStack() as running:
        # Not below pytest's directories, which other users may not enter.
        place = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="ae-sweep-pg-")))
        postgresql = Postgresql(place, programs)
        running.callback(postgresql.stop)
        postgresql.start()
        _make_databases(postgresql, ["mlflow", "direct"])
        s3 = S3(folder)
        running.callback(s3.close)
        running.callback(s3.go_on)
        servers = RealServers(postgresql, s3, folder)
        running.callback(servers.mlflow.stop)
        servers.mlflow.start()
        yield servers


def _make_databases(postgresql: Postgresql, names: Sequence[str]) -> None:
    """Make MLflow's tables once, which takes it most of a minute, and copy the database."""
    first, *others = names
    postgresql.execute(f"CREATE DATABASE {first}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SQLAlchemy, about MLflow's scripts
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        store: Any = SqlAlchemyStore(postgresql.url(first), "mlflow-artifacts:/")
        store.engine.dispose()
    for name in others:
        postgresql.execute(f"CREATE DATABASE {name} TEMPLATE {first}")
