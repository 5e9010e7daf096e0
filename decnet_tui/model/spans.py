"""The span of time that a view is about: the last so many hours, since the last look, one day, or everything."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from decnet.durations import parse_finite

DAY_S = 86_400.0
EVERYTHING = "all"
_SHORT_DAY = re.compile(r"(\d{1,2})-(\d{1,2})\Z")
_NAMED = {"today": 0, "yesterday": 1}
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
    today = datetime.fromtimestamp(now, UTC).date()
    if (found := _day(wanted, today)) is not None:
        begin = datetime(found.year, found.month, found.day, tzinfo=UTC).timestamp()
        return Chosen(f"{found:%Y-%m-%d}", begin, begin + DAY_S)
    try:
        return last(parse_finite(wanted), wanted, now)
    except ValueError:
        raise ValueError(f"'{text.strip()[:40]}' is no span: {HOW}") from None


def _day(text: str, today: date) -> date | None:
    if text in _NAMED:
        return today - timedelta(days=_NAMED[text])
    try:
        if short := _SHORT_DAY.match(text):
            return _the_last(int(short[1]), int(short[2]), today)
        return date.fromisoformat(text)
    except (ValueError, OverflowError):
        return None


def _the_last(month: int, day: int, today: date) -> date:
    """The newest day of that name that is not ahead. Raises ValueError when no year of the last eight has it."""
    for year in range(today.year, today.year - 8, -1):
        try:
            found = date(year, month, day)
        except ValueError:  # a 29th of February
            continue
        if found <= today:
            return found
    raise ValueError(f"no day {month}-{day}")
