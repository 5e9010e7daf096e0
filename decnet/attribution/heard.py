"""From an event to an observation: checked, with its row; what cannot be read raises ValueError."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from decnet.attribution.mergers import canonical
from decnet.bus import topics
from decnet.bus.base import Event
from decnet.hostile import storable_text
from decnet.ids import attacker_id, identity_id

PREFIX = f"{topics.ATTACKER}.{topics.ATTACKER_OBSERVATION_PREFIX}."
_OWN_ROWS = re.compile(r"#behave-\d")
"""References of our own extractor: it keeps these rows, and may have replaced one since it spoke of it."""
_LARGEST = 1e15


@dataclass(frozen=True, slots=True)
class Heard:
    """One observation; ``ts`` is epoch seconds, ``row`` is None when its producer keeps the row itself."""

    attacker_uuid: str
    primitive: str
    ts: float
    row: dict[str, Any] | None


def heard(event: Event | Mapping[str, Any]) -> Heard:
    """The observation in an event, or in a plain payload, whose own ``primitive`` then counts."""
    if isinstance(event, Event):
        return _checked(event.topic, event.payload, event.ts)
    payload = event.get("payload")
    if isinstance(payload, Mapping) and isinstance(event.get("topic"), str):
        return _checked(event["topic"], payload, event.get("ts"))
    return _checked("", event, event.get("ts"))


def _checked(topic: str, payload: Mapping[str, Any], said_at: Any) -> Heard:
    primitive = _primitive(topic, payload)
    value = payload.get("value")
    if value is None:
        raise ValueError("no value")
    attacker = _attacker(payload)
    window = payload.get("window")
    ended = window.get("end_ts") if isinstance(window, Mapping) else None
    ref = payload.get("evidence_ref") or f"event:{uuid5(NAMESPACE_URL, canonical(dict(payload)))}"
    if not isinstance(ref, str):
        raise ValueError("evidence_ref is no text")  # noqa: TRY004  one error for all that cannot be read
    if _OWN_ROWS.search(ref):
        return Heard(attacker, primitive, _moment(said_at, payload.get("ts"), ended), None)
    ts = _moment(payload.get("ts"), ended, said_at)
    row = {
        "evidence_ref": ref,
        "primitive": primitive,
        "identity_uuid": identity_id(attacker),
        "attacker_uuid": attacker,
        "session_id": payload.get("session_id"),
        "value": value,
        "confidence": _confidence(payload.get("confidence")),
        "ts": ts,
        "window_start": window.get("start_ts") if isinstance(window, Mapping) else None,
        "window_end": ended,
        "source": payload.get("source"),
    }
    return Heard(attacker, primitive, ts, row)


def _primitive(topic: str, payload: Mapping[str, Any]) -> str:
    """From the topic, which a payload may not contradict; without one from the payload."""
    named = payload.get("primitive")
    if topic and not topic.startswith(PREFIX):
        raise ValueError("the topic is none of an observation")
    primitive = topic.removeprefix(PREFIX) or named
    if not isinstance(primitive, str) or not primitive:
        raise ValueError("no primitive")
    if named is not None and named != primitive:
        raise ValueError("topic and payload name different primitives")
    return storable_text(primitive)


def _attacker(payload: Mapping[str, Any]) -> str:
    uuid, ip = payload.get("attacker_uuid"), payload.get("attacker_ip")
    if isinstance(uuid, str) and uuid:
        return storable_text(uuid)
    if isinstance(ip, str) and ip:
        return attacker_id(storable_text(ip))
    raise ValueError("no attacker")


def _moment(*candidates: Any) -> float:
    for value in candidates:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST:
            return float(value)
    raise ValueError("no time")


def _confidence(value: Any) -> float:
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError("confidence is not between 0 and 1")
    return float(value)
