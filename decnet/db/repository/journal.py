"""Repository, part journal: what operators did, and what became of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, select, update

from decnet.db.repository.base import SqlRepository
from decnet.db.rows import JsonObject
from decnet.db.rows.journal import JournalLine
from decnet.db.tables import table
from decnet.db.types import as_utc, utcnow

_JOURNAL = table("journal")
SENT = "sent"
"""Outcome of a change whose end is not known yet."""


class JournalMixin(SqlRepository):
    """``journal``."""

    async def journal_add(
        self,
        *,
        operator: str,
        kind: str,
        target: str,
        what: str,
        before: JsonObject | None,
        after: JsonObject | None,
        reason: str | None = None,
        undoes: int | None = None,
    ) -> int:
        """Writes down a change that is about to be sent; its id. ``undoes`` is the row that it reverses."""
        row = {
            "ts": utcnow(),
            "operator": operator,
            "kind": kind,
            "target": target,
            "what": what,
            "before": before,
            "after": after,
            "reason": reason,
            "outcome": SENT,
            "undoes": undoes,
        }
        async with self._write() as session:
            added = await session.execute(insert(_JOURNAL).values(row).returning(_JOURNAL.c.id))
            return int(added.scalar_one())

    async def journal_end(self, entry_id: int, outcome: str, detail: str | None = None) -> None:
        """Says what became of it; an unknown id changes nothing."""
        async with self._write() as session:
            ended = update(_JOURNAL).where(_JOURNAL.c.id == entry_id)
            await session.execute(ended.values(outcome=outcome, detail=detail))

    async def journal(self, since: datetime | float | None = None, limit: int = 500) -> list[JournalLine]:
        """All columns, newest first; times are aware; limit 0 is all."""
        query = select(_JOURNAL).order_by(_JOURNAL.c.id.desc())
        if since is not None:
            query = query.where(_JOURNAL.c.ts >= as_utc(since))
        async with self._read() as session:
            return await self._rows(session, query.limit(limit) if limit else query, JournalLine)

    async def journal_get(self, entry_id: int) -> JournalLine | None:
        """One row, or None."""
        async with self._read() as session:
            rows = await self._rows(session, select(_JOURNAL).where(_JOURNAL.c.id == entry_id), JournalLine)
        return rows[0] if rows else None
