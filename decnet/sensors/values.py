"""Values of a honeypot's log lines: texts and addresses with their bounds; pure.

Strict about types, since attackers choose what stands in them. Numbers and times are read by
:mod:`decnet.events.fields`; which field means what is left to the readers of each format.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple

from decnet.addresses import fold
from decnet.events.fields import number
from decnet.hostile import storable_text
from decnet.names import bounded

MAX_NAME = 256
_LONGEST_NAME = 65_536
MAX_URL = 4096
MAX_DATA = 16_384
"""Characters kept of what was sent through a forwarded connection, and of one field of an extra."""

Data = dict[str, Any]


class Refusal(NamedTuple):
    """Why a line gives no fact; ``reason`` is a short fixed word."""

    reason: str


@lru_cache(maxsize=65_536)
def address(text: str | None) -> str | None:
    """The one spelling of an IP address, or None for text that is none."""
    return None if text is None else fold(text)


def as_text(value: Any, limit: int) -> str | None:
    """Storable text of at most ``limit`` characters; None for null and booleans."""
    if isinstance(value, str):
        return storable_text(value[:limit])
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return str(value)[:limit]
    return storable_text(json.dumps(value, default=str)[:limit])


def as_name(value: Any) -> str | None:
    """The name of a sensor; of a very long one the beginning and what tells it from others."""
    text = as_text(value, _LONGEST_NAME)
    return bounded(text) if text else None


def duration_of(raw: Data) -> float | None:
    """Seconds from ``duration`` (number or text, seconds) or ``duration_ms`` (milliseconds)."""
    seconds = number(raw.get("duration"))
    if seconds is None:
        millis = number(raw.get("duration_ms"))
        seconds = None if millis is None else millis / 1000.0
    return seconds if seconds is not None and 0 <= seconds < 1e10 else None
