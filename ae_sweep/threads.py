"""Work on several items at a time, in threads, with the results in the order of the items."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2
"""Items for each thread that are begun or wait for one, so that none is idle."""


def in_threads(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    begin: Callable[[], object] | None = None,
) -> Generator[Result, None, None]:
    """Yield the result for each item, in order.

    Items are taken as they are needed, so that neither they nor results pile up. With one thread,
    all is done in the caller's. A caller that stops early does not wait: what has begun ends in
    the background.

    Parameters
    ----------
    work
        What is computed; numpy and torch let other threads run meanwhile.
    begin
        Called once in each thread.
    """
    if threads == 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads, initializer=begin)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=not waiting, cancel_futures=True)
