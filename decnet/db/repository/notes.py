"""Repository, part notes: what operators wrote down about alerts and sources."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select

from decnet.db.repository.base import SqlRepository
from decnet.db.rows.notes import ALERT, SOURCE, NoteRow
from decnet.db.tables import table
from decnet.db.types import utcnow

_NOTE = table("note")
MOST = 100
"""Notes of one thing that are shown, the newest."""


class NotesMixin(SqlRepository):
    """``note``."""

    async def note_add(self, about: str, target: str, body: str, by: str) -> int:
        """Keeps a note; its number. Raises ValueError for a note without words, or about something else."""
        if about not in (ALERT, SOURCE):
            raise ValueError(f"a note is about an {ALERT} or a {SOURCE}, not {about!r:.40}")
        if not body.strip():
            raise ValueError("a note has words")
        row = {"ts": utcnow(), "operator": by, "about": about, "target": target, "body": body}
        async with self._write() as session:
            added = await session.execute(insert(_NOTE).values(row).returning(_NOTE.c.id))
            return int(added.scalar_one())

    async def note_take_back(self, note_id: int) -> bool:
        """Deletes a note; False when there is none."""
        gone = delete(_NOTE).where(_NOTE.c.id == note_id).returning(_NOTE.c.id)
        async with self._write() as session:
            return (await session.execute(gone)).first() is not None

    async def notes_of(self, about: str, target: str) -> list[NoteRow]:
        """The newest notes about something, the oldest of them first."""
        async with self._read() as session:
            return (await self._rows(session, newest_notes(about, target), NoteRow))[::-1]


def newest_notes(about: str, target: str) -> Any:
    """The query for notes about something, the newest first: pages ask it among other things."""
    own = (_NOTE.c.about == about, _NOTE.c.target == target)
    return select(_NOTE).where(*own).order_by(_NOTE.c.id.desc()).limit(MOST)
