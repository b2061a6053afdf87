"""Ray clusters for the tests: in a network of their own, of real processes, ended by their ids."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from commands import ROOT, Command, Done, Server, environment
from tracking_support import fresh_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

SECONDS = 600.0
"""Limit of everything that comes by itself: a machine may have other work."""
LOOPBACK = """
import fcntl, socket, struct, sys, time
with socket.socket() as any_socket:
    request = struct.pack("16sh14s", b"lo", 1 | 64, b"")  # IFF_UP, IFF_RUNNING
    fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS
print("up", flush=True)
time.sleep(86400)
"""


@dataclass
class Network:
    """A network namespace with nothing but ``lo``: Ray listens on every interface."""

    pid: int

    def __post_init__(self) -> None:
        self.server = Server(self.words())
        """Starts commands there."""

    def words(self, *command: str) -> list[str]:
        """Return the command that runs another in it."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *command]


@contextlib.contextmanager
def network() -> Iterator[Network | None]:
    """Make a network for as long as the context lasts; None where this process may not."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        yield None
        return
    with subprocess.Popen(
        ["unshare", "-n", sys.executable, "-c", LOOPBACK],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as anchor:
        try:
            assert anchor.stdout is not None
            if anchor.stdout.readline() != "up\n":
                yield None
                return
            net = Network(anchor.pid)
            with net.server:
                yield net
        finally:
            anchor.kill()


@dataclass
class Cluster:
    """A head and further nodes, each by the process that started it."""

    network: Network
    place: Path
    port: int = 6399
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def variables(self) -> dict[str, str]:
        """Return those of all processes: a home of its own, the token."""
        home = self.place / "home"
        home.mkdir(exist_ok=True)
        return {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(self.place / "cache"),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # else seats wait for whatever else the machine does
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def start_head(self, *, cpus: int = 1, gpus: int = 0) -> None:
        """Start the head and wait until it listens."""
        self._start(
            "head", "--head", "--node-ip-address=127.0.0.1", f"--port={self.port}",
            "--include-dashboard=false", f"--temp-dir={self.place / 'ray'}",
            f"--num-cpus={cpus}", f"--num-gpus={gpus}",
        )  # fmt: skip

    def start_node(self, *, cpus: int = 1) -> None:
        """Start a node and wait until the head knows it."""
        self._start("node", f"--address={self.address}", f"--num-cpus={cpus}")

    def _start(self, name: str, *options: str) -> None:
        path = self.place / f"{name}.log"
        with path.open("wb") as log:
            self.started[name] = subprocess.Popen(
                self.network.words(
                    str(Path(sys.executable).with_name("ray")), "start", "--block",
                    "--disable-usage-stats", "--object-store-memory=200000000", *options,
                ),
                cwd=self.place,
                env=environment(**self.variables(), PYTHONPATH=str(ROOT)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )  # fmt: skip
        wait_until(lambda: b"Ray runtime started" in path.read_bytes(), self.log)

    def log(self) -> str:
        """Return what the nodes have printed."""
        return "\n".join(path.read_text(errors="replace") for path in self.place.glob("*.log"))

    def processes(self, name: str) -> list[int]:
        """Return all processes of a node, that which started it first."""
        return descendants(self.started[name].pid)

    def pid(self, name: str, part: bytes) -> int:
        """Return the process of a node whose command line has a part: ``raylet/raylet``."""
        (found,) = (pid for pid in self.processes(name) if part in words_of(pid))
        return found

    def seats(self, name: str | None = None) -> list[int]:
        """Return the seats of a node, or of all."""
        names = self.started if name is None else [name]
        return [
            pid
            for each in names
            for pid in self.processes(each)
            if words_of(pid).startswith(b"ray::Seat")
        ]

    def end(self, name: str) -> None:
        """End a node at once, by its processes."""
        process = self.started.pop(name)
        for pid in reversed(descendants(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(SECONDS)

    def driver(self, *words: str, **changes: str) -> Driver:
        """Start ``ae-sweep`` in the network, in the directory ``work`` of the place."""
        work = self.place / "work"
        work.mkdir(exist_ok=True)
        given = {key: text for key, text in (self.variables() | changes).items() if text}
        return Driver(self.network.server.start(*words, cwd=work, changes=given))

    def run(self, *words: str, **changes: str) -> Done:
        """Run ``ae-sweep`` in the network to its end; an empty variable is not set."""
        with self.driver(*words, **changes) as driver:
            return driver.done()

    def store(self, name: str) -> Path:
        """Make a store below the working directory."""
        return fresh_store(self.place / "work", name=name).root


class Driver:
    """A running ``ae-sweep``, whose lines are read as they come.

    Attributes
    ----------
    lines
        Of stderr so far, each with the time it came.
    """

    def __init__(self, process: Command) -> None:
        self.process = process
        self.lines: list[tuple[float, str]] = []
        self._out = ""
        self._readers = [threading.Thread(target=each) for each in (self._read_err, self._read_out)]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()

    @property
    def err(self) -> str:
        return "".join(line for _, line in self.lines)

    def wait_for(self, pattern: str, *, times: int = 1, seconds: float = SECONDS) -> float:
        """Wait until lines of stderr have a pattern; return when the last of them came."""
        deadline = time.monotonic() + seconds
        while True:
            ended = not self._readers[0].is_alive()
            found = [when for when, line in self.lines if re.search(pattern, line)]
            if len(found) >= times:
                return found[times - 1]
            assert not ended, f"it has ended:\n{self.err}"
            assert time.monotonic() < deadline, self.err
            time.sleep(0.02)

    def done(self, seconds: float = SECONDS) -> Done:
        """Wait until it ends."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on:\n{self.err}") from None
        for reader in self._readers:
            reader.join(seconds)
        return Done(self.process.wait(), self._out, self.err)

    def _read_err(self) -> None:
        for line in self.process.stderr:
            self.lines.append((time.monotonic(), line))

    def _read_out(self) -> None:
        self._out = self.process.stdout.read()


@contextlib.contextmanager
def cluster(net: Network, *, port: int = 6399) -> Iterator[Cluster]:
    """Give a cluster without nodes; end those that are started."""
    # Short: a socket's path has at most 107 characters.
    place = Path(tempfile.mkdtemp(prefix="ae-ray-"))
    made = Cluster(net, place, port)
    try:
        yield made
    finally:
        for name in list(made.started):
            made.end(name)
        shutil.rmtree(place, ignore_errors=True)


def descendants(pid: int) -> list[int]:
    """Return a process and all that it and they have started, the older ones first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def words_of(pid: int) -> bytes:
    """Return a process's command line; empty if it has ended."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def wait_until(
    holds: Callable[[], object], told: Callable[[], str] = str, seconds: float = SECONDS
) -> float:
    """Wait until something holds; return the seconds that took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, told()
        time.sleep(0.05)
    return time.monotonic() - started
