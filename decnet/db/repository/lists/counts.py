"""Repository, part counts: how many tags of which kind, and which attackers have some.

Tags that stand are counted by the database as they come (``tag_count``), so that a question about everybody reads a row
for each attacker and kind, not one for each tag. What these counts cannot tell is counted by the tags themselves: those
of attackers that are marked, in part or whole, and every question about some attackers only.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, String, and_, case, cast, func, literal, or_, select, union
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import aggregate_order_by

from decnet.db.repository.base import SqlRepository
from decnet.db.repository.conditions import (
    among,
    anybody_is_marked,
    tag_identity,
    tag_is_shown,
    tag_stands,
    tags_counted,
    with_tag_identity,
)
from decnet.db.rows.lists import Counted, Kind, OneCounted
from decnet.db.tables import table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


_TAG, _KIND, _COUNT = table("ttp_tag"), table("tag_kind"), table("tag_count")
_ATTACKER, _SESSION, _IDENTITY = table("attacker"), table("session"), table("identity")
_SEEN = _TAG.c.seen_at
_OF_KIND = and_(
    _TAG.c.rule_id == _KIND.c.rule_id,
    _TAG.c.technique_id == _KIND.c.technique_id,
    func.coalesce(_TAG.c.sub_technique_id, "") == _KIND.c.sub_technique_id,
    _TAG.c.tactic == _KIND.c.tactic,
)
"""Which tags are of a kind: in the words of the index of rules, which has all that is asked for."""
_BY_ONE = sql("SET LOCAL max_parallel_workers_per_gather = 0")
"""Several processes would sort their parts on disk, which is twice the work for all; more memory, and it would sort
all rows rather than come to them in order by their key."""
Where = Sequence[ColumnElement[bool]]


class _Row(NamedTuple):
    """Whose tags: the numbers of their kinds and how many there are of each, as texts.

    ``early`` are the kinds among them that were last seen before then.
    """

    attacker_uuid: str
    identity_uuid: str
    kinds: str
    tags: str | None = None
    early: str | None = None


class _Span(NamedTuple):
    """Tags since then by kind, or (``older``) those before: of the two the fewer, as it seems by their times."""

    older: bool
    tags: Mapping[int, int]


class CountsMixin(SqlRepository):
    """``tag_kind`` and ``tag_count``, read only: triggers write them."""

    async def _tally(
        self,
        session: AsyncSession,
        since: datetime | None = None,
        where: Where | None = None,
        ignored: bool = False,
        only: Collection[int] | None = None,
        until: datetime | None = None,
    ) -> Counted:
        """Tags that stand, by kind and by whose they are; ``where`` are conditions on ``ttp_tag``, None for everybody's.

        Unless ``ignored``, without those of sources that are marked. ``only`` are the kinds of interest: others may be
        there or not. Before ``until`` they are counted one by one: what is kept ends now.
        """
        marked = not ignored and await anybody_is_marked(session)
        late = [since <= _SEEN] if since is not None else []
        shown = [tag_is_shown()] if marked else []
        if until is not None:
            shown = [*shown, until > _SEEN]
        if where is not None:
            live = await _live(session, [*where, *late, *shown])
            return await asyncio.to_thread(_of_tags, await _kinds(session), live)
        if until is not None:
            return await self._of_span(session, [*late, *shown], shown)
        asked: list[ColumnElement[bool]] = [_COUNT.c.kind_id.in_(sorted(only))] if only is not None else []
        apart: Where = []
        if marked:
            some = await _partly_hidden(session)
            asked += [~among(_COUNT.c.attacker_uuid, some, self.db.dialect), _COUNT.c.attacker_uuid != ""]
            apart = [_theirs(some, self.db.dialect)]
        span = await _fewer(session, since, apart) if since is not None else None
        rows = await _kept(session, since, span, asked, self.db.dialect)
        live = await _live(session, [*apart, *late, *shown]) if marked else []
        who = await _who(session, rows, {one[-2] for one in live}, self.db.dialect)
        kinds = await _kinds(session)
        found = await asyncio.to_thread(_of_both, kinds, rows, who, span, live)
        return found._replace(last=await newest_of(session, found.tags, shown))

    async def _of_span(self, session: AsyncSession, where: Where, shown: Where) -> Counted:
        """Everybody's tags of a span, found by their times."""
        own = (_TAG.c.attacker_uuid, _TAG.c.identity_uuid)
        query = select(*own, _joined(_KIND.c.kind_id, self.db.dialect, _KIND.c.kind_id)).select_from(
            _TAG.join(_KIND, _OF_KIND)
        )
        found = (await session.execute(query.where(tag_stands(), *where).group_by(*own))).all()
        rows = [_Row(attacker or "", identity or "", kinds) for attacker, identity, kinds in found]
        who = await _who(session, rows, (), self.db.dialect)
        counted = await asyncio.to_thread(_of_rows, await _kinds(session), rows, who)
        return counted._replace(last=await newest_of(session, counted.tags, shown))

    async def _kinds_of(self, session: AsyncSession, attackers: Sequence[str]) -> dict[str, set[Kind]]:
        """The kinds of tags that each of some attackers has, ignored or not; who has none is left out."""
        listed = _joined(_COUNT.c.kind_id, self.db.dialect)
        query = select(_COUNT.c.attacker_uuid, listed).group_by(_COUNT.c.attacker_uuid)
        theirs = among(_COUNT.c.attacker_uuid, attackers, self.db.dialect)
        rows = (await session.execute(query.where(theirs))).all()
        kinds = await _kinds(session)
        known = {text: {kinds[number] for number in numbers(text)} for text in {text for _, text in rows}}
        return {uuid: known[text] for uuid, text in rows}


