"""Repository, part lists: rows for the command line and the console, newest first.

``since`` is an aware datetime or epoch seconds, ``attacker`` an address or a uuid, ``limit`` 0 is
all. Superseded tags are left out everywhere, ignored sources unless ``ignored`` asks for them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, or_, select, union_all

from decnet.db.repository.base import Row, shaped
from decnet.db.repository.conditions import (
    ALL,
    Whose,
    among,
    anybody_is_marked,
    attacker_is,
    attacker_is_shown,
    tag_identity,
    tag_is_shown,
    tag_stands,
    visit_is,
    whose_is,
    with_tag_identity,
)
from decnet.db.repository.lists.counts import CountsMixin
from decnet.db.rows.lists import Counted, ListedAttacker, ListedCredential, ListedSession, ListedTag
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.keyed import login_label

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_TAG, _SESSION = table("ttp_tag"), table("session")
_KIND, _COUNT = table("tag_kind"), table("tag_count")
_STORY = table("session_story")
_ATTACKER, _IDENTITY, _CREDENTIAL = table("attacker"), table("identity"), table("credential")
"""The identity that a tag itself names."""
_CANONICAL = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
_seen_last = func.coalesce(_ATTACKER.c.last_seen, _ATTACKER.c.told_at)
_TAG_ROW = (
    "uuid",
    "source_kind",
    "source_id",
    "attacker_uuid",
    "session_id",
    "decky_id",
    "tactic",
    "technique_id",
    "sub_technique_id",
    "confidence",
    "rule_id",
    "rule_version",
    "evidence",
    "attack_release",
    "seen_at",
    "created_at",
)
_SESSION_ROW = (
    "session_id",
    "sensor_session",
    "attacker_uuid",
    "attacker_ip",
    "decky_id",
    "service",
    "protocol",
    "started_at",
    "ended_at",
    "end_reason",
    "duration_s",
    "command_count",
    "commands_dropped",
    "items_dropped",
)
_STORY_ROW = (
    _STORY.c.story,
    _STORY.c.line.label("story_line"),
    _STORY.c.severity,
    _STORY.c.reason.label("severity_reason"),
    _STORY.c.playbook,
)
Since = datetime | float | None


class Judged(NamedTuple):
    """How sessions were judged: with one of some severities (none: all), with a playbook (None: any)."""

    severities: Sequence[str] = ()
    playbook: str | None = None


ANYHOW = Judged()


class EvidenceMixin(CountsMixin):
    """Rows exactly as the command line's contract names them."""

    async def list_tags(
        self,
        since: Since = None,
        attacker: str | None = None,
        session: str | Sequence[str] | None = None,
        technique: str | None = None,
        limit: int = 100,
        ignored: bool = False,
        *,
        rule: str | None = None,
        whose: Whose = ALL,
    ) -> list[ListedTag]:
        """Tags by the time at which the attacker did it (``seen_at``: order and ``since``).

        ``technique`` may be a technique or a sub-technique, ``rule`` is the id of one. Of a campaign its sessions are asked for. technique_name is
        the caller's.
        """
        where = await self._tags_asked(since, attacker, ignored, whose)
        if session is not None:
            where.append(_TAG.c.session_id.in_([session] if isinstance(session, str) else session))
        if technique is not None:
            where.append(or_(_TAG.c.technique_id == technique, _TAG.c.sub_technique_id == technique))
        if rule is not None:
            where.append(_TAG.c.rule_id == rule)
        identity = tag_identity().label("identity_uuid")
        query = select(*(_TAG.c[name] for name in _TAG_ROW), _ATTACKER.c.ip.label("attacker_ip"), identity)
        joined = _TAG.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _TAG.c.attacker_uuid)
        query = query.select_from(with_tag_identity(joined)).where(and_(*where))
        rows = await self._latest(query, _TAG.c.seen_at, _TAG.c.uuid, limit)
        return [shaped(ListedTag, {**row, "technique_name": None}) for row in rows]

    async def tag_counts(
        self,
        since: Since = None,
        attacker: str | None = None,
        ignored: bool = False,
        *,
        whose: Whose = ALL,
    ) -> Counted:
        """How many tags of :meth:`list_tags` there are of which kind, and who has some."""
        somebody = attacker is not None or whose != ALL
        where = await self._tags_of(attacker, whose) if somebody else None
        async with self._read() as session:
            return await self._tally(session, None if since is None else as_utc(since), where, ignored)

    async def _tags_asked(
        self, since: Since, attacker: str | None, ignored: bool, whose: Whose
    ) -> list[ColumnElement[bool]]:
        where = [tag_stands(), *await self._tags_of(attacker, whose)]
        if since is not None:
            where.append(_TAG.c.seen_at >= as_utc(since))
        async with self._read() as session:
            if not ignored and await anybody_is_marked(session):
                where.append(tag_is_shown())
        return where

    async def _tags_of(self, attacker: str | None, whose: Whose) -> list[ColumnElement[bool]]:
        return [*attacker_is(_TAG.c.attacker_uuid, attacker), *await self._tag_is_of(whose)]

    async def _tag_is_of(self, whose: Whose) -> list[ColumnElement[bool]]:
        """The filter of tags: those of an identity are all of its attackers, and those that name it or a part of it alone."""
        uuid = _TAG.c.attacker_uuid
        where = visit_is(uuid, _TAG.c.session_id, whose._replace(identity=None), self.db.dialect)
        if whose.identity is None:
            return where
        own = or_(_IDENTITY.c.identity_uuid == whose.identity, _IDENTITY.c.merged_into == whose.identity)
        async with self._read() as session:  # asked first: as a part of the query either side costs its index
            parts = (
                await session.execute(select(_IDENTITY.c.identity_uuid, _IDENTITY.c.attacker_uuid).where(own))
            ).all()
        names, attackers = ({part[n] for part in parts if part[n]} for n in (0, 1))
        its = _TAG.c.identity_uuid.in_(sorted(names | {whose.identity}))
        return [*where, or_(and_(its, uuid.is_(None)), uuid.in_(sorted(attackers)))]

    async def list_sessions(
        self,
        since: Since = None,
        attacker: str | None = None,
        session: str | Sequence[str] | None = None,
        technique: str | None = None,
        limit: int = 100,
        ignored: bool = False,
        judged: Judged = ANYHOW,
        *,
        whose: Whose = ALL,
    ) -> list[ListedSession]:
        """Sessions that were alive at ``since`` or later; ``technique`` asks for a tag of it.

        Of a campaign those with one of its assets are asked for.
        """
        tags = and_(_TAG.c.session_id == _SESSION.c.session_id, tag_stands())
        where = [_SESSION.c.attacker_uuid.is_not(None), *attacker_is(_SESSION.c.attacker_uuid, attacker)]
        where += visit_is(_SESSION.c.attacker_uuid, _SESSION.c.session_id, whose, self.db.dialect)
        where += _not_marked(_SESSION.c.ignored_by, ignored)
        if since is not None:
            where.append(func.coalesce(_SESSION.c.ended_at, _SESSION.c.started_at) >= as_utc(since))
        if session is not None:
            where.append(_SESSION.c.session_id.in_([session] if isinstance(session, str) else session))
        if technique is not None:
            wanted = or_(_TAG.c.technique_id == technique, _TAG.c.sub_technique_id == technique)
            where.append(select(_TAG.c.uuid).where(tags, wanted).exists())
        if judged.severities:
            where.append(_STORY.c.severity.in_(judged.severities))
        if judged.playbook is not None:
            where.append(_STORY.c.playbook == judged.playbook)
        count = select(func.count()).select_from(_TAG).where(tags).scalar_subquery().label("tag_count")
        columns = [_SESSION.c[name] for name in _SESSION_ROW]
        files = (_files(name, self.db.dialect) for name in ("download", "upload"))
        query = select(*columns, *_STORY_ROW, _CANONICAL.label("identity_uuid"), count, *files)
        joined = _SESSION.outerjoin(_IDENTITY, _IDENTITY.c.attacker_uuid == _SESSION.c.attacker_uuid)
        joined = joined.outerjoin(_STORY, _STORY.c.session_id == _SESSION.c.session_id)
        query = query.select_from(joined).where(and_(*where))
        rows = await self._latest(query, _SESSION.c.started_at, _SESSION.c.session_id, limit)
        return [shaped(ListedSession, {**row, "command_count": row["command_count"] or 0}) for row in rows]

    async def list_attackers(
        self,
        since: Since = None,
        attacker: str | None = None,
        technique: str | None = None,
        limit: int = 100,
        ignored: bool = False,
        *,
        whose: Whose = ALL,
    ) -> list[ListedAttacker]:
        """Attackers last seen at ``since`` or later; ``techniques`` is sorted."""
        where = attacker_is(_ATTACKER.c.attacker_uuid, attacker)
        where += whose_is(_ATTACKER.c.attacker_uuid, whose, self.db.dialect)
        where += _not_marked(_ATTACKER.c.ignored_by, ignored)
        if since is not None:
            where.append(_seen_last >= as_utc(since))
        if technique is not None:
            kinds = select(_KIND.c.kind_id).where(
                or_(_KIND.c.technique_id == technique, _KIND.c.sub_technique_id == technique)
            )
            own = (_COUNT.c.attacker_uuid == _ATTACKER.c.attacker_uuid, _COUNT.c.kind_id.in_(kinds))
            where.append(select(_COUNT.c.kind_id).where(*own).exists())
        query = select(
            _ATTACKER.c.attacker_uuid,
            _ATTACKER.c.ip.label("attacker_ip"),
            _CANONICAL.label("identity_uuid"),
            func.coalesce(_ATTACKER.c.first_seen, _ATTACKER.c.told_at).label("first_seen"),
            _seen_last.label("last_seen"),
        )
        joined = _ATTACKER.outerjoin(_IDENTITY, _IDENTITY.c.attacker_uuid == _ATTACKER.c.attacker_uuid)
        chosen = [among_the_latest(where, since, limit)] if limit else where
        query = query.select_from(joined).where(and_(True, *chosen))
        rows = await self._listed(query.order_by(_newest(_seen_last), _ATTACKER.c.attacker_uuid), limit)
        return await self._with_counts(rows, ignored)

    async def _with_counts(self, rows: list[Row], ignored: bool) -> list[ListedAttacker]:
        uuids = [row["attacker_uuid"] for row in rows]
        theirs = among(_SESSION.c.attacker_uuid, uuids, self.db.dialect)
        counts, kinds = await self._at_once(
            lambda: self._asked(lambda session: _session_counts(session, theirs, ignored)),
            lambda: self._asked(lambda session: self._kinds_of(session, uuids)),
        )
        techniques = {uuid: {kind.technique_id for kind in some} for uuid, some in kinds.items()}
        return [_attacker_row(row, counts, techniques) for row in rows]

    async def list_credentials(
        self,
        since: Since = None,
        attacker: str | None = None,
        limit: int = 100,
        ignored: bool = False,
        *,
        clear: bool = False,
    ) -> list[ListedCredential]:
        """Log-ins that were tried, by the last time, each with ``login`` (``root/#a1b2``).

        With ``clear`` that is the clear text, and ``secret`` too, where it was kept.
        """
        where = attacker_is(_CREDENTIAL.c.attacker_uuid, attacker)
        if not ignored:
            where.append(attacker_is_shown(_CREDENTIAL.c.attacker_uuid))
        if since is not None:
            where.append(_CREDENTIAL.c.last_seen >= as_utc(since))
        joined = _CREDENTIAL.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _CREDENTIAL.c.attacker_uuid)
        query = (
            select(_CREDENTIAL, _ATTACKER.c.ip.label("attacker_ip")).select_from(joined).where(and_(*where))
        )
        rows = await self._latest(query, _CREDENTIAL.c.last_seen, _CREDENTIAL.c.credential_id, limit)
        shown = [row if clear else {**row, "secret": None} for row in rows]
        labels = (login_label(row["username"], row["secret_hmac"], row["secret"]) for row in shown)
        return [
            shaped(ListedCredential, {**row, "login": label})
            for row, label in zip(shown, labels, strict=True)
        ]

    async def _latest(self, query: Any, column: Any, tie: Any, limit: int) -> list[Row]:
        """Rows of a query, the newest first, those without a time last: each by the index of its time.

        Both at once cannot be: PostgreSQL's indices have them first, SQLite's last.
        """
        timed = query.where(column.is_not(None)).order_by(column.desc(), tie)
        timeless = query.where(column.is_(None)).order_by(tie)
        async with self._read() as session:
            rows = await self._rows(session, timed.limit(limit) if limit > 0 else timed)
            if limit <= 0 or len(rows) < limit:
                left = timeless.limit(limit - len(rows)) if limit > 0 else timeless
                rows += await self._rows(session, left)
        return rows

    async def _listed(self, query: Any, limit: int) -> list[Row]:
        async with self._read() as session:
            return await self._rows(session, query.limit(limit) if limit > 0 else query)


