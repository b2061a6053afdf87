"""A cluster without Ray: seats that work in this process, on nodes that hold so many of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ae_sweep.cluster import seat as real
from ae_sweep.cluster.room import CPU

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ae_sweep.cluster.room import SeatSize


class RayError(Exception):
    """What Ray's errors have in common."""


class RayTaskError(RayError):
    """A method that raised."""


class RayActorError(RayError):
    """An actor that has died."""

    actor_init_failed = False


@dataclass(eq=False)
class Answer:
    """A call of an actor's method, carried out when somebody looks at it."""

    actor: Actor
    call: Callable[[], Any]
    value: Any = None
    done: bool = False

    def ready(self) -> bool:
        """Return whether there is an answer."""
        if self.actor.dead or self.actor.hangs:
            return self.actor.dead
        if not self.done and self.actor.node is not None:
            self.actor.advance(self)
        return self.done


@dataclass(eq=False)
class Actor:
    """A seat of this process; its methods are called in order, once it has room."""

    cluster: FakeCluster
    size: SeatSize
    node: str | None = None
    dead: bool = False
    hangs: bool = False
    seat: real.Seat = field(default_factory=real.Seat)
    calls: list[Answer] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def remote(*args: Any) -> Answer:
            call = self._greet if name == "greet" else getattr(self.seat, name)
            answer = Answer(self, lambda: call(*args))
            self.calls.append(answer)
            return answer

        return SimpleNamespace(remote=remote)

    def advance(self, until: Answer) -> None:
        """Carry out the calls up to one."""
        while not until.done:
            answer = self.calls.pop(0)
            answer.value, answer.done = answer.call(), True

    def _greet(self, version: str) -> Any:
        real.node_name = lambda: self.node or "nowhere"
        return self.seat.greet(version)


@dataclass
class FakeCluster:
    """What seats and the worker use of a connection."""

    cores: dict[str, int]
    """Of the nodes by name."""
    actors: list[Actor] = field(default_factory=list)
    closed: bool = False

    exceptions = SimpleNamespace(
        RayError=RayError, RayTaskError=RayTaskError, RayActorError=RayActorError
    )

    @property
    def ray(self) -> Any:
        return SimpleNamespace(wait=self.wait, get=self.get, exceptions=self.exceptions)

    @property
    def living(self) -> list[Actor]:
        return [actor for actor in self.actors if not actor.dead]

    def start(self, size: SeatSize) -> Actor:
        actor = Actor(self, size)
        self.actors.append(actor)
        return actor

    def nodes(self) -> list[dict[str, float]]:
        return [{CPU: float(cores)} for cores in self.cores.values()]

    def free(self) -> dict[str, float]:
        used = sum(actor.size.cpus for actor in self.living if actor.node is not None)
        return {CPU: float(sum(self.cores.values()) - used)}

    def check_head(self, *, now: bool = False) -> None:
        pass

    def kill(self, actor: Actor) -> None:
        actor.dead = True

    def close(self) -> None:
        self.closed = True

    def get(self, answer: Answer) -> Any:
        if answer.actor.dead:
            raise RayActorError("The actor died unexpectedly.\n\tpid: 7\nIts process was killed.")
        assert answer.ready(), "Ray would wait for ever"
        return answer.value

    def wait(
        self, answers: Sequence[Answer], *, num_returns: int = 1, timeout: float
    ) -> tuple[list[Answer], list[Answer]]:
        self._place()
        ready = [answer for answer in answers if answer.ready()][:num_returns]
        return ready, [answer for answer in answers if answer not in ready]

    def _place(self) -> None:
        """Give actors room in the order they were started."""
        for actor in self.living:
            if actor.node is None:
                for node, cores in self.cores.items():
                    on_it = [each.size.cpus for each in self.living if each.node == node]
                    if sum(on_it) + actor.size.cpus <= cores:
                        actor.node = node
                        break
