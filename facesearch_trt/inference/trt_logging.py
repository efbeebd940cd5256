"""TensorRT's messages, handed to ``logging`` and kept for error messages."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

__all__ = ["last_errors", "trt_logger"]

_log = logging.getLogger("facesearch_trt.tensorrt")
_errors: deque[str] = deque(maxlen=8)
_loggers: dict[int, Any] = {}
_lock = threading.Lock()


def trt_logger(trt: Any) -> Any:
    """Return the one TensorRT logger of the process; it has to outlive every object that was made with it, so it is
    never freed."""
    with _lock:
        if id(trt) not in _loggers:
            _loggers[id(trt)] = _logger(trt)
        return _loggers[id(trt)]


def last_errors() -> str:
    """Return the errors that TensorRT reported since the last call, newest last, as one line."""
    text = "; ".join(_errors)
    _errors.clear()
    return text or "TensorRT gave no reason"


def _logger(trt: Any) -> Any:
    severity = trt.ILogger
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.DEBUG,
        severity.VERBOSE: logging.DEBUG,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            level = levels.get(severity, logging.ERROR)
            if level >= logging.ERROR:
                # What failed is told by the error that the caller raises; the log keeps the rest of the story.
                _errors.append(msg)
                level = logging.DEBUG
            _log.log(level, "%s", msg)

    return Logger()
