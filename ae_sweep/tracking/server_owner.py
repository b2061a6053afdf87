"""The process that runs a sweep, as a tracking server knows it: for stores that share one server.

The sweep's run has a tag with the process and its last sign of life, which a thread renews. The
clocks of two machines may differ by minutes, so that a sign counts for longer than it takes to be
renewed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.errors import ConflictError, StoreError
from ae_sweep.messages import in_words
from ae_sweep.process_identity import ProcessIdentity, runs_here, this_process
from ae_sweep.tracking import names
from ae_sweep.tracking.clock import system_ms
from ae_sweep.tracking.errors import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlflow import MlflowClient
    from mlflow.entities import Run

RENEWAL_SECONDS = 120.0
"""Between two signs of life, of two requests each: one a minute."""
STALE_SECONDS = 600.0
"""After which a process that gave no sign is taken to have ended."""
SETTLING_SECONDS = 1.0
"""For two processes that begin a sweep at once to see each other."""
MOST_SETTLING_SECONDS = 6.0
"""On a slow server; signals wait meanwhile."""


@dataclass(frozen=True)
class Sign:
    """A process, and when it was last heard of."""

    owner: ProcessIdentity
    seen_ms: int

    def written(self) -> str:
        """Return it as the text of a tag."""
        return json.dumps({**dataclasses.asdict(self.owner), "seen_ms": self.seen_ms})


def own_tag() -> dict[str, str]:
    """Return the tag that has this process run a sweep."""
    return {names.OWNER: Sign(this_process(), system_ms()).written()}


def sign_of(run: Run) -> Sign | None:
    """Return who runs a sweep by the tag of its run; None if nobody does, or nobody can say."""
    text = run.data.tags.get(names.OWNER, "")
    if run.info.status != "RUNNING" or not text:
        return None
    try:
        document = json.loads(text)
        seen_ms = int(document.pop("seen_ms"))
        owner = ProcessIdentity.from_document(document)
        return Sign(owner, seen_ms)
    except (ValueError, TypeError, KeyError, AttributeError):  # it was edited
        return None


def refuse_another(
    run: Run, *, sweep: str, take_over_command: str | None = None, take_over: bool = False
) -> None:
    """Refuse a sweep that another process runs, in whatever directory or on whatever machine.

    Parameters
    ----------
    take_over_command
        Takes the sweep over from another machine, for the message; None if nothing may do that.

    Raises
    ------
    ConflictError
        If it does, or did within `STALE_SECONDS` on a machine that cannot be asked.
    """
    sign = sign_of(run)
    if sign is None or sign.owner == this_process():
        return
    silent_seconds = (system_ms() - sign.seen_ms) / 1_000
    is_here = runs_here(sign.owner)
    if is_here:
        raise ConflictError(
            f"the sweep {sweep} is being run by {sign.owner} with another store directory; wait "
            "until that has ended, or end it, or take another --name"
        )
    if is_here is None and silent_seconds < STALE_SECONDS and not take_over:
        advice = "" if take_over_command is None else f"; if it has ended: `{take_over_command}`"
        raise ConflictError(
            f"the sweep {sweep} is being run by {sign.owner}, which was heard of "
            f"{in_words(max(silent_seconds, 0.0))} ago; wait until that has ended{advice}"
        )


def refuse_later(
    found: Callable[[], Iterable[Run]],
    run_id: str,
    *,
    sweep: str,
    asked_seconds: float,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Refuse a new sweep's run if another process made one of its name at the same moment.

    A server makes any number of runs of a name. Whoever saw none and makes one waits until all
    that saw none have made theirs; then all see the same runs, and the first one stays.

    Parameters
    ----------
    found
        Reads the runs of the sweep's name.
    run_id
        Of the run that was made.
    asked_seconds
        From the question whether there is one to the run made: how slow the server is.
    pause
        Waits for some seconds.

    Raises
    ------
    ConflictError
        If another process has made one before.
    """
    pause(min(max(SETTLING_SECONDS, 2 * asked_seconds), MOST_SETTLING_SECONDS))
    runs = {run.info.run_id: run for run in found()}
    first = min(runs.values(), key=lambda run: (run.info.start_time, run.info.run_id), default=None)
    if first is None or first.info.run_id == run_id:
        return
    sign = sign_of(first)
    owner = "another process" if sign is None else str(sign.owner)
    raise ConflictError(
        f"the sweep {sweep} was begun by {owner} at the same moment; choose another --name"
    )


class SignOfLife:
    """Renews the tag of a sweep's run in a thread, until it is stopped or another process has it.

    A server that fails is tried again the next time: the sweep goes on without it.
    """

    def __init__(self, client: MlflowClient, run_id: str, *, sweep: str, place: str) -> None:
        self._client = client
        self._run_id = run_id
        self._sweep = sweep
        self._place = place
        self._owner = this_process()
        self._other: ProcessIdentity | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew_for_ever, daemon=True)

    def start(self) -> None:
        """Begin to renew it."""
        self._thread.start()

    def stop(self) -> None:
        """Renew it no more; the run has ended, or is left to another process."""
        self._stopped.set()

    def check(self) -> None:
        """Stop this process if it is to write nothing more.

        Raises
        ------
        ConflictError
            If another process has taken the sweep over.
        """
        if self._other is not None:
            raise ConflictError(
                f"the sweep {self._sweep} was taken over by {self._other}; this process ends"
            )

    def renew(self) -> None:
        """Write another sign of life, unless another process has written its own.

        Raises
        ------
        StoreError
            If the server fails.
        """
        with translated(self._place):
            sign = sign_of(self._client.get_run(self._run_id))
            if sign is not None and sign.owner != self._owner:
                self._other = sign.owner
                self.stop()
            if not self._stopped.is_set():
                for key, text in own_tag().items():
                    self._client.set_tag(self._run_id, key, text)

    def _renew_for_ever(self) -> None:
        while not self._stopped.wait(RENEWAL_SECONDS):
            with contextlib.suppress(StoreError):
                self.renew()
