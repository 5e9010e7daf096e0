"""The words for a time, a duration, a count: one place for views and commands alike. Knows no terminal."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from decnet.hostile import visible

_DAY_S = 86_400.0
_LONGEST_S, _MOST = 99_999 * 86_400, 999_000_000_000
"""What is shown at most: heartbeats may hold any number that JSON can write, also no number at all (NaN)."""


def clock(ts: float, form: str = "clock", now: float | None = None) -> str:
    """A moment (epoch seconds) as UTC clock, date and clock, or age."""
    if form == "age":
        return span((time.time() if now is None else now) - ts)
    try:
        moment = datetime.fromtimestamp(ts, UTC)
    except (ValueError, OverflowError, OSError):
        return "?"
    return moment.strftime("%H:%M:%S" if form == "clock" else "%Y-%m-%d %H:%M:%S")


def end_of(path: str, room: int) -> str:
    """A path in at most ``room`` characters, cut in front: files differ at their ends."""
    return path if len(path) <= room else f"...{path[3 - room :]}"


def day(moment: datetime | None) -> str:
    """The day of a moment, in UTC; a dash for none."""
    return f"{moment.astimezone(UTC):%Y-%m-%d}" if moment else "-"


def stamp(moment: datetime | None) -> str:
    """Day and clock of a moment, in UTC; a dash for none."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else "-"


def period(first: datetime, last: datetime, now: float) -> str:
    """From when to when, in UTC and at most eleven characters: by clock within a day of ``now``, else by days."""
    first, last = first.astimezone(UTC), last.astimezone(UTC)
    near = last.timestamp() - first.timestamp() < _DAY_S and abs(now - last.timestamp()) < _DAY_S
    form = "%H:%M" if near else "%m-%d"
    begin, end = f"{first:{form}}", f"{last:{form}}"
    return begin if begin == end else f"{begin}-{end}" if near else f"{begin} {end}"


def span(seconds: float) -> str:
    """A duration in at most six characters."""
    s = int(min(_LONGEST_S, max(0, seconds)))
    if s < 100:
        return f"{s}s"
    if s < 6000:
        return f"{s // 60}m{s % 60:02d}s"
    return f"{s // 3600}h{s % 3600 // 60:02d}m" if s < 360_000 else f"{s // 86_400}d"


def ago(seconds: float | None) -> str:
    """How long ago something was; a dash when it never was."""
    return "-" if seconds is None else f"{span(seconds)} ago"


def lasted(ended_at: object, duration_s: float | None) -> str:
    """How long a session took (seconds), or that it is open."""
    return "open" if ended_at is None else span(duration_s or 0.0)


def counted(number: int | None, one: str, many: str = "") -> str:
    """A number with its noun: ``1 command``, ``2 commands``; None is a number that nobody knows."""
    return f"{'?' if number is None else number} {one if number == 1 else many or f'{one}s'}"


def addresses_text(number: int) -> str:
    """How many addresses."""
    return counted(number, "address", "addresses")


def count_short(value: float) -> str:
    """A number in at most five characters; what is too large for that looks like the largest one."""
    if value != value:  # noqa: PLR0124 - not a number, of any kind
        return "?"
    value = min(_MOST, max(-999, value))
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if value >= limit:
            return f"{value / (1000 if unit == 'k' else limit):.0f}{unit}"
    return f"{value:.0f}"


def services_text(services: object) -> str:
    """Services as text."""
    names = services if isinstance(services, (list, tuple)) else ()
    return visible(" ".join(map(str, names))) or "nothing"
