"""Moments and days as people write them: ``yesterday``, ``2026-11-28``, ``11-28``, ``24h``. All of them in UTC.

Days are told by the clock that the console shows. Knows no terminal and no command line.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from decnet import durations

DAY = timedelta(days=1)
LONGEST = timedelta(days=36_500)
"""Moments lie within a century before now: beyond, calendars end."""
SHAPES = "24h, 1h30m, 7d, today, yesterday, 2026-11-28, 11-28 or an ISO time"
_MONTH_AND_DAY = re.compile(r"(\d{1,2})-(\d{1,2})")
_WHOLE_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Day(NamedTuple):
    """One day: its first moment, the first of the next one, and how it is called."""

    start: datetime
    end: datetime
    label: str


def parse_day(text: str, now: datetime) -> Day:
    """The day that is meant; ``11-28`` is the last one of that date up to ``now`` (aware).

    Raises ValueError that says the shape.
    """
    start = _day_start(text.strip().lower(), now.astimezone(UTC))
    if start is None:
        raise ValueError(f"'{text.strip()[:40]}' is no day: write today, yesterday, 2026-11-28 or 11-28")
    return Day(start, start + DAY, f"{start:%Y-%m-%d}")


def parse_moment(text: str, now: datetime) -> datetime:
    """The moment that is meant: the first one of a day, an ISO time, or a duration back from ``now`` (aware).

    Raises ValueError that says the shapes.
    """
    cleaned = text.strip()
    now = now.astimezone(UTC)
    if (start := _day_start(cleaned.lower(), now)) is not None:
        return start
    try:
        moment = datetime.fromisoformat(cleaned)
    except ValueError:
        return now - _age(cleaned)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _age(text: str) -> timedelta:
    try:
        seconds = durations.parse_finite(text)
    except ValueError:
        raise ValueError(f"'{text[:40]}' is no time: write {SHAPES}") from None
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text!r:.60} is too long; at most {LONGEST.days}d")
    return timedelta(seconds=seconds)


def _day_start(text: str, now: datetime) -> datetime | None:
    """The first moment of a day; None for what names none. Raises ValueError for one that no calendar has."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        return today - DAY * (text == "yesterday")
    if _WHOLE_DAY.fullmatch(text):
        return _dated(text)
    found = _MONTH_AND_DAY.fullmatch(text)
    if found is None:
        return None
    month, day = int(found[1]), int(found[2])
    for year in range(today.year, today.year - 9, -1):  # a 29th of February comes every eight years at least
        try:
            moment = datetime(year, month, day, tzinfo=UTC)
        except ValueError:
            continue
        if moment <= today:
            return moment
    raise ValueError(f"'{text}' is no day of any year")


def _dated(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"'{text}' is a day that no calendar has") from None
