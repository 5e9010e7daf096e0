"""Bus events → TaggerEvents: kind, source id and anchor for every topic that the worker reads. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from decnet.bus.base import Event
from decnet.events import fields
from decnet.ids import attacker_id
from decnet.ttp.base import TaggerEvent
from decnet.ttp.facts import input_events, joined_events, payload_events, session_facts

_FINGERPRINT_KINDS = {"ipv6_leak": "ipv6_leak", "payload": "payload", "http_request": "http_request"}
_LONGEST_VALUE = 500
_NOT_VALUES = frozenset(
    {"attacker_uuid", "attacker_ip", "identity_uuid", "type", "decky_id", "session_id", "ts"}
)


def tagger_events(event: Event) -> list[TaggerEvent]:
    """What one bus event gives the taggers; empty for topics that carry nothing to judge."""
    parts = event.topic.split(".")
    if parts[0] == "canary":
        return _canary(event, parts[1]) if parts[-1] == "triggered" and len(parts) == 3 else []
    make = _MAKERS.get(event.topic)
    return make(event) if make else []


def _text(payload: Mapping[str, Any], name: str) -> str | None:
    value = payload.get(name)
    return value if isinstance(value, str) and value else None


def attacker_of(payload: Mapping[str, Any]) -> str | None:
    """Whose id names a source: derived from the address when the event names neither attacker nor identity."""
    given, ip = _text(payload, "attacker_uuid"), _text(payload, "attacker_ip")
    if given or not ip or _text(payload, "identity_uuid"):
        return given
    return attacker_id(ip)


def _one(
    event: Event, kind: str, fallback: str | None, payload: dict[str, Any] | None = None
) -> list[TaggerEvent]:
    """One TaggerEvent; empty when nothing anchors it."""
    data = event.payload if payload is None else payload
    attacker, identity = fields.attacker_of(event.payload)[0], _text(event.payload, "identity_uuid")
    if attacker is None and identity is None:
        return []
    source = _text(data, "source_id") or fallback or event.id
    session, decky = _text(event.payload, "session_id"), _text(event.payload, "decky_id")
    return [TaggerEvent(kind, source, attacker, identity, session, decky, data)]


def _session_ended(event: Event) -> list[TaggerEvent]:
    payload = event.payload
    session = _text(payload, "session_id")
    out = _one(event, "session", session, session_facts(payload))
    if not out:
        return []
    base = out[0]
    out += payload_events(base)
    out += input_events(base)
    out += joined_events(base)
    commands = payload.get("commands")
    for i, command in enumerate(commands if isinstance(commands, list) else ()):
        if isinstance(command, Mapping):
            source = _text(command, "id") or f"{session or event.id}#cmd{i}"
            out.append(base._replace(source_kind="command", source_id=source, payload=dict(command)))
    auth = payload.get("auth")
    if isinstance(auth, Mapping) and auth:
        out.append(base._replace(source_kind="auth_attempt", payload=dict(auth)))
    return out


def _identity(event: Event) -> list[TaggerEvent]:
    identity = _text(event.payload, "identity_uuid") or _text(event.payload, "winner_uuid")
    if identity is None:
        return []
    return [
        TaggerEvent(
            "identity", _text(event.payload, "source_id") or identity, None, identity, payload=event.payload
        )
    ]


def _reuse(event: Event) -> list[TaggerEvent]:
    """Reuse has several attackers: the tag belongs to the first, by id."""
    payload = event.payload
    found = payload.get("attacker_uuids")
    attackers = sorted(a for a in found if isinstance(a, str) and a) if isinstance(found, list) else []
    attacker = attacker_of(payload) or (attackers[0] if attackers else None)
    identity = _text(payload, "identity_uuid")
    if attacker is None and identity is None:
        return []
    source = _text(payload, "source_id") or _text(payload, "credential_id") or event.id
    return [TaggerEvent("credential", source, attacker, identity, payload=payload)]


def _captured(event: Event) -> list[TaggerEvent]:
    owner = _text(event.payload, "session_id") or attacker_of(event.payload)
    hmac = _text(event.payload, "secret_hmac")
    fallback = f"{owner}#{hmac}" if owner and hmac else None
    return _one(event, "credential", fallback) + _one(event, "auth_attempt", fallback)


def _canary(event: Event, token: str) -> list[TaggerEvent]:
    who = attacker_of(event.payload) or _text(event.payload, "identity_uuid")
    return _one(event, "canary_fingerprint", _text(event.payload, "trigger_id") or f"{token}#{who}")


def _fingerprinted(event: Event) -> list[TaggerEvent]:
    payload = event.payload
    kind = _text(payload, "type") or event.type
    who = attacker_of(payload) or _text(payload, "identity_uuid")
    fallback = f"{who}#{kind}#{_fingerprint_value(payload, kind)}"
    return _one(event, _FINGERPRINT_KINDS.get(kind, "http_fingerprint"), fallback)


def _fingerprint_value(payload: Mapping[str, Any], kind: str) -> str:
    """The fingerprint itself; a short hash of all fields for a kind that has several."""
    names = ("value", kind, *(("address",) if kind == "ipv6_leak" else ()))
    value = next((found for name in names if (found := _text(payload, name))), None)
    if value is not None and len(value) <= _LONGEST_VALUE:
        return value
    rest = {name: payload[name] for name in payload if name not in _NOT_VALUES}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _intel(event: Event) -> list[TaggerEvent]:
    """The newest that is known of an attacker; ``verdict`` is the field that a bare pattern looks at."""
    payload = event.payload
    verdict = {"verdict": payload["aggregate_verdict"]} if "aggregate_verdict" in payload else {}
    known = {**verdict, **payload}
    return _one(event, "intel", attacker_of(payload), known)


def _email(event: Event) -> list[TaggerEvent]:
    """An e-mail with the time of its event, since bodies are compared over time."""
    return _one(event, "email", None, {**event.payload, "ts": event.ts})


_MAKERS: dict[str, Callable[[Event], list[TaggerEvent]]] = {
    "attacker.session.ended": _session_ended,
    "attacker.observed": lambda event: _one(event, "session", None),
    "attacker.intel.enriched": _intel,
    "identity.formed": _identity,
    "identity.merged": _identity,
    "credential.reuse.detected": _reuse,
    "credential.captured": _captured,
    "email.received": _email,
    "attacker.fingerprinted": _fingerprinted,
}
