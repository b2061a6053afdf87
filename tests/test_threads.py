"""Work in threads: results in order, bounded, and no waiting after a stop."""

from __future__ import annotations

import itertools
import threading

import pytest

from ae_sweep.threads import AHEAD, in_threads


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    assert list(in_threads(lambda item: item * item, range(50), threads=threads)) == [
        item * item for item in range(50)
    ]


def test_as_many_items_are_worked_on_at_once_as_there_are_threads() -> None:
    together = threading.Barrier(2, timeout=10)
    list(in_threads(lambda _: together.wait(), range(4), threads=2))


def test_items_are_taken_as_they_are_needed() -> None:
    taken = itertools.count()
    results = in_threads(lambda item: item, taken, threads=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert next(taken) <= 3 + AHEAD * 2
    results.close()


def test_an_error_in_a_thread_is_raised_where_its_result_was_due() -> None:
    results = in_threads(lambda item: 1 // item, [1, 1, 0, 1], threads=2)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_caller_that_stops_early_does_not_wait_for_what_has_begun() -> None:
    goes_on, begun = threading.Event(), []

    def work(item: int) -> int:
        begun.append(item)
        if item:
            assert goes_on.wait(timeout=10)
        return item

    results = in_threads(work, range(100), threads=2)
    assert next(results) == 0
    results.close()
    goes_on.set()
    assert len(begun) <= 1 + 2 * AHEAD, "the others were never begun"
