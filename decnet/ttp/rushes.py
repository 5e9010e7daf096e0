"""Many sessions a minute from one address: automation, whatever the sessions do. From stored rows, by event time.

An hour of the calendar has one event with the most sessions that any minute of it saw begin, so that it does not
matter in what order the sessions were told. How many are too many is a rule's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from decnet.ttp.base import TaggerEvent

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.runtime import DueSpan

MINUTE_S, HOUR_S = 60.0, 3600.0
FEWEST = 10
"""Fewer sessions a minute are not put before the rules."""
PAGE = 20_000


class Rushes:
    """The busiest minute of each hour, from starts of sessions (epoch seconds) of one attacker that rise."""

    def __init__(self, attacker: str) -> None:
        self.attacker = attacker
        self._recent: deque[float] = deque()
        self._busiest: dict[int, tuple[int, float]] = {}

    def take(self, starts: Iterable[float]) -> None:
        """The next starts."""
        recent = self._recent
        for start in starts:
            recent.append(start)
            while start - recent[0] >= MINUTE_S:
                recent.popleft()
            hour = int(start // HOUR_S)
            if len(recent) > self._busiest.get(hour, (FEWEST - 1, 0.0))[0]:
                self._busiest[hour] = (len(recent), recent[0])

    def events(self, since: float) -> list[TaggerEvent]:
        """One ``session`` event for each hour from that of ``since`` (epoch seconds) on."""
        hours = (hour for hour in sorted(self._busiest) if hour >= since // HOUR_S)
        return [self._event(hour, *self._busiest[hour]) for hour in hours]

    def _event(self, hour: int, count: int, first: float) -> TaggerEvent:
        payload = {"attacker_uuid": self.attacker, "sessions_a_minute": count, "window_start": first}
        return TaggerEvent("session", f"{self.attacker}#rush#{hour}", self.attacker, payload=payload)


async def rush_events(repo: BaseRepository, marks: Sequence[DueSpan]) -> list[TaggerEvent]:
    """The events of all hours that sessions of the marks can have changed."""
    out: list[TaggerEvent] = []
    first = min(mark["since"] for mark in marks) // HOUR_S * HOUR_S - MINUTE_S
    last = ((max(mark["until"] for mark in marks) + MINUTE_S) // HOUR_S + 1) * HOUR_S
    busy = await repo.attackers_with_sessions([mark["attacker_uuid"] for mark in marks], first, last, FEWEST)
    for mark in marks:
        if mark["attacker_uuid"] in busy:
            found = Rushes(mark["attacker_uuid"])
            after: tuple[float, str] | None = (mark["since"] // HOUR_S * HOUR_S - MINUTE_S, "")
            until = ((mark["until"] + MINUTE_S) // HOUR_S + 1) * HOUR_S
            while after is not None:
                rows = await repo.starts_after(found.attacker, after, until, PAGE)
                found.take([start for start, _ in rows])
                after = rows[-1] if len(rows) == PAGE else None
            out += found.events(mark["since"])
    return out
