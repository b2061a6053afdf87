"""The command line as processes: started by a new Python, or forked from one that is warm."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

ROOT = Path(__file__).parent.parent
FOREIGN_VARIABLES = (
    "AE_SWEEP_DEBUG", "AE_SWEEP_KERNELS", "AE_SWEEP_PRECISION", "COLUMNS", "FORCE_COLOR",
    "MLFLOW_TRACKING_URI", "NO_COLOR", "TTY_COMPATIBLE",
)  # fmt: skip
"""Variables of the developer's own that would change what is tested."""
READ_AT_START = ("LANG", "LC_", "MKL_", "MPL", "OMP_", "PYTHON")
"""Beginnings of variables that Python or a library reads once, while it starts."""
SECONDS = 600.0
"""Limit for a command that ends by itself: a machine may have other work."""


@dataclass(frozen=True)
class Done:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class SignalIn:
    """A signal that a command sends to itself whenever it calls a function."""

    module: str
    function: str
    number: int = signal.SIGINT


@dataclass(frozen=True)
class SignalAfter:
    """A signal that a command sends to itself once it has written a line to stderr."""

    line: str
    """Pattern of the line's beginning."""
    number: int = signal.SIGINT


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a process: this one's without what would change the test."""
    kept = {key: value for key, value in os.environ.items() if key not in FOREIGN_VARIABLES}
    # One thread: several of a small training would wait for each other, and longer where the
    # machine has other work.
    return {**kept, "OMP_NUM_THREADS": "1", **changes}


class Command:
    """A running command that was forked; it has what the tests need of ``subprocess.Popen``."""

    def __init__(self, server: Server, pid: int, stdout: TextIO, stderr: TextIO) -> None:
        self._server = server
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()
        self.stdout.close()
        self.stderr.close()

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.exit_code(self.pid)
        return self.returncode

    def wait(self, timeout: float = SECONDS) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = SECONDS) -> tuple[str, str]:
        """Return the rest of what is written to stdout and stderr."""
        told = ["", ""]

        def read(number: int, stream: TextIO) -> None:
            told[number] = stream.read()

        readers = [
            threading.Thread(target=read, args=pair, daemon=True)
            for pair in enumerate((self.stdout, self.stderr))
        ]
        deadline = time.monotonic() + timeout
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(max(deadline - time.monotonic(), 0))
            if reader.is_alive():
                self.kill()  # ends the streams, and so the readers
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        self.wait(timeout)
        return told[0], told[1]


class Server(contextlib.ExitStack):
    """Forks commands from a process that has imported what they need (``command_server``).

    It is started with the first command.

    Parameters
    ----------
    launcher
        Words before Python's, such as those that enter a network.
    """

    def __init__(self, launcher: Sequence[str] = ()) -> None:
        super().__init__()
        self._launcher = launcher
        self._opened: socket.socket | None = None

    @property
    def _channel(self) -> socket.socket:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.callback(ours.close)
        with theirs:
            process = subprocess.Popen(
                [*self._launcher, sys.executable,
                 str(Path(__file__).with_name("command_server.py")), str(theirs.fileno())],
                env=environment(MLFLOW_DISABLE_TELEMETRY="true"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )  # fmt: skip
        self.callback(process.wait)
        self.callback(ours.shutdown, socket.SHUT_RDWR)
        return ours

    def start(
        self,
        *words: str,
        cwd: Path,
        changes: Mapping[str, str] | None = None,
        known_speed: bool = False,
        signal_at: SignalIn | SignalAfter | None = None,
    ) -> Command:
        """Start a command in a session of its own, with nothing to read."""
        request = {
            "words": words,
            "cwd": str(cwd),
            "environment": environment(**(changes or {})),
            "known_speed": known_speed,
            "signal_at": {} if signal_at is None else asdict(signal_at),
        }
        ends = [os.pipe(), os.pipe()]
        streams = [os.fdopen(read, encoding="utf-8") for read, _ in ends]
        try:
            socket.send_fds(
                self._channel, [json.dumps(request).encode()], [write for _, write in ends]
            )
        finally:
            for _, write in ends:
                os.close(write)
        return Command(self, self._answer(), *streams)

    def exit_code(self, pid: int) -> int | None:
        self._channel.send(json.dumps({"ended": pid}).encode())
        code: int | None = self._answer()
        return code

    def _answer(self) -> Any:
        answer = self._channel.recv(1 << 16)
        assert answer, "the server of commands has ended; what it said is above"
        return json.loads(answer)


def needs_a_new_python(changes: Mapping[str, str]) -> bool:
    """Return whether variables have an effect only in a process that starts from nothing."""
    return any(name.startswith(READ_AT_START) for name in changes)


def run_new_python(
    command: Sequence[str],
    *words: str,
    cwd: Path,
    changes: Mapping[str, str],
    timeout: float = SECONDS,
) -> Done:
    """Run a command to its end in a process that starts from nothing."""
    ended = subprocess.run(
        [*command, *words],
        cwd=cwd,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Done(ended.returncode, ended.stdout, ended.stderr)


@contextlib.contextmanager
def new_python(
    *words: str,
    command: Sequence[str] = (sys.executable, str(ROOT / "cli.py")),
    **changes: str,
) -> Iterator[subprocess.Popen[str]]:
    """Start a command with some words; kill it in the end."""
    process = subprocess.Popen(
        [*command, *words],
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
