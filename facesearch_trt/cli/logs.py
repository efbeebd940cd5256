"""How log lines look: text for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

__all__ = ["JsonFormatter", "set_up_logging"]


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: ``time`` (UTC), ``level``, ``logger``, ``message`` and, of an error, ``traceback``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        content = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        elif record.exc_text:
            content["traceback"] = record.exc_text
        return json.dumps(content, ensure_ascii=False)


def set_up_logging(*, verbose: bool, form: str) -> None:
    """Log to standard error: warnings and news, with ``verbose`` everything."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        brief, full = "%(levelname)s: %(message)s", "%(asctime)s %(name)s %(levelname)s: %(message)s"
        handler.setFormatter(logging.Formatter(full if verbose else brief))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
