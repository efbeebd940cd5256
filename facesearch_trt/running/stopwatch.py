"""How long a chain of generators waited for each of its stages."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from .tracing import Trace

__all__ = ["Stopwatch"]

T = TypeVar("T")


class Stopwatch:
    """Measures a chain of generators from the inside.

    ``watch`` is put behind each stage. Its total holds the stage and all before it, so a stage's own share is the difference to the one
    before. Work that a stage does in other threads counts only where the chain had to wait for it: the shares add up to the time that
    the clip took.
    """

    def __init__(self, trace: Trace | None = None) -> None:
        self._trace = trace
        self._totals: dict[str, float] = {}

    def watch(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Return the items of a stage, measuring the wait for each. Call it in the order of the chain."""
        self._totals[stage] = 0.0
        return self._measured(stage, items)

    def _measured(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                self._note(stage, start)
                return
            self._note(stage, start)
            yield item

    def _note(self, stage: str, start: float) -> None:
        end = time.perf_counter()
        self._totals[stage] += end - start
        if self._trace is not None:
            self._trace.span(stage, start, end)

    def seconds(self) -> dict[str, float]:
        """Return each stage's own share in the order of the chain, s."""
        shares = {}
        before = 0.0
        for stage, total in self._totals.items():
            shares[stage] = round(total - before, 3)
            before = total
        return shares
