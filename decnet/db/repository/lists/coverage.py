"""Repository, part coverage: how often which technique was seen, and the tags behind one of them.

A tag counts at the time at which the attacker did it, not at that of tagging: an old log may be read today.
``names`` are attacker uuids, identity uuids or addresses of one actor; None is everybody.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select

from decnet.db.repository.base import SqlRepository
from decnet.db.repository.conditions import (
    anybody_is_marked,
    identity_is_named,
    tag_identity,
    tag_is_shown,
    tag_stands,
    tags_counted,
    with_tag_identity,
)
from decnet.db.rows.lists import TagBehind, TechniqueCount
from decnet.db.tables import table
from decnet.db.types import as_utc

_TAG, _SESSION, _COMMAND = table("ttp_tag"), table("session"), table("command")
_ATTACKER = table("attacker")
_SEEN = _TAG.c.seen_at
_WHO = func.coalesce(tag_identity(), _TAG.c.attacker_uuid)
_FROM = with_tag_identity(_TAG.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _TAG.c.attacker_uuid))
_BEHIND = (
    "uuid",
    "session_id",
    "attacker_uuid",
    "decky_id",
    "tactic",
    "technique_id",
    "sub_technique_id",
    "confidence",
    "rule_id",
    "evidence",
    "source_kind",
    "source_id",
)

Since = datetime | float | None
Names = Collection[str] | None


class CoverageMixin(SqlRepository):
    """What the coverage matrix is made of."""

    async def technique_counts(self, since: Since = None, names: Names = None) -> list[TechniqueCount]:
        """One row by tactic and technique: tags, actors, last (aware datetime)."""
        async with self._read() as session:
            where = [tag_stands(), *([as_utc(since) <= _SEEN] if since else [])]
            if await anybody_is_marked(session):
                where.append(tag_is_shown())
            found = tags_counted(where)
            cell = (found.c.tactic, found.c.technique_id, found.c.sub_technique_id)
            who = func.coalesce(tag_identity(found), found.c.attacker_uuid)
            counts = (func.sum(found.c.tags).label("tags"), func.count(who.distinct()).label("actors"))
            joined = found.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == found.c.attacker_uuid)
            query = select(*cell, *counts, func.max(found.c.last).label("last"))
            query = query.select_from(with_tag_identity(joined, found))
            query = query.where(*_of(names, found.c.attacker_uuid, who)).group_by(*cell)
            rows = await self._rows(session, query, TechniqueCount)
        return [{**row, "tags": int(row["tags"]), "last": as_utc(row["last"])} for row in rows]

    async def tags_behind(
        self,
        technique: str,
        tactic: str | None = None,
        since: Since = None,
        names: Names = None,
        limit: int = 500,
    ) -> list[TagBehind]:
        """Tags of a technique (its sub-techniques included), newest first, with address, time and command."""
        where = [or_(_TAG.c.technique_id == technique, _TAG.c.sub_technique_id == technique)]
        if tactic is not None:
            where.append(_TAG.c.tactic == tactic)
        return await self._tags([*where, *_shown(since, names)], limit)

    async def tags_of_rule(self, rule_id: str, names: Names = None, limit: int = 500) -> list[TagBehind]:
        """The tags that a rule gave, as :meth:`tags_behind` gives those of a technique."""
        return await self._tags([_TAG.c.rule_id == rule_id, *_shown(None, names)], limit)

    async def _tags(self, where: Sequence[ColumnElement[bool]], limit: int) -> list[TagBehind]:
        joined = _FROM.outerjoin(_COMMAND, _COMMAND.c.command_id == _TAG.c.source_id)
        columns = [_TAG.c[name] for name in _BEHIND]
        named = (_ATTACKER.c.ip.label("attacker_ip"), _WHO.label("identity_uuid"), _SEEN.label("seen"))
        # The newest are chosen by their times alone: sorted with all that is shown of them, a frequent one takes seconds.
        newest = select(_TAG.c.uuid).select_from(_FROM).where(and_(*where))
        chosen = newest.order_by(_SEEN.desc(), _TAG.c.uuid).limit(limit).subquery()
        query = select(*columns, *named, _COMMAND.c.command_text).select_from(joined)
        query = query.where(_TAG.c.uuid.in_(select(chosen.c.uuid))).order_by(_SEEN.desc(), _TAG.c.uuid)
        async with self._read() as session:
            rows = await self._rows(session, query, TagBehind)
        return [{**row, "seen": as_utc(row["seen"])} for row in rows]

    async def sessions_by_decky(self) -> dict[str, int]:
        """Sessions of each decky, ignored sources left out."""
        query = select(_SESSION.c.decky_id, func.count()).where(_SESSION.c.ignored_by.is_(None))
        query = query.where(_SESSION.c.decky_id.is_not(None)).group_by(_SESSION.c.decky_id)
        async with self._read() as session:
            return {str(decky): int(count) for decky, count in await session.execute(query)}


def _shown(since: Since, names: Names) -> list[ColumnElement[bool]]:
    where: list[Any] = [tag_stands(), tag_is_shown()]
    if since:
        where.append(as_utc(since) <= _SEEN)
    return [*where, *_of(names, _TAG.c.attacker_uuid, _WHO)]


def _of(names: Names, attacker: Any, who: Any) -> list[ColumnElement[bool]]:
    """The filter of one actor, by columns of attackers and of whom they are."""
    if names is None:
        return []
    known = sorted(names)
    return [or_(attacker.in_(known), _ATTACKER.c.ip.in_(known), identity_is_named(who, known))]
