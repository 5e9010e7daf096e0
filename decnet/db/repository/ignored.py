"""Repository, part ignored sources: the entries, who they are about, and the marks on stored rows.

An entry is in force until it expires (wall clock). What happened while it was in force stays marked
afterwards; taking an entry away takes its marks away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, and_, cast, delete, select, update

from decnet.db.repository.base import SqlRepository, chunks, replace
from decnet.db.rows.ignored import AddedEntry, IgnoredEntry
from decnet.db.tables import table
from decnet.db.types import utcnow
from decnet.hostile import storable_text
from decnet.ids import event_id, normalize_ip

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_IGNORED = table("ignored_source")
_ATTACKER, _SESSION, _CREDENTIAL = table("attacker"), table("session"), table("credential")
_PAGE = 5000
_LIKE_ADDRESS = re.compile(r"\d+(\.\d+){3}(/.*)?|[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(/.*)?")
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def parse_source(text: str) -> tuple[str, str]:
    """("cidr", network) for an address or a network, else ("user", login name).

    ValueError for empty text, and for what looks like an address but is none: taken for a login name it
    would hide nothing, and nobody would notice.
    """
    wanted = storable_text(text).strip()
    if not wanted:
        raise ValueError("an ignored source is a network, an address or a login name")
    try:
        return "cidr", str(ip_network(normalize_ip(wanted), strict=False))
    except ValueError:
        if _LIKE_ADDRESS.fullmatch(wanted):
            raise ValueError(f"{wanted!r:.60} is no address and no network") from None
        return "user", wanted


class IgnoreSet:
    """The entries in force at one moment, ready to be asked. Pure; falsy without entries."""

    def __init__(self, entries: Iterable[IgnoredEntry] = (), now: datetime | None = None) -> None:
        moment = now or utcnow()
        self._networks: list[tuple[Network, str]] = []
        self._users: dict[str, str] = {}
        for entry in entries:
            if entry["expires_at"] is not None and entry["expires_at"] <= moment:
                continue
            if entry["kind"] == "cidr":
                self._networks.append((ip_network(entry["value"]), entry["ignore_id"]))
            else:
                self._users[entry["value"]] = entry["ignore_id"]

    def __bool__(self) -> bool:
        return bool(self._networks or self._users)

    def by_address(self, ip: str | None) -> str | None:
        """Id of the entry that covers an address."""
        if not ip or not self._networks:
            return None
        try:
            address: Address = ip_address(normalize_ip(ip))
        except ValueError:
            return None
        return next((found for network, found in self._networks if address in network), None)

    def by_users(self, names: Any) -> str | None:
        """Id of the entry about one of some login names."""
        if not self._users or not isinstance(names, (list, tuple, set)):
            return None
        return next(
            (self._users[name] for name in names if isinstance(name, str) and name in self._users), None
        )

    def by_payload(self, payload: Mapping[str, Any]) -> str | None:
        """Id of the entry that covers an event: its address, its ``username`` or the names in its ``auth``."""
        if not self:
            return None
        ip, auth = payload.get("attacker_ip"), payload.get("auth")
        names = auth.get("usernames") if isinstance(auth, Mapping) else [payload.get("username")]
        return self.by_address(ip if isinstance(ip, str) else None) or self.by_users(names)


class IgnoredMixin(SqlRepository):
    """``ignored_source`` and the marks of ``attacker`` and ``session``."""

    async def ignore_add(
        self,
        source: str,
        *,
        reason: str | None = None,
        set_by: str | None = None,
        expires_at: datetime | None = None,
    ) -> AddedEntry:
        """Ignores a network, address or login name from now on, and marks what is stored already.

        The same source again changes reason and expiry. Returns the entry with ``marked``, the number
        of sessions it marked. Raises ValueError for empty text.
        """
        kind, value = parse_source(source)
        entry: IgnoredEntry = {
            "ignore_id": event_id("ignore", f"{kind}|{value}")[:12],
            "kind": kind, "value": value, "reason": reason, "set_by": set_by,
            "set_at": utcnow(), "expires_at": expires_at,
        }  # fmt: skip
        merge = dict.fromkeys(("reason", "set_by", "set_at", "expires_at"), replace)
        async with self._write() as session:
            await self._upsert(session, _IGNORED, [entry], merge)
            marked = await self._mark(session, entry)
        return {**entry, "marked": marked}

    async def ignore_remove(self, ignore_id: str) -> bool:
        """Takes an entry and its marks away; False when there is none. Other entries mark what is theirs."""
        async with self._write() as session:
            gone = delete(_IGNORED).where(_IGNORED.c.ignore_id == ignore_id).returning(_IGNORED.c.ignore_id)
            if (await session.execute(gone)).first() is None:
                return False
            for table in (_ATTACKER, _SESSION):
                await session.execute(
                    update(table).where(table.c.ignored_by == ignore_id).values(ignored_by=None)
                )
            for entry in await self._rows(session, select(_IGNORED), IgnoredEntry):
                await self._mark(session, entry)
        return True

    async def ignored_sources(self) -> list[IgnoredEntry]:
        """All entries by age, expired ones too: their marks stand until they are removed."""
        async with self._read() as session:
            by_age = select(_IGNORED).order_by(_IGNORED.c.set_at, _IGNORED.c.ignore_id)
            return await self._rows(session, by_age, IgnoredEntry)

    async def ignore_set(self) -> IgnoreSet:
        """The entries in force now."""
        return IgnoreSet(await self.ignored_sources())

    async def ignored_attackers(self, attacker_uuids: Iterable[str]) -> set[str]:
        """Those of some attackers that are marked."""
        found: set[str] = set()
        async with self._read() as session:
            for part in chunks(sorted(set(attacker_uuids))):
                marked = and_(_ATTACKER.c.attacker_uuid.in_(part), _ATTACKER.c.ignored_by.is_not(None))
                found |= set(
                    (await session.execute(select(_ATTACKER.c.attacker_uuid).where(marked))).scalars()
                )
        return found

    async def _mark(self, session: AsyncSession, entry: IgnoredEntry) -> int:
        """Marks what is stored; an entry that has expired marks nothing."""
        if not IgnoreSet([entry]):
            return 0
        if entry["kind"] == "cidr":
            return await self._mark_network(session, entry)
        ids = await self._sessions_of_user(session, entry["value"])
        return await _mark_rows(session, _SESSION.c.session_id, ids, entry["ignore_id"])

    async def _mark_network(self, session: AsyncSession, entry: IgnoredEntry) -> int:
        rules, last, marked = IgnoreSet([entry]), "", 0
        while True:
            page = select(_ATTACKER.c.attacker_uuid, _ATTACKER.c.ip).where(_ATTACKER.c.attacker_uuid > last)
            rows = (await session.execute(page.order_by(_ATTACKER.c.attacker_uuid).limit(_PAGE))).all()
            if not rows:
                return marked
            last = rows[-1][0]
            hit = [uuid for uuid, ip in rows if rules.by_address(ip)]
            await _mark_rows(session, _ATTACKER.c.attacker_uuid, hit, entry["ignore_id"])
            marked += await _mark_rows(session, _SESSION.c.attacker_uuid, hit, entry["ignore_id"])

    async def _sessions_of_user(self, session: AsyncSession, name: str) -> list[str]:
        tried = select(_CREDENTIAL.c.session_id).where(_CREDENTIAL.c.username == name)
        found = {row for row in (await session.execute(tried)).scalars() if row}
        listed = select(_SESSION.c.session_id, _SESSION.c.auth).where(
            _SESSION.c.ignored_by.is_(None), _SESSION.c.auth.is_not(None)
        )
        if json.dumps(name)[1:-1] == name:
            # The text of the JSON narrows it down; what counts is the list itself.
            listed = listed.where(cast(_SESSION.c.auth, String).contains(name, autoescape=True))
        for session_id, auth in await session.execute(listed):
            names = auth.get("usernames") if isinstance(auth, dict) else None
            if isinstance(names, list) and name in names:
                found.add(session_id)
        return sorted(found)


async def _mark_rows(session: AsyncSession, key: Any, ids: Sequence[str], ignore_id: str) -> int:
    count = 0
    for part in chunks(ids):
        open_rows = and_(key.in_(part), key.table.c.ignored_by.is_(None))
        done = await session.execute(
            update(key.table).where(open_rows).values(ignored_by=ignore_id).returning(key)
        )
        count += len(done.all())
    return count
