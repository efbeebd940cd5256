"""Work ahead on an ordered stream with a pool of threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

__all__ = ["ordered_map"]

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(
    executor: Executor,
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    ahead: float,
    weight: Callable[[T], float] = lambda _: 1,
) -> Iterator[R]:
    """Yield ``function(item)`` in the order of ``items`` with at most ``ahead`` items in work.

    Unlike ``Executor.map`` it reads ``items`` only as fast as results are taken, so memory stays bounded. When the consumer stops or
    an item fails, what has not started is cancelled and what has is waited for: nothing runs on after the generator ends.

    Parameters
    ----------
    weight: how much of ``ahead`` an item takes up. Before an item is read it is taken to weigh as much as the one before it; one that
        is heavier than ``ahead`` by itself is in work alone.
    """
    pending: deque[tuple[Future[R], float]] = deque()
    total = 0.0
    try:
        for item in items:
            last = weight(item)
            pending.append((executor.submit(function, item), last))
            total += last
            while pending and total + last > ahead:
                future, weighed = pending.popleft()
                total -= weighed
                yield future.result()
        while pending:
            yield pending.popleft()[0].result()
    finally:
        for future, _ in pending:
            future.cancel()
        for future, _ in pending:
            if not future.cancelled():
                future.exception()
