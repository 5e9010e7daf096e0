"""Repository, part hours: how much there was in each hour, kept whatever process counted it.

Sessions and new sources are in the rows of what attackers did, by event time. What leaves no row of its own, events
and refused lines, stands in ``hour_count``, by the wall clock: what was done as so much more (:data:`EVENTS`), and what a
counter stood at, for counters that outlive their process (one name for each).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, func, select

from decnet.db.repository.base import SqlRepository
from decnet.db.tables import table
from decnet.db.types import utcnow

HOUR_S = 3600
EVENTS = "events"
REFUSED = "refused"
"""How the names of counters of refused lines begin."""
_HOUR, _SESSION, _ATTACKER = table("hour_count"), table("session"), table("attacker")
_BEFORE = _HOUR.alias("before")
_HOUR_CHARS = 13
_HOUR_TEXT = "YYYY-MM-DD HH24"


def hour_of(ts: float) -> int:
    """The hour of a moment: whole hours since the epoch."""
    return int(ts // HOUR_S)


def _more(old: Any, new: Any, _dialect: str) -> ColumnElement[int]:
    return old + new  # type: ignore[no-any-return]


def _most(old: Any, new: Any, dialect: str) -> ColumnElement[int]:
    return func.max(old, new) if dialect == "sqlite" else func.greatest(old, new)


class HoursMixin(SqlRepository):
    """``hour_count``, and hours of ``session`` and ``attacker``."""

    async def hours_write(self, more: Mapping[str, int], levels: Mapping[str, int]) -> None:
        """Adds so many in this hour by name; of ``levels`` each hour keeps the highest that a counter stood at."""
        hour = hour_of(utcnow().timestamp())
        async with self._write(told=False) as session:
            for counts, merge in ((more, _more), (levels, _most)):
                rows = [{"name": name, "hour": hour, "count": count} for name, count in counts.items()]
                await self._upsert(session, _HOUR, rows, {"count": merge})

    async def hourly(self, first: int, last: int) -> dict[str, list[int]]:
        """Counts of the hours ``first`` to ``last``: events, sessions, sources (first seen then), refused (lines).

        Sources that are ignored are left out, and their sessions.
        """
        begin, end = (datetime.fromtimestamp(hour * HOUR_S, UTC) for hour in (first, last + 1))
        hours = range(first, last + 1)
        async with self._read() as session:
            found = {
                EVENTS: await self._hours_kept(session, first, last),
                REFUSED: await self._hours_risen(session, first, last),
            }
            for name, moment, marked in (
                ("sessions", _SESSION.c.started_at, _SESSION.c.ignored_by),
                ("sources", _ATTACKER.c.first_seen, _ATTACKER.c.ignored_by),
            ):
                text = self._hour_text(moment)
                query = (
                    select(text, func.count())
                    .where(moment >= begin, moment < end, marked.is_(None))
                    .group_by(text)
                )
                found[name] = {_hour(said): int(count) for said, count in await session.execute(query)}
        return {name: [counts.get(hour, 0) for hour in hours] for name, counts in found.items()}

    def _hour_text(self, moment: Any) -> Any:
        if self.db.dialect == "sqlite":
            return func.substr(cast(moment, String), 1, _HOUR_CHARS)
        return func.to_char(func.timezone("UTC", moment), _HOUR_TEXT)

    async def _hours_kept(self, session: Any, first: int, last: int) -> dict[int, int]:
        query = select(_HOUR.c.hour, _HOUR.c.count).where(
            _HOUR.c.name == EVENTS, _HOUR.c.hour >= first, _HOUR.c.hour <= last
        )
        return {int(hour): int(count) for hour, count in await session.execute(query)}

    async def _hours_risen(self, session: Any, first: int, last: int) -> dict[int, int]:
        """By how much counters rose in each hour; one that fell was begun anew."""
        newest = select(func.max(_BEFORE.c.hour)).where(
            _BEFORE.c.name == _HOUR.c.name, _BEFORE.c.hour < first
        )
        base = and_(_HOUR.c.hour < first, _HOUR.c.hour == newest.correlate(_HOUR).scalar_subquery())
        shown = and_(_HOUR.c.hour >= first, _HOUR.c.hour <= last)
        query = select(_HOUR.c.name, _HOUR.c.hour, _HOUR.c.count).where(
            _HOUR.c.name.startswith(f"{REFUSED}|", autoescape=True), base | shown
        )
        risen: Counter[int] = Counter()
        level: dict[str, int] = {}
        for name, hour, count in (await session.execute(query.order_by(_HOUR.c.name, _HOUR.c.hour))).tuples():
            before = level.get(name, 0)
            risen[int(hour)] += count - before if count >= before else count
            level[name] = int(count)
        return dict(risen)


def _hour(text: str) -> int:
    return hour_of(datetime.fromisoformat(f"{text}:00").replace(tzinfo=UTC).timestamp())
