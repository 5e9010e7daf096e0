"""The span of time that a view is about: the last so many hours, since the last look, one day, or everything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from decnet.durations import parse_finite
from decnet_tui.model.days import parse_day

DAY_S = 86_400.0
EVERYTHING = "all"
HOW = "write 24h, 7d, today, yesterday, a day (2026-11-28 or 11-28) or all"


class Chosen(NamedTuple):
    """A span by its name. ``begin`` is epoch seconds, ``end`` too; without one the span goes on until now."""

    label: str
    begin: float = 0.0
    end: float | None = None

    def until(self, now: float) -> float:
        """The end of it, as of now."""
        return now if self.end is None else self.end


def last(seconds: float, label: str, now: float) -> Chosen:
    """The last so many seconds; 0 is everything."""
    return Chosen(label, now - seconds if seconds else 0.0)


def parsed(text: str, now: float) -> Chosen:
    """A span as it is typed. Raises ValueError that says the forms; a day is one of UTC."""
    wanted = text.strip().lower()
    if wanted == EVERYTHING:
        return Chosen(EVERYTHING)
    try:
        day = parse_day(wanted, datetime.fromtimestamp(now, UTC))
    except ValueError:
        return _age(wanted, now)
    return Chosen(day.label, day.start.timestamp(), day.end.timestamp())


def _age(text: str, now: float) -> Chosen:
    try:
        return last(parse_finite(text), text, now)
    except ValueError:
        raise ValueError(f"'{text[:40]}' is no span: {HOW}") from None