async def newest_of(
    session: AsyncSession, kinds: Collection[int], shown: Where, *, oldest: bool = False
) -> dict[int, datetime]:
    """When the newest tag of each of some kinds was seen, or the oldest: each from that end of the index of its rule."""
    own = select(_SEEN).where(_OF_KIND, tag_stands(), _SEEN.is_not(None), *shown).correlate(_KIND)
    end = own.order_by(_SEEN if oldest else _SEEN.desc()).limit(1).scalar_subquery()
    query = select(_KIND.c.kind_id, end).where(_KIND.c.kind_id.in_(sorted(kinds)))
    return {kind: seen for kind, seen in (await session.execute(query)).tuples() if seen is not None}


async def _kinds(session: AsyncSession) -> dict[int, Kind]:
    """All kinds by their ids: asked for last, since none ever goes."""
    columns = [_KIND.c[name] for name in ("kind_id", *Kind._fields)]
    return {
        kind: Kind(rule, technique, sub or None, tactic)
        for kind, rule, technique, sub, tactic in (await session.execute(select(*columns))).all()
    }


async def _partly_hidden(session: AsyncSession) -> list[str]:
    """Attackers that are marked, and those of marked sessions."""
    attackers = select(_ATTACKER.c.attacker_uuid).where(_ATTACKER.c.ignored_by.is_not(None))
    sessions = select(_SESSION.c.attacker_uuid).where(_SESSION.c.ignored_by.is_not(None))
    return [uuid for uuid in (await session.execute(union(attackers, sessions))).scalars() if uuid]


def _theirs(apart: Sequence[str], dialect: str) -> ColumnElement[bool]:
    """That a tag is of one of some attackers, or of none: the session alone tells whether such a one is shown."""
    return or_(among(_TAG.c.attacker_uuid, apart, dialect), _TAG.c.attacker_uuid.is_(None))


