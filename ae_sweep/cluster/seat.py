"""A seat's side on its node: the methods of Ray's actor, each answered by a message.

Nothing is raised to the caller: of errors that cannot be unpickled there, Ray would keep the text
only.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep.job_steps import JobRunner, Ready, Refused, failure_of
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from ae_sweep.job_steps import Crashed, Factory, Step


@dataclass(frozen=True)
class Greeting:
    """The seat has its room."""

    node: str


class Seat:
    """Carries out one job at a time in a process of its own."""

    def __init__(self) -> None:
        self._runner: JobRunner | None = None

    def greet(self, version: str) -> Greeting | Refused:
        """Return where the seat is, if its ae-sweep is that of the driver."""
        node = node_name()
        if version != __version__:
            return Refused(
                f"the node {node} has ae-sweep {__version__}, and the sweep is run by {version}; "
                "install the same version on all nodes"
            )
        return Greeting(node)

    def set_up(self, factory: Factory, *shared: Any) -> Ready | Refused | Crashed:
        """Make what carries out jobs from now on.

        Parameters
        ----------
        factory
            Called with what is shared.
        shared
            Objects of Ray's store, read-only.
        """
        try:
            self._runner = JobRunner(factory(*shared))
        except Exception as error:  # noqa: BLE001 - whatever it is, the driver raises it
            return failure_of(error)
        return Ready()

    def begin(self, job: Any) -> Step:
        """Carry out a job until it yields or ends."""
        return self._jobs.begin(job)

    def go_on(self) -> Step:
        """Carry the job on until it yields again or ends."""
        return self._jobs.go_on()

    def give_up(self) -> None:
        """End a job that has yielded."""
        self._jobs.give_up()

    @property
    def _jobs(self) -> JobRunner:
        assert self._runner is not None, "it is set up before"  # noqa: S101
        return self._runner


def node_name() -> str:
    """Return the name of the node that this process runs on: two may share a host."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    return f"{socket.gethostname()} {node[:8]}"
