"""One grammar for durations: ``90s``, ``5m``, ``1h30m``, ``1.5h``, ``2w``, and ``forever`` or ``never`` for none.

Rules, fleets, settings, commands and forms all read it here; how long one may be is left to each of them.
"""

from __future__ import annotations

import re

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
"""Seconds of each unit."""
ENDLESS = ("forever", "never")
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?[smhdw])+\Z")
_PART = re.compile(r"([0-9.]+)([smhdw])")
_MAX_TEXT = 60


def parse_duration(text: str) -> float | None:
    """Seconds of a duration; None for ``forever`` and ``never``. Raises ValueError that says the shape."""
    cleaned = text.strip().lower()
    if cleaned in ENDLESS:
        return None
    return parse_finite(cleaned)


def parse_finite(text: str) -> float:
    """Seconds of a duration that ends. Raises ValueError that says the shape."""
    cleaned = text.strip().lower()
    if len(cleaned) > _MAX_TEXT or not _DURATION.match(cleaned):
        raise ValueError(f"'{text.strip()[:40]}' is no duration: write 90s, 5m, 1h30m, 7d or 2w")
    return sum(float(number) * UNITS[unit] for number, unit in _PART.findall(cleaned))
