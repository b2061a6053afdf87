"""One worker process: its start, the messages over its pipe, its end; both sides are here.

A child works on one job at a time. At each yield of the job it sends the value and waits for an
answer, whether to go on.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from ae_sweep import interruption
from ae_sweep.errors import WorkerError
from ae_sweep.isolation import starting_python
from ae_sweep.job_steps import (
    Died,
    JobRunner,
    Ready,
    Returned,
    Stopped,
    Yielded,
    check_step,
    failure_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ae_sweep.job_steps import Factory, Message

TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTION = signal.SIGUSR1
"""From the parent: no terminal sends it."""
SECONDS_TO_END = 5.0
"""For a process that has closed its pipe."""


class Child:
    """A worker process, from the parent's side.

    It is started by spawn: nothing of the parent's threads, files or devices is in it. It leaves
    SIGINT, SIGTERM and SIGHUP to the parent, and ends with the parent however that ends.

    Raises
    ------
    WorkerError
        If the system starts no further process.
    """

    def __init__(self, factory: Factory) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
        self._ready = False
        # Before Python's own tidying up at exit, which would ask with a SIGTERM and wait for ever.
        atexit.register(self.kill)
        try:
            with starting_python():
                resource_tracker.ensure_running()  # its start would let signals through again
                with _signals_held_back():
                    self._process.start()
        except OSError as error:
            raise WorkerError(f"no worker process can be started: {error}") from error
        theirs.close()
        self._send(factory)

    @property
    def handles(self) -> tuple[Connection, int]:
        """What becomes ready for ``multiprocessing.connection.wait`` with the next message."""
        return self._pipe, self._process.sentinel

    @property
    def placed(self) -> bool:
        """Whether it works on what it was given: this machine has room for it."""
        return True

    def is_alive(self) -> bool:
        """Return whether the process runs."""
        return self._process.is_alive()

    def begin(self, job: Any) -> None:
        """Give a job to a child that has none."""
        self._send(job)

    def go_on(self) -> None:
        """Let a job that has yielded go on."""
        self._send(True)

    def give_up(self) -> None:
        """End a job that has yielded; the child takes another one."""
        self._send(False)

    def interrupt(self) -> bool:
        """Ask the job to save itself and end; return whether the child can have begun it."""
        if self._ready and self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, INTERRUPTION)
            return True
        return False

    def receive(self) -> Message:
        """Wait for the next message; the last one is ``Died``.

        Raises
        ------
        WorkerError
            If the child could not be set up.
        RuntimeError
            If the program has a bug; the child's traceback is its note.
        """
        message = self._receive()
        if isinstance(message, Ready):
            self._ready = True
        check_step(message, ready=self._ready, place="a worker process")
        return message

    def kill(self) -> None:
        """End the process, whatever it does; it holds nothing that needs to be tidied up."""
        if self._process.pid is not None and not self._pipe.closed:
            self._process.kill()
            self._process.join()
        self._pipe.close()
        atexit.unregister(self.kill)

    def _send(self, message: Any) -> None:
        # Where nobody is left to read it, the next message received is Died.
        with contextlib.suppress(OSError):
            self._pipe.send(message)

    def _receive(self) -> Message:
        try:
            message: Message = self._pipe.recv()
        except (EOFError, OSError):
            return Died(self._how_it_ended(), ready=self._ready)
        return message

    def _how_it_ended(self) -> str:
        self._process.join(SECONDS_TO_END)
        code = self._process.exitcode
        if code is None:
            return "closed its pipe"
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name
        often = ", often by the system for lack of memory" if -code == signal.SIGKILL else ""
        return f"was ended by signal {-code} ({name}{often})"


def run_together(children: Sequence[Child], job: Any) -> list[Any]:
    """Have every child do the same job, and return what each returned.

    They wait for each other where the job yields, so that what follows happens at once.

    Raises
    ------
    WorkerError
        If one could not be set up, could not do it, or died.
    RuntimeError
        If the program has a bug.
    """
    for child in children:
        child.begin(job)
    for child in children:
        _next(child)
    for child in children:
        child.go_on()
    return [_next(child) for child in children]


def _next(child: Child) -> Any:
    while isinstance(message := child.receive(), Ready):
        pass
    if isinstance(message, Yielded | Returned):
        return message.value
    reason = "it was asked to end" if isinstance(message, Stopped) else message.reason
    raise WorkerError(f"a worker process failed: {reason}; give fewer --workers")


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    # A child inherits this, so that Ctrl-C cannot end it before it has set up its handlers.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection) -> None:
    for number in TERMINAL_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(INTERRUPTION, lambda *_: interruption.request())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TERMINAL_SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):  # the parent is gone
        runner = _set_up(pipe)
        while runner is not None:
            _carry_out(runner, pipe.recv(), pipe)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _set_up(pipe: Connection) -> JobRunner | None:
    try:
        runner = JobRunner(pipe.recv()())
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent raises it
        pipe.send(failure_of(error))
        return None
    pipe.send(Ready())
    return runner


def _carry_out(runner: JobRunner, job: Any, pipe: Connection) -> None:
    message = runner.begin(job)
    while isinstance(message, Yielded):
        pipe.send(message)
        if not pipe.recv():
            runner.give_up()
            return
        message = runner.go_on()
    pipe.send(message)
