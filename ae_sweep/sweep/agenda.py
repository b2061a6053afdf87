"""The order in which the trials of a sweep begin."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ae_sweep.records import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ae_sweep.config import Condition


class Wanted(Protocol):
    """A trial that is to begin some time."""

    @property
    def condition(self) -> Condition:
        """The condition whose study it belongs to, or whose best trial it repeats."""

    @property
    def role(self) -> Role:
        """Search or repeat."""


W = TypeVar("W", bound=Wanted)


@dataclass
class _Line(Generic[W]):
    """What waits and what runs of one condition; searches wait in front of repeats."""

    condition: Condition
    waiting: deque[tuple[int, W]] = field(default_factory=deque)
    """With the place of each in the whole order."""
    running: int = 0
    searching: int = 0


class Agenda(Generic[W]):
    """Chooses what begins next: in order, but a condition of which nothing runs comes first.

    So a study knows as much as it can when it suggests. A repeat waits until all searches of its
    condition have ended.

    Only the first trial that waits of each condition can be next. Those are kept in two heaps by
    their place in the order, so that a choice costs the logarithm of the number of conditions.

    Parameters
    ----------
    wanted
        In the order in which they are to begin; of each condition, searches before repeats.
    in_turn
        Whether the searches of a condition run one after the other, so that what its study
        suggests and prunes does not depend on how many run at a time.
    """

    def __init__(self, wanted: Iterable[W], *, in_turn: bool = False) -> None:
        self._in_turn = in_turn
        self._lines: dict[Condition, _Line[W]] = {}
        self._idle: list[tuple[int, Condition]] = []
        self._busy: list[tuple[int, Condition]] = []
        self._count = 0
        self._first = 0
        """No place in the order is before this one."""
        for place, each in enumerate(wanted):
            line = self._lines.setdefault(each.condition, _Line(each.condition))
            line.waiting.append((place, each))
            self._count += 1
        for line in self._lines.values():
            self._enter(line)

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def take(self) -> W | None:
        """Return what begins next, which then waits no more; None where nothing may begin now."""
        for heap in (self._idle, self._busy):
            while heap:
                place, condition = heap[0]
                line = self._lines[condition]
                if self._belongs(line, heap) and line.waiting[0][0] == place:
                    _, wanted = line.waiting.popleft()
                    heapq.heappop(heap)
                    self._count -= 1
                    self._enter(line)
                    return wanted
                heapq.heappop(heap)  # it has moved to the other heap, or has begun
        return None

    def put_first(self, wanted: W) -> None:
        """Have a trial wait before all others: one that was taken, and is to begin once more."""
        self._first -= 1
        line = self._lines[wanted.condition]
        line.waiting.appendleft((self._first, wanted))
        self._count += 1
        self._enter(line)

    def begin(self, condition: Condition, role: Role) -> None:
        """Note that a trial of a condition runs."""
        line = self._lines[condition]
        line.running += 1
        line.searching += role is Role.SEARCH
        self._enter(line)

    def end(self, condition: Condition, role: Role) -> None:
        """Note that a trial of a condition runs no more."""
        line = self._lines[condition]
        line.running -= 1
        line.searching -= role is Role.SEARCH
        self._enter(line)

    def _enter(self, line: _Line[W]) -> None:
        """Put the first that waits into the heap where it belongs now, if it may begin."""
        for heap in (self._idle, self._busy):
            if self._belongs(line, heap):
                heapq.heappush(heap, (line.waiting[0][0], line.condition))

    def _belongs(self, line: _Line[W], heap: list[tuple[int, Condition]]) -> bool:
        if not line.waiting:
            return False
        _, first = line.waiting[0]
        if line.searching and (self._in_turn or first.role is not Role.SEARCH):
            return False
        return heap is (self._busy if line.running else self._idle)
