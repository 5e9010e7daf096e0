"""Repository, part stats: what was seen most often since a moment, of everybody or of some.

Ignored sources are left out everywhere; of a campaign all that its addresses did counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, extract, func, literal_column, select

from decnet.db.repository.base import SqlRepository
from decnet.db.repository.conditions import ALL, Whose, attacker_is_shown, whose_is
from decnet.db.rows.lists import Often, Top
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.keyed import login_label

_SESSION, _THING = table("session"), table("session_thing")
_CREDENTIAL = table("credential")
Since = datetime | float | None
MAX_ASKED = 200
"""Values of one attacker at most of which it is told how common they are."""
_PAGE = 1000
"""Sessions that are looked through at once for the URLs of what they fetched."""


class StatsMixin(SqlRepository):
    """Counts over sessions (by their start) and log-ins (by their last time); the most attackers first, then the most times."""

    async def sources(self, since: Since = None, whose: Whose = ALL) -> list[tuple[str, int]]:
        """Addresses with their sessions."""
        ip = _SESSION.c.attacker_ip
        query = (
            select(ip, func.count())
            .where(ip.is_not(None), *self._visits(since, whose))
            .group_by(ip)
            .order_by(ip)
        )
        async with self._read() as session:
            return [(address, int(count)) for address, count in await session.execute(query)]

    async def top_users(self, since: Since = None, limit: int = 10, whose: Whose = ALL) -> Top:
        """User names that were tried."""
        return await self._top(
            [_CREDENTIAL.c.username],
            _CREDENTIAL,
            _CREDENTIAL.c.attacker_uuid,
            self._tries(since, whose),
            limit,
        )

    async def top_logins(
        self, since: Since = None, limit: int = 10, whose: Whose = ALL, *, clear: bool = False
    ) -> Top:
        """User names with secrets that were tried: ``root/#a1b2``; with ``clear`` in clear text, where that was kept."""
        columns = [_CREDENTIAL.c.username, _CREDENTIAL.c.secret_hmac]
        secret = func.max(_CREDENTIAL.c.secret)
        where = [*self._tries(since, whose), _CREDENTIAL.c.secret_hmac.is_not(None)]
        return await self._top(
            columns, _CREDENTIAL, _CREDENTIAL.c.attacker_uuid, where, limit, [secret],
            lambda name, hmac, kept: login_label(name, hmac, kept if clear else None),
        )  # fmt: skip

    async def top_clients(self, since: Since = None, limit: int = 10, whose: Whose = ALL) -> Top:
        """What clients said they are."""
        version = _SESSION.c.client["version"].as_string()
        return await self._top(
            [version],
            _SESSION,
            _SESSION.c.attacker_uuid,
            [version.is_not(None), *self._visits(since, whose)],
            limit,
        )

    async def top_things(self, kind: str, since: Since = None, limit: int = 10, whose: Whose = ALL) -> Top:
        """Hosts of URLs, hashes of files or keys (``host``, ``hash``, ``key``) of sessions."""
        joined = _SESSION.join(_THING, _THING.c.session_id == _SESSION.c.session_id)
        return await self._top(
            [_THING.c.value],
            joined,
            _SESSION.c.attacker_uuid,
            [_THING.c.kind == kind, *self._visits(since, whose)],
            limit,
        )

    async def top_hours(self, since: Since = None, limit: int = 10, whose: Whose = ALL) -> Top:
        """Hours of the day (UTC) in which sessions began: ``04:00``."""
        began: Any = _SESSION.c.started_at
        if self.db.dialect == "postgresql":
            began = func.timezone(literal_column("'UTC'"), began)
        return await self._top(
            [extract("hour", began)],
            _SESSION,
            _SESSION.c.attacker_uuid,
            self._visits(since, whose),
            limit,
            label=lambda hour: f"{int(hour):02}:00",
        )

    async def clients_of(self, attacker_uuid: str) -> list[Often]:
        """What the clients of an attacker said they are, with all attackers whose clients said it and their sessions."""
        version = _SESSION.c.client["version"].as_string()
        own = (
            select(version).where(_SESSION.c.attacker_uuid == attacker_uuid, version.is_not(None)).distinct()
        )
        async with self._read() as session:
            versions = sorted((await session.execute(own)).scalars())[:MAX_ASKED]
        where = [version.in_(versions), *self._visits()]
        return (await self._top([version], _SESSION, _SESSION.c.attacker_uuid, where, 0))["top"]

    async def things_of(self, attacker_uuid: str, kind: str) -> list[Often]:
        """Hosts or hashes of an attacker's sessions, with all attackers that had them and their sessions."""
        joined = _SESSION.join(_THING, _THING.c.session_id == _SESSION.c.session_id)
        own = (
            select(_THING.c.value)
            .select_from(joined)
            .where(_SESSION.c.attacker_uuid == attacker_uuid, _THING.c.kind == kind)
            .distinct()
            .order_by(_THING.c.value)
            .limit(MAX_ASKED)
        )
        async with self._read() as session:
            values = (await session.execute(own)).scalars().all()
        where = [_THING.c.kind == kind, _THING.c.value.in_(values), *self._visits()]
        return (await self._top([_THING.c.value], joined, _SESSION.c.attacker_uuid, where, 0))["top"]

    async def top_urls(self, since: Since = None, limit: int = 10, whose: Whose = ALL) -> Top:
        """URLs that sessions fetched from, or tried to."""
        found: dict[str, tuple[set[str], int]] = defaultdict(lambda: (set(), 0))
        last = ""
        columns = (_SESSION.c.session_id, _SESSION.c.attacker_uuid, _SESSION.c.downloads)
        query = select(*columns).where(_SESSION.c.downloads.is_not(None), *self._visits(since, whose))
        async with self._read() as session:
            while True:
                page = query.where(_SESSION.c.session_id > last).order_by(_SESSION.c.session_id).limit(_PAGE)
                rows = (await session.execute(page)).all()
                for _, attacker, downloads in rows:
                    for url in _urls(downloads):
                        attackers, count = found[url]
                        found[url] = (attackers | {attacker}, count + 1)
                if len(rows) < _PAGE:
                    break
                last = rows[-1][0]
        ranked = sorted(found.items(), key=lambda item: (-len(item[1][0]), -item[1][1], item[0]))
        some = ranked[:limit] if limit else ranked
        return {
            "of": len(found),
            "top": [{"value": url, "attackers": len(who), "times": count} for url, (who, count) in some],
        }

    def _visits(self, since: Since = None, whose: Whose = ALL) -> list[ColumnElement[bool]]:
        """The filter of sessions."""
        shown = [_SESSION.c.ignored_by.is_(None), *whose_is(_SESSION.c.attacker_uuid, whose, self.db.dialect)]
        return shown if since is None else [*shown, _SESSION.c.started_at >= as_utc(since)]

    def _tries(self, since: Since, whose: Whose) -> list[ColumnElement[bool]]:
        """The filter of log-ins."""
        whoever = whose_is(_CREDENTIAL.c.attacker_uuid, whose, self.db.dialect)
        shown = [attacker_is_shown(_CREDENTIAL.c.attacker_uuid), *whoever]
        return shown if since is None else [*shown, _CREDENTIAL.c.last_seen >= as_utc(since)]

    async def _top(
        self,
        columns: Sequence[ColumnElement[Any]],
        table: Any,
        uuid: ColumnElement[Any],
        where: Sequence[ColumnElement[bool]],
        limit: int,
        more: Sequence[ColumnElement[Any]] = (),
        label: Any = lambda value: value,
    ) -> Top:
        """Groups of rows by columns; ``of`` is how many there are."""
        found = (table, [columns[0].is_not(None), *where], uuid, (*columns, *more))
        query = _hashed(*found, len(more)) if self.db.dialect == "postgresql" else _grouped(*found, len(more))
        async with self._read() as session:
            rows = (await session.execute(query.limit(limit) if limit else query)).all()
        top: list[Often] = [
            {"value": label(*values), "attackers": int(who), "times": int(count)}
            for who, count, _, *values in rows
        ]
        return {"of": int(rows[0][2]) if rows else 0, "top": top}


