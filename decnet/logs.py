"""Log set-up: stdlib loggers under structlog, so that levels can be tested and set per module."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any, TextIO

from decnet.hostile import visible


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Makes ``import module`` fail for a while, unless it is loaded already.

    structlog loads rich when it can, for tracebacks that we do not use; an engine carries no console library.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


with _hidden("rich"):
    import structlog


def get_logger(name: str) -> Any:
    """A structlog logger over the stdlib logger ``name``; pass attacker text as fields only."""
    return structlog.stdlib.get_logger(name)


def _visible_fields(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Log fields may hold attacker text, and so may the messages of libraries; a terminal must not obey it."""
    return {
        k: (_visible_lines(v) if k in ("exception", "event") else visible(v, 2000))
        if isinstance(v, str)
        else v
        for k, v in event.items()
    }


def _visible_lines(text: str) -> str:
    """Each line by itself: line ends stay."""
    return "\n".join(visible(line) for line in text.split("\n"))


def _visible_traceback(out: TextIO, error: Any) -> None:
    """A traceback whose message may quote attacker text."""
    text = StringIO()
    structlog.dev.plain_traceback(text, error)
    out.write(_visible_lines(text.getvalue()))


_SHARED: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _visible_fields,
]


def configure_logging(fmt: str = "console", level: str = "INFO", stream: TextIO | None = None) -> None:
    """Sends all logs to ``stream`` (stderr) as lines for people (``console``) or as JSON lines (``json``)."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=_visible_traceback)
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    processors: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if fmt == "json":
        processors += [structlog.processors.format_exc_info, _visible_fields]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[*processors, renderer], foreign_pre_chain=_SHARED)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("nats", "alembic", "sqlalchemy", "aiosqlite", "watchfiles", "asyncio", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
