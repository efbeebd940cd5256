"""The shares of a chain's stages."""

from __future__ import annotations

import time
from collections.abc import Iterator

from facesearch_trt.running.stopwatch import Stopwatch


def _slow(items: Iterator[int], seconds: float) -> Iterator[int]:
    for item in items:
        time.sleep(seconds)
        yield item


def test_each_stage_has_its_own_share_in_the_order_of_the_chain() -> None:
    watch = Stopwatch()
    chain = watch.watch("first", _slow(iter(range(5)), 0.002))
    chain = watch.watch("second", _slow(chain, 0.02))
    assert list(watch.watch("third", chain)) == list(range(5))
    shares = watch.seconds()
    assert list(shares) == ["first", "second", "third"]
    assert shares["first"] >= 0.01
    assert shares["second"] >= 0.1
    assert shares["second"] > shares["first"] > 0
    assert 0 <= shares["third"] < shares["second"]
