"""Bus events → TaggerEvents: kind, source id and anchor for every topic that the worker reads. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from decnet.events.attacker import Fingerprinted, IntelEnriched, Observed
from decnet.events.canary import Triggered
from decnet.events.credential import Captured, ReuseDetected
from decnet.events.email import Received as Email
from decnet.events.identity import Formed, Merged
from decnet.events.record import FromAttacker
from decnet.events.session import Auth, SessionEnded
from decnet.runtime.received import Received
from decnet.ttp.base import TaggerEvent
from decnet.ttp.context import Told, login_of, session_context
from decnet.ttp.facts import input_events, joined_events, session_facts
from decnet.ttp.forwarded import forwarded_events
from decnet.ttp.kinds import LOGIN
from decnet.ttp.payloads import payload_events

_FINGERPRINT_KINDS = {"ipv6_leak": "ipv6_leak", "payload": "payload", "http_request": "http_request"}
_LONGEST_VALUE = 500
_NOT_VALUES = frozenset(
    {"attacker_uuid", "attacker_ip", "identity_uuid", "type", "decky_id", "session_id", "ts"}
)


def tagger_events(one: Received) -> list[TaggerEvent]:
    """What one bus event gives the taggers; empty for topics that carry nothing to judge."""
    make = _MAKERS.get(type(one.record))
    return make(one, one.record) if make else []


def _one(
    event: Received, record: FromAttacker, kind: str, fallback: str | None, payload: dict[str, Any]
) -> list[TaggerEvent]:
    """One TaggerEvent, anchored by the attacker or the identity that the record names."""
    source = record.source_id or fallback or event.event.id
    session, decky = getattr(record, "session_id", None), getattr(record, "decky_id", None)
    return [TaggerEvent(kind, source, record.attacker, record.identity_uuid, session, decky, payload)]


def _session_ended(event: Received, record: SessionEnded) -> list[TaggerEvent]:
    facts = session_facts(record, event.said())
    if by := login_of(record):
        facts[LOGIN] = list(by)
    out = _one(event, record, "session", record.session_id, facts)
    base = out[0]
    out += payload_events(base, record)
    out += forwarded_events(base, record)
    out += input_events(base, record)
    told = session_context(record)
    out += [_told(event, told) for event in joined_events(base, record)]
    commands = base.payload.get("commands", ())
    for (ident, _), fields in zip(record.command_ids(), commands, strict=True):
        out.append(_told(base._replace(source_kind="command", source_id=ident, payload=fields), told))
    if record.auth not in (None, Auth()):
        out.append(base._replace(source_kind="auth_attempt", payload=base.payload["auth"]))
    return out


def _told(command: TaggerEvent, told: Mapping[str, Told]) -> TaggerEvent:
    """A command with what its session tells about it."""
    known = told.get(command.source_id)
    return command._replace(payload={**command.payload, **known.said()}) if known else command


def _observed(event: Received, record: Observed) -> list[TaggerEvent]:
    return _one(event, record, "session", None, event.said())


def _identity(event: Received, record: Formed | Merged) -> list[TaggerEvent]:
    identity = record.identity_uuid if isinstance(record, Formed) else record.winner_uuid
    return [TaggerEvent("identity", record.source_id or identity, None, identity, payload=event.said())]


def _reuse(event: Received, record: ReuseDetected) -> list[TaggerEvent]:
    """Reuse has several attackers: the tag belongs to the first, by id."""
    attackers = sorted(filter(None, record.attacker_uuids))
    attacker = record.attacker or (attackers[0] if attackers else None)
    source = record.source_id or record.credential_id or event.event.id
    return [TaggerEvent("credential", source, attacker, record.identity_uuid, payload=event.said())]


def _captured(event: Received, record: Captured) -> list[TaggerEvent]:
    owner, hmac = record.session_id or record.attacker_uuid, record.secret_hmac
    fallback = f"{owner}#{hmac}" if owner and hmac else None
    said = event.said()
    return [
        *_one(event, record, "credential", fallback, said),
        *_one(event, record, "auth_attempt", fallback, said),
    ]


def _canary(event: Received, record: Triggered) -> list[TaggerEvent]:
    """What a resolver asks for says nothing about how somebody attacks."""
    if record.is_of_a_resolver:
        return []
    token, who = event.event.topic.split(".")[1], record.attacker_uuid or record.identity_uuid
    return _one(event, record, "canary_fingerprint", record.trigger_id or f"{token}#{who}", event.said())


def _fingerprinted(event: Received, record: Fingerprinted) -> list[TaggerEvent]:
    said, who = event.said(), record.attacker_uuid or record.identity_uuid
    fallback = f"{who}#{record.type}#{_fingerprint_value(said, record.type)}"
    return _one(event, record, _FINGERPRINT_KINDS.get(record.type, "http_fingerprint"), fallback, said)


def _fingerprint_value(payload: Mapping[str, Any], kind: str) -> str:
    """The fingerprint itself; a short hash of all fields for a kind that has several."""
    names = ("value", kind, *(("address",) if kind == "ipv6_leak" else ()))
    values = (payload.get(name) for name in names)
    value = next((found for found in values if isinstance(found, str) and found), None)
    if value is not None and len(value) <= _LONGEST_VALUE:
        return value
    rest = {name: payload[name] for name in payload if name not in _NOT_VALUES}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _intel(event: Received, record: IntelEnriched) -> list[TaggerEvent]:
    """The newest that is known of an attacker; ``verdict`` is the field that a bare pattern looks at."""
    said = event.said()
    verdict = {"verdict": said["aggregate_verdict"]} if "aggregate_verdict" in said else {}
    return _one(event, record, "intel", record.attacker_uuid, {**verdict, **said})


def _email(event: Received, record: Email) -> list[TaggerEvent]:
    """An e-mail with the time of its event, since bodies are compared over time."""
    return _one(event, record, "email", None, {**event.said(), "ts": event.event.ts})


_MAKERS: dict[type[Any], Callable[[Received, Any], list[TaggerEvent]]] = {
    SessionEnded: _session_ended,
    Observed: _observed,
    IntelEnriched: _intel,
    Formed: _identity,
    Merged: _identity,
    ReuseDetected: _reuse,
    Captured: _captured,
    Email: _email,
    Fingerprinted: _fingerprinted,
    Triggered: _canary,
}
