"""Repository, part novel: what was first seen in a span, by event time over all that is stored.

What the first day of the history had is where it begins: nothing of it is new, so that a first import makes no news.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select

from decnet.db.repository.base import Row, chunks, shaped
from decnet.db.repository.conditions import (
    anybody_is_marked,
    attacker_is_shown,
    session_is_shown,
    tag_is_shown,
    tag_stands,
)
from decnet.db.repository.lists.counts import CountsMixin, of_each
from decnet.db.repository.lists.visits import Span, things_in
from decnet.db.rows.since import NewTechnique, NewThing, SomeNew
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.keyed import login_label

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_TAG, _KIND, _SESSION = table("ttp_tag"), table("tag_kind"), table("session")
_THING, _CREDENTIAL = table("session_thing"), table("credential")
_KINDS = select(_KIND.c.kind_id, _KIND.c.technique_id, _KIND.c.sub_technique_id)
BEGINNING = timedelta(days=1)
"""So long from its first session on nothing in a history is new."""
SHOWN = 50
"""New things of a kind that are named; all are counted."""


class NovelMixin(CountsMixin):
    """Questions over things, log-ins and tags; ignored sources are left out."""

    async def new_techniques(
        self, since: datetime | float, until: datetime | float | None = None
    ) -> list[NewTechnique]:
        """Techniques whose very first tag is not older than ``since`` (and older than ``until``), most tags first."""
        begin, end = as_utc(since), as_utc(until)
        assert begin is not None
        async with self._read() as session:
            first: dict[str, datetime] = {}
            for technique, seen in await session.execute(await _first_of_each(session)):
                if seen is not None:
                    first[technique] = min(seen, first.get(technique, seen))
            new = {name for name, seen in first.items() if begin <= seen and (end is None or seen < end)}
            if not new:
                return []
            kinds = {number: sub or technique for number, technique, sub in await session.execute(_KINDS)}
            counted = await self._tally(
                session, only=[number for number, name in kinds.items() if name in new]
            )
        tags: Counter[str] = Counter()
        for number, count in counted.tags.items():
            tags[kinds.get(number, "")] += count
        attackers: Counter[str] = Counter()
        for some, times in of_each(
            (one.attacker_uuid, one.kinds) for one in counted.ones if one.attacker_uuid
        ):
            for name in {kinds.get(number, "") for number in some}:
                attackers[name] += times
        return [
            {
                "technique": name,
                "first_seen": first[name],
                "tags": tags[name],
                "attackers": attackers[name],
            }
            for name in sorted(new, key=lambda name: (-tags[name], name))
        ]

    async def _new_things(self, session: AsyncSession, kind: str, span: Span, marked: bool) -> SomeNew:
        """Things of a kind (``hash``, ``host``, ``key``) that no session had before the span."""
        hidden = [session_is_shown(_THING.c.session_id)] if marked else []
        seen = (
            select(
                _THING.c.value,
                func.min(_THING.c.seen_at).label("first_seen"),
                func.count().label("times"),
            )
            .where(*things_in(kind, span), *hidden)
            .group_by(_THING.c.value)
            .subquery("seen")
        )  # fmt: skip
        other = _THING.alias()
        before = (other.c.kind == kind, other.c.value == seen.c.value, other.c.seen_at < span.begin)
        new = select(seen, func.count().over().label("of"))
        new = new.where(~select(other.c.value).where(*before).exists())
        last = new.order_by(seen.c.first_seen.desc(), seen.c.value).limit(SHOWN).subquery("last")
        owner = (
            select(func.min(_THING.c.session_id))
            .where(_THING.c.kind == kind, _THING.c.value == last.c.value)
            .where(_THING.c.seen_at == last.c.first_seen, *hidden)
            .correlate(last)
            .scalar_subquery()
        )
        query = select(last, owner.label("session_id")).order_by(last.c.first_seen.desc(), last.c.value)
        rows = await self._rows(session, query)
        names = await _file_names(session, rows) if kind == "hash" else {}
        return _some({**row, "name": names.get(row["value"])} for row in rows)

    async def _new_logins(
        self, session: AsyncSession, span: Span, marked: bool, *, clear: bool
    ) -> SomeNew:  # fmt: skip
        """Log-ins (name and secret) that opened the door in the span and that nobody tried before it."""
        hidden = [attacker_is_shown(_CREDENTIAL.c.attacker_uuid)] if marked else []
        name, secret = func.coalesce(_CREDENTIAL.c.username, ""), _CREDENTIAL.c.secret_hmac
        # Of a wide span all are counted: who was tried before it is left out below.
        late = [] if span.wide else [_CREDENTIAL.c.last_seen >= span.begin]
        tried = (*late, _CREDENTIAL.c.first_seen < span.end)
        let_in = (_CREDENTIAL.c.success.is_(True), secret.is_not(None), *tried, *hidden)
        # By the index of what opened the door, in its order; of a small part by their times: not by bare columns then.
        own = (_CREDENTIAL.c.username, secret) if span.wide else (name, func.coalesce(secret, ""))
        by_name = select(
            own[0].label("username"),
            own[1].label("secret_hmac"),
            func.min(_CREDENTIAL.c.first_seen).label("first_seen"),
            func.min(_CREDENTIAL.c.session_id).label("session_id"),
            func.count().label("times"),
        )
        some = by_name.where(*let_in).group_by(*own).subquery("some").c
        named = func.coalesce(some.username, "")
        seen = (
            select(
                named.label("username"),
                some.secret_hmac,
                func.min(some.first_seen).label("first_seen"),
                func.min(some.session_id).label("session_id"),
                func.sum(some.times).label("times"),
            )
            .where(some.first_seen >= span.begin)
            .group_by(named, some.secret_hmac)
            .subquery("seen")
        )
        other = _CREDENTIAL.alias("other")
        nameless = and_(seen.c.username == "", other.c.username.is_(None))
        same = or_(other.c.username == seen.c.username, nameless)
        before = (other.c.secret_hmac == seen.c.secret_hmac, same, other.c.first_seen < span.begin)
        new = select(seen, func.count().over().label("of"))
        new = new.where(~select(other.c.credential_id).where(*before).exists())
        order = (seen.c.first_seen.desc(), seen.c.username, seen.c.secret_hmac)
        rows = await self._rows(session, new.order_by(*order).limit(SHOWN))
        typed = await _typed(session, [row["secret_hmac"] for row in rows], let_in) if clear else {}
        return _some(
            {
                "value": login_label(
                    row["username"], row["secret_hmac"], typed.get((row["username"], row["secret_hmac"]))
                ),
                "name": row["username"],
                **{name: row[name] for name in ("first_seen", "session_id", "times", "of")},
            }
            for row in rows
        )


async def _typed(
    session: AsyncSession, secrets: Sequence[str], where: Sequence[ColumnElement[bool]]
) -> dict[tuple[str, str], str | None]:
    """Secrets of log-ins as they were typed, where that was kept, by name and hash."""
    own = (func.coalesce(_CREDENTIAL.c.username, ""), _CREDENTIAL.c.secret_hmac)
    query = select(*own, func.max(_CREDENTIAL.c.secret)).where(_CREDENTIAL.c.secret_hmac.in_(secrets), *where)
    rows = (await session.execute(query.group_by(*own))).all()
    return {(name, secret): typed for name, secret, typed in rows}


def _some(rows: Any) -> SomeNew:
    found, of = [], 0
    for row in rows:
        of = row.pop("of")
        found.append(shaped(NewThing, row))
    return SomeNew(int(of), found)


async def history_of(session: AsyncSession) -> tuple[datetime | None, datetime | None]:
    """When the first stored session began, and the last; None when none is stored."""
    began = _SESSION.c.started_at
    ends = [
        select(began).where(began.is_not(None)).order_by(order).limit(1) for order in (began, began.desc())
    ]
    first, last = [(await session.execute(end)).scalar() for end in ends]
    return first, last


async def with_news(session: AsyncSession, sessions: Sequence[str]) -> set[str]:
    """Of some sessions those that had a thing before all others."""
    mine, other = _THING, _THING.alias()
    same = (other.c.kind == mine.c.kind, other.c.value == mine.c.value, other.c.seen_at < mine.c.seen_at)
    out: set[str] = set()
    for some in chunks(sessions):
        found = select(mine.c.session_id).where(
            mine.c.session_id.in_(some), ~select(other.c.value).where(*same).exists()
        )
        out.update((await session.execute(found.distinct())).scalars())
    return out


async def _file_names(session: AsyncSession, rows: Sequence[Row]) -> Mapping[str, str]:
    """The names under which files came, by their hashes, as the sessions that had them first tell."""
    wanted = {row["session_id"] for row in rows if row["session_id"]}
    query = select(_SESSION.c.uploads, _SESSION.c.downloads).where(_SESSION.c.session_id.in_(sorted(wanted)))
    found: dict[str, str] = {}
    for lists in (await session.execute(query)).all() if wanted else ():
        for item in (one for some in lists for one in some or () if isinstance(one, dict)):
            path = str(item.get("destfile") or item.get("filename") or item.get("url") or "")
            if item.get("sha256") and path:
                found.setdefault(str(item["sha256"]).lower(), path.rstrip("/").rpartition("/")[2] or path)
    return found


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
