"""Repository, part due: attackers whose rows changed since a producer last looked, and things told once.

Whoever writes evidence marks its attackers as due in the same transaction. A producer recomputes what
it needs from stored rows and takes the mark back, so that it does not matter which event came first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, select

from decnet.db.repository.base import SqlRepository, greatest, insert_for, least
from decnet.db.rows.runtime import DueMark
from decnet.db.tables import table

_DUE, _TOLD = table("producer_due"), table("announcement")
CONSUMERS = ("recorder", "ttp")
"""Who recomputes something when an attacker's rows change."""
Span = tuple[float, float]
"""Event time, epoch seconds: from, to."""


def widened(spans: Iterable[tuple[str, float]]) -> dict[str, Span]:
    """(attacker, time) pairs as the span of each attacker."""
    out: dict[str, Span] = {}
    for uuid, ts in spans:
        since, until = out.get(uuid, (ts, ts))
        out[uuid] = (min(since, ts), max(until, ts))
    return out


def _undue() -> Any:
    """Takes one mark back."""
    same = (_DUE.c[name] == bindparam(f"{name}_") for name in ("consumer", "attacker_uuid", "seq"))
    return delete(_DUE).where(*same)


class DueMixin(SqlRepository):
    """``producer_due``, ``announcement``."""

    async def due_mark(self, spans: Mapping[str, Span], consumers: Sequence[str] = CONSUMERS) -> None:
        """Marks attackers whose rows of that time changed."""
        rows = [
            {"consumer": consumer, "attacker_uuid": uuid, "seq": 1, "since": since, "until": until}
            for consumer in consumers
            for uuid, (since, until) in spans.items()
        ]
        merge = {"seq": lambda old, _new, _dialect: old + 1, "since": least, "until": greatest}
        async with self._write() as session:
            await self._upsert(session, _DUE, rows, merge)

    async def due_take(self, consumer: str, limit: int) -> list[DueMark]:
        """Marks of a consumer (attacker_uuid, seq, since, until), by attacker; they stay until done."""
        query = select(_DUE).where(_DUE.c.consumer == consumer).order_by(_DUE.c.attacker_uuid).limit(limit)
        async with self._read() as session:
            return await self._rows(session, query, DueMark)

    async def due_done(self, consumer: str, marks: Iterable[DueMark]) -> None:
        """Takes marks back, unless the attacker changed again meanwhile."""
        rows = [
            {"consumer_": consumer, "attacker_uuid_": m["attacker_uuid"], "seq_": m["seq"]} for m in marks
        ]
        async with self._write() as session:
            await self._each(session, "due_done", _undue, rows)

    async def due_count(self, consumer: str) -> int:
        """Attackers that wait for a consumer."""
        query = select(func.count()).select_from(_DUE).where(_DUE.c.consumer == consumer)
        async with self._read() as session:
            return int((await session.execute(query)).scalar_one())

    async def announce(self, keys: Mapping[str, float]) -> list[str]:
        """Keeps keys (with the event time of each); those that nobody had told before, sorted."""
        if not keys:
            return []
        rows = [{"key": key, "ts": keys[key]} for key in sorted(keys)]
        fresh = insert_for(self.db.dialect, _TOLD).on_conflict_do_nothing(index_elements=["key"])
        async with self._write() as session:
            done = await session.execute(fresh.returning(_TOLD.c.key), rows)
            return sorted(done.scalars())
