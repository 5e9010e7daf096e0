"""Statements over the sessions of a span: whose they are, how bad, how many, at which hour. Only statements are made here.

A session is in a span in which it was alive: one that began before somebody left and ended afterwards is news. Sessions
that nobody has judged yet (they go on, or wait for it) are told with the others, by their own rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
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
_TEXTS = {3600: (13, "YYYY-MM-DD HH24"), 86_400: (10, "YYYY-MM-DD")}
"""Seconds of a bucket → the characters of a stored time that name it, and the same for PostgreSQL."""


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


def _judged(span: Span, marked: bool) -> Select[Any]:
    """Sources by their judged sessions. By the index of sources only of a wide span, where it is the way to all of them."""
    story = _STORY.c
    whose = story.attacker_uuid if span.wide else func.coalesce(story.attacker_uuid, "")
    return (
        select(
            whose.label("attacker_uuid"),
            func.min(story.rank).label("rank"),
            func.count().label("sessions"),
            func.count(story.playbook.distinct()).label("others"),
            func.sum(case((story.rank < _OUTSIDE, 1), else_=0)).label("entered"),
            func.min(story.seen_at).label("first"),
            func.max(story.seen_at).label("begun"),
            func.max(story.ended_at).label("ended"),
        )
        .where(*judged_in(span, marked))
        .group_by(whose)
    )


def _unjudged(span: Span) -> Select[Any]:
    """The same of sessions that nobody has judged."""
    began = _SESSION.c.started_at
    counts = (literal(NOT_JUDGED), func.count(), literal(0), literal(0), func.min(began), func.max(began))
    query = select(_SESSION.c.attacker_uuid, *counts, cast(null(), Float)).where(*unjudged_in(span))
    return query.group_by(_SESSION.c.attacker_uuid)


def sources_in(span: Span, marked: bool, most: int) -> Any:
    """Sources by the worst that they did, ``most`` at most, then for each rank (without attacker) what there is in all.

    Columns: attacker_uuid, rank, sessions, others (of a source its playbooks, of a rank its sources), entered, first,
    begun (the start of the last one), ended (epoch seconds), session_id (of a source the newest of its worst).
    """
    visits = union_all(_judged(span, marked), _unjudged(span)).subquery("visits")
    part = visits.c
    whose = (
        select(
            part.attacker_uuid,
            func.min(part.rank).label("rank"),
            func.sum(part.sessions).label("sessions"),
            func.sum(part.others).label("others"),
            func.sum(part.entered).label("entered"),
            func.min(part.first).label("first"),
            func.max(part.begun).label("begun"),
            func.max(part.ended).label("ended"),
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
    ends = (func.min(whose.c.first), func.max(whose.c.begun), func.max(whose.c.ended))
    return select(
        cast(null(), String), whose.c.rank, *counts, *ends, cast(null(), String)
    ).group_by(whose.c.rank)  # fmt: skip


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


def counts_in(now: Span, before: Sequence[Span], marked: bool) -> Any:
    """A row for the span (``place`` 0) and for each of those before it: sources, sessions, got_in, ran_code, files.

    Of the span itself the first three are told by :func:`sources_in`, and are 0 here.
    """
    nothing = [literal(0).label(name) for name in ("sources", "sessions", "got_in")]
    rows: list[Any] = [select(literal(0).label("place"), *nothing, *_marks(now, marked))]
    for place, span in enumerate(before, 1):
        entered = func.sum(case((_STORY.c.rank < _OUTSIDE, 1), else_=0))
        counts = (func.count(_STORY.c.attacker_uuid.distinct()), func.count(), func.coalesce(entered, 0))
        ended = _STORY.c.ended_at < span.end.timestamp()
        query = select(literal(place), *counts, *_marks(span, marked)).where(*judged_in(span, marked), ended)
        rows.append(query)
    return union_all(*rows)


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
        story.c.rank <= _HIGH,
        or_(*(story.c.reason.like(text) for text in RAN_CODE)),
        *judged_in(span, marked, story),
    )
    brought = and_(*things_in(HASH, span))
    files = select(func.count(_THING.c.value.distinct())).where(brought)
    if marked:
        files = files.where(session_is_shown(_THING.c.session_id))
    return [ran.scalar_subquery().label("ran_code"), files.scalar_subquery().label("files")]


def rhythm_of(span: Span, marked: bool, bucket_s: int, dialect: str) -> Any:
    """Buckets (as texts in UTC) with the sessions that began in them."""
    chars, form = _TEXTS[bucket_s]

    def by_bucket(moment: Any, where: Sequence[ColumnElement[bool]]) -> Select[Any]:
        text: ColumnElement[Any] = (
            func.substr(moment, 1, chars)
            if dialect == "sqlite"
            else func.to_char(func.timezone("UTC", moment), form)
        )
        named = select(text.label("bucket")).where(moment >= span.begin, *where).subquery()
        return select(named.c.bucket, func.count().label("sessions")).group_by(named.c.bucket)

    judged = by_bucket(_STORY.c.seen_at, judged_in(span._replace(wide=False), marked))
    both = union_all(judged, by_bucket(_SESSION.c.started_at, unjudged_in(span))).subquery("both")
    return select(both.c.bucket, func.sum(both.c.sessions)).group_by(both.c.bucket).order_by(both.c.bucket)
