"""Repository, part windows: hits of window and sequence rules, and what has fired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select, tuple_

from decnet.db.repository.base import SqlRepository, chunks
from decnet.db.repository.locks import window_lock
from decnet.db.rows.ttp import WindowFire, WindowFireFacts, WindowHitFacts, WindowMark, WindowReason
from decnet.db.tables import table

_HIT, _FIRE = table("ttp_window_hit"), table("ttp_window_fire")
_KEY = (_HIT.c.slot, _HIT.c.source_kind, _HIT.c.source_id, _HIT.c.pos)
HitKey = tuple[str, str, str, int]
"""slot, source_kind, source_id, pos."""
_STATE, _CHANGE, _LEASE = table("ttp_rule_state"), table("rule_change"), table("lease")


class WindowsMixin(SqlRepository):
    """``ttp_window_hit``, ``ttp_window_fire``; a slot is one key of one rule version."""

    async def lock_slots(self, slots: Iterable[str]) -> None:
        """Makes transactions that touch one of the slots (hex) run one after the other; needs a bound repository."""
        if self.db.dialect != "postgresql":
            return
        async with self._write() as session:
            await self._serialise(session, *map(window_lock, slots))

    async def add_window_hits(self, rows: Sequence[WindowHitFacts]) -> None:
        """Stores hits (column names as keys); those that are there stay as they are."""
        async with self._write() as session:
            for part in chunks(rows):
                await self._upsert(session, _HIT, part)

    async def window_marks(self, slots: Sequence[str]) -> list[WindowMark]:
        """All hits of the slots as far as they are counted, in no order: there are many, and few make a tag."""
        async with self._read() as session:
            out: list[WindowMark] = []
            for part in chunks(slots):
                found = select(*_KEY, _HIT.c.ts, _HIT.c.steps, _HIT.c.value).where(_HIT.c.slot.in_(part))
                out += await self._rows(session, found, WindowMark)
        return out

    async def window_reasons(self, keys: Sequence[HitKey]) -> list[WindowReason]:
        """What makes tags of some hits, in no order."""
        async with self._read() as session:
            out: list[WindowReason] = []
            for part in chunks(keys, 200):
                found = select(*_KEY, _HIT.c.who, _HIT.c.why).where(tuple_(*_KEY).in_(part))
                out += await self._rows(session, found, WindowReason)
        return out

    async def drop_window_hits(self, keys: Sequence[HitKey]) -> None:
        """Forgets hits."""
        async with self._write() as session:
            for part in chunks(keys, 200):
                await session.execute(delete(_HIT).where(tuple_(*_KEY).in_(part)))

    async def purge_window_hits(self, now: float) -> int:
        """Forgets hits whose ``keep_until`` lies before ``now`` (wall clock, epoch seconds); how many."""
        async with self._write() as session:
            gone = delete(_HIT).where(_HIT.c.keep_until < now)
            return int((await session.execute(gone)).rowcount)  # type: ignore[attr-defined]

    async def add_window_fires(self, rows: Sequence[WindowFireFacts]) -> None:
        """Stores that rules came true (keys slot, source_kind, source_id, ts)."""
        async with self._write() as session:
            for part in chunks(rows):
                await self._upsert(session, _FIRE, part)

    async def window_fires(self, slots: Sequence[str]) -> list[WindowFire]:
        """Rows slot, ts of what has fired."""
        async with self._read() as session:
            out: list[WindowFire] = []
            for part in chunks(slots):
                query = select(_FIRE.c.slot, _FIRE.c.ts).where(_FIRE.c.slot.in_(part))
                out += await self._rows(session, query, WindowFire)
        return out
