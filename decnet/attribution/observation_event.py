"""From an event to an observation: checked, with its row; what cannot be read raises MalformedEvent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from decnet.attribution.mergers import canonical
from decnet.bus import topics
from decnet.errors import MalformedEvent
from decnet.events.fields import Epoch, epoch
from decnet.events.observation import Observation, Observations
from decnet.hostile import storable_text
from decnet.ids import identity_id
from decnet.runtime.received import Received

PREFIX = f"{topics.ATTACKER}.{topics.ATTACKER_OBSERVATION_PREFIX}."
_OWN_ROWS = re.compile(r"#behave-\d")
"""References of our own extractor: it keeps these rows, and may have replaced one since it spoke of it."""


@dataclass(frozen=True, slots=True)
class ObservationEvent:
    """One observation; ``ts`` is epoch seconds, ``row`` is None when its producer keeps the row itself."""

    attacker_uuid: str
    primitive: str
    ts: float
    row: dict[str, Any] | None


def observations_of(one: Received) -> list[ObservationEvent]:
    """The observations of one event: the one that it is, or all of a session. Raises MalformedEvent."""
    if not isinstance(one.record, Observations):
        return [observation_of(one)]
    found = []
    for item in one.record.observations:
        record = one.record.whole(item)
        said_at = one.event.ts if item.ts is None else float(item.ts)
        found.append(_checked(f"{PREFIX}{item.primitive}", record.build(), record, said_at))
    return found


def observation_of(event: object) -> ObservationEvent:
    """The observation in an event, in any object or mapping with a ``payload``, or in a plain payload.

    Without a topic the payload's own ``primitive`` counts. Raises MalformedEvent.
    """
    if isinstance(event, Received):
        if not isinstance(event.record, Observation):
            raise MalformedEvent("the topic is none of an observation")
        return _checked(event.event.topic, event.event.payload, event.record, event.event.ts)
    if isinstance(event, Mapping):
        inner = event.get("payload")
        wrapped = isinstance(inner, Mapping) and isinstance(event.get("topic"), str)
        topic, payload, said_at = (
            (event["topic"], inner, event.get("ts")) if wrapped else ("", event, event.get("ts"))
        )
    else:
        topic = str(getattr(event, "topic", None) or "")
        payload, said_at = getattr(event, "payload", None), getattr(event, "ts", None)
    record = Observation.parse(payload)
    assert isinstance(payload, Mapping)
    return _checked(topic, payload, record, epoch(said_at))


def _checked(
    topic: str, payload: Mapping[str, Any], record: Observation, said_at: float | None
) -> ObservationEvent:
    primitive, attacker = _primitive(topic, record), record.attacker
    if attacker is None:
        raise MalformedEvent("neither attacker_uuid nor attacker_ip")
    started, ended = (record.window.start_ts, record.window.end_ts) if record.window else (None, None)
    ref = record.evidence_ref or f"event:{uuid5(NAMESPACE_URL, canonical(dict(payload)))}"
    if _OWN_ROWS.search(ref):
        return ObservationEvent(attacker, primitive, _moment(said_at, record.ts, ended), None)
    ts = _moment(record.ts, ended, said_at)
    row = {
        "evidence_ref": ref,
        "primitive": primitive,
        "identity_uuid": identity_id(attacker),
        "attacker_uuid": attacker,
        "session_id": record.session_id,
        "value": record.value,
        "confidence": 1.0 if record.confidence is None else record.confidence,
        "ts": ts,
        "window_start": _plain(started),
        "window_end": _plain(ended),
        "source": record.source,
    }
    return ObservationEvent(attacker, primitive, ts, row)


def _primitive(topic: str, record: Observation) -> str:
    """From the topic, which a payload may not contradict; without one from the payload."""
    if topic and not topic.startswith(PREFIX):
        raise MalformedEvent("the topic is none of an observation")
    primitive = topic.removeprefix(PREFIX) or record.primitive
    if not primitive:
        raise MalformedEvent("no primitive")
    if record.primitive is not None and record.primitive != primitive:
        raise MalformedEvent("topic and payload name different primitives")
    return storable_text(primitive)


def _moment(*candidates: float | None) -> float:
    for value in candidates:
        if value is not None:
            return float(value)
    raise MalformedEvent("no time")


def _plain(moment: Epoch | None) -> float | None:
    """The number that a database takes."""
    return None if moment is None else float(moment)
