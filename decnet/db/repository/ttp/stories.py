"""Repository, part stories: what each session amounts to, and what of it was never seen before.

"Before" is by event time over the whole stored history and is asked when it is shown: an older log that is imported
later changes the answer and no row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select

from decnet.db.repository.base import Row, SqlRepository, chunks, replace, shaped
from decnet.db.repository.conditions import session_is_shown, tag_stands
from decnet.db.rows.story import NOT_JUDGED, FirstTimes, ListedPlaybook, SessionTold, StoryRow, ThingRow
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.events.ttp import SEVERITIES
from decnet.keyed import login_label

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_STORY, _THING = table("session_story"), table("session_thing")
_SESSION = table("session")
_TAG, _CREDENTIAL = table("ttp_tag"), table("credential")
_COLUMNS = tuple(StoryRow.__annotations__)
MAX_ASKED = 100
"""Techniques and credentials of one session that are looked up."""
_LISTS: Mapping[str, str] = {"hash": "hashes", "host": "hosts", "key": "keys", "playbook": "playbooks"}


class StoriesMixin(SqlRepository):
    """``session_story``, ``session_thing``."""

    async def stories(self, sessions: Collection[str]) -> dict[str, StoryRow]:
        """The stored stories of some sessions, by session."""
        out: dict[str, StoryRow] = {}
        async with self._read() as session:
            for part in chunks(sorted(sessions)):
                query = select(*(_STORY.c[name] for name in _COLUMNS)).where(_STORY.c.session_id.in_(part))
                out |= {row["session_id"]: row for row in await self._rows(session, query, StoryRow)}
        return out

    async def keep_stories(self, stories: Sequence[StoryRow], things: Sequence[ThingRow]) -> None:
        """Stores stories in the place of what was there, and the things of their sessions.

        One of an earlier state of a session (it ended earlier, or had fewer lines) changes nothing. Bound to a
        transaction.
        """
        merge = dict.fromkeys(_COLUMNS[1:], replace)
        async with self._write() as session:
            await self._upsert(session, _STORY, stories, merge, _not_earlier)
            kept = await self._kept(session, {row["session_id"]: row for row in stories})
            for part in chunks(sorted(kept)):
                await session.execute(delete(_THING).where(_THING.c.session_id.in_(part)))
            own = [row for row in things if row["session_id"] in kept]
            await self._upsert(session, _THING, own)

    async def _kept(self, session: AsyncSession, stories: Mapping[str, StoryRow]) -> set[str]:
        """The sessions whose stored story is the given one."""
        kept = set()
        for part in chunks(sorted(stories)):
            state = select(_STORY.c.session_id, _STORY.c.ended_at, _STORY.c.lines)
            for ident, ended, lines in await session.execute(state.where(_STORY.c.session_id.in_(part))):
                if (ended, lines) == (stories[ident]["ended_at"], stories[ident]["lines"]):
                    kept.add(ident)
        return kept

    async def session_told(self, session_id: str) -> SessionTold:
        """Story, severity and playbook of a session as they are shown."""
        row = (await self.stories([session_id])).get(session_id)
        return NOT_JUDGED if row is None else told(row)

    async def list_playbooks(
        self, since: datetime | float | None = None, severities: Sequence[str] = (), limit: int = 100
    ) -> list[ListedPlaybook]:
        """Playbooks of sessions since then, the worst first, then the one with most sessions; ignored sources left out.

        ``severities`` are those that are asked for, none for all; ``limit`` 0 is all.
        """
        where: list[ColumnElement[bool]] = [
            _STORY.c.playbook.is_not(None),
            session_is_shown(_STORY.c.session_id),
        ]
        where += [_STORY.c.seen_at >= as_utc(since)] if since is not None else []
        where += [_STORY.c.severity.in_(severities)] if severities else []
        rank, sessions = func.min(_STORY.c.rank), func.count()
        figures = (
            select(
                _STORY.c.playbook,
                rank.label("rank"),
                sessions.label("session_count"),
                func.count(_STORY.c.attacker_uuid.distinct()).label("attacker_count"),
                func.min(_STORY.c.seen_at).label("first_seen"),
                func.max(_STORY.c.seen_at).label("last_seen"),
            )
            .where(*where)
            .group_by(_STORY.c.playbook)
            .order_by(rank, sessions.desc(), _STORY.c.playbook)
        )
        async with self._read() as session:
            rows = await self._rows(session, figures.limit(limit) if limit else figures)
            newest = await _newest_of(session, [row["playbook"] for row in rows])
        told = ({"severity": SEVERITIES[row.pop("rank")], **row, **newest[row["playbook"]]} for row in rows)
        return [shaped(ListedPlaybook, row) for row in told]

    async def first_times(self, session_id: str) -> FirstTimes:
        """What a session had that no other had before it, by event time; quick, whatever is stored."""
        found: FirstTimes = {}
        async with self._read() as session:
            for kind, value in await session.execute(_first_things(session_id)):
                if kind in _LISTS:  # a later version may know more kinds
                    found.setdefault(_LISTS[kind], []).append(value)  # type: ignore[misc]
            if techniques := await _first_techniques(session, session_id):
                found["techniques"] = techniques
            if credentials := await self._first_credentials(session, session_id):
                found["credentials"] = credentials
        return found

    async def _first_credentials(self, session: AsyncSession, session_id: str) -> list[str]:
        """Log-ins (name and secret) that nobody tried before; those that opened the door are asked first."""
        mine, other = _CREDENTIAL, _CREDENTIAL.alias()
        earlier = exists().where(
            other.c.secret_hmac == mine.c.secret_hmac,
            other.c.username == mine.c.username,
            other.c.first_seen < mine.c.first_seen,
        )
        asked = (
            select(mine.c.credential_id)
            .where(mine.c.session_id == session_id, mine.c.secret_hmac.is_not(None))
            .order_by(mine.c.success.desc(), mine.c.first_seen, mine.c.credential_id)
            .limit(MAX_ASKED)
        )
        query = select(mine.c.username, mine.c.secret_hmac).where(mine.c.credential_id.in_(asked), ~earlier)
        ordered = query.order_by(mine.c.first_seen, mine.c.credential_id)
        rows = await session.execute(ordered)
        return list(dict.fromkeys(login_label(name, hmac, None) for name, hmac in rows))


def _not_earlier(new: Any) -> Any:
    """The new row is of the same or of a later state of the session."""
    later = new.ended_at > _STORY.c.ended_at
    return or_(later, and_(new.ended_at == _STORY.c.ended_at, new.lines >= _STORY.c.lines))


def told(row: StoryRow) -> SessionTold:
    """A stored story as it is shown."""
    return {
        "story": row["story"],
        "story_line": row["line"],
        "severity": row["severity"],
        "severity_reason": row["reason"],
        "playbook": row["playbook"],
    }


def _first_things(session_id: str) -> Any:
    mine, other = _THING, _THING.alias()
    before = or_(
        other.c.seen_at < mine.c.seen_at,
        and_(other.c.seen_at == mine.c.seen_at, other.c.session_id < mine.c.session_id),
    )
    earlier = exists().where(other.c.kind == mine.c.kind, other.c.value == mine.c.value, before)
    query = select(mine.c.kind, mine.c.value).where(mine.c.session_id == session_id, ~earlier)
    return query.order_by(mine.c.kind, mine.c.value)


async def _first_techniques(session: AsyncSession, session_id: str) -> list[str]:
    """Techniques whose first tag of all is one of this session's."""
    own = (
        select(_TAG.c.technique_id, _TAG.c.sub_technique_id, func.min(_TAG.c.seen_at))
        .where(_TAG.c.session_id == session_id, tag_stands())
        .group_by(_TAG.c.technique_id, _TAG.c.sub_technique_id)
        .order_by(_TAG.c.technique_id, _TAG.c.sub_technique_id)
        .limit(MAX_ASKED)
    )
    out = []
    for technique, sub, seen in (await session.execute(own)).all():
        same = (_TAG.c.technique_id == technique, _TAG.c.sub_technique_id == sub)
        elsewhere = or_(_TAG.c.session_id != session_id, _TAG.c.session_id.is_(None))
        earlier = select(1).where(*same, tag_stands(), _TAG.c.seen_at < seen, elsewhere).limit(1)
        if (await session.execute(earlier)).first() is None:
            out.append(sub or technique)
    return out


async def _newest_of(session: AsyncSession, playbooks: Sequence[str]) -> dict[str, Row]:
    """Story and reason of the newest session of each playbook."""
    out: dict[str, Row] = {}
    for some in chunks(playbooks):
        query = (
            select(_STORY.c.playbook, _STORY.c.line, _STORY.c.reason)
            .where(_STORY.c.playbook.in_(some), _newest_here())
            .order_by(_STORY.c.session_id)
        )
        for playbook, line, reason in await session.execute(query):
            out[playbook] = {"story_line": line, "severity_reason": reason}
    return out


def _newest_here() -> Any:
    other = _STORY.alias()
    later = exists().where(other.c.playbook == _STORY.c.playbook, other.c.seen_at > _STORY.c.seen_at)
    return ~later
