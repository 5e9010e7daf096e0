"""Repository, part baits: which tokens lie where, and which sessions read them.

What counts as reading is left to :mod:`decnet.decoys.canary`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, func, select

from decnet.db.repository.base import Row, SqlRepository, chunks, replace, shaped
from decnet.db.rows.canary import BaitReadRow, TokenOverview, TokenRow
from decnet.db.tables import table
from decnet.db.types import as_utc

_TOKEN, _TRIGGER, _READ = table("canary_token"), table("canary_trigger"), table("bait_read")
_SECRET = frozenset({"slug", "watched", "window_at", "window_trips"})
_EARLIER = ("command_id", "at", "path", "attacker_uuid", "attacker_ip")


class BaitsMixin(SqlRepository):
    """``bait_read``, and tokens as lists show them."""

    async def canary_laid(self) -> list[TokenRow]:
        """Tokens that lie somewhere and count, by id."""
        live = _TOKEN.c.path.is_not(None) & _TOKEN.c.revoked_at.is_(None)
        async with self._read() as session:
            return await self._rows(session, select(_TOKEN).where(live).order_by(_TOKEN.c.token_id), TokenRow)

    async def bait_reads_keep(self, rows: Sequence[BaitReadRow]) -> int:
        """Keeps that sessions read tokens, the earliest time of each; how many were not known before."""
        first: dict[tuple[str, str], BaitReadRow] = {}
        for row in sorted(rows, key=lambda one: (one["at"], one["command_id"])):
            first.setdefault((row["token_id"], row["session_id"]), row)
        async with self._write() as session:
            known: set[tuple[str, str]] = set()
            for part in chunks(sorted({session_id for _, session_id in first})):
                query = select(_READ.c.token_id, _READ.c.session_id).where(_READ.c.session_id.in_(part))
                known |= {(token_id, session_id) for token_id, session_id in await session.execute(query)}
            await self._upsert(
                session, _READ, list(first.values()), dict.fromkeys(_EARLIER, replace), _is_earlier
            )
        return len(first.keys() - known)

    async def bait_reads(
        self,
        *,
        token_id: str | None = None,
        session_id: str | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> list[BaitReadRow]:
        """Who read what, newest first; ``until`` leaves out what came later, ``limit`` 0 is all."""
        query = select(_READ).order_by(_READ.c.at.desc(), _READ.c.session_id, _READ.c.token_id)
        if token_id is not None:
            query = query.where(_READ.c.token_id == token_id)
        if session_id is not None:
            query = query.where(_READ.c.session_id == session_id)
        if until is not None:
            query = query.where(_READ.c.at <= until)
        async with self._read() as session:
            return await self._rows(session, query.limit(limit or None), BaitReadRow)

    async def canary_overview(self, limit: int = 0) -> list[TokenOverview]:
        """Tokens without their secrets, newest first, with who set each off last and who read it last; 0 is all."""
        newest = select(_TOKEN).order_by(_TOKEN.c.minted_at.desc(), _TOKEN.c.token_id).limit(limit or None)
        async with self._read() as session:
            tokens = await self._rows(session, newest, TokenRow)
            trips = {
                row["token_id"]: row
                for row in await self._rows(session, _last(_TRIGGER, "first_at", "trigger_id"))
            }
            reads = {
                row["token_id"]: row for row in await self._rows(session, _last(_READ, "at", "session_id"))
            }
        return [
            overview(token, trips.get(token["token_id"], {}), reads.get(token["token_id"], {}))
            for token in tokens
        ]


def _is_earlier(new: Any) -> Any:
    return new.at < _READ.c.at


def _last(rows: Table, moment: str, key: str) -> Any:
    """The newest row of each token."""
    order = (rows.c[moment].desc(), rows.c[key])
    place = func.row_number().over(partition_by=rows.c.token_id, order_by=order).label("place")
    numbered = select(rows, place).subquery()
    return select(numbered).where(numbered.c.place == 1)


def overview(token: TokenRow, trip: Row, read: Row) -> TokenOverview:
    """A token as lists show it, with its last trigger and the last session that read it (empty for none)."""
    shown = {name: value for name, value in token.items() if name not in _SECRET}
    told = {f"last_{name}": trip.get(name) for name in ("peer", "peer_kind", "via", "session_id")}
    seen = {
        "read_session_id": read.get("session_id"),
        "read_ip": read.get("attacker_ip"),
        "read_at": as_utc(read.get("at")),
    }
    return shaped(TokenOverview, {**shown, **told, **seen})
