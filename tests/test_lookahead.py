"""ordered_map: order, bound, errors, and nothing left running."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from facesearch_trt.lookahead import ordered_map


@pytest.fixture
def executor():
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_results_come_in_the_order_of_the_items(executor) -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * 2

    assert list(ordered_map(executor, slow_first, range(20), ahead=4)) == [2 * n for n in range(20)]


def test_reads_no_further_ahead_than_asked(executor) -> None:
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = ordered_map(executor, lambda item: item, items(), ahead=5)
    for _ in range(3):
        next(results)
    assert len(taken) == 7


def test_heavy_items_take_the_place_of_several(executor) -> None:
    taken = []

    def items():
        for weight in (1, 1, 1, 4, 4, 20, 1, 1):
            taken.append(weight)
            yield weight

    results = ordered_map(executor, lambda item: item, items(), ahead=8, weight=float)
    in_work = []
    for done, result in enumerate(results, 1):
        in_work.append(sum(taken[done - 1 :]))
        assert result == taken[done - 1]
    assert len(in_work) == len(taken)
    # Beyond 8 only while the one that weighs 20 by itself was not known to.
    assert in_work == [7, 6, 5, 8, 24, 20, 2, 1]


def test_an_error_comes_at_its_place_and_nothing_runs_on(executor) -> None:
    started = []

    def fails_at_three(item: int) -> int:
        started.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    results = ordered_map(executor, fails_at_three, range(1000), ahead=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert max(started) <= 4


def test_an_abandoned_consumer_waits_for_what_runs(executor) -> None:
    running = threading.Semaphore(0)
    finished = []

    def work(item: int) -> int:
        running.release()
        time.sleep(0.05)
        finished.append(item)
        return item

    results = ordered_map(executor, work, range(1000), ahead=3)
    next(results)
    results.close()
    count = len(finished)
    time.sleep(0.1)
    assert len(finished) == count
