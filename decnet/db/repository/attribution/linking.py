"""Repository, part linking: what is due, what linking knows, what it writes.

Only who holds the lease of linking writes what it knows, and each write checks that nobody else wrote since
(:meth:`LinkingMixin.link_claim`): a lease may run out while its holder sleeps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, bindparam, delete, func, literal, or_, select, tuple_, update

from decnet.db.repository.base import R, SqlRepository, chunks, replace
from decnet.db.repository.recorder.sessions import IN_ORDER, SessionsMixin, payload_of
from decnet.db.rows.linktables import (
    DueSession,
    LinkableSession,
    LinkedAddress,
    LinkedGroup,
    LinkedTerm,
    LinkedValue,
    LinkRow,
    LinkVersion,
    SaidOfTwo,
    StoredLogin,
)
from decnet.db.tables import table
from decnet.db.types import utcnow
from decnet.errors import DatabaseError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_DUE, _GONE, _STATE, _SAID = table("link_due"), table("link_gone"), table("link_state"), table("link_said")
_ADDRESS, _TERM, _VALUE = table("link_address"), table("link_term"), table("link_value")
_GROUP, _OF_SESSION, _MERGED = table("link_group"), table("link_session"), table("campaign_merge")
_WHY = table("identity_link")
_SESSION, _COMMAND, _CREDENTIAL = table("session"), table("command"), table("credential")
LINKING = "linking"
PAGE = 5_000
"""Rows that are read at once when linking is made again."""
KNOWN: Mapping[str, Table] = {
    "addresses": _ADDRESS, "terms": _TERM, "values": _VALUE, "groups": _GROUP, "identities": _WHY,
}  # fmt: skip
"""What linking writes by rows of its own → the table."""


class LinkingMixin(SessionsMixin, SqlRepository):
    """The tables of :mod:`decnet.db.schema.linking`."""

    # --- what is due

    async def link_mark(self, session_ids: Iterable[str]) -> None:
        """Marks sessions whose rows changed."""
        rows = [{"session_id": one, "seq": 1} for one in set(session_ids)]
        async with self._write() as session:
            await self._upsert(session, _DUE, rows, {"seq": lambda old, _new, _dialect: old + 1})

    async def link_due(self, limit: int) -> list[DueSession]:
        """Marks, in order of ids; they stay until done."""
        query = select(_DUE.c.session_id, _DUE.c.seq).order_by(_DUE.c.session_id).limit(limit)
        async with self._read() as session:
            return [DueSession(*row) for row in await session.execute(query)]

    async def link_due_count(self) -> int:
        """Sessions that wait."""
        async with self._read() as session:
            return int((await session.execute(select(func.count()).select_from(_DUE))).scalar_one())

    async def link_done(self, marks: Iterable[DueSession], gone: Iterable[str] = ()) -> None:
        """Takes marks back, unless a session changed again meanwhile; and attackers that were forgotten."""
        async with self._write() as session:
            seen = (_DUE.c.session_id == bindparam("which"), _DUE.c.seq == bindparam("seen"))
            if done := [{"which": one.session_id, "seen": one.seq} for one in marks]:
                await (await session.connection()).execute(delete(_DUE).where(*seen), done)
            for some in chunks(list(gone)):
                await session.execute(delete(_GONE).where(_GONE.c.attacker_uuid.in_(some)))

    async def link_gone(self, limit: int) -> list[str]:
        """Attackers that retention took away and linking still knows."""
        async with self._read() as session:
            query = select(_GONE.c.attacker_uuid).order_by(_GONE.c.attacker_uuid).limit(limit)
            return list((await session.execute(query)).scalars())

    async def linkable_sessions(self, ids: Sequence[str]) -> list[LinkableSession]:
        """Those of some sessions that have ended, with commands and attempts to log in."""
        ended = (_SESSION.c.ended_at.is_not(None), _SESSION.c.attacker_uuid.is_not(None))
        async with self._read() as session:
            rows = [
                row
                for part in chunks(ids)
                for row in await self._rows(
                    session, select(_SESSION).where(_SESSION.c.session_id.in_(part), *ended)
                )
            ]
            logins = await self._logins(session, ids)
            lines = await self._lines(session, ids)
        return [
            LinkableSession(payload_of(row, ()), lines[row["session_id"]], logins[row["session_id"]])
            for row in rows
        ]

    async def _lines(self, session: AsyncSession, ids: Sequence[str]) -> dict[str, list[str]]:
        """The texts of commands by session, in order: all that linking reads of them."""
        out: dict[str, list[str]] = defaultdict(list)
        for part in chunks(ids):
            query = select(_COMMAND.c.session_id, _COMMAND.c.command_text)
            query = query.where(_COMMAND.c.session_id.in_(part)).order_by(*IN_ORDER)
            for owner, text in await session.execute(query):
                out[owner].append(text)
        return out

    async def _logins(self, session: AsyncSession, ids: Sequence[str]) -> dict[str, list[StoredLogin]]:
        """Attempts by session, in order of their times."""
        out: dict[str, list[StoredLogin]] = defaultdict(list)
        columns = (_CREDENTIAL.c.username, _CREDENTIAL.c.secret_hmac, _CREDENTIAL.c.secret_kind)
        for part in chunks(ids):
            query = select(_CREDENTIAL.c.session_id, *columns).where(_CREDENTIAL.c.session_id.in_(part))
            query = query.order_by(_CREDENTIAL.c.first_seen, _CREDENTIAL.c.credential_id)
            for owner, user, secret, kind in await session.execute(query):
                out[owner].append({"username": user, "secret_hmac": secret, "secret_kind": kind})
        return out

    async def ended_sessions(self, after: str, limit: int) -> list[str]:
        """Ids of ended sessions beyond one, in order: all of them page by page."""
        query = select(_SESSION.c.session_id).where(_SESSION.c.session_id > after)
        query = query.where(_SESSION.c.ended_at.is_not(None), _SESSION.c.attacker_uuid.is_not(None))
        async with self._read() as session:
            found = await session.execute(query.order_by(_SESSION.c.session_id).limit(limit))
            return list(found.scalars())

    async def ended_count(self) -> int:
        """Sessions that have ended."""
        query = select(func.count()).select_from(_SESSION).where(_SESSION.c.ended_at.is_not(None))
        async with self._read() as session:
            return int((await session.execute(query)).scalar_one())

    # --- what linking knows

    async def link_version(self) -> LinkVersion:
        """How often linking has written, and what was wished."""
        query = select(_STATE.c.version, _STATE.c.relink, _STATE.c.relinked).where(_STATE.c.name == LINKING)
        async with self._read() as session:
            row = (await session.execute(query)).first()
        return LinkVersion(*row) if row else LinkVersion(0, 0, 0)

    async def link_claim(self, version: int) -> int:
        """Counts a write on; the new version. Raises DatabaseError when somebody else wrote since that version."""
        async with self._write() as session:
            await self._upsert(session, _STATE, [{"name": LINKING, "version": 0, "relink": 0, "relinked": 0}])
            mine = (_STATE.c.name == LINKING, _STATE.c.version == version)
            claimed: Any = await session.execute(update(_STATE).where(*mine).values(version=version + 1))
        if claimed.rowcount != 1:
            raise DatabaseError(f"another engine linked since version {version}")
        return version + 1

    async def link_wish_relink(self) -> int:
        """Wishes that all stored sessions are read anew; the number of the wish."""
        first = {"name": LINKING, "version": 0, "relink": 1, "relinked": 0}
        async with self._write() as session:
            more = {"relink": lambda old, _new, _dialect: old + 1}
            await self._upsert(session, _STATE, [first], more)
        return (await self.link_version()).relink

    async def link_relinked(self, wish: int) -> None:
        """Notes that a wish was carried out."""
        async with self._write() as session:
            await session.execute(update(_STATE).where(_STATE.c.name == LINKING).values(relinked=wish))

    async def link_addresses(self) -> AsyncIterator[list[LinkedAddress]]:
        """All addresses, in pages."""
        async for page in self._pages(_ADDRESS, LinkedAddress):
            yield page

    async def linked_addresses_of(self, attackers: Iterable[str]) -> dict[str, str]:
        """Attacker → its address, of those that linking knows."""
        out: dict[str, str] = {}
        async with self._read() as session:
            for part in chunks(sorted(attackers)):
                query = select(_ADDRESS.c.attacker_uuid, _ADDRESS.c.address)
                found = await session.execute(query.where(_ADDRESS.c.attacker_uuid.in_(part)))
                out |= dict(found.tuples().all())
        return out

    async def link_terms(self) -> AsyncIterator[list[LinkedTerm]]:
        """All values, in pages."""
        async for page in self._pages(_TERM, LinkedTerm):
            yield page

    async def link_values(self) -> AsyncIterator[list[LinkedValue]]:
        """Who has what, in pages."""
        async for page in self._pages(_VALUE, LinkedValue):
            yield page

    async def link_groups(self) -> AsyncIterator[list[LinkedGroup]]:
        """All kits and campaigns, in pages."""
        async for page in self._pages(_GROUP, LinkedGroup):
            yield page

    async def _pages(self, table: Table, kind: type[R]) -> AsyncIterator[list[R]]:
        """All rows of a table in order of its key, each page read by itself."""
        key = list(table.primary_key.columns)
        last: Sequence[object] | None = None
        while last is None or last:
            query = _beyond(select(table), key, last)
            async with self._read() as session:
                rows = await self._rows(session, query, kind)
            if rows:
                yield rows
            last = [rows[-1][column.name] for column in key] if len(rows) == PAGE else ()

    async def merged_campaigns(self) -> dict[str, str]:
        """Campaign → what it is part of."""
        async with self._read() as session:
            rows = await session.execute(select(_MERGED.c.loser_uuid, _MERGED.c.winner_uuid))
            return dict(rows.tuples().all())

    async def said_of_links(self) -> list[SaidOfTwo]:
        """All that operators said, in order."""
        columns = (_SAID.c.one, _SAID.c.other, _SAID.c.same, _SAID.c.reason)
        async with self._read() as session:
            return await self._rows(session, select(*columns).order_by(_SAID.c.one, _SAID.c.other), SaidOfTwo)

    async def say_of_link(self, one: str, other: str, *, same: bool, reason: str, by: str) -> None:
        """Keeps what an operator says of two attackers; takes the place of what was said of them before."""
        first, second = sorted((one, other))
        row = {
            "one": first,
            "other": second,
            "same": same,
            "reason": reason,
            "said_by": by,
            "said_at": utcnow(),
        }
        merge = dict.fromkeys(("same", "reason", "said_by", "said_at"), replace)
        async with self._write() as session:
            await self._upsert(session, _SAID, [row], merge)

    async def word_on_link(self, one: str, other: str) -> tuple[bool, str] | None:
        """What an operator said of two attackers, and why; None for nothing."""
        first, second = sorted((one, other))
        query = select(_SAID.c.same, _SAID.c.reason).where(_SAID.c.one == first, _SAID.c.other == second)
        async with self._read() as session:
            found = (await session.execute(query)).first()
        return None if found is None else (bool(found[0]), str(found[1]))

    async def unsay_of_link(self, one: str, other: str) -> None:
        """Takes back what was said of two attackers."""
        first, second = sorted((one, other))
        async with self._write() as session:
            await session.execute(delete(_SAID).where(_SAID.c.one == first, _SAID.c.other == second))

    # --- what it writes

    async def link_reroot(self, kind: str, roots: Sequence[tuple[str, str]]) -> None:
        """All assets of groups of a kind stand under another root, one pair (before, now) after the other."""
        column = _TERM.c[f"{kind}_root"]
        moved = update(_TERM).where(column == bindparam("before")).values({column: bindparam("now")})
        async with self._write() as session:
            if rows := [{"before": before, "now": now} for before, now in roots]:
                await (await session.connection()).execute(moved, rows)

    async def link_upsert(self, what: str, rows: Sequence[LinkRow]) -> None:
        """Writes rows of one kind (:data:`KNOWN`); those that are there are replaced."""
        table = KNOWN[what]
        kept = {column.name: replace for column in table.columns if not column.primary_key}
        async with self._write() as session:
            await self._upsert(session, table, rows, kept)

    async def link_keys(self, what: str) -> AsyncIterator[list[tuple[str, ...]]]:
        """The keys of all rows of one kind, in pages."""
        key = list(KNOWN[what].primary_key.columns)
        last: Sequence[object] | None = None
        while last is None or last:
            query = _beyond(select(*key), key, last)
            async with self._read() as session:
                rows = [tuple(row) for row in await session.execute(query)]
            if rows:
                yield rows
            last = rows[-1] if len(rows) == PAGE else ()

    async def link_delete(self, what: str, keys: Sequence[Sequence[str]]) -> None:
        """Takes rows of one kind out by their keys."""
        table = KNOWN[what]
        columns = list(table.primary_key.columns)
        gone = delete(table).where(*(column == bindparam(f"of_{column.name}") for column in columns))
        names = [f"of_{column.name}" for column in columns]
        async with self._write() as session:
            if rows := [dict(zip(names, key, strict=True)) for key in keys]:
                await (await session.connection()).execute(gone, rows)

    async def link_forget(self, attackers: Sequence[str]) -> None:
        """Takes attackers out with their values and what operators said of them."""
        async with self._write() as session:
            for part in chunks(attackers):
                for table in (_ADDRESS, _VALUE, _OF_SESSION):
                    await session.execute(delete(table).where(table.c.attacker_uuid.in_(part)))
                either = or_(_SAID.c.one.in_(part), _SAID.c.other.in_(part))
                await session.execute(delete(_SAID).where(either))

    async def link_campaigns_merged(self, merged: Mapping[str, str]) -> None:
        """Campaigns that are part of another one."""
        rows = [{"loser_uuid": loser, "winner_uuid": winner} for loser, winner in merged.items()]
        async with self._write() as session:
            await self._upsert(session, _MERGED, rows, {"winner_uuid": replace})

    async def link_sessions(self, assets: Mapping[str, tuple[str, str]]) -> None:
        """Session → its attacker and its first asset."""
        rows = [
            {"session_id": one, "attacker_uuid": who, "term_id": term} for one, (who, term) in assets.items()
        ]
        async with self._write() as session:
            await self._upsert(session, _OF_SESSION, rows, {"attacker_uuid": replace, "term_id": replace})


def _beyond(query: Any, key: Sequence[Any], last: Sequence[object] | None) -> Any:
    """The page of a query that follows a key."""
    page = query.order_by(*key).limit(PAGE)
    return page if last is None else page.where(tuple_(*key) > tuple_(*map(literal, last)))
