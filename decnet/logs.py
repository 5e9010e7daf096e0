"""Log set-up: stdlib loggers under structlog, so that levels can be tested and set per module.

What makes the lines is loaded with the first of them: most commands write none.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO


class _Logger:
    """A logger of structlog's, made when something is first said to it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._real: Any = None

    def __getattr__(self, what: str) -> Any:
        if self._real is None:
            from decnet import loglines

            self._real = loglines.logger(self._name)
        return getattr(self._real, what)


class _Formatter(logging.Formatter):
    """Makes lines of records, from the first one on."""

    def __init__(self, fmt: str) -> None:
        super().__init__()
        self._kind = fmt
        self._real: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._real is None:
            from decnet import loglines

            self._real = loglines.formatter(self._kind)
        return self._real.format(record)


def get_logger(name: str) -> Any:
    """A structlog logger over the stdlib logger ``name``; pass attacker text as fields only."""
    return _Logger(name)


def configure_logging(fmt: str = "console", level: str = "INFO", stream: TextIO | None = None) -> None:
    """Sends all logs to ``stream`` (stderr) as lines for people (``console``) or as JSON lines (``json``)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter(fmt))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("nats", "alembic", "sqlalchemy", "aiosqlite", "watchfiles", "asyncio", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
