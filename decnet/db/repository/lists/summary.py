"""Repository, part summary: what is new since a moment, for the first screen and ``summary``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select

from decnet.db.repository.base import R, Row, chunks, shaped
from decnet.db.repository.conditions import anybody_is_marked, tag_is_shown, tag_stands
from decnet.db.repository.lists.counts import CountsMixin, numbers
from decnet.db.rows.lists import NewAttacker, NewTechnique, SessionWorthReading
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.events.ttp import SEVERITIES

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_TAG, _KIND, _SESSION = table("ttp_tag"), table("tag_kind"), table("session")
_ATTACKER, _IDENTITY = table("attacker"), table("identity")
_STORY, _THING = table("session_story"), table("session_thing")
_TOLD = (
    _STORY.c.severity,
    _STORY.c.reason.label("severity_reason"),
    _STORY.c.line.label("story_line"),
    _STORY.c.playbook,
)
_KINDS = select(_KIND.c.kind_id, _KIND.c.technique_id, _KIND.c.sub_technique_id)
LOOKED_AT = 500
"""Sessions, the worst first, among which those that are new and those that are alike are told."""
Since = datetime | float
_CANONICAL = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)


class SummaryMixin(CountsMixin):
    """Questions about what is new; ``limit`` 0 is all, ignored sources are left out."""

    async def new_attackers(self, since: Since, limit: int = 0) -> list[NewAttacker]:
        """Attackers first seen at ``since`` or later: attacker_uuid, attacker_ip, identity_uuid, first_seen."""
        joined = _ATTACKER.outerjoin(_IDENTITY, _IDENTITY.c.attacker_uuid == _ATTACKER.c.attacker_uuid)
        query = (
            select(
                _ATTACKER.c.attacker_uuid,
                _ATTACKER.c.ip.label("attacker_ip"),
                _CANONICAL.label("identity_uuid"),
                _ATTACKER.c.first_seen,
            )
            .select_from(joined)
            .where(_ATTACKER.c.first_seen >= as_utc(since), _ATTACKER.c.ignored_by.is_(None))
            .order_by(_ATTACKER.c.first_seen.desc(), _ATTACKER.c.attacker_uuid)
        )
        return await self._some(query, limit, NewAttacker)

    async def new_techniques(self, since: Since) -> list[NewTechnique]:
        """Techniques whose very first tag is not older than ``since``: technique, first_seen, tags, attackers."""
        begun = as_utc(since)
        assert begun is not None
        async with self._read() as session:
            first: dict[str, datetime] = {}
            for technique, seen in await session.execute(await _first_of_each(session)):
                if seen is not None:
                    first[technique] = min(seen, first.get(technique, seen))
            new = {name for name, moment in first.items() if moment >= begun}
            if not new:
                return []
            kinds = {number: sub or technique for number, technique, sub in await session.execute(_KINDS)}
            counted = await self._tally(
                session, only=[number for number, name in kinds.items() if name in new]
            )
        tags: Counter[str] = Counter()
        attackers: dict[str, set[str]] = {name: set() for name in new}
        for number, count in counted.tags.items():
            tags[kinds.get(number, "")] += count
        for one in counted.ones:
            for name in {kinds.get(number, "") for number in numbers([one.kinds])} & new:
                attackers[name] |= {one.attacker_uuid} if one.attacker_uuid else set()
        return [
            {
                "technique": name,
                "first_seen": first[name],
                "tags": tags[name],
                "attackers": len(attackers[name]),
            }
            for name in sorted(new, key=lambda name: (-tags[name], name))
        ]

    async def sessions_worth_reading(self, since: Since, limit: int = 10) -> list[SessionWorthReading]:
        """Sessions alive since then, one for each playbook: first the worst, then what was never seen before.

        Among like ones those with most techniques come first, then the longest. ``downloads`` is a count.
        """
        tags = and_(_TAG.c.session_id == _SESSION.c.session_id, tag_stands())
        technique = func.coalesce(_TAG.c.sub_technique_id, _TAG.c.technique_id)
        count = select(func.count(technique.distinct())).where(tags).scalar_subquery()
        names = (
            "session_id",
            "attacker_uuid",
            "attacker_ip",
            "decky_id",
            "service",
            "started_at",
            "duration_s",
        )
        columns: list[Any] = [_SESSION.c[name] for name in (*names, "command_count", "downloads")]
        rank = func.coalesce(_STORY.c.rank, len(SEVERITIES))
        when = func.coalesce(_SESSION.c.ended_at, _SESSION.c.started_at)
        query = (
            select(*columns, *_TOLD, rank.label("rank"), count.label("techniques"))
            .select_from(_SESSION.outerjoin(_STORY, _STORY.c.session_id == _SESSION.c.session_id))
            .where(_SESSION.c.attacker_uuid.is_not(None), when >= as_utc(since))
            .where(or_(_SESSION.c.command_count > 0, rank <= SEVERITIES.index("medium")))
            .where(_SESSION.c.ignored_by.is_(None))
            .order_by(
                rank, count.desc(), func.coalesce(_SESSION.c.duration_s, 0).desc(), _SESSION.c.session_id
            )
        )
        async with self._read() as session:
            rows = await self._rows(session, query.limit(LOOKED_AT) if limit else query)
            new = await _with_news(session, [row["session_id"] for row in rows])
            rows = _folded(sorted(rows, key=lambda row: (row.pop("rank"), row["session_id"] not in new)))
            alike = await _alike(session, [row["playbook"] for row in rows if row["playbook"]], since)
        told = (
            {
                **row,
                "downloads": len(row["downloads"] or ()),
                "new": row["session_id"] in new,
                "alike": alike.get(row["playbook"], 1),
            }
            for row in (rows[:limit] if limit else rows)
        )
        return [shaped(SessionWorthReading, row) for row in told]

    async def _some(self, query: Any, limit: int, kind: type[R]) -> list[R]:
        async with self._read() as session:
            return await self._rows(session, query.limit(limit) if limit else query, kind)


async def _first_of_each(session: AsyncSession) -> Any:
    """Techniques (or sub-techniques), and when the first tag of one was that is shown: by the index that begins so.

    There are a few hundred of them however many tags there are; grouping all tags would read every one.
    """
    technique, sub = _KIND.c.technique_id, _KIND.c.sub_technique_id
    kinds = select(technique, sub).distinct().subquery("kinds")
    shown = [tag_is_shown()] if await anybody_is_marked(session) else []

    def first(same: ColumnElement[bool]) -> Any:
        own = (
            _TAG.c.technique_id == kinds.c.technique_id,
            same,
            _TAG.c.seen_at.is_not(None),
            tag_stands(),
            *shown,
        )
        # PostgreSQL does not see that rows of no sub-technique are in order by themselves.
        order = (_TAG.c.sub_technique_id, _TAG.c.seen_at)
        return select(_TAG.c.seen_at).where(*own).order_by(*order).limit(1).scalar_subquery()

    alone = kinds.c.sub_technique_id == ""
    named = _TAG.c.sub_technique_id == kinds.c.sub_technique_id
    seen = case((alone, first(_TAG.c.sub_technique_id.is_(None))), else_=first(named))
    return select(case((alone, kinds.c.technique_id), else_=kinds.c.sub_technique_id), seen)


async def _with_news(session: AsyncSession, sessions: Sequence[str]) -> set[str]:
    """Of some sessions those that had something before all others."""
    mine, other = _THING, _THING.alias()
    same = (other.c.kind == mine.c.kind, other.c.value == mine.c.value, other.c.seen_at < mine.c.seen_at)
    out: set[str] = set()
    for some in chunks(sessions):
        found = select(mine.c.session_id).where(mine.c.session_id.in_(some), ~exists().where(*same))
        out.update((await session.execute(found.distinct())).scalars())
    return out


def _folded(rows: Sequence[Row]) -> list[Row]:
    """The first session of each playbook, and those that have none."""
    seen: set[str] = set()
    out = []
    for row in rows:
        if row["playbook"] not in seen:
            out.append(row)
        if row["playbook"]:
            seen.add(row["playbook"])
    return out


async def _alike(session: AsyncSession, playbooks: Sequence[str], since: Since) -> dict[str, int]:
    """How many sessions since then have each of some playbooks."""
    out: dict[str, int] = {}
    for some in chunks(playbooks):
        chosen = (_STORY.c.playbook.in_(some), _STORY.c.seen_at >= as_utc(since))
        found = select(_STORY.c.playbook, func.count()).where(*chosen).group_by(_STORY.c.playbook)
        out |= {playbook: max(int(count), 1) for playbook, count in await session.execute(found)}
    return out
