"""Sessions that ended are judged: their story, severity and playbook stored with their tags, and told of.

Everything follows from the session's own events and tags, so that a second delivery, a back-fill and another order of
sessions end with the same rows. What windows over several sessions say is no part of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from decnet.bus import topics
from decnet.db.rows.story import StoryRow, ThingRow
from decnet.db.types import as_utc
from decnet.events.session import SessionEnded
from decnet.events.ttp import SEVERITIES, SessionJudged
from decnet.hostile import storable_text
from decnet.ids import event_id
from decnet.runtime.worker import Transaction
from decnet.ttp.acts import Mark
from decnet.ttp.base import TaggerEvent, TTPTag
from decnet.ttp.course import moves_of
from decnet.ttp.novelty import Thing, things_of
from decnet.ttp.story import Story, story_of
from decnet.ttp.suppression import IgnoredSources

if TYPE_CHECKING:
    from datetime import datetime

    from decnet.db.repository import BaseRepository
    from decnet.db.rows.ttp import StoredTag

_TOPIC = topics.ttp(topics.TTP_SESSION_JUDGED)
_LOGIN_KINDS = frozenset({"credential", "auth_attempt"})
_SAME = ("severity", "reason", "line", "playbook", "story")


class Verdict(NamedTuple):
    """What a session amounts to, and what of it can be new."""

    session: SessionEnded
    story: Story
    things: Sequence[Thing]


async def judge_session(
    ended: Sequence[SessionEnded],
    events: Iterable[TaggerEvent],
    tags: Sequence[TTPTag],
    tx: Transaction,
    sources: IgnoredSources | None = None,
    over_many: Collection[str] = (),
) -> None:
    """Judges sessions by the events that were tagged and their tags; stores what changed and publishes it.

    ``sources`` are those that nobody is to be told of; their stories are stored all the same. ``over_many`` are the ids
    of rules that speak of several events.
    """
    if not ended:
        return
    logins = await _logins(sorted({one.session_id for one in ended}), tags, tx.repo, over_many)
    verdicts = await asyncio.to_thread(verdicts_of, ended, list(events), tags, logins)
    rows = {row["session_id"]: row for row in map(_row, verdicts)}
    known = await tx.repo.stories(rows)
    things = [row for verdict in verdicts for row in _things(verdict)]
    await tx.repo.keep_stories(list(rows.values()), things)
    hidden = sources or IgnoredSources()
    for verdict in verdicts:
        row = rows[storable_text(verdict.session.session_id)]
        if _news(row, known.get(row["session_id"])) and not hidden.covers_session(
            verdict.session.attacker, verdict.session.session_id
        ):
            await _publish(verdict, tx)


async def sessions_told_before(tags: Iterable[TTPTag], repo: BaseRepository) -> Sequence[str]:
    """The sessions whose stories were told before these tags of their captured credentials came."""
    return sorted(await repo.stories({tag.session_id for tag in tags if tag.session_id and is_login(tag)}))


def is_login(tag: TTPTag) -> bool:
    """Whether a tag is about a credential that a session was captured with: it comes by an event of its own."""
    return _of_login(tag.session_id, tag.source_kind, tag.source_id)


def _of_login(session: str | None, kind: str, source: str) -> bool:
    return session is not None and kind in _LOGIN_KINDS and source.startswith(f"{session}#")


async def _logins(
    sessions: Sequence[str], tags: Iterable[TTPTag], repo: BaseRepository, over_many: Collection[str]
) -> Mapping[str, Sequence[Mark]]:
    """What tags of captured credentials say, by session, whether they were stored before or come now; sorted."""
    found: dict[str, set[Mark]] = defaultdict(set)
    for row in await repo.tags_of_sessions(sessions):
        standing = row["replaced_by"] is None and row["rule_id"] not in over_many
        if standing and _of_login(row["session_id"], row["source_kind"], row["source_id"]):
            found[row["session_id"]].add(_mark(row))
    for tag in tags:
        if tag.session_id and is_login(tag):
            found[tag.session_id].add(mark_of(tag))
    return {session: sorted(marks) for session, marks in found.items()}


def verdicts_of(
    ended: Iterable[SessionEnded],
    events: Iterable[TaggerEvent],
    tags: Iterable[TTPTag],
    logins: Mapping[str, Sequence[Mark]],
) -> list[Verdict]:
    """What sessions amount to; of one that came twice the later telling counts."""
    of_session: dict[str, list[TaggerEvent]] = defaultdict(list)
    for event in events:
        if event.session_id:
            of_session[event.session_id].append(event)
    marks: dict[str, dict[str, list[Mark]]] = defaultdict(lambda: defaultdict(list))
    for tag in tags:
        if tag.session_id:
            marks[tag.session_id][tag.source_id].append(mark_of(tag))
    sessions = {one.session_id: one for one in sorted(ended, key=_state)}
    return [
        _verdict(one, of_session[key], marks[key], logins.get(key, ()))
        for key, one in sorted(sessions.items())
    ]


def mark_of(tag: TTPTag) -> Mark:
    """What a stored tag says of a step."""
    technique = tag.sub_technique_id or tag.technique_id
    return Mark(technique, tag.tactic, _matched(tag.evidence), tag.confidence)


def _mark(row: StoredTag) -> Mark:
    technique = row["sub_technique_id"] or row["technique_id"]
    return Mark(technique, row["tactic"], _matched(row["evidence"]), row["confidence"])


def _matched(evidence: Mapping[str, Any] | None) -> str:
    matched = (evidence or {}).get("matched")
    return matched if isinstance(matched, str) else ""


def _state(session: SessionEnded) -> tuple[float, int]:
    return session.ended_at, len(session.commands)


def _verdict(
    session: SessionEnded,
    events: Sequence[TaggerEvent],
    marks: Mapping[str, Sequence[Mark]],
    logins: Sequence[Mark],
) -> Verdict:
    moves = moves_of(session, events, marks, logins)
    story = story_of(moves)
    return Verdict(session, story, things_of(session, moves, story.playbook))


def _row(verdict: Verdict) -> StoryRow:
    session, story = verdict.session, verdict.story
    ended, lines = _state(session)
    return {
        "session_id": storable_text(session.session_id),
        "attacker_uuid": session.attacker,
        "severity": story.severity,
        "rank": SEVERITIES.index(story.severity),
        "reason": storable_text(story.reason),
        "line": storable_text(story.line),
        "playbook": story.playbook,
        "story": [*story.phases],
        "seen_at": _began(session),
        "ended_at": ended,
        "lines": lines,
    }


def _began(session: SessionEnded) -> datetime:
    moment = as_utc(session.ended_at if session.started_at is None else session.started_at)
    assert moment is not None
    return moment


def _things(verdict: Verdict) -> Iterable[ThingRow]:
    ident, seen = storable_text(verdict.session.session_id), _began(verdict.session)
    for thing in verdict.things:
        yield {"session_id": ident, "kind": thing.kind, "value": storable_text(thing.value), "seen_at": seen}


def _news(row: StoryRow, known: StoryRow | None) -> bool:
    """Whether there is something to tell: a first story, or one that is another and not of an earlier state."""
    if known is None:
        return True
    earlier = (row["ended_at"], row["lines"]) < (known["ended_at"], known["lines"])
    return not earlier and _told(row) != _told(known)


def _told(row: Mapping[str, Any]) -> str:
    return json.dumps([row[name] for name in _SAME], sort_keys=True)


async def _publish(verdict: Verdict, tx: Transaction) -> None:
    session, story = verdict.session, verdict.story
    told = SessionJudged.parse(
        {
            "session_id": session.session_id, "attacker_uuid": session.attacker, "decky_id": session.decky_id,
            "severity": story.severity, "severity_reason": story.reason, "story_line": story.line,
            "playbook": story.playbook, "story": story.phases,
        }
    ).build()  # fmt: skip
    version = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    await tx.bus.publish(
        _TOPIC, told, event_type="judged", event_id=event_id("ttp.judged", session.session_id, version)
    )