def among_the_latest(where: Sequence[ColumnElement[bool]], since: Since, limit: int) -> ColumnElement[bool]:
    """That an attacker is among as many of those that were seen last, and of those that were only told of.

    Both are found by the index of ``last_seen``, however many attackers there are; which of them are shown is settled
    by who asks.
    """
    uuid, last = _ATTACKER.c.attacker_uuid, _ATTACKER.c.last_seen
    late = [] if since is None else [last >= as_utc(since)]
    seen = select(uuid).where(last.is_not(None), *late, *where).order_by(last.desc(), uuid).limit(limit)
    told = (
        select(uuid).where(last.is_(None), *where).order_by(_newest(_ATTACKER.c.told_at), uuid).limit(limit)
    )
    return uuid.in_(union_all(select(seen.subquery()), select(told.subquery())))


def _newest(column: Any) -> ColumnElement[Any]:
    """PostgreSQL would put rows without a time first, SQLite puts them last."""
    return func.coalesce(column, as_utc(0)).desc()


def _files(kind: str, dialect: str) -> Any:
    """How many downloads or uploads a session has, counted by the database, so that their lists stay where they are."""
    column = _SESSION.c[f"{kind}s"]
    length = func.json_array_length if dialect == "sqlite" else func.jsonb_array_length
    return func.coalesce(length(column), 0).label(f"{kind}_count")


def _not_marked(column: Any, ignored: bool) -> list[ColumnElement[bool]]:
    return [] if ignored else [column.is_(None)]


async def _session_counts(
    session: AsyncSession, theirs: ColumnElement[bool], ignored: bool
) -> dict[str, tuple[int, int]]:
    uuid, decky = _SESSION.c.attacker_uuid, _SESSION.c.decky_id
    chosen = and_(theirs, *_not_marked(_SESSION.c.ignored_by, ignored))
    query = select(uuid, func.count(), func.count(decky.distinct())).where(chosen).group_by(uuid)
    rows = (await session.execute(query)).all()
    return {key: (int(sessions), int(deckies)) for key, sessions, deckies in rows}


def _attacker_row(
    row: Row, counts: dict[str, tuple[int, int]], techniques: dict[str, set[str]]
) -> ListedAttacker:
    sessions, deckies = counts.get(row["attacker_uuid"], (0, 0))
    found = sorted(techniques.get(row["attacker_uuid"], ()))
    counted = {"session_count": sessions, "decky_count": deckies, "techniques": found}
    return shaped(ListedAttacker, {**row, **counted})
