"""Connection of this process to a Ray cluster: made with care, and given back as it was found."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from ae_sweep import isolation
from ae_sweep.cluster.reach import KNOCK_SECONDS, check_reachable
from ae_sweep.cluster.seat import Seat
from ae_sweep.container import usable_cores
from ae_sweep.errors import ClusterError
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType
    from typing import Self

    from ae_sweep.cluster.room import SeatSize
    from ae_sweep.cluster.settings import ClusterConfig

HEAD_SECONDS = 5.0
"""Between two looks whether the head is still there."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RAY_THREADS = "ray_"
"""How the names of Ray's threads begin."""


def connect(config: ClusterConfig) -> Connection:
    """Join a cluster, or start one of this machine.

    Raises
    ------
    ClusterError
        If Ray is not installed, nobody is there, or the cluster refuses this process.
    """
    check_reachable(config)
    settings = isolation.ray_settings(local=config.is_local)
    with contextlib.ExitStack() as opened:
        opened.enter_context(settings)
        opened.enter_context(_ray_apart())
        with _as_found():
            ray = _imported()
            if ray.is_initialized():
                raise ClusterError(
                    "this process has joined a Ray cluster already; call ray.shutdown() first, or "
                    "run the sweep in a process of its own"
                )
            try:
                _join(ray, config)
            except SystemExit:  # of the handler that Ray has for SIGTERM meanwhile
                raise KeyboardInterrupt from None
            except Exception as error:
                with contextlib.suppress(Exception):
                    ray.shutdown()
                raise _refused(config, error) from error
        return Connection(ray, config, opened=opened.pop_all())


class Connection:
    """Membership of this process in a cluster, as a driver. Leave the context to part from it.

    Parameters
    ----------
    opened
        What is closed when it ends.
    """

    def __init__(
        self, ray: ModuleType, config: ClusterConfig, *, opened: contextlib.ExitStack
    ) -> None:
        self.ray = ray
        self.config = config
        self._opened = opened
        self._head = self._head_address()
        self._looked_at = time.monotonic()
        self._closed = False
        self.lost = False
        """Whether the head is gone: then Ray would wait a minute for it, and end this process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, size: SeatSize) -> Any:
        """Start an actor, which needs room of a size; the actor ends with this process."""
        asked = isolation.asked_kernels()
        actor = self.ray.remote(Seat).options(
            num_cpus=size.cpus,
            num_gpus=size.gpus,
            # Nodes have variables of their own, and this one decides about rounding.
            runtime_env={"env_vars": {isolation.KERNELS_VARIABLE: asked}} if asked else None,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        return actor.remote()

    def put(self, value: object) -> Any:
        """Put a value into the object store, from which each node fetches it once."""
        return self.ray.put(value)

    def nodes(self) -> list[Mapping[str, float]]:
        """Return the resources of the nodes that are alive, in use or not."""
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def free(self) -> Mapping[str, float]:
        """Return the resources that nobody uses, of all nodes together."""
        free: Mapping[str, float] = self.ray.available_resources()
        return free

    def kill(self, actor: object) -> None:
        """End an actor at once."""
        if not (self.lost or self._closed):  # Ray would start another cluster to look there
            with contextlib.suppress(Exception):  # it has ended, or its node has
                self.ray.kill(actor, no_restart=True)

    def check_head(self, *, now: bool = False) -> None:
        """Look whether the head is still there.

        Parameters
        ----------
        now
            Whether to look at once, and not from time to time only.

        Raises
        ------
        ClusterError
            If it is gone.
        """
        if not now and time.monotonic() - self._looked_at < HEAD_SECONDS:
            return
        self._looked_at = time.monotonic()
        for _ in range(2):
            try:
                socket.create_connection(self._head, timeout=KNOCK_SECONDS).close()
            except ConnectionRefusedError:
                continue
            except OSError:  # slow, or out of reach for a moment: Ray has its own patience
                return
            return
        self.lost = True
        raise ClusterError(
            f"the head of the cluster, {self._head[0]}:{self._head[1]}, has ended, and the trials "
            "with it; start it again, and complete the sweep with --resume"
        )

    def close(self) -> None:
        """End all that was started in the cluster, and part from it; to do it again does nothing.

        A cluster that was started for the sweep ends too; any other stays.
        """
        if self._closed:
            return
        self._closed = True
        with self._opened, _as_found():
            if self.lost:
                # It would wait for the head; without it, what Ray has in C++ crashes later.
                isolation.note_failing_exit()
                atexit.unregister(self.ray.shutdown)
            else:
                self.ray.shutdown()

    def _head_address(self) -> tuple[str, int]:
        host, _, port = str(self.ray.get_runtime_context().gcs_address).rpartition(":")
        return host.strip("[]"), int(port)


def _imported() -> ModuleType:
    hook = sys.excepthook
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            f"the package ray cannot be imported: {visible(error)}; "
            "`pip install --force-reinstall 'ae-sweep[cluster]'` mends it"
        ) from error
    finally:
        sys.excepthook = hook  # Ray's own writes to the cluster, whether it is there or not
    return ray


def _join(ray: ModuleType, config: ClusterConfig) -> None:
    # Ray makes the working directory an import path of every seat.
    with contextlib.chdir(os.sep), isolation.starting_python():
        if config.is_local:
            ray.init(
                address="local",
                num_cpus=usable_cores(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            ray.init(address=config.address, log_to_driver=False, logging_level=logging.ERROR)


def _refused(config: ClusterConfig, error: Exception) -> ClusterError:
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)  # type: ignore[arg-type]
    reason = visible(next((each for each in reversed(causes) if str(each)), error), 200)
    if config.is_local:
        return ClusterError(
            f"no cluster could be started on this machine: {reason}; give --workers instead of "
            "--cluster local, or see Ray's logs in /tmp/ray/session_latest/logs"
        )
    return ClusterError(
        f"the cluster at {config.address} does not accept this process: {reason}; check that "
        "RAY_AUTH_TOKEN is its head's, that its Ray and Python are of the same versions, and that "
        f"this machine is one of its nodes (`ray start --address={config.address} --num-cpus=0`)"
    )


@contextlib.contextmanager
def _as_found() -> Iterator[None]:
    """Keep this process's signal handlers and its stdout, whatever Ray does."""
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # else it was installed by other code than Python's
                signal.signal(number, handler)


class _Apart:
    """A stream that sends what Ray's threads print to stderr."""

    def __init__(self, stdout: Any) -> None:
        self._stdout = stdout

    def __getattr__(self, name: str) -> Any:
        ours = not threading.current_thread().name.startswith(RAY_THREADS)
        return getattr(self._stdout if ours else sys.stderr, name)


@contextlib.contextmanager
def _ray_apart() -> Iterator[None]:
    """Have what Ray prints in the background go to stderr; stdout is for data."""
    stdout = sys.stdout
    apart = _Apart(stdout)
    sys.stdout = apart
    try:
        yield
    finally:
        if sys.stdout is apart:  # else somebody else has replaced it since
            sys.stdout = stdout
