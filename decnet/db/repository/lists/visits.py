"""Statements over the sessions of a span: whose they are, how bad, how many, at which hour. Only statements are made here.

A session is in a span in which it was alive: one that began before somebody left and ended afterwards is news. Sessions
that nobody has judged yet (they go on, or wait for it) are told with the others, by their own rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    Float,
    Select,
    String,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from decnet.db.repository.conditions import had_kind, session_is_shown
from decnet.db.tables import table
from decnet.events.ttp import RAN_CODE, SEVERITIES

_STORY, _THING, _SESSION = table("session_story"), table("session_thing"), table("session")
NOT_JUDGED = len(SEVERITIES)
"""The rank of a session without a story: behind all that have one."""
_OUTSIDE = SEVERITIES.index("info")
"""Sessions of this rank were not let in."""
_HIGH = SEVERITIES.index("high")
HASH = "hash"
_TEXTS = {3600: (13, "YYYY-MM-DD HH24", "hour"), 86_400: (10, "YYYY-MM-DD", "day")}
"""Seconds of a bucket → the characters of a stored time that name it, and the same and its word for PostgreSQL."""
_BEHIND = "~"
"""A character behind all that a stored time has."""


class Span(NamedTuple):
    """From ``begin`` to before ``end``; ``wide`` is a large part of what is stored."""

    begin: datetime
    end: datetime
    wide: bool = False

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.begin).total_seconds()


def judged_in(span: Span, marked: bool, story: Any = _STORY) -> list[ColumnElement[bool]]:
    """Condition on ``session_story``: alive in the span; ``marked``: some are to be left out."""
    # A sum: rows of a wide span are not looked up by their ends, but read through in the order that is asked for.
    ended = story.c.ended_at + 0 if span.wide else story.c.ended_at
    where = [
        ended >= span.begin.timestamp(),
        story.c.seen_at < span.end,
        story.c.attacker_uuid.is_not(None),
    ]
    return [*where, session_is_shown(story.c.session_id)] if marked else where


def unjudged_in(span: Span) -> list[ColumnElement[bool]]:
    """Condition on ``session``: alive in the span, and without a story. Few are ever untagged: those are looked through."""
    known = select(literal(1)).where(_STORY.c.session_id == _SESSION.c.session_id).exists()
    return [
        _SESSION.c.tagged_at.is_(None),
        _SESSION.c.attacker_uuid.is_not(None),
        _SESSION.c.started_at < span.end,
        func.coalesce(_SESSION.c.ended_at, _SESSION.c.started_at) >= span.begin,
        _SESSION.c.ignored_by.is_(None),
        ~known,
    ]


def _judged(span: Span, marked: bool, dialect: str) -> Select[Any]:
    """Sources by their judged sessions. By the index of sources only of a wide span, where it is the way to all of them.

    PostgreSQL sorts each group to count what differs in it: there it is grouped by scripts first, in a third of the time.
    """
    story = _STORY.c
    whose = story.attacker_uuid if span.wide else func.coalesce(story.attacker_uuid, "")
    entered = func.sum(case((story.rank < _OUTSIDE, 1), else_=0))
    figures = (func.min(story.rank).label("rank"), func.count().label("sessions"))
    last = (entered.label("entered"), func.max(story.seen_at).label("begun"))
    where = judged_in(span, marked)
    if dialect == "sqlite":
        others = func.count(story.playbook.distinct()).label("others")
        return select(whose.label("attacker_uuid"), *figures, others, *last).where(*where).group_by(whose)
    by_script = select(whose.label("attacker_uuid"), story.playbook, *figures, *last).where(*where)
    each = by_script.group_by(whose, story.playbook).subquery("by_script").c
    return select(
        each.attacker_uuid,
        func.min(each.rank).label("rank"),
        func.sum(each.sessions).label("sessions"),
        func.count(each.playbook).label("others"),
        func.sum(each.entered).label("entered"),
        func.max(each.begun).label("begun"),
    ).group_by(each.attacker_uuid)


def _unjudged(span: Span) -> Select[Any]:
    """The same of sessions that nobody has judged."""
    counts = (literal(NOT_JUDGED), func.count(), literal(0), literal(0), func.max(_SESSION.c.started_at))
    query = select(_SESSION.c.attacker_uuid, *counts).where(*unjudged_in(span))
    return query.group_by(_SESSION.c.attacker_uuid)


def sources_in(span: Span, marked: bool, most: int, dialect: str) -> Any:
    """Sources by the worst that they did, ``most`` at most, then for each rank (without attacker) what there is in all.

    Columns: attacker_uuid, rank, sessions, others (of a source its playbooks, of a rank its sources), entered,
    begun (the start of the last one), session_id (of a source the newest of its worst).
    """
    visits = union_all(_judged(span, marked, dialect), _unjudged(span)).subquery("visits")
    part = visits.c
    whose = (
        select(
            part.attacker_uuid,
            func.min(part.rank).label("rank"),
            func.sum(part.sessions).label("sessions"),
            func.sum(part.others).label("others"),
            func.sum(part.entered).label("entered"),
            func.max(part.begun).label("begun"),
        )
        .group_by(part.attacker_uuid)
        .cte("whose")
    )
    order = (whose.c.rank, whose.c.others.desc(), whose.c.begun.desc(), whose.c.attacker_uuid)
    top = select(whose).order_by(*order).limit(most).subquery("top")
    each = select(*top.c, _to_read(top, span, marked).label("session_id"))
    return union_all(each, _by_rank(whose))


def _by_rank(whose: CTE) -> Select[Any]:
    counts = (func.sum(whose.c.sessions), func.count(), func.sum(whose.c.entered))
    return select(
        cast(null(), String), whose.c.rank, *counts, func.max(whose.c.begun), cast(null(), String)
    ).group_by(whose.c.rank)  # fmt: skip


def times_in(span: Span, marked: bool, sources: Sequence[str]) -> Any:
    """Of some sources when their first session in the span began, and when the last of the judged ones ended.

    Columns: attacker_uuid, first, ended (epoch seconds); a source may have two rows.
    """
    # As wide: the index of sources is the way to them, whatever the span.
    own = [_STORY.c.attacker_uuid.in_(sources), *judged_in(span._replace(wide=True), marked)]
    ends = (func.min(_STORY.c.seen_at).label("first"), func.max(_STORY.c.ended_at).label("ended"))
    judged = select(_STORY.c.attacker_uuid, *ends).where(*own).group_by(_STORY.c.attacker_uuid)
    theirs = [_SESSION.c.attacker_uuid.in_(sources), *unjudged_in(span)]
    began = select(_SESSION.c.attacker_uuid, func.min(_SESSION.c.started_at), cast(null(), Float))
    return union_all(judged, began.where(*theirs).group_by(_SESSION.c.attacker_uuid))


def _to_read(top: Any, span: Span, marked: bool) -> ColumnElement[Any]:
    """The newest of the worst sessions of a source, of the one in a row of ``top``."""
    # Sums, so that the index of the attacker is the only one: that of ranks or ends would be gone through for each.
    own = (
        _STORY.c.attacker_uuid == top.c.attacker_uuid,
        _STORY.c.rank + 0 == top.c.rank,
        _STORY.c.ended_at + 0 >= span.begin.timestamp(),
        _STORY.c.seen_at < span.end,
    )
    shown = [session_is_shown(_STORY.c.session_id)] if marked else []
    judged = select(_STORY.c.session_id).where(*own, *shown)
    newest = judged.order_by(_STORY.c.seen_at.desc(), _STORY.c.session_id).limit(1).correlate(top)
    running = select(_SESSION.c.session_id).where(
        _SESSION.c.attacker_uuid == top.c.attacker_uuid, *unjudged_in(span)
    )
    last = running.order_by(_SESSION.c.started_at.desc(), _SESSION.c.session_id).limit(1).correlate(top)
    return func.coalesce(newest.scalar_subquery(), last.scalar_subquery())


def counts_in(now: Span, before: Sequence[Span], marked: bool, dialect: str) -> Any:
    """A row for the span (``place`` 0) and for each of those before it: sources, sessions, got_in, ran_code, files.

    Of the span itself the first three are told by :func:`sources_in`, and are 0 here.
    """
    nothing = [literal(0).label(name) for name in ("sources", "sessions", "got_in")]
    rows: list[Any] = [select(literal(0).label("place"), *nothing, *_marks(now, marked))]
    for place, span in enumerate(before, 1):
        visits, where = _visits(span, marked, dialect)
        rows.append(select(literal(place), *visits, *_marks(span, marked)).where(*where))
    return union_all(*rows)


def _visits(
    span: Span, marked: bool, dialect: str
) -> tuple[list[ColumnElement[Any]], list[ColumnElement[bool]]]:
    """Sources, sessions and let in ones of a span that others follow, and whose; for PostgreSQL see :func:`_judged`."""
    story = _STORY.c
    where = [*judged_in(span, marked), story.ended_at < span.end.timestamp()]
    entered = func.coalesce(func.sum(case((story.rank < _OUTSIDE, 1), else_=0)), 0).label("entered")
    sessions = func.count().label("sessions")
    if dialect == "sqlite":
        return [func.count(story.attacker_uuid.distinct()), sessions, entered], where
    each = select(sessions, entered).where(*where).group_by(story.attacker_uuid).subquery("each").c
    return [
        func.count(),
        func.coalesce(func.sum(each.sessions), 0),
        func.coalesce(func.sum(each.entered), 0),
    ], []


def things_in(kind: str, span: Span) -> list[ColumnElement[bool]]:
    """Condition on ``session_thing``: of a kind, in the span. All of a kind are read, by their values, for a wide one."""
    if span.wide:
        seen: Any = func.coalesce(_THING.c.seen_at, span.end)
        return [_THING.c.kind == kind, seen >= span.begin, seen < span.end]
    return [had_kind(kind), _THING.c.seen_at >= span.begin, _THING.c.seen_at < span.end]


def _marks(span: Span, marked: bool) -> list[ColumnElement[Any]]:
    """Sessions that ran code of their own, and different files, of a span."""
    story = _STORY.alias()
    ran = select(func.count()).where(
        story.c.rank.in_(range(_HIGH + 1)),  # each by its index
        or_(*(story.c.reason.like(text) for text in RAN_CODE)),
        *judged_in(span, marked, story),
    )
    brought = and_(*things_in(HASH, span))
    files = select(func.count(_THING.c.value.distinct())).where(brought)
    if marked:
        files = files.where(session_is_shown(_THING.c.session_id))
    return [ran.scalar_subquery().label("ran_code"), files.scalar_subquery().label("files")]


def rhythm_of(span: Span, marked: bool, bucket_s: int, dialect: str) -> list[Select[Any]]:
    """Buckets (as texts in UTC) with the sessions that began in them: the judged ones, then the others.

    Judged ones are counted a bucket at a time by the index of when they began, which leads from each to the next one
    that has any: to name the bucket of every session, and to group by that, takes five times as long.
    """
    seen, bucket = _STORY.c.seen_at, _Bucket(bucket_s, dialect)
    # Of two bounds on one side SQLite's index takes either: the other one is asked of each row.
    before_end = func.coalesce(seen, span.end) < span.end
    whose = _STORY.c.attacker_uuid.is_not(None)

    def next_from(*bounds: ColumnElement[bool]) -> Select[Any]:
        return select(seen).where(*bounds, whose).order_by(seen).limit(1)

    first = next_from(seen >= span.begin, seen < span.end).scalar_subquery()
    each = select(first.label("first")).cte("each", recursive=True)
    behind = bucket.end(each.c.first)
    later = next_from(seen >= behind).correlate(each).scalar_subquery()
    each = each.union_all(select(later).where(each.c.first < span.end))
    inside = (seen >= each.c.first, seen < bucket.end(each.c.first), before_end, whose)
    ended = _STORY.c.ended_at + 0 >= span.begin.timestamp()  # a sum: not by the index of ends
    shown = [session_is_shown(_STORY.c.session_id)] if marked else []
    count = select(func.count()).where(*inside, ended, *shown).correlate(each).scalar_subquery()
    judged = select(bucket.text(each.c.first), count).where(each.c.first < span.end)
    began = _SESSION.c.started_at
    named = (
        select(bucket.text(began).label("bucket")).where(began >= span.begin, *unjudged_in(span)).subquery()
    )
    return [judged, select(named.c.bucket, func.count()).group_by(named.c.bucket)]


class _Bucket(NamedTuple):
    """An hour, or a day, of UTC in the words of a database: SQLite has moments as texts, whose beginnings are buckets."""

    seconds: int
    dialect: str

    def end(self, moment: Any) -> ColumnElement[Any]:
        """What is behind all moments of the one that a moment is in."""
        chars, _, unit = _TEXTS[self.seconds]
        if self.dialect == "sqlite":
            return func.substr(moment, 1, chars, type_=String) + _BEHIND
        begin: Any = func.date_trunc(unit, moment, "UTC", type_=DateTime(timezone=True))
        return begin + timedelta(seconds=self.seconds)  # type: ignore[no-any-return]

    def text(self, moment: Any) -> ColumnElement[Any]:
        """The name of the one that a moment is in."""
        chars, form, _ = _TEXTS[self.seconds]
        if self.dialect == "sqlite":
            return func.substr(moment, 1, chars)
        return func.to_char(func.timezone("UTC", moment), form)
