"""Logs as one JSON object a line: time, level, a stable event name, and fields.

Own code logs an event name and hands its fields over as `extra={"fields": {...}}`; lines of libraries keep their text
in `message` under the event `log`. `log_events` has all names.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson

from holdfast.app.log_events import LIBRARY

OWN = "holdfast."

# Kopf reports every call of an event handler at INFO; at thousands of events a second that is all one would see.
_QUIET = ("kopf.objects", "kopf._core", "aiohttp.access", "asyncio")


class JsonFormatter(logging.Formatter):
    """Formats one record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
        }
        if record.name.startswith(OWN):
            line["event"] = record.getMessage()
        else:
            line |= {"event": LIBRARY, "message": record.getMessage()}
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line |= {key: value for key, value in fields.items() if key not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure(level: str) -> None:
    """Send everything to standard error as JSON, from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
