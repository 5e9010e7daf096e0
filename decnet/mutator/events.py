"""The mutator's events, with ids derived from the change they tell of; pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from decnet.bus import topics
from decnet.bus.base import Event
from decnet.events import decky, topology
from decnet.events.fields import Epoch
from decnet.ids import event_id

_PRODUCER = "mutator"


def mutation(
    row: Mapping[str, Any], old: Sequence[str], new: Sequence[str], outcome: str, reason: str = ""
) -> Event:
    """``decky.<name>.mutation`` for a ``mutation`` row; ``outcome`` is applied or failed."""
    told = decky.Mutation(
        decky=row["target"],
        old_services=list(old),
        new_services=list(new),
        trigger=row["trigger"],
        outcome=outcome,
        mutation_id=row["mutation_id"],
        actor=row.get("requested_by") or None,
        request_id=(row.get("payload") or {}).get("request_id") or None,
        reason=reason or None,
    )
    topic = topics.decky(row["target"], topics.DECKY_MUTATION)
    return Event(
        topic,
        told.build(),
        outcome,
        event_id(_PRODUCER, f"mutation|{row['mutation_id']}", outcome),
        time.time(),
    )


def state(name: str, services: Sequence[str], status: str, since: float, reason: str = "") -> Event:
    """``decky.<name>.state``; ``since`` is epoch seconds."""
    told = decky.State(
        decky=name, services=list(services), status=status, since=Epoch(since), reason=reason or None
    )
    key = f"state|{name}|{since!r}|{status}|{','.join(services)}"
    return Event(
        topics.decky(name, topics.DECKY_STATE), told.build(), status, event_id(_PRODUCER, key), time.time()
    )


def topology_change(row: Mapping[str, Any], state_name: str, reason: str = "") -> Event:
    """``topology.<id>.mutation.<state>`` for a ``mutation`` row of the queue."""
    told = topology.Mutation(
        mutation_id=row["mutation_id"], op=row["kind"], payload=row["payload"] or {}, reason=reason or None
    )
    topic = topics.topology_mutation(row["topology_id"], state_name)
    key = f"topology|{row['mutation_id']}"
    return Event(topic, told.build(), state_name, event_id(_PRODUCER, key, state_name), time.time())


def topology_status(topology_id: str, status: str, reason: str) -> Event:
    """``topology.<id>.status``; a status can come again, so the time is a part of its id."""
    now = time.time()
    key = f"status|{topology_id}|{status}|{now!r}"
    topic = topics.topology_status(topology_id)
    return Event(
        topic, topology.Status(state=status, reason=reason).build(), status, event_id(_PRODUCER, key), now
    )
