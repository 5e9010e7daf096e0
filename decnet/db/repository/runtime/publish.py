"""Repository, part publish: messages that wait for other systems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, delete, func, select

from decnet.db.repository.base import SqlRepository, chunks, insert_for
from decnet.db.rows.runtime import WaitingMessage
from decnet.db.tables import table

_WAITING = table("publish_outbox")
NewMessage = tuple[str, str, str, float, str]
"""Target, id, topic, time of what it tells of (epoch seconds), body."""


class PublishMixin(SqlRepository):
    """Rows about messages; each leaves with its delivery."""

    async def publish_add(self, messages: Sequence[NewMessage], now: float) -> int:
        """Stores messages at a moment (epoch seconds); how many of them were not there yet."""
        if not messages:
            return 0
        names = ("target", "ident", "topic", "ts", "body")
        rows = [{**dict(zip(names, one, strict=True)), "stored_at": now} for one in messages]
        fresh = insert_for(self.db.dialect, _WAITING).on_conflict_do_nothing(
            index_elements=["target", "ident"]
        )
        async with self._write() as session:
            found = await session.execute(fresh.values(rows).returning(_WAITING.c.row_id))
            return len(found.all())

    async def publish_take(self, target: str, limit: int) -> list[WaitingMessage]:
        """The oldest messages of a target; they stay until they are forgotten."""
        query = select(_WAITING).where(_WAITING.c.target == target).order_by(_WAITING.c.row_id).limit(limit)
        async with self._read() as session:
            return await self._rows(session, query, WaitingMessage)

    async def publish_forget(self, ids: Iterable[int]) -> None:
        """Forgets messages that were taken; ids that are gone already do no harm."""
        if not (listed := list(ids)):
            return
        async with self._write() as session:
            for part in chunks(listed):
                await session.execute(delete(_WAITING).where(_WAITING.c.row_id.in_(part)))

    async def publish_forget_older(self, target: str, moment: float) -> int:
        """Forgets the messages of a target that were stored before a moment (epoch seconds); how many."""
        old = (_WAITING.c.target == target, _WAITING.c.stored_at < moment)
        if not await self._waiting(*old):
            return 0
        async with self._write() as session:
            found = await session.execute(delete(_WAITING).where(*old).returning(_WAITING.c.row_id))
            return len(found.all())

    async def publish_count(self, target: str) -> int:
        """Messages that wait for a target."""
        return await self._waiting(_WAITING.c.target == target)

    async def _waiting(self, *where: ColumnElement[bool]) -> int:
        async with self._read() as session:
            found = await session.execute(select(func.count()).select_from(_WAITING).where(*where))
            return int(found.scalar_one())
