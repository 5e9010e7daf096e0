"""From events to rows, without a database: what one batch has to write.

An event that cannot be read is set aside with the reason; the others are not touched by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from decnet.bus import topics
from decnet.bus.base import Event
from decnet.db.repository.ignored import IgnoreSet
from decnet.db.types import as_utc
from decnet.events.attacker import Fingerprinted, IntelEnriched, Observed
from decnet.events.canary import Triggered
from decnet.events.credential import Captured, ReuseDetected
from decnet.events.email import Received as Email
from decnet.events.fields import Epoch
from decnet.events.record import FromAttacker
from decnet.events.session import SessionEnded, SessionStarted, position
from decnet.runtime.received import Received

Row = dict[str, Any]

_FINGERPRINT_FRAME = frozenset({"attacker_uuid", "attacker_ip", "type", "service"})


@dataclass
class Plan:
    """The rows of one batch."""

    sightings: list[tuple[str, str | None, datetime | None]] = field(default_factory=list)
    sessions: list[Row] = field(default_factory=list)
    commands: list[tuple[str, int, Row]] = field(default_factory=list)
    credentials: list[Row] = field(default_factory=list)
    fingerprints: list[tuple[str, str, Row, datetime | None]] = field(default_factory=list)
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


def plan_of(batch: Sequence[Received]) -> Plan:
    """What a batch has to write. Never raises; events about nobody are in ``refused``."""
    plan = Plan()
    for one in batch:
        take = _TAKERS.get(type(one.record))
        if take is None:
            continue
        try:
            take(plan, one)
        except ValueError as error:
            plan.refused.append((one.event, str(error)))
    return plan


def _nobody(record: FromAttacker) -> bool:
    """Whether an event is about an identity alone: then there is no attacker to write down."""
    return record.attacker is None and bool(record.identity_uuid)


def _attacker(record: FromAttacker) -> str:
    """The attacker's id: an identity alone is no attacker that rows could be written for."""
    if record.attacker is None:
        raise ValueError("neither attacker_uuid nor attacker_ip")
    return record.attacker


def _see(plan: Plan, event: Event, record: FromAttacker, *times: Epoch | None) -> str:
    """Notes the attacker of an event, at the given times or else at the event's own."""
    uuid = _attacker(record)
    given = [as_utc(moment) for moment in times if moment is not None]
    plan.sightings += [(uuid, record.attacker_ip, moment) for moment in given or [as_utc(event.ts)]]
    plan.formed_at.setdefault(uuid, event.ts)
    return uuid


def _take_observed(plan: Plan, one: Received) -> None:
    assert isinstance(one.record, Observed)
    _see(plan, one.event, one.record, one.record.first_seen)


def _take_started(plan: Plan, one: Received) -> None:
    assert isinstance(one.record, SessionStarted)
    _take_session(plan, one, one.record, one.record.started_at)


def _take_ended(plan: Plan, one: Received) -> None:
    ended = one.record
    assert isinstance(ended, SessionEnded)
    row = _take_session(plan, one, ended, ended.started_at, ended.ended_at)
    commands = row.pop("commands", ())
    plan.commands += [
        (ended.session_id, position(ended.part, place), command) for place, command in enumerate(commands)
    ]


def _take_session(plan: Plan, one: Received, record: SessionStarted, *times: Epoch | None) -> Row:
    uuid = _see(plan, one.event, record, *times)
    row = one.said() | {"attacker_uuid": uuid}
    plan.sessions.append(row)
    plan.changed += [(uuid, float(moment)) for moment in times if moment is not None]
    return row


def _take_sighting(plan: Plan, one: Received) -> None:
    """Events that others judge: of their attacker the address and the times are written down."""
    assert isinstance(one.record, FromAttacker)
    if not _nobody(one.record):
        _see(plan, one.event, one.record)


def _take_trigger(plan: Plan, one: Received) -> None:
    """A resolver asks for others: it makes no actor of its own."""
    assert isinstance(one.record, Triggered)
    if not one.record.is_of_a_resolver:
        _take_sighting(plan, one)


def _take_reuse(plan: Plan, one: Received) -> None:
    """Our own names attackers that have rows; one from elsewhere may bring an address."""
    assert isinstance(one.record, ReuseDetected)
    if one.record.attacker_ip is not None:
        _see(plan, one.event, one.record)


def _take_fingerprint(plan: Plan, one: Received) -> None:
    record = one.record
    assert isinstance(record, Fingerprinted)
    if _nobody(record):
        return
    uuid = _see(plan, one.event, record)
    fields = {name: value for name, value in one.said().items() if name not in _FINGERPRINT_FRAME}
    plan.fingerprints.append((uuid, record.type, fields, as_utc(one.event.ts)))


def _take_credential(plan: Plan, one: Received) -> None:
    assert isinstance(one.record, Captured)
    uuid = _see(plan, one.event, one.record)
    plan.credentials.append(one.said() | {"attacker_uuid": uuid, "ts": as_utc(one.event.ts)})
    plan.changed.append((uuid, one.event.ts))


def _take_intel(plan: Plan, one: Received) -> None:
    assert isinstance(one.record, IntelEnriched)
    if _nobody(one.record):
        return
    uuid = _attacker(one.record)
    plan.sightings.append((uuid, one.record.attacker_ip, None))
    if (moment := as_utc(one.event.ts)) is not None:
        plan.mentions[uuid] = min(moment, plan.mentions.get(uuid, moment))
    plan.formed_at.setdefault(uuid, one.event.ts)
    plan.intel.append((uuid, one.event.ts, one.said()))


_TAKERS: dict[type[Any], Callable[[Plan, Received], None]] = {
    Observed: _take_observed,
    SessionStarted: _take_started,
    SessionEnded: _take_ended,
    Fingerprinted: _take_fingerprint,
    Captured: _take_credential,
    IntelEnriched: _take_intel,
    Email: _take_sighting,
    Triggered: _take_trigger,
    ReuseDetected: _take_reuse,
}
TOPICS = (
    topics.attacker(topics.ATTACKER_OBSERVED),
    topics.attacker(topics.ATTACKER_SESSION_STARTED),
    topics.attacker(topics.ATTACKER_SESSION_ENDED),
    topics.attacker(topics.ATTACKER_FINGERPRINTED),
    topics.credential(topics.CREDENTIAL_CAPTURED),
    topics.attacker(topics.ATTACKER_INTEL_ENRICHED),
)
JUDGED = (
    topics.email_topic(topics.EMAIL_RECEIVED),
    "canary.*.triggered",
    topics.credential(topics.CREDENTIAL_REUSE_DETECTED),
)
"""Events that others work on: of these only whose they are is written down."""
