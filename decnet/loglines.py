"""What a log line looks like, for people or as JSON: the part of :mod:`decnet.logs` that needs structlog."""

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


def logger(name: str) -> Any:
    """structlog's logger over that of the standard library."""
    return structlog.stdlib.get_logger(name)


def formatter(fmt: str) -> logging.Formatter:
    """What makes a line of a record, JSON if ``fmt`` is ``json``."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=_visible_traceback)
    )
    processors: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if fmt == "json":
        processors += [structlog.processors.format_exc_info, _visible_fields]
    return structlog.stdlib.ProcessorFormatter(processors=[*processors, renderer], foreign_pre_chain=_SHARED)


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
"""All goes through the loggers of the standard library."""
