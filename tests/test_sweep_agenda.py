"""What begins next is what a plain search through all that waits would choose, at a small cost."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from ae_sweep.config import Condition
from ae_sweep.records import Role
from ae_sweep.sweep.agenda import Agenda

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Start:
    """A trial that waits."""

    condition: Condition
    role: Role
    number: int = 0


def starts(searches: Sequence[int], *, repeats: int) -> list[Start]:
    """Some searches of each condition, in rounds, and repeats of each, as a driver lists them."""
    conditions = [Condition(dim, "conv") for dim in range(1, len(searches) + 1)]
    listed = [
        Start(condition, Role.SEARCH, number)
        for number in range(max(searches, default=0))
        for condition, count in zip(conditions, searches, strict=True)
        if number < count
    ]
    return listed + [
        Start(condition, Role.REPEAT, number)
        for number in range(repeats)
        for condition in conditions
    ]


def plain_choice(waiting: list[Start], running: list[Start], *, in_turn: bool) -> Start | None:
    """Search through all that waits: the rule in its shortest form."""
    busy = {each.condition for each in running}
    searched = {each.condition for each in [*waiting, *running] if each.role is Role.SEARCH}
    searching = {each.condition for each in running if each.role is Role.SEARCH}
    ready = [s for s in waiting if s.role is Role.SEARCH or s.condition not in searched]
    if in_turn:
        ready = [s for s in ready if s.condition not in searching]
    idle = (each for each in ready if each.condition not in busy)
    return next(idle, ready[0] if ready else None)


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_it_chooses_what_a_search_through_all_that_waits_would(seed: int, in_turn: bool) -> None:
    rng = random.Random(seed)
    searches = [rng.randrange(5) for _ in range(rng.randrange(1, 7))]
    waiting = starts(searches, repeats=rng.randrange(4))
    agenda, running = Agenda(waiting, in_turn=in_turn), []
    slots = rng.randrange(1, 6)
    while waiting or running:
        while len(running) < slots:
            expected = plain_choice(waiting, running, in_turn=in_turn)
            assert agenda.take() == expected
            if expected is None:
                break
            waiting.remove(expected)
            assert len(agenda) == len(waiting)
            if rng.random() < 0.8:  # else there is nothing to train after all
                running.append(expected)
                agenda.begin(expected.condition, expected.role)
        if running:
            ended = running.pop(rng.randrange(len(running)))
            agenda.end(ended.condition, ended.role)
            if rng.random() < 0.2:  # it failed, and is tried again
                waiting.insert(0, ended)
                agenda.put_first(ended)
                assert len(agenda) == len(waiting)
    assert len(agenda) == 0


class Counted:
    """A trial that counts each time anybody inspects one of its kind."""

    inspections = 0

    def __init__(self, start: Start) -> None:
        self._start = start

    def __getattr__(self, name: str) -> Any:
        Counted.inspections += 1
        return getattr(self._start, name)

    def __eq__(self, other: object) -> bool:
        Counted.inspections += 1
        return self is other

    __hash__ = None  # type: ignore[assignment]


def cost(trials: int, *, conditions: int, slots: int) -> tuple[int, int]:
    """Begin and end all trials; return inspected starts and lines of the agenda that were run."""
    each = trials // conditions
    agenda = Agenda([Counted(s) for s in starts([each - 1] * conditions, repeats=1)])
    Counted.inspections = lines = 0

    def count_lines(frame: Any, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count_lines if frame.f_code.co_filename.endswith("agenda.py") else None

    running: list[tuple[Condition, Role]] = []
    sys.settrace(count_lines)
    try:
        while agenda or running:
            while len(running) < slots and (start := agenda.take()):
                running.append((start._start.condition, start._start.role))
                agenda.begin(*running[-1])
            agenda.end(*running.pop(0))
    finally:
        sys.settrace(None)
    return Counted.inspections, lines


@pytest.mark.parametrize("slots", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_ten_times_the_trials_cost_ten_times_the_inspections(slots: int) -> None:
    few, few_lines = cost(1_000, conditions=10, slots=slots)
    many, many_lines = cost(10_000, conditions=10, slots=slots)
    assert many <= 10.5 * few
    assert many_lines <= 10.5 * few_lines
    assert many <= 10 * 10_000, "each start is inspected a few times"


@pytest.mark.slow
def test_a_choice_costs_the_same_among_few_conditions_and_many() -> None:
    few, few_lines = cost(10_000, conditions=10, slots=8)
    many, many_lines = cost(10_000, conditions=1_000, slots=8)
    assert many <= 1.5 * few
    assert many_lines <= 1.5 * few_lines
