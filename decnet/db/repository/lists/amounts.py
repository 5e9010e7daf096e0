"""Repository, part amounts: what all sessions of one attacker come to. As many statements whatever their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, case, cast, func, select, true

from decnet.db.repository.base import Row, SqlRepository
from decnet.db.repository.conditions import among, had_kind
from decnet.db.rows.actorpage import Amounts, OwnFile, OwnLogins, OwnPlaybook, Shared
from decnet.db.tables import table
from decnet.events.ttp import SEVERITIES
from decnet.keyed import login_label

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_SESSION, _STORY, _THING = table("session"), table("session_story"), table("session_thing")
_CREDENTIAL, _KIND, _COUNT = table("credential"), table("tag_kind"), table("tag_count")
_TERM, _VALUE = table("link_term"), table("link_value")
JUDGED = 2_000
"""Sessions whose stories are read, the newest; of an attacker with more the page says so."""
THINGS = 200
LOGINS = 5
NAMED_FILES = 8
"""Files whose names are looked up."""
SHARED = 6
_SHARING = ("key", "host", "sha256", "script", "client")
"""Families that are told of; what many have anyway (a /24, log-ins) says nothing to people."""


class AmountsMixin(SqlRepository):
    """Questions over sessions, stories, things, log-ins and tags of one attacker."""

    async def amounts_of(self, attacker_uuid: str, *, clear: bool = False) -> Amounts:
        """What its sessions come to, ignored or not; log-ins in clear text only with ``clear``, where that was kept."""
        async with self._read() as session:
            stories = await self._rows(session, _newest_stories(attacker_uuid))
            things = await self._things_had(session, attacker_uuid)
            shared = await _shared(session, attacker_uuid)
            return {
                "judged": len(stories),
                "stages": _stages(stories),
                "playbooks": _playbooks(stories),
                "days": await self._days(session, attacker_uuid),
                "clients": await _clients(session, attacker_uuid),
                "logins": await _logins(session, attacker_uuid, clear),
                "files": await self._files(session, things),
                "hosts": {row["value"]: int(row["sessions"]) for row in things if row["kind"] == "host"},
                "techniques": await _techniques(session, attacker_uuid),
                "shared": shared[:SHARED],
                "client_addresses": {
                    one["value"]: one["addresses"] for one in shared if one["family"] == "client"
                },
            }

    async def _days(self, session: AsyncSession, attacker: str) -> dict[str, int]:
        """Sessions by the day on which they began, in order."""
        at = _SESSION.c.started_at
        if self.db.dialect == "sqlite":
            day: Any = func.substr(cast(at, String), 1, 10)
        else:
            day = func.to_char(func.timezone("UTC", at), "YYYY-MM-DD")
        query = select(day, func.count()).where(_SESSION.c.attacker_uuid == attacker, at.is_not(None))
        return {
            str(name): int(count) for name, count in await session.execute(query.group_by(day).order_by(day))
        }

    async def _things_had(self, session: AsyncSession, attacker: str) -> list[Row]:
        """Files and hosts with their sessions, the commonest first, each with one that had it."""
        joined = _SESSION.join(_THING, _THING.c.session_id == _SESSION.c.session_id)
        number = func.count().label("sessions")
        query = (
            select(_THING.c.kind, _THING.c.value, number, func.max(_THING.c.session_id).label("example"))
            .select_from(joined)
            .where(_SESSION.c.attacker_uuid == attacker, had_kind("hash", "host"))
            .group_by(_THING.c.kind, _THING.c.value)
            .order_by(number.desc(), _THING.c.kind, _THING.c.value)
        )
        return await self._rows(session, query.limit(THINGS))

    async def _files(self, session: AsyncSession, things: Sequence[Row]) -> list[OwnFile]:
        """Files with their names, as far as a session that had one tells it."""
        files = [row for row in things if row["kind"] == "hash"]
        ids = [row["example"] for row in files[:NAMED_FILES]]
        columns = (_SESSION.c.session_id, _SESSION.c.downloads, _SESSION.c.uploads)
        query = select(*columns).where(among(_SESSION.c.session_id, ids, self.db.dialect))
        came = {one: [*(down or ()), *(up or ())] for one, down, up in await session.execute(query)}
        return [
            {"sha256": row["value"], "name": _name_of(row["value"], came.get(row["example"], ())), "sessions": int(row["sessions"])}
            for row in files
        ]  # fmt: skip


def _newest_stories(attacker: str) -> Any:
    newest = (
        select(_STORY.c.session_id)
        .where(_STORY.c.attacker_uuid == attacker)
        .order_by(_STORY.c.seen_at.desc(), _STORY.c.session_id)
        .limit(JUDGED)
    )
    columns = [
        _STORY.c[name] for name in ("session_id", "severity", "rank", "line", "playbook", "story", "seen_at")
    ]
    return (
        select(*columns)
        .where(_STORY.c.session_id.in_(newest))
        .order_by(_STORY.c.seen_at.desc(), _STORY.c.session_id)
    )


def _stages(stories: Sequence[Row]) -> dict[str, int]:
    """Sessions by phase, the commonest first; each session counts once for a phase."""
    found: Counter[str] = Counter()
    for row in stories:
        found.update(
            {str(one["phase"]) for one in row["story"] or () if isinstance(one, dict) and one.get("phase")}
        )
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def _playbooks(stories: Sequence[Row]) -> list[OwnPlaybook]:
    """Sessions by what they do; ``stories`` come the newest first."""
    groups: dict[tuple[str | None, str], list[Row]] = {}
    for row in stories:
        groups.setdefault((row["playbook"], "" if row["playbook"] else row["severity"]), []).append(row)
    told = [
        (min(int(row["rank"]) for row in rows), rows[0], len(rows), playbook)
        for (playbook, _), rows in groups.items()
    ]
    told.sort(key=lambda one: (one[0], one[3] is None, -one[2], one[3] or ""))
    return [
        {"playbook": playbook, "sessions": count, "severity": SEVERITIES[min(rank, len(SEVERITIES) - 1)], "line": newest["line"],
         "session_id": newest["session_id"], "last": newest["seen_at"]}
        for rank, newest, count, playbook in told
    ]  # fmt: skip


async def _clients(session: AsyncSession, attacker: str) -> dict[str, int]:
    version = _SESSION.c.client["version"].as_string()
    query = select(version, func.count()).where(_SESSION.c.attacker_uuid == attacker, version.is_not(None))
    query = query.group_by(version).order_by(func.count().desc(), version).limit(THINGS)
    return {str(name): int(count) for name, count in await session.execute(query)}


async def _logins(session: AsyncSession, attacker: str, clear: bool) -> OwnLogins:
    name, secret = _CREDENTIAL.c.username, _CREDENTIAL.c.secret_hmac
    tried, let_in = func.count(), func.sum(case((_CREDENTIAL.c.success.is_(true()), 1), else_=0))
    query = (
        select(
            name,
            secret,
            func.max(_CREDENTIAL.c.secret),
            tried,
            let_in,
            func.sum(tried).over(),
            func.sum(let_in).over(),
        )
        .where(_CREDENTIAL.c.attacker_uuid == attacker)
        .group_by(name, secret)
        .order_by(let_in.desc(), tried.desc(), name, secret)
        .limit(LOGINS)
    )
    rows = (await session.execute(query)).all()
    top = [
        (login_label(user, hmac, kept if clear else None), int(count), int(inside))
        for user, hmac, kept, count, inside, *_ in rows
    ]
    return {"tried": int(rows[0][5]) if rows else 0, "let_in": int(rows[0][6]) if rows else 0, "top": top}


async def _techniques(session: AsyncSession, attacker: str) -> dict[str, int]:
    """Tags by technique or sub-technique, as they are counted."""
    joined = _COUNT.join(_KIND, _KIND.c.kind_id == _COUNT.c.kind_id)
    tags = func.sum(_COUNT.c.tags)
    query = select(_KIND.c.technique_id, _KIND.c.sub_technique_id, tags).select_from(joined)
    query = query.where(_COUNT.c.attacker_uuid == attacker)
    query = query.group_by(_KIND.c.technique_id, _KIND.c.sub_technique_id)
    found = {sub or technique: int(count) for technique, sub, count in await session.execute(query) if count}
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


async def _shared(session: AsyncSession, attacker: str) -> list[Shared]:
    """What it has in common with other addresses, by the index of linking; the rarest first."""
    others = _VALUE.alias("others")
    having = select(func.count()).where(others.c.term_id == _VALUE.c.term_id).scalar_subquery()
    joined = _VALUE.join(_TERM, _TERM.c.term_id == _VALUE.c.term_id)
    own = (
        select(_TERM.c.family, _TERM.c.value, having.label("addresses"))
        .select_from(joined)
        .where(_VALUE.c.attacker_uuid == attacker, _TERM.c.family.in_(_SHARING))
        .subquery("own")
    )
    query = (
        select(own)
        .where(own.c.addresses > 1)
        .order_by(own.c.addresses, own.c.family, own.c.value)
        .limit(THINGS)
    )
    return [
        {"family": family, "value": value, "addresses": int(count)}
        for family, value, count in await session.execute(query)
    ]


def _name_of(sha256: str, items: Sequence[Any]) -> str | None:
    """How a file was called: where the attacker wanted it, else what it was sent or fetched as."""
    for item in items:
        if isinstance(item, Mapping) and str(item.get("sha256") or "").lower() == sha256.lower():
            for name in ("destfile", "filename", "url"):
                if item.get(name):
                    return str(item[name]).rstrip("/").rpartition("/")[2][:80] or None
    return None
