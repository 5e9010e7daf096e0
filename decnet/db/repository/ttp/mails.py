"""Repository, part mails: bodies of e-mail, so that one that is sent again is known by its body."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, tuple_

from decnet.db.repository.base import SqlRepository, chunks, greatest, least
from decnet.db.repository.locks import LOCK_MAILS
from decnet.db.rows.ttp import MailBody
from decnet.db.tables import table
from decnet.hostile import storable_text

_BODY = table("email_body")
_NEWEST = (
    func.row_number()
    .over(
        partition_by=(_BODY.c.attacker_uuid, _BODY.c.simhash),
        order_by=(_BODY.c.ts.desc(), _BODY.c.source_id.desc()),
    )
    .label("rank")
)
MAX_BODIES = 2000
"""E-mails with one body that are looked at for one attacker, the newest."""


class MailsMixin(SqlRepository):
    """``email_body``."""

    async def remember_email_bodies(self, rows: Sequence[MailBody]) -> None:
        """Keeps e-mails (column names of ``email_body`` as keys); the same one twice is one row.

        Transactions that do this commit one after the other, so that of two e-mails with one body the
        later transaction sees both. Two tellings of one e-mail that differ end the same way in any order: least time, greatest count.
        """
        merge = {"ts": least, "rcpt_count": greatest, "session_id": greatest, "decky_id": greatest}
        async with self._write() as session:
            await self._serialise(session, LOCK_MAILS)
            await self._upsert(session, _BODY, rows, merge)

    async def email_bodies(self, keys: Sequence[tuple[str, str]]) -> list[MailBody]:
        """E-mails of the given (attacker_uuid, simhash) pairs by (ts, source_id), the newest of many."""
        wanted = sorted({(storable_text(a), storable_text(s)) for a, s in keys})
        out: list[MailBody] = []
        async with self._read() as session:
            for some in chunks(wanted, 200):
                same = tuple_(_BODY.c.attacker_uuid, _BODY.c.simhash).in_(some)
                ranked = select(_BODY, _NEWEST).where(same).subquery()
                columns = [ranked.c[column.name] for column in _BODY.columns]
                newest = select(*columns).where(ranked.c.rank <= MAX_BODIES)
                out += await self._rows(session, newest, MailBody)
        return sorted(out, key=lambda row: (row["ts"], row["source_id"]))
