"""Starts commands as processes forked from one that has imported what they need.

A forked command has its own process, session, streams, signals and exit code, and shuts Python
down as any; only the seconds of importing torch, MLflow and Optuna are spent once for all of them.
Run by ``commands.Server``: requests and answers are JSON on a socket of packets.
"""

from __future__ import annotations

import gc
import io
import json
import os
import random
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
REQUEST_BYTES = 1 << 20


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Start a command for each request, and answer how those end; return in the forked process.

    Returns
    -------
    The request, in the process of the command; None in the server when nobody asks any more.
    """
    while True:
        message, streams, _, _ = socket.recv_fds(channel, REQUEST_BYTES, 2)
        if not message:
            return None
        request = json.loads(message)
        if "ended" in request:
            channel.send(json.dumps(_exit_code(request["ended"])).encode())
            continue
        pid = os.fork()
        if pid == 0:
            channel.close()
            _become(request, streams)
            return dict(request)
        for stream in streams:
            os.close(stream)
        channel.send(json.dumps(pid).encode())


def _exit_code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Make this process what `python cli.py` would be, started with these words."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate([nothing, *streams]):
        os.dup2(stream, number)
        os.close(stream)
    # Those of the server remember what kind of file they wrote to.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = _SignalAfter(
        io.FileIO(2, "w", closefd=False), encoding="utf-8", errors="backslashreplace",
        write_through=True,
    )  # fmt: skip
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    # Worker processes import the main module of the process that starts them.
    sys.modules["__main__"].__file__ = str(ROOT / "cli.py")
    sys.argv = [str(ROOT / "cli.py"), *request["words"]]
    if request["known_speed"]:
        _skip_measurement()
    if "function" in request["signal_at"]:
        _signal_in(**request["signal_at"])
    elif request["signal_at"]:
        sys.stderr.line = "^" + request["signal_at"]["line"]
        sys.stderr.number = request["signal_at"]["number"]


def _skip_measurement() -> None:
    """Take the speed of trainings as known: measuring it trains for seconds."""
    from ae_sweep import training
    from ae_sweep.runner import workers

    speed = training.Speed(epoch_seconds=1.0, validation_seconds=0.1, test_seconds=0.1)
    _replace(training, "measure_speed", lambda *_, **__: speed)
    _replace(workers._Probes, "speeds", lambda _, __, count: [speed] * count)


def _signal_in(module: str, function: str, number: int) -> None:
    """Send this process a signal whenever a function is called."""
    owner = sys.modules[module]
    original = getattr(owner, function)

    def call(*args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    setattr(owner, function, call)


class _SignalAfter(io.TextIOWrapper):
    """A stderr after one line of which this process gets a signal."""

    line = ""
    number = 0

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.line and re.search(self.line, text, re.MULTILINE):
            self.line = ""
            self.flush()
            os.kill(os.getpid(), self.number)
        return written


def _replace(owner: Any, name: str, value: object) -> None:
    assert hasattr(owner, name)
    setattr(owner, name, value)


def _import_all() -> None:
    """Import what a sweep, a report and the commands that show models import."""
    import alembic  # noqa: F401
    import matplotlib.backends.backend_agg  # noqa: F401
    import mlflow.pyfunc
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import optuna.storages._rdb.storage  # noqa: F401
    import torch._dynamo  # noqa: F401 - by torch's optimisers, when one is made
    from mlflow.utils.requirements_utils import _init_modules_to_packages_map

    from ae_sweep import inspection, plots, report, sweep, tracking, training  # noqa: F401
    from ae_sweep.cli import app  # noqa: F401
    from ae_sweep.runner import setup  # noqa: F401

    _init_modules_to_packages_map()  # reads all that is installed, when a model is logged


if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # as it is for cli.py
    from ae_sweep.isolation import isolate_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    isolate_process()  # as the command line does before it imports anything
    _import_all()
    gc.collect()
    gc.freeze()
    gc.enable()
    if serve(socket.socket(fileno=int(sys.argv[1]))) is not None:
        from ae_sweep.cli.app import main

        main()
