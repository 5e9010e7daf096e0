"""Repository, part coverage: how often which technique was seen, and the tags behind one of them.

A tag counts at the time at which the attacker did it, not at that of tagging: an old log may be read today.
``names`` are attacker uuids, identity uuids or addresses of one actor; None is everybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, or_, select

from decnet.db.repository.conditions import (
    Whose,
    among,
    anybody_is_marked,
    tag_identity,
    tag_is_shown,
    tag_stands,
    visit_is,
    with_tag_identity,
)
from decnet.db.repository.lists.counts import CountsMixin, newest_of, of_each
from decnet.db.rows.lists import Counted, TagBehind, TechniqueCount
from decnet.db.tables import table
from decnet.db.types import as_utc

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


_TAG, _SESSION, _COMMAND = table("ttp_tag"), table("session"), table("command")
_ATTACKER, _IDENTITY, _KIND = table("attacker"), table("identity"), table("tag_kind")
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


class CoverageMixin(CountsMixin):
    """What the coverage matrix is made of."""

    async def technique_counts(
        self, since: Since = None, names: Names = None, until: Since = None, *, campaign: str | None = None
    ) -> list[TechniqueCount]:
        """One row by tactic and technique: tags, actors, last (aware datetime), whether nobody had it before ``since``.

        With ``until`` the tags of a span are counted one by one; of a ``campaign`` those of the sessions that had its assets.
        """
        begun = as_utc(since) if since else None
        async with self._read() as session:
            where = None if names is None else await _named(session, names)
            if campaign is not None:
                where = [*(where or ()), *self._of_campaign(campaign)]
            counted = await self._tally(session, begun, where, until=as_utc(until) if until else None)
            fresh = await _fresh(session, counted, begun) if begun is not None else set()
        cells = await asyncio.to_thread(_cells, counted)
        return [{**cell, "new": (cell["technique_id"], cell["sub_technique_id"]) in fresh} for cell in cells]

    async def tags_behind(
        self,
        technique: str,
        tactic: str | None = None,
        since: Since = None,
        names: Names = None,
        limit: int = 500,
        *,
        until: Since = None,
        campaign: str | None = None,
    ) -> list[TagBehind]:
        """Tags of a technique (its sub-techniques included), newest first, with address, time and command."""
        where = [_TAG.c.tactic == tactic] if tactic is not None else []
        where += self._of_campaign(campaign) if campaign is not None else []
        where += [as_utc(since) <= _SEEN] if since else []
        where += [as_utc(until) > _SEEN] if until else []
        async with self._read() as session:
            kinds = (await session.execute(_kinds_of(technique))).all()
            own = [and_(_TAG.c.technique_id == of, _sub_is(sub)) for of, sub in kinds]
            # PostgreSQL does not see that rows of no sub-technique are in order by themselves.
            order = (_TAG.c.sub_technique_id.desc(), _SEEN.desc(), _TAG.c.uuid)
            return await self._tags(session, own, where, names, order, limit)

    def _of_campaign(self, campaign: str) -> list[ColumnElement[bool]]:
        return visit_is(_TAG.c.attacker_uuid, _TAG.c.session_id, Whose(campaign=campaign), self.db.dialect)

    async def tags_of_rule(self, rule_id: str, names: Names = None, limit: int = 500) -> list[TagBehind]:
        """The tags that a rule gave, as :meth:`tags_behind` gives those of a technique."""
        async with self._read() as session:
            order = (_SEEN.desc(), _TAG.c.uuid)
            return await self._tags(session, [_TAG.c.rule_id == rule_id], [], names, order, limit)

    async def _tags(
        self,
        session: AsyncSession,
        own: Sequence[ColumnElement[bool]],
        where: Sequence[ColumnElement[bool]],
        names: Names,
        order: Sequence[ColumnElement[Any]],
        limit: int,
    ) -> list[TagBehind]:
        """The newest tags that any of ``own`` holds for: of each by an index that has them in this ``order``."""
        shown = [*where, tag_stands(), *([] if names is None else await _named(session, names))]
        if await anybody_is_marked(session):
            shown.append(tag_is_shown())
        uuids: list[tuple[datetime | None, str]] = []
        for one in own:
            newest = select(_SEEN, _TAG.c.uuid).where(one, *shown).order_by(*order).limit(limit)
            uuids += (await session.execute(newest)).tuples()
        late = sorted(uuids, key=lambda tag: (-(tag[0].timestamp() if tag[0] else 0.0), tag[1]))[:limit]
        joined = _FROM.outerjoin(_COMMAND, _COMMAND.c.command_id == _TAG.c.source_id)
        columns = [_TAG.c[name] for name in _BEHIND]
        named = (_ATTACKER.c.ip.label("attacker_ip"), _WHO.label("identity_uuid"), _SEEN.label("seen"))
        query = select(*columns, *named, _COMMAND.c.command_text).select_from(joined)
        ids = among(_TAG.c.uuid, [uuid for _, uuid in late], self.db.dialect)
        found: dict[str, TagBehind] = {
            row["uuid"]: {**row, "seen": as_utc(row["seen"])}
            for row in await self._rows(session, query.where(ids), TagBehind)
        }
        return [found[uuid] for _, uuid in late]

    async def sessions_by_decky(self) -> dict[str, int]:
        """Sessions of each decky, ignored sources left out."""
        query = select(_SESSION.c.decky_id, func.count()).where(_SESSION.c.ignored_by.is_(None))
        query = query.where(_SESSION.c.decky_id.is_not(None)).group_by(_SESSION.c.decky_id)
        async with self._read() as session:
            return {str(decky): int(count) for decky, count in await session.execute(query)}


async def _fresh(session: AsyncSession, counted: Counted, begun: datetime) -> set[tuple[str, str | None]]:
    """Of the techniques that have tags those of which nobody's tag is older than a moment."""
    seen = {
        (kind.technique_id, kind.sub_technique_id) for n, kind in counted.kinds.items() if counted.tags.get(n)
    }
    alike = [n for n, kind in counted.kinds.items() if (kind.technique_id, kind.sub_technique_id) in seen]
    shown = [tag_is_shown()] if await anybody_is_marked(session) else []
    oldest = await newest_of(session, alike, shown, oldest=True)
    known = {counted.kinds[n][1:3] for n, first in oldest.items() if first < begun}
    return seen - known


