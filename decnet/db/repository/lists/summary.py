"""Repository, part summary: what is new since a moment, for the first screen and ``summary``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, select

from decnet.db.repository.base import R, SqlRepository, shaped
from decnet.db.repository.conditions import tag_is_shown, tag_stands
from decnet.db.rows.lists import NewAttacker, NewTechnique, SessionWorthReading
from decnet.db.schema.columns import table_of
from decnet.db.schema.recorder import Attacker, Identity, SessionRow
from decnet.db.schema.ttp import TTPTag
from decnet.db.types import as_utc

_TAG, _SESSION = table_of(TTPTag), table_of(SessionRow)
_ATTACKER, _IDENTITY = table_of(Attacker), table_of(Identity)
_SHOWN = _TAG.outerjoin(_SESSION, _SESSION.c.session_id == _TAG.c.session_id).outerjoin(
    _ATTACKER, _ATTACKER.c.attacker_uuid == _TAG.c.attacker_uuid
)
Since = datetime | float
_CANONICAL = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)


class SummaryMixin(SqlRepository):
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
        technique = func.coalesce(_TAG.c.sub_technique_id, _TAG.c.technique_id)
        first = func.min(_TAG.c.seen_at)
        query = (
            select(
                technique.label("technique"),
                first.label("first_seen"),
                func.count().label("tags"),
                func.count(_TAG.c.attacker_uuid.distinct()).label("attackers"),
            )
            .select_from(_SHOWN)
            .where(tag_stands(), tag_is_shown())
            .group_by(technique)
            .having(first >= as_utc(since))
            .order_by(func.count().desc(), technique)
        )
        return await self._some(query, 0, NewTechnique)

    async def sessions_worth_reading(self, since: Since, limit: int = 10) -> list[SessionWorthReading]:
        """Sessions alive since then: first those with most techniques, then the longest; with downloads (a count)."""
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
        when = func.coalesce(_SESSION.c.ended_at, _SESSION.c.started_at)
        query = (
            select(*columns, count.label("techniques"))
            .where(_SESSION.c.attacker_uuid.is_not(None), _SESSION.c.command_count > 0, when >= as_utc(since))
            .where(_SESSION.c.ignored_by.is_(None))
            .order_by(count.desc(), func.coalesce(_SESSION.c.duration_s, 0).desc(), _SESSION.c.session_id)
        )
        async with self._read() as session:
            rows = await self._rows(session, query.limit(limit) if limit else query)
        counted = ({**row, "downloads": len(row["downloads"] or ())} for row in rows)
        return [shaped(SessionWorthReading, row) for row in counted]

    async def _some(self, query: Any, limit: int, kind: type[R]) -> list[R]:
        async with self._read() as session:
            return await self._rows(session, query.limit(limit) if limit else query, kind)
