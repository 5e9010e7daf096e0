"""From events to rows, without a database: what one batch has to write.

An event that cannot be read is set aside with the reason; the others are not touched by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from decnet.bus import topics
from decnet.bus.base import Event
from decnet.db.repository.ignored import IgnoreSet
from decnet.db.types import as_utc
from decnet.events.fields import attacker_of
from decnet.events.topics import pattern_of
from decnet.hostile import storable_text

Row = dict[str, Any]

OBSERVED = topics.attacker(topics.ATTACKER_OBSERVED)
STARTED = topics.attacker(topics.ATTACKER_SESSION_STARTED)
ENDED = topics.attacker(topics.ATTACKER_SESSION_ENDED)
FINGERPRINTED = topics.attacker(topics.ATTACKER_FINGERPRINTED)
CAPTURED = topics.credential(topics.CREDENTIAL_CAPTURED)
MERGED = topics.identity(topics.IDENTITY_MERGED)
MAILED = topics.email_topic(topics.EMAIL_RECEIVED)
TRIGGERED = "canary.*.triggered"
REUSED = topics.credential(topics.CREDENTIAL_REUSE_DETECTED)
ENRICHED = topics.attacker(topics.ATTACKER_INTEL_ENRICHED)
_FINGERPRINT_FRAME = frozenset({"attacker_uuid", "attacker_ip", "type", "service"})


@dataclass
class Plan:
    """The rows of one batch."""

    sightings: list[tuple[str, str | None, datetime | None]] = field(default_factory=list)
    sessions: list[Row] = field(default_factory=list)
    commands: list[tuple[str, int, Row]] = field(default_factory=list)
    credentials: list[Row] = field(default_factory=list)
    fingerprints: list[tuple[str, str, Row, datetime | None]] = field(default_factory=list)
    merges: list[tuple[str, str]] = field(default_factory=list)
    intel: list[tuple[str, float, Row]] = field(default_factory=list)
    mentions: dict[str, datetime] = field(default_factory=dict)
    """When attackers were first spoken of by somebody who did not see them: a look-up is no sighting."""
    formed_at: dict[str, float] = field(default_factory=dict)
    changed: list[tuple[str, float]] = field(default_factory=list)
    """Attackers with new sessions or credentials, and the event time of each."""
    refused: list[tuple[Event, str]] = field(default_factory=list)

    @property
    def attackers(self) -> list[str]:
        """Attackers that the batch names, each once."""
        return sorted({uuid for uuid, _, _ in self.sightings})

    def ignored(self, rules: IgnoreSet) -> dict[str, str]:
        """Attackers that an entry covers, with its id; marks the sessions of the batch on the way."""
        if not rules:
            return {}
        for row in self.sessions:
            row["ignored_by"] = rules.by_payload(row)
        found = ((uuid, rules.by_address(ip)) for uuid, ip, _ in self.sightings)
        return {uuid: entry for uuid, entry in found if entry is not None}

    @property
    def recordings(self) -> dict[str, str]:
        """Keys of recordings that the batch names, with one session of each."""
        found = ((row.get("keystrokes_ref"), row["session_id"]) for row in self.sessions)
        return {key: session_id for key, session_id in found if isinstance(key, str) and key}


def plan_of(batch: Sequence[Event]) -> Plan:
    """What a batch has to write. Never raises; unreadable events are in ``refused``."""
    plan = Plan()
    for event in batch:
        take = _TAKERS.get(event.topic) or _TAKERS.get(pattern_of(event.topic) or "")
        if take is None:
            continue
        try:
            take(plan, event)
        except ValueError as error:
            plan.refused.append((event, str(error)))
    return plan


def _text(payload: Mapping[str, Any], key: str) -> str:
    value = payload.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is missing or no text")
    return storable_text(value)


def _anchor(payload: Mapping[str, Any]) -> tuple[str, str | None]:
    """(attacker_uuid, address): the id is derived from the address when it is not given."""
    uuid, address = attacker_of(payload)
    if uuid is None:
        raise ValueError("neither attacker_uuid nor attacker_ip")
    return uuid, address


def _nobody(payload: Mapping[str, Any]) -> bool:
    """Whether an event is about an identity alone: then there is no attacker to write down."""
    identity = payload.get("identity_uuid")
    return attacker_of(payload)[0] is None and isinstance(identity, str) and identity != ""


def _see(plan: Plan, event: Event, *times: Any) -> str:
    """Notes the attacker of an event, at the given times or else at the event's own."""
    uuid, ip = _anchor(event.payload)
    given: list[datetime | None] = [moment for moment in map(as_utc, times) if moment is not None]
    plan.sightings += [(uuid, ip, moment) for moment in given or [as_utc(event.ts)]]
    plan.formed_at.setdefault(uuid, event.ts)
    return uuid