def _grouped(table: Any, where: Sequence[Any], uuid: Any, shown: Sequence[Any], more: int) -> Any:
    """Attackers, times, number of groups, and what is shown of each, the last ``more`` of which are made of the group."""
    own = shown[: len(shown) - more]
    attackers, times = func.count(uuid.distinct()), func.count()
    query = select(attackers, times, func.count().over(), *shown).select_from(table).where(and_(*where))
    return query.group_by(*own).order_by(attackers.desc(), times.desc(), *own)


def _hashed(table: Any, where: Sequence[Any], uuid: Any, shown: Sequence[Any], more: int) -> Any:
    """The same for PostgreSQL, which sorts all rows to count different ones: by attacker first it need not."""
    named = [column.label(f"shown{n}") for n, column in enumerate(shown)]
    query = (
        select(*named, uuid.label("who"), func.count().label("times")).select_from(table).where(and_(*where))
    )
    found = query.group_by(*shown[: len(shown) - more], uuid).subquery("found")
    columns = [found.c[column.name] for column in named]
    own, made = columns[: len(shown) - more], [func.max(column) for column in columns[len(shown) - more :]]
    attackers, times = func.count(found.c.who), func.sum(found.c.times)
    query = select(attackers, times, func.count().over(), *own, *made).group_by(*own)
    return query.order_by(attackers.desc(), times.desc(), *own)


def _urls(downloads: Any) -> set[str]:
    """Each URL once a session; what a redirect wrote has none."""
    items = downloads if isinstance(downloads, list) else []
    return {
        item["url"] for item in items if isinstance(item, dict) and item.get("url") and "://" in item["url"]
    }
