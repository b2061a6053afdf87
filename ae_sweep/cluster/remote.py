"""A seat's side in this process: what it is given, and the messages it answers with."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ae_sweep.cluster.room import resources_text
from ae_sweep.cluster.seat import Greeting
from ae_sweep.errors import ClusterError, WorkerError
from ae_sweep.job_steps import (
    Crashed,
    Died,
    Ready,
    Refused,
    Returned,
    Yielded,
    check_step,
)
from ae_sweep.messages import counted, in_words, visible
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ae_sweep.cluster.connection import Connection
    from ae_sweep.cluster.room import SeatSize
    from ae_sweep.job_steps import Factory, Message

ROOM_SECONDS = 60.0
"""For a seat to find room, before it is reported."""
START_SECONDS = 300.0
"""For a seat that has found room to answer: a busy node imports torch from a slow disk."""
ALIVE_SECONDS = 5.0
"""For an idle seat to answer that it is there."""
SLICE_SECONDS = 1.0
"""Of a wait for messages; signals are handled in between at the latest."""


class RemoteSeat:
    """A seat on a node of a cluster, from the driver's side.

    What it is given waits until there is room for it.

    Parameters
    ----------
    size
        The room it needs.
    """

    def __init__(self, cluster: Connection, size: SeatSize) -> None:
        self.size = size
        self.node: str | None = None
        """Its node's name; None until it has room there."""
        self.asked_at = time.monotonic()
        self._cluster = cluster
        self._actor = cluster.start(size)
        self._answers: deque[Any] = deque([self._actor.greet.remote(__version__)])
        self._ready = False
        self._gone = False

    def __str__(self) -> str:
        return "a seat" if self.node is None else f"a seat on {self.node}"

    @property
    def placed(self) -> bool:
        """Whether it has room and works on what it was given."""
        return self.node is not None

    @property
    def gone(self) -> bool:
        """Whether it was ended."""
        return self._gone

    @property
    def waited_seconds(self) -> float:
        """How long it has been without room."""
        return 0.0 if self.placed else time.monotonic() - self.asked_at

    @property
    def answer(self) -> Any:
        """What is ready, in the words of ``ray.wait``, with the next message."""
        return self._answers[0]

    def set_up(self, factory: Factory, *shared: Any) -> None:
        """Have it carry out jobs from now on; shared objects are those of `Connection.put`."""
        self._ready = False
        self._answers.append(self._actor.set_up.remote(factory, *shared))

    def is_alive(self) -> bool:
        """Return whether it answers, or waits for room."""
        if self._gone or not self.placed:
            return not self._gone
        ray = self._cluster.ray
        here, _ = ray.wait([self._actor.greet.remote(__version__)], timeout=ALIVE_SECONDS)
        try:
            return bool(here and ray.get(here[0]))
        except ray.exceptions.RayError:
            return False

    def begin(self, job: Any) -> None:
        """Give it a job when it has none."""
        self._answers.append(self._actor.begin.remote(job))

    def go_on(self) -> None:
        """Let a job that has yielded go on."""
        self._answers.append(self._actor.go_on.remote())

    def give_up(self) -> None:
        """End a job that has yielded; the seat takes another one."""
        self._actor.give_up.remote()

    def receive(self) -> Message:
        """Wait for the next message; the last one is ``Died``.

        Raises
        ------
        WorkerError
            If it could not be set up.
        ClusterError
            If it has died with the head of the cluster.
        RuntimeError
            If the program has a bug; the seat's traceback is its note.
        """
        message = self._message(self._answers.popleft())
        if isinstance(message, Greeting):
            self.node = message.node
            return Ready()
        check_step(message, ready=self._ready, place=str(self))
        if isinstance(message, Ready):
            self._ready = True
        return message

    def kill(self) -> None:
        """End it, whatever it does."""
        self._gone = True
        self._answers.clear()
        self._cluster.kill(self._actor)

    def _message(self, answer: Any) -> Message | Greeting:
        exceptions = self._cluster.ray.exceptions
        try:
            message: Message | Greeting = self._cluster.ray.get(answer)
        except exceptions.RayTaskError as error:
            # Such as a node without ae-sweep, or with another one that has no such class.
            raise _not_started(error) from error
        except exceptions.RayActorError as error:
            if error.actor_init_failed:
                raise _not_started(error) from error
            return self._died(error)
        except exceptions.RayError as error:
            return self._died(error)
        return message

    def _died(self, error: Exception) -> Died:
        self._cluster.check_head(now=True)
        where = "" if self.node is None else f"on {self.node} "
        # Ray's message begins with a sentence that says nothing, and indented lines of ids.
        lines = [line for line in str(error).splitlines() if line and not line.startswith("\t")]
        reason = f"{where}died: {visible(' '.join(lines[1:] or lines), 250)}"
        return Died(reason, ready=self._ready)


