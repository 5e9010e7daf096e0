"""Repository, part tagging: hits of window and sequence rules, what has fired, states that end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, text, tuple_

from decnet.db.repository.base import LOCK_RULES, RepositoryBase, Row, chunks
from decnet.db.schema.columns import table_of
from decnet.db.schema.runtime import Lease
from decnet.db.schema.ttp import RuleChangeRow, TTPRuleState, WindowFireRow, WindowHitRow
from decnet.db.types import utcnow

_HIT, _FIRE = table_of(WindowHitRow), table_of(WindowFireRow)
_STATE, _CHANGE, _LEASE = table_of(TTPRuleState), table_of(RuleChangeRow), table_of(Lease)
_LOCK_WINDOWS = 0x0DEC_0100
_BUCKETS = 64


class WindowsMixin(RepositoryBase):
    """``ttp_window_hit``, ``ttp_window_fire``, the end of rule states; a slot is one key of one rule version."""

    async def lock_slots(self, slots: Iterable[str]) -> None:
        """Makes transactions that touch one of the slots (hex) run one after the other; needs a bound repository."""
        if self.db.dialect != "postgresql":
            return
        async with self._write() as session:
            for bucket in sorted({int(slot[:8], 16) % _BUCKETS for slot in slots}):
                await session.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_WINDOWS + bucket}
                )

    async def add_window_hits(self, rows: Sequence[Row]) -> None:
        """Stores hits (column names as keys); those that are there stay as they are."""
        async with self._write() as session:
            for part in chunks(rows):
                await self._upsert(session, _HIT, part)

    async def window_hits(self, slots: Sequence[str]) -> list[Row]:
        """All hits of the slots, in no order."""
        async with self._read() as session:
            out: list[Row] = []
            for part in chunks(slots):
                out += await self._rows(session, select(_HIT).where(_HIT.c.slot.in_(part)))
        return out

    async def drop_window_hits(self, keys: Sequence[tuple[Any, ...]]) -> None:
        """Forgets hits by (slot, source_kind, source_id, pos)."""
        columns = tuple_(_HIT.c.slot, _HIT.c.source_kind, _HIT.c.source_id, _HIT.c.pos)
        async with self._write() as session:
            for part in chunks(keys, 200):
                await session.execute(delete(_HIT).where(columns.in_(part)))

    async def purge_window_hits(self, now: float) -> int:
        """Forgets hits whose ``keep_until`` lies before ``now`` (wall clock, epoch seconds); how many."""
        async with self._write() as session:
            gone = delete(_HIT).where(_HIT.c.keep_until < now)
            return int((await session.execute(gone)).rowcount)  # type: ignore[attr-defined]

    async def add_window_fires(self, rows: Sequence[Row]) -> None:
        """Stores that rules came true (keys slot, source_kind, source_id, ts)."""
        async with self._write() as session:
            for part in chunks(rows):
                await self._upsert(session, _FIRE, part)

    async def window_fires(self, slots: Sequence[str]) -> list[Row]:
        """Rows slot, ts of what has fired."""
        async with self._read() as session:
            out: list[Row] = []
            for part in chunks(slots):
                query = select(_FIRE.c.slot, _FIRE.c.ts).where(_FIRE.c.slot.in_(part))
                out += await self._rows(session, query)
        return out

    async def expire_rule_state(self, rule_id: str, expires_at: datetime) -> bool:
        """Ends a state whose time is over; False when another engine was first or the state is another one now."""
        async with self._write() as session:
            await self._serialise(session, LOCK_RULES)
            gone = delete(_STATE).where(_STATE.c.rule_id == rule_id, _STATE.c.expires_at == expires_at)
            if (await session.execute(gone.returning(_STATE.c.rule_id))).first() is None:
                return False
            change = {"rule_id": rule_id, "kind": "state", "ts": utcnow()}
            await session.execute(insert(_CHANGE), [change])
        return True

    async def lease_owner(self, name: str) -> str | None:
        """Who holds a lease or held it last; None when nobody ever did."""
        async with self._read() as session:
            query = select(_LEASE.c.owner).where(_LEASE.c.name == name)
            return (await session.execute(query)).scalar_one_or_none()