def _cells(counted: Counted) -> list[TechniqueCount]:
    """Kinds of several rules are one cell; attackers of one identity are one actor."""
    found: dict[tuple[str, str, str | None], TechniqueCount] = {}
    cells: dict[int, TechniqueCount] = {}
    for number, tags in counted.tags.items():
        kind = counted.kinds[number]
        key = (kind.tactic, kind.technique_id, kind.sub_technique_id)
        empty = TechniqueCount(
            tactic=key[0],
            technique_id=key[1],
            sub_technique_id=key[2],
            tags=0,
            actors=0,
            last=None,
            new=False,
        )
        cell = cells[number] = found.setdefault(key, empty)
        cell["tags"] += tags
        cell["last"] = max((time for time in (cell["last"], counted.last.get(number)) if time), default=None)
    for some, times in of_each((one.who, one.kinds) for one in counted.ones):
        for cell in {id(cells[number]): cells[number] for number in some if number in cells}.values():
            cell["actors"] += times
    return list(found.values())


def _kinds_of(technique: str) -> Any:
    """Technique and sub-technique (empty for none) of everything that is, or is part of, a technique."""
    own = or_(_KIND.c.technique_id == technique, _KIND.c.sub_technique_id == technique)
    return select(_KIND.c.technique_id, _KIND.c.sub_technique_id).where(own).distinct()


def _sub_is(sub: str) -> ColumnElement[bool]:
    return _TAG.c.sub_technique_id == sub if sub else _TAG.c.sub_technique_id.is_(None)


async def _named(session: AsyncSession, names: Collection[str]) -> list[ColumnElement[bool]]:
    """Condition on ``ttp_tag``: it is of one of ``names``, or of what one of them was merged into.

    Whose tags these are is looked up first: asked of each tag it costs as many look-ups as there are tags.
    """
    known = sorted(names)
    of_named = select(_IDENTITY.c.merged_into).where(
        _IDENTITY.c.identity_uuid.in_(known), _IDENTITY.c.merged_into.is_not(None)
    )
    identities = sorted({*known, *(await session.execute(of_named)).scalars()})
    now = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
    parts = select(_IDENTITY.c.identity_uuid, _IDENTITY.c.attacker_uuid).where(now.in_(identities))
    found = (await session.execute(parts)).all()
    addresses = select(_ATTACKER.c.attacker_uuid).where(_ATTACKER.c.ip.in_(known))
    attackers = {*known, *(await session.execute(addresses)).scalars(), *(uuid for _, uuid in found if uuid)}
    attacker, identity = _TAG.c.attacker_uuid, _TAG.c.identity_uuid
    merged = select(_IDENTITY.c.attacker_uuid).where(_IDENTITY.c.attacker_uuid == attacker).exists()
    alone = and_(attacker.is_(None), identity.in_(sorted({*identities, *(uuid for uuid, _ in found)})))
    unknown = and_(attacker.is_not(None), identity.in_(identities), ~merged)
    return [or_(attacker.in_(sorted(attackers)), alone, unknown)]