async def _kept(
    session: AsyncSession, since: datetime | None, span: _Span | None, where: Where, dialect: str
) -> list[_Row]:
    """What ``tag_count`` has: without a span or with an older one all of it, else what was last seen since then."""
    own = [_COUNT.c.attacker_uuid, _COUNT.c.identity_uuid]
    listed: list[ColumnElement[Any]] = [_COUNT.c.kind_id]
    if span is None or span.older:
        listed.append(_COUNT.c.tags)
    if span is not None and span.older:
        listed.append(case((or_(_COUNT.c.last.is_(None), _COUNT.c.last < since), _COUNT.c.kind_id)))
    late = [_COUNT.c.last >= since] if span is not None and not span.older else []
    query = select(*own, *(_joined(column, dialect) for column in listed)).where(*late, *where).group_by(*own)
    if dialect == "postgresql":
        await session.execute(_BY_ONE)
    return [_Row(*row) for row in (await session.execute(query)).all()]


async def _who(
    session: AsyncSession, rows: Sequence[_Row], others: Collection[str], dialect: str
) -> dict[tuple[str, str], str]:
    """Who some attackers (with the identity that their tags name) are now; who is left out is nobody else but itself.

    Those of an identity of several, and those whose identity has tags by its own name, or is one of ``others``.
    """
    odd = [row for row in rows if row.identity_uuid or not row.attacker_uuid]
    theirs = among(_IDENTITY.c.attacker_uuid, [row.attacker_uuid for row in odd], dialect)
    named = among(_IDENTITY.c.identity_uuid, [row.identity_uuid for row in odd], dialect)
    now = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
    columns = (_IDENTITY.c.attacker_uuid, _IDENTITY.c.identity_uuid, now)
    found = (await session.execute(select(*columns).where(or_(theirs, named)))).all() if odd else []
    owners, names = {row[0]: row[2] for row in found if row[0]}, {row[1]: row[2] for row in found}
    out = {}
    for attacker, identity, *_ in odd:
        alone = identity if attacker else names.get(identity, identity)
        out[attacker, identity] = owners.get(attacker) or alone or attacker
    winners = select(_IDENTITY.c.merged_into).where(_IDENTITY.c.merged_into.is_not(None))
    several = or_(_IDENTITY.c.merged_into.is_not(None), _IDENTITY.c.identity_uuid.in_(winners))
    asked = among(_IDENTITY.c.identity_uuid, sorted({*out.values(), *others}), dialect)
    query = select(_IDENTITY.c.attacker_uuid, now).where(
        _IDENTITY.c.attacker_uuid.is_not(None), or_(several, asked)
    )
    return out | {(attacker, ""): one for attacker, one in (await session.execute(query)).tuples()}


def _joined(column: Any, dialect: str, by: Any = _COUNT.c.kind_id) -> Any:
    """Numbers of a group as one text, in the order of its kinds: of some hundred thousand it is much less to hand over.

    Those who have the same have the same text then. SQLite comes to them in this order by itself.
    """
    if dialect == "sqlite":
        return func.group_concat(column)
    return func.string_agg(cast(column, String), aggregate_order_by(literal(","), by))


async def _fewer(session: AsyncSession, since: datetime, apart: Where) -> _Span:
    """The span that is to be counted; without the tags that are kept ``apart``."""
    dated = select(_SEEN).where(_SEEN.is_not(None)).limit(1)
    ends = [(await session.execute(dated.order_by(end))).scalar() for end in (_SEEN, _SEEN.desc())]
    older = None not in ends and since - ends[0] < ends[1] - since  # type: ignore[operator]
    asked = [since > _SEEN, _SEEN.is_(None)] if older else [since <= _SEEN]
    counts: Counter[int] = Counter()
    for span in asked:
        own = select(func.count()).select_from(_TAG).where(_OF_KIND, tag_stands(), span).correlate(_KIND)
        for kind, count in (await session.execute(select(_KIND.c.kind_id, own.scalar_subquery()))).all():
            counts[kind] += count
        if apart:
            joined = _TAG.join(_KIND, _OF_KIND)
            theirs = (
                select(_KIND.c.kind_id, func.count()).select_from(joined).where(*apart, tag_stands(), span)
            )
            for kind, count in await session.execute(theirs.group_by(_KIND.c.kind_id)):
                counts[kind] -= count
    return _Span(older, counts)


