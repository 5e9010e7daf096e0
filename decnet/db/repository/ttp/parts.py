"""Repository, part parts: sessions that come in several events, as they are judged together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, func, select, tuple_

from decnet.db.repository.base import SqlRepository, chunks
from decnet.db.repository.locks import session_lock
from decnet.db.rows.ttp import PartToJudge
from decnet.db.tables import table

_PART = table("ttp_part")


class PartsMixin(SqlRepository):
    """``ttp_part``."""

    async def hold_sessions(self, session_ids: Iterable[str]) -> None:
        """Makes transactions that judge one of these sessions run one after the other (PostgreSQL)."""
        if self.db.dialect != "postgresql":
            return
        async with self._write() as session:
            await self._serialise(session, *map(session_lock, session_ids))

    async def add_parts_to_judge(self, rows: Sequence[PartToJudge]) -> None:
        """Keeps parts; one that is there already stays as it is."""
        async with self._write() as session:
            await self._upsert(session, _PART, rows)

    async def count_parts_to_judge(self, session_ids: Sequence[str]) -> dict[str, int]:
        """How many parts are kept, by session."""
        out: dict[str, int] = {}
        async with self._read() as session:
            for some in chunks(session_ids):
                kept = select(_PART.c.session_id, func.count()).where(_PART.c.session_id.in_(some))
                rows = await session.execute(kept.group_by(_PART.c.session_id))
                out |= dict(rows.tuples().all())
        return out

    async def parts_to_judge(self, session_ids: Sequence[str]) -> list[PartToJudge]:
        """The kept parts of some sessions by session, generation and part."""
        out: list[PartToJudge] = []
        order = (_PART.c.session_id, _PART.c.generation, _PART.c.part)
        async with self._read() as session:
            for some in chunks(session_ids):
                found = select(_PART).where(_PART.c.session_id.in_(some)).order_by(*order)
                out += await self._rows(session, found, PartToJudge)
        return out

    async def forget_parts_to_judge(self, generations: Sequence[tuple[str, str]]) -> None:
        """Deletes the parts of some endings (session_id, generation)."""
        columns = tuple_(_PART.c.session_id, _PART.c.generation)
        async with self._write() as session:
            for some in chunks(generations, 200):
                await session.execute(delete(_PART).where(columns.in_(some)))

    async def purge_parts_to_judge(self, now: float) -> int:
        """Forgets parts whose ``keep_until`` lies before ``now`` (wall clock, epoch seconds); how many."""
        async with self._write() as session:
            gone = delete(_PART).where(_PART.c.keep_until < now)
            return int((await session.execute(gone)).rowcount)  # type: ignore[attr-defined]