def _take_observed(plan: Plan, event: Event) -> None:
    _see(plan, event, event.payload.get("first_seen"))


def _take_session(plan: Plan, event: Event) -> None:
    payload = event.payload
    session_id = _text(payload, "session_id")
    commands = _commands(session_id, payload.get("commands"))
    ended_at = payload.get("ended_at")
    if event.topic == ENDED and ended_at is None:
        raise ValueError("ended_at is missing")
    uuid = _see(plan, event, payload.get("started_at"), ended_at)
    ids = {"session_id": session_id, "attacker_uuid": uuid}
    plan.sessions.append({k: v for k, v in payload.items() if k != "commands"} | ids)
    plan.commands += commands
    for moment in (payload.get("started_at"), ended_at):
        if (known := as_utc(moment)) is not None:
            plan.changed.append((uuid, known.timestamp()))


def _commands(session_id: str, commands: Any) -> list[tuple[str, int, Row]]:
    if commands is None:
        return []
    if not isinstance(commands, list) or not all(isinstance(command, dict) for command in commands):
        raise ValueError("commands is no list of objects")
    for command in commands:
        as_utc(command.get("ts"))
    return [(session_id, position, command) for position, command in enumerate(commands)]


def _take_sighting(plan: Plan, event: Event) -> None:
    """Events that others judge: of their attacker the address and the times are written down."""
    if not _nobody(event.payload):
        _see(plan, event)


def _take_reuse(plan: Plan, event: Event) -> None:
    """Our own names attackers that have rows; one from elsewhere may bring an address."""
    if attacker_of(event.payload)[1] is not None:
        _see(plan, event)


def _take_fingerprint(plan: Plan, event: Event) -> None:
    if _nobody(event.payload):
        return
    kind = event.payload.get("type") or event.type
    if not isinstance(kind, str) or not kind:
        raise ValueError("the fingerprint has no type")
    uuid = _see(plan, event)
    fields = {k: v for k, v in event.payload.items() if k not in _FINGERPRINT_FRAME}
    plan.fingerprints.append((uuid, kind, fields, as_utc(event.ts)))


def _take_credential(plan: Plan, event: Event) -> None:
    uuid = _see(plan, event)
    plan.credentials.append({**event.payload, "attacker_uuid": uuid, "ts": as_utc(event.ts)})
    plan.changed.append((uuid, event.ts))


def _take_intel(plan: Plan, event: Event) -> None:
    if _nobody(event.payload):
        return
    uuid, ip = _anchor(event.payload)
    plan.sightings.append((uuid, ip, None))
    if (moment := as_utc(event.ts)) is not None:
        plan.mentions[uuid] = min(moment, plan.mentions.get(uuid, moment))
    plan.formed_at.setdefault(uuid, event.ts)
    plan.intel.append((uuid, event.ts, dict(event.payload)))


def _take_merge(plan: Plan, event: Event) -> None:
    plan.merges.append((_text(event.payload, "winner_uuid"), _text(event.payload, "loser_uuid")))


_TAKERS: dict[str, Callable[[Plan, Event], None]] = {
    OBSERVED: _take_observed,
    STARTED: _take_session,
    ENDED: _take_session,
    FINGERPRINTED: _take_fingerprint,
    CAPTURED: _take_credential,
    MERGED: _take_merge,
    ENRICHED: _take_intel,
    MAILED: _take_sighting,
    TRIGGERED: _take_sighting,
    REUSED: _take_reuse,
}
TOPICS = tuple(_TAKERS)