async def _live(session: AsyncSession, where: Where) -> Sequence[Any]:
    """Kind, attacker, last time, who that is now and number of tags that stand, counted by the tags themselves."""
    counted = tags_counted([tag_stands(), *where])
    columns = [counted.c[name] for name in (*Kind._fields, "attacker_uuid", "last")]
    who = func.coalesce(tag_identity(counted), counted.c.attacker_uuid)
    query = select(*columns, who, counted.c.tags).select_from(with_tag_identity(counted, counted))
    return (await session.execute(query)).all()


def _of_tags(kinds: Mapping[int, Kind], live: Sequence[Any]) -> Counted:
    """The tags that were counted one by one; a kind that the table of kinds lacks after all gets a number of its own."""
    ids = {kind: number for number, kind in kinds.items()}
    tags: Counter[int] = Counter()
    ones: dict[tuple[str | None, str], set[int]] = {}
    last: dict[int, datetime] = {}
    for *said, attacker, seen, who, count in live:
        number = ids.setdefault(Kind(*said), -len(ids) - 1)
        tags[number] += count
        if seen is not None:
            last[number] = max(seen, last.get(number, seen))
        ones.setdefault((attacker, who), set()).add(number)
    known = {number: kind for kind, number in ids.items()}
    return Counted(
        known, tags, last, [OneCounted(*one, ",".join(map(str, some))) for one, some in ones.items()]
    )


def _of_both(
    kinds: Mapping[int, Kind],
    rows: Sequence[_Row],
    who: Mapping[tuple[str, str], str],
    span: _Span | None,
    live: Sequence[Any],
) -> Counted:
    """What is kept, of a span, with what was counted by the tags themselves."""
    apart = _of_tags(kinds, live)
    kinds = apart.kinds
    tags = {kind: apart.tags.get(kind, 0) for kind in kinds}
    if span is None or span.older:
        for (listed, counts), times in Counter((row.kinds, row.tags or "") for row in rows).items():
            for kind, count in zip(numbers(listed), numbers(counts), strict=True):
                tags[kind] += count * times
    for kind, count in (span.tags if span else {}).items():
        tags[kind] += -count if span and span.older else count
    ones = [*apart.ones, *_ones(rows, who)]
    return Counted(kinds, {kind: count for kind, count in tags.items() if count}, {}, ones)


def _of_rows(kinds: Mapping[int, Kind], rows: Sequence[_Row], who: Mapping[tuple[str, str], str]) -> Counted:
    """Rows that name a kind as often as there are tags of it."""
    tags: Counter[int] = Counter()
    for listed, times in Counter(row.kinds for row in rows).items():
        for kind in numbers(listed):
            tags[kind] += times
    return Counted(kinds, tags, {}, list(_ones(rows, who)))


def _ones(rows: Sequence[_Row], who: Mapping[tuple[str, str], str]) -> Iterator[OneCounted]:
    """Whose the kinds of rows are. Many have the same: what is left of them is worked out once."""
    left: dict[tuple[str, str | None], str] = {}
    for attacker, identity, listed, _, early in rows:
        own = left.get((listed, early))
        if own is None:
            gone = set((early or "").split(","))
            own = ",".join(dict.fromkeys(number for number in listed.split(",") if number not in gone))
            left[listed, early] = own
        if own:
            yield OneCounted(attacker or None, who.get((attacker, identity), attacker), own)


def of_each(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[frozenset[int], int]]:
    """Different sets of kinds, and how many have each: of names with the kinds of one, which may come in several parts."""
    found: dict[str, str] = {}
    for name, listed in pairs:
        found[name] = f"{found[name]},{listed}" if name in found else listed
    for listed, times in Counter(found.values()).items():
        yield frozenset(numbers(listed)), times


def numbers(text: str) -> list[int]:
    """The numbers of a text, in its order."""
    return json.loads(f"[{text}]")  # type: ignore[no-any-return]
