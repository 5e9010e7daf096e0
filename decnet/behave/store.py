"""Whole sessions in, rows and news out, in the caller's transaction.

Idempotent and commutative: a session counts with the ending of the greatest rank, summaries are made
anew from the stored sessions under the attackers' locks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from behave_shell.spec import Observation
from behave_shell.spec.event_adapter import to_event_payload

from decnet.behave import EXTRACTOR_VERSION, SOURCE
from decnet.behave import thresholds as t
from decnet.behave.extract import Extraction, evidence_ref
from decnet.behave.summaries import DAY_S, Visit, days_to_do, summarise, summary_ref
from decnet.bus import topics
from decnet.events import observation as events
from decnet.ids import event_id, identity_id
from decnet.jsontext import encoded
from decnet.runtime.worker import TxBus
from decnet.turns import in_turns

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.attribution import SessionFeatures
    from decnet.db.rows.behave import ExtractedSession, ObservationFacts

Row = dict[str, Any]
PART_BYTES = 128 * 2**10
"""Bytes of the observations of one event; an event may have twice as many."""


async def store(extractions: Sequence[Extraction], repo: BaseRepository, bus: TxBus) -> int:
    """Writes extractions and the summaries they change; returns the number of observations told of.

    ``repo`` is bound to the transaction whose outbox ``bus`` fills; the caller holds the locks of the
    attackers and has left out what is not newer than the stored rank.
    """
    latest = {x.session_id: x for x in sorted(extractions, key=lambda x: x.rank)}
    if not latest:
        return 0
    before = await repo.extracted_sessions(latest.keys())
    observations = [(o, x.attacker_uuid, x.session_id) for x in latest.values() for o in x.observations]
    rows = [_row(*item) for item in observations]
    refs = {evidence_ref(x.session_id, x.ended_at) for x in latest.values()}
    fresh = await repo.replace_observations(rows, refs=refs, sessions=latest.keys(), source=SOURCE)
    await repo.upsert_session_features([_features(x) for x in latest.values()])
    await repo.upsert_extracted_sessions([_done(x) for x in latest.values()])
    told = await _publish_observations(fresh, observations, bus)
    touched = {(x.attacker_uuid, x.started_at) for x in latest.values()}
    touched |= {(row["attacker_uuid"], row["started_at"]) for row in before.values()}
    return told + await _summaries(touched, repo, bus)


async def _summaries(touched: Iterable[tuple[str, float]], repo: BaseRepository, bus: TxBus) -> int:
    """Makes the summaries anew that a session of these attackers at these times takes part in."""
    days: dict[str, set[int]] = {}
    for attacker, started_at in touched:
        days.setdefault(attacker, set()).add(int(started_at // DAY_S))
    observations: list[tuple[Observation, str, str | None]] = []
    refs: set[str] = set()
    for attacker, wanted in sorted(days.items()):
        done: set[int] = set()
        for day in sorted(wanted):
            if day in done:
                continue
            before, after = await repo.sessions_around(attacker, (day + 1) * DAY_S, t.SUMMARY_SESSIONS)
            earlier, later = [_visit(row) for row in before], [_visit(row) for row in after]
            todo = {day, *days_to_do(earlier, later)}
            for each in sorted(todo - done):
                refs.add(summary_ref(attacker, each))
                made = summarise(attacker, [*earlier, *later], each)
                observations += [(observation, attacker, None) for observation in made]
            done |= todo
    rows = [_row(*item) for item in observations]
    fresh = await repo.replace_observations(rows, refs=refs, sessions=(), source=SOURCE)
    return await _publish_observations(fresh, observations, bus)


async def _publish_observations(
    fresh: Iterable[ObservationFacts], observations: Iterable[tuple[Observation, str, str | None]], bus: TxBus
) -> int:
    """Publishes the observations whose rows are new or changed."""
    changed = {(row["evidence_ref"], row["primitive"]) for row in fresh}
    fit = [item for item in observations if (item[0].evidence_ref, item[0].primitive) in changed]
    groups: dict[tuple[str, str | None], list[Observation]] = {}
    for observation, attacker, session in fit:
        groups.setdefault((attacker, session), []).append(observation)
    for (attacker, session), found in groups.items():
        told = await in_turns(_news, found)
        for part in _parts(told):
            payload = {"attacker_uuid": attacker, "session_id": session, "observations": part}
            ident = event_id("behave", f"{attacker}|{session}", ",".join(item["id"] for item in part))
            moment = max(observation.ts for observation in found)
            await bus.publish(
                topics.attacker_observations(),
                events.Observations.parse(payload).build(),
                event_type="observations",
                event_id=ident,
                ts=moment,
            )
    return len(fit)


def _parts(told: Sequence[Row]) -> Iterator[list[Row]]:
    """As many of them together as fit into one event."""
    part: list[Row] = []
    size = 0
    for item in told:
        own = len(encoded(item))
        if part and size + own > PART_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += own
    if part:
        yield part


def _news(observation: Observation) -> Row:
    """What is told of one observation, among the others of its session."""
    return {**to_event_payload(observation), "id": _news_id(observation), "ts": observation.ts}


def _news_id(observation: Observation) -> str:
    """The same content has the same id in every run; a changed summary has another one."""
    content = json.dumps([observation.value, observation.confidence, observation.ts])
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    return event_id("behave", f"{observation.evidence_ref}|{observation.primitive}", digest)


def _row(observation: Observation, attacker: str, session: str | None) -> ObservationFacts:
    return {
        "evidence_ref": observation.evidence_ref,
        "primitive": observation.primitive,
        "identity_uuid": observation.identity_ref,
        "attacker_uuid": attacker,
        "session_id": session,
        "value": observation.value,
        "confidence": observation.confidence,
        "ts": observation.ts,
        "window_start": observation.window.start_ts,
        "window_end": observation.window.end_ts,
        "source": observation.source,
    }


def _features(x: Extraction) -> SessionFeatures:
    return {
        "session_id": x.session_id,
        "attacker_uuid": x.attacker_uuid,
        "identity_uuid": identity_id(x.attacker_uuid),
        "started_at": x.started_at,
        "ended_at": x.ended_at,
        "rank": x.rank,
        "client": x.features.get("client"),
        "playbook": x.features.get("playbook"),
        "tempo": x.features.get("tempo"),
        "credentials": x.features.get("credentials"),
        "typing": x.features.get("typing"),
        "habit": x.features.get("habit"),
        "hours": x.features.get("hours"),
    }


def _done(x: Extraction) -> ExtractedSession:
    return {
        "session_id": x.session_id,
        "attacker_uuid": x.attacker_uuid,
        "rank": x.rank,
        "version": EXTRACTOR_VERSION,
        "started_at": x.started_at,
        "ended_at": x.ended_at,
        "hours": x.hours,
    }


def _visit(row: ExtractedSession) -> Visit:
    return Visit(row["session_id"], row["started_at"], row["ended_at"], row["hours"] or {})
