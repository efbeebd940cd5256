"""Calls that may never return, given up after a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

__all__ = ["bounded"]

T = TypeVar("T")


def bounded(function: Callable[[], T], timeout_s: float) -> T | None:
    """Return ``function()``, None where it takes longer; it then goes on in a thread of its own. Raises what it raises.

    For calls that can hang in the system, as opening a file on a dead network mount does.
    """
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, name="bounded", daemon=True).start()
    return future.result() if wait([future], timeout_s).done else None
