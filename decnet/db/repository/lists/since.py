"""Repository, part since: what happened in a span, for the first screen and ``summary``; one call has all of it.

Who is read first is the worst first; of like ones those whose worst session brought something that nobody had brought
before, then those of more scripts. How many sessions there were never counts. Ignored sources are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, select

from decnet.db.repository.attribution.alerts import AlertsMixin
from decnet.db.repository.base import CHUNK, Row, chunks, shaped
from decnet.db.repository.conditions import anybody_is_marked
from decnet.db.repository.fleet import FleetMixin
from decnet.db.repository.journal import JournalMixin
from decnet.db.repository.lists.novel import BEGINNING, NovelMixin, history_of, with_news
from decnet.db.repository.lists.ties import TIED, ties_of
from decnet.db.repository.lists.visits import NOT_JUDGED, Span, counts_in, rhythm_of, sources_in, times_in
from decnet.db.repository.recorder.attackers import AttackersMixin
from decnet.db.repository.runtime.work import WorkMixin
from decnet.db.rows.since import SinceRows, SomeNew, SourceSince, SpanTotals, Tie
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.events.ttp import SEVERITIES

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_SESSION, _STORY = table("session"), table("session_story")
_ATTACKER, _IDENTITY = table("attacker"), table("identity")
_CANONICAL = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
LOOKED_AT = 500
"""Sources, the worst first, among which those that brought something new are told."""
USUAL = 7
"""Spans before this one that say what is usual."""
HOURS_UNTIL = timedelta(days=3)
"""A longer span is told by days."""
WIDE = 6
"""A span of more than this part of the history is read through whole: half as dear a session as one by one."""
_HOUR, _DAY = 3600, 86_400
_THINGS = ("hash", "host", "key")


class _Sources(NamedTuple):
    """Sources of a span: the worst, and for each rank how many sources, sessions and let in ones there are."""

    top: list[Row]
    ranks: dict[int, Row]


class SinceMixin(FleetMixin, WorkMixin, AlertsMixin, AttackersMixin, JournalMixin, NovelMixin):
    """One question over many tables."""

    async def since(
        self, begin: datetime | float, end: datetime | float, limit: int = 50, *, clear: bool = False
    ) -> SinceRows:
        """What happened from ``begin`` to before ``end``, and what needs somebody now; ``limit`` sources, 0 for all.

        ``clear`` shows secrets of log-ins as they were typed, where that was kept. The parts are read at once, and
        what is stored meanwhile may be in some of them already.
        """
        span = Span(_moment(begin), _moment(end))
        async with self._read() as session:
            marked = await anybody_is_marked(session)
            history, last = await history_of(session)
        span = span._replace(wide=_is_wide(span, history, last))
        new_from = None if history is None else max(span.begin, history + BEGINNING)
        new = None if new_from is None or new_from >= span.end else span._replace(begin=new_from)
        before = _before(span, history)
        bucket_s = _HOUR if _told_span(span, history) <= HOURS_UNTIL else _DAY
        (
            (ranked, ranks, ties),
            told,
            counts,
            (new_sources, files, hosts, keys, logins),
            rest,
        ) = await self._at_once(
            lambda: self._read_first(span, marked, limit, new),
            lambda: self._rhythm(span, marked, bucket_s),
            lambda: self._counts(span, before, marked),
            lambda: self._news(new, marked, clear=clear),
            lambda: self._needs(span, new),
        )
        techniques, alerts, addresses, changes, journal, heartbeats = rest
        return SinceRows(
            span.begin,
            span.end,
            history,
            new.begin if new is not None else None,
            _totals(ranks, counts[0]),
            new_sources,
            _usual(counts[1:]),
            len(before),
            told,
            bucket_s,
            ranked[: limit or None],
            {_severity(rank): int(row["others"]) for rank, row in sorted(ranks.items())},
            files,
            hosts,
            keys,
            logins,
            techniques,
            alerts,
            addresses,
            changes,
            journal,
            heartbeats,
            ties,
        )

    async def _read_first(
        self, span: Span, marked: bool, limit: int, new: Span | None
    ) -> tuple[list[SourceSince], dict[int, Row], list[Tie]]:
        """The sources in the order in which they are to be read; what there is of each rank; what ties them to before."""
        async with self._read() as session:
            top, ranks = await self._sources(session, span, marked, limit)
            news = await with_news(session, [row["session_id"] for row in top])
            top = sorted(
                top,
                key=lambda r: (r["rank"], r["session_id"] not in news, -r["others"], -r["begun"].timestamp()),
            )
            ranked: list[SourceSince] = []
            for some in chunks(top, max(limit, TIED) if limit else CHUNK):
                rows = await self._rows(session, _details([row["session_id"] for row in some]))
                details = {row["session_id"]: row for row in rows}
                ends = await _ends(session, span, marked, [row["attacker_uuid"] for row in some])
                found = [(row, details[row["session_id"]]) for row in some if row["session_id"] in details]
                ranked += [
                    _source({**row, **ends[row["attacker_uuid"]]}, one, new, row["session_id"] in news)
                    for row, one in found
                ]
                if limit and len(ranked) >= max(limit, TIED):
                    break
            worst = [one["attacker_uuid"] for one in ranked if one["severity"] not in (None, "info")]
            return ranked, ranks, await ties_of(session, worst, span.begin, marked)

    async def _rhythm(self, span: Span, marked: bool, bucket_s: int) -> list[tuple[datetime, int]]:
        async with self._read() as session:
            told: Counter[str] = Counter()
            for query in rhythm_of(span, marked, bucket_s, self.db.dialect):
                told.update({str(text): int(count) for text, count in (await session.execute(query)).all()})
            return [(_bucket(text), count) for text, count in sorted(told.items()) if count]

    async def _counts(self, span: Span, before: Sequence[Span], marked: bool) -> list[Row]:
        async with self._read() as session:
            return await self._rows(session, counts_in(span, before, marked, self.db.dialect))

    async def _news(self, new: Span | None, marked: bool, *, clear: bool) -> list[Any]:
        """Sources that are new, then files, hosts, keys and log-ins."""
        if new is None:
            return [0, _NONE, _NONE, _NONE, _NONE]
        async with self._read() as session:
            return [
                await _new_sources(session, new),
                *[await self._new_things(session, kind, new, marked) for kind in _THINGS],
                await self._new_logins(session, new, marked, clear=clear),
            ]

    async def _needs(self, span: Span, new: Span | None) -> list[Any]:
        """New techniques, open alerts with addresses, ended mutations, journal, heartbeats."""
        techniques = await self.new_techniques(new.begin, new.end) if new else []
        alerts = [row for row in await self.list_alerts(limit=0) if row["state"] != "resolved"]
        return [
            techniques,
            alerts,
            await self.addresses_of_attackers(
                {uuid for row in alerts for uuid in row["attacker_uuids"] or ()}
            ),
            await self.mutations(states=("applied", "failed"), since=span.begin, limit=0),
            await self.journal(),
            await self.heartbeats(),
        ]

    async def _sources(self, session: AsyncSession, span: Span, marked: bool, limit: int) -> _Sources:
        most = max(LOOKED_AT, limit) if limit else 2**31 - 1
        rows = await self._rows(session, sources_in(span, marked, most, self.db.dialect))
        top = [row for row in rows if row["attacker_uuid"] is not None]
        return _Sources(top, {int(row["rank"]): row for row in rows if row["attacker_uuid"] is None})


_NONE = SomeNew(0, ())


def _moment(value: datetime | float) -> datetime:
    moment = as_utc(value)
    assert moment is not None
    return moment


def _is_wide(span: Span, history: datetime | None, last: datetime | None) -> bool:
    """Whether a span has a large part of all sessions, as it seems by their times."""
    if history is None or last is None:
        return False
    return (min(span.end, last) - max(span.begin, history)) * WIDE > last - history


def _told_span(span: Span, history: datetime | None) -> timedelta:
    return span.end - max(span.begin, history or span.begin)


def _before(span: Span, history: datetime | None) -> list[Span]:
    """The spans of the same length before this one, as far as the history goes."""
    length = span.end - span.begin
    if history is None or length.total_seconds() <= 0:
        return []
    found = []
    for number in range(1, USUAL + 1):
        if span.begin - history < number * length:
            break
        found.append(Span(span.begin - number * length, span.begin - (number - 1) * length))
    return found


def _bucket(text: str) -> datetime:
    return datetime.strptime(text[:13], "%Y-%m-%d %H" if len(text) > 10 else "%Y-%m-%d").replace(tzinfo=UTC)


def _severity(rank: int) -> str | None:
    return None if rank >= NOT_JUDGED else SEVERITIES[rank]


def _totals(ranks: Mapping[int, Row], counts: Row) -> SpanTotals:
    summed: Counter[str] = Counter()
    for row in ranks.values():
        summed.update({name: int(row[name] or 0) for name in ("others", "sessions", "entered")})
    return {
        "sources": summed["others"],
        "sessions": summed["sessions"],
        "got_in": summed["entered"],
        "ran_code": int(counts["ran_code"]),
        "files": int(counts["files"]),
    }


def _usual(rows: Sequence[Row]) -> SpanTotals | None:
    """The medians."""
    if not rows:
        return None
    return shaped(
        SpanTotals, {name: round(median(int(row[name]) for row in rows)) for name in SpanTotals.__annotations__}
    )  # fmt: skip


async def _new_sources(session: AsyncSession, new: Span) -> int:
    where = (
        _ATTACKER.c.last_seen
        >= new.begin,  # by its index: who was first seen since then was last seen since then
        _ATTACKER.c.first_seen >= new.begin,
        _ATTACKER.c.first_seen < new.end,
        _ATTACKER.c.ignored_by.is_(None),
    )
    return int(
        (await session.execute(select(func.count()).select_from(_ATTACKER).where(*where))).scalar_one()
    )


async def _ends(session: AsyncSession, span: Span, marked: bool, sources: Sequence[str]) -> dict[str, Row]:
    """When the first session of each began (``first``), and the last end of one (``ended``, epoch seconds, if any)."""
    found: dict[str, Row] = {}
    for uuid, first, ended in (await session.execute(times_in(span, marked, sources))).all():
        known = found.get(uuid, {"first": first, "ended": ended})
        both = [end for end in (known["ended"], ended) if end is not None]
        found[uuid] = {"first": min(known["first"], first), "ended": max(both, default=None)}
    return found


def _details(sessions: Sequence[str]) -> Any:
    columns = [
        _SESSION.c[name] for name in ("session_id", "attacker_uuid", "attacker_ip", "decky_id", "service")
    ]
    told = (
        _STORY.c.severity,
        _STORY.c.reason.label("severity_reason"),
        _STORY.c.playbook,
        _STORY.c.line.label("story_line"),
    )
    owner = (_ATTACKER.c.first_seen, _CANONICAL.label("identity_uuid"))
    joined = _SESSION.outerjoin(_STORY, _STORY.c.session_id == _SESSION.c.session_id)
    joined = joined.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _SESSION.c.attacker_uuid)
    joined = joined.outerjoin(_IDENTITY, _IDENTITY.c.attacker_uuid == _SESSION.c.attacker_uuid)
    query = select(*columns, *told, *owner).select_from(joined)
    return query.where(_SESSION.c.session_id.in_(sessions))


def _source(row: Row, told: Row, new: Span | None, unseen: bool) -> SourceSince:
    first_seen = told.pop("first_seen")
    ended = as_utc(row["ended"]) if row["ended"] is not None else row["begun"]
    return shaped(
        SourceSince,
        {
            **told,
            "sessions": int(row["sessions"]),
            "playbooks": int(row["others"]),
            "first": row["first"],
            "last": max(row["begun"], ended),
            "new": new is not None and first_seen is not None and first_seen >= new.begin,
            "unseen": unseen,
        },
    )
