"""Logging: one line per event, with user, server, job and request bound where they are known."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
user_name: ContextVar[str] = ContextVar("user_name", default="")


class _Bound(logging.Filter):
    """Copies what is bound to the context into each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        bound = {"request": request_id.get(), "user": user_name.get()}
        record.__dict__["bound"] = {k: v for k, v in bound.items() if v}
        record.__dict__["suffix"] = "".join(f" {k}={v}" for k, v in bound.items() if v)
        return True


class _JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "bound", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(level: str, *, as_json: bool) -> None:
    """Send everything to standard error in one format.

    Libraries stay at WARNING: asyncssh's INFO tells every command, aiohttp's access log every request.
    """
    handler = logging.StreamHandler()
    handler.addFilter(_Bound())
    text = "%(asctime)s %(levelname)-7s %(name)s: %(message)s%(suffix)s"
    handler.setFormatter(_JsonFormatter() if as_json else logging.Formatter(text))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("minihub").setLevel(level)
