"""Values of a honeypot's log lines: text, numbers and times as they can be stored, with their bounds; pure.

Strict about types, since attackers choose what stands in them. Which field means what is left to the readers
of each format.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, NamedTuple

from decnet.hostile import storable_text

MAX_NAME = 256
MAX_URL = 4096
MAX_DATA = 16_384
"""Characters kept of what was sent through a forwarded connection, and of one field of an extra."""
_LATEST = 253_402_300_799.0

Data = dict[str, Any]


class Refusal(NamedTuple):
    """Why a line gives no fact; ``reason`` is a short fixed word."""

    reason: str


@lru_cache(maxsize=65_536)
def address(text: str | None) -> str | None:
    """An IP address, or None for text that is none."""
    try:
        return None if text is None else str(ip_address(text.strip()))
    except ValueError:
        return None


def parse_time(value: Any) -> float | None:
    """Epoch seconds of ISO text (no zone means UTC) or of a number; None when it is no time."""
    number = None if isinstance(value, str) and "T" in value else as_number(value)
    if number is None and isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
            number = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return number if number is not None and 0 <= number <= _LATEST else None


def as_text(value: Any, limit: int) -> str | None:
    """Storable text of at most ``limit`` characters; None for null and booleans."""
    if isinstance(value, str):
        return storable_text(value[:limit])
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return str(value)[:limit]
    return storable_text(json.dumps(value, default=str)[:limit])


def as_number(value: Any) -> float | None:
    """A finite number from a number or from its text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_int(value: Any) -> int | None:
    """A whole number of at most 31 bits."""
    number = as_number(value)
    return int(number) if number is not None and abs(number) < 2**31 else None


def duration_of(raw: Data) -> float | None:
    """Seconds from ``duration`` (number or text, seconds) or ``duration_ms`` (milliseconds)."""
    seconds = as_number(raw.get("duration"))
    if seconds is None:
        millis = as_number(raw.get("duration_ms"))
        seconds = None if millis is None else millis / 1000.0
    return seconds if seconds is not None and 0 <= seconds < 1e10 else None