def _not_started(error: Exception) -> WorkerError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    reason = visible(lines[-1] if lines else type(error).__name__, 250)
    failure = WorkerError(
        f"a seat cannot be set up: {reason}; every node needs ae-sweep {__version__} in the Python "
        "that runs Ray there"
    )
    failure.add_note(str(error))
    return failure


def ask(cluster: Connection, seat: RemoteSeat, job: Any) -> Any:
    """Have a seat carry out a job, and return what that returns.

    Raises
    ------
    ClusterError
        If there is no room for it, or it has died.
    WorkerError
        If it could not be set up, or refuses.
    """
    return ask_together(cluster, [seat], job, announce=lambda _line: None)[0]


def ask_together(
    cluster: Connection,
    seats: Sequence[RemoteSeat],
    job: Any,
    *,
    announce: Callable[[str], None],
) -> list[Any]:
    """Have seats carry out the same job at the same time, and return what each returns.

    They wait for each other where it yields. Those that die or find no room are left out, and
    ended.

    Raises
    ------
    ClusterError
        If none of them is left.
    WorkerError
        If one could not be set up, or refuses.
    """
    for seat in seats:
        seat.begin(job)
    together = _Together(cluster, seats)
    while together.waiting or together.arrived:
        if not together.waiting:
            together.go_on()
        for seat in ready_of(cluster, together.waiting):
            together.take(seat)
        for seat in late_of(cluster, together.waiting):
            together.lose(seat, no_room(cluster, seat))
    reasons = list(dict.fromkeys(together.reasons))
    if not together.returned:
        raise ClusterError("; ".join(reasons))
    for reason in reasons:
        announce(reason)
    return together.returned


class _Together:
    """Seats that carry out the same job, by how far they are."""

    def __init__(self, cluster: Connection, seats: Sequence[RemoteSeat]) -> None:
        self._cluster = cluster
        self.waiting = list(seats)
        self.arrived: list[RemoteSeat] = []
        """Those that have yielded and wait for the others."""
        self.returned: list[Any] = []
        self.reasons: list[str] = []
        """Why some were lost."""

    def go_on(self) -> None:
        """Let all go on that have yielded."""
        for seat in self.arrived:
            seat.go_on()
        self.waiting, self.arrived = self.arrived, []

    def take(self, seat: RemoteSeat) -> None:
        """Read a message of a seat."""
        match seat.receive():
            case Ready():
                pass
            case Yielded():
                self.waiting.remove(seat)
                self.arrived.append(seat)
            case Returned(value=value):
                self.waiting.remove(seat)
                self.returned.append(value)
            case Died(reason=reason):
                self.lose(seat, f"a seat {reason}")
            case Refused(reason=reason) | Crashed(reason=reason):
                raise WorkerError(f"{seat} failed: {reason}")

    def lose(self, seat: RemoteSeat, reason: str) -> None:
        """Go on without a seat."""
        self.waiting.remove(seat)
        self.reasons.append(reason)
        seat.kill()


def ready_of(cluster: Connection, seats: Sequence[RemoteSeat]) -> list[RemoteSeat]:
    """Wait for a moment; return the seats that have a message.

    Raises
    ------
    ClusterError
        If the cluster's head is gone.
    """
    answers = {seat.answer: seat for seat in seats}
    ready, _ = cluster.ray.wait(list(answers), num_returns=1, timeout=SLICE_SECONDS)
    if not ready:
        cluster.check_head()
        return []
    # Ray looks at them in order and stops at the first; the others are asked for as well.
    ready, _ = cluster.ray.wait(list(answers), num_returns=len(answers), timeout=0)
    return [answers[each] for each in ready]


def late_of(cluster: Connection, seats: Iterable[RemoteSeat]) -> list[RemoteSeat]:
    """Return the seats that have found no room in time.

    One that has room, and has not answered yet, may need longer to start.
    """
    late = [seat for seat in seats if seat.waited_seconds > ROOM_SECONDS]
    if not late:
        return []
    free = cluster.free()
    return [
        seat
        for seat in late
        if seat.waited_seconds > START_SECONDS or not _has_room(cluster, seat, free)
    ]


def _has_room(cluster: Connection, seat: RemoteSeat, free: Mapping[str, float]) -> bool:
    return seat.size.fits(free) and any(seat.size.seats_on(node) for node in cluster.nodes())


def no_room(cluster: Connection, seat: RemoteSeat) -> str:
    """Return what is asked for a seat, and what is free, in words."""
    return (
        f"a seat has found no room for {in_words(seat.waited_seconds)}: it asks for {seat.size} "
        f"on one node, and the cluster has {resources_text(cluster.free())} free on "
        f"{counted(len(cluster.nodes()), 'node')}; give fewer --cpus-per-trial or "
        "--gpus-per-trial, or wait for what else runs there"
    )
