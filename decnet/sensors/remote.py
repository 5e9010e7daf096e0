"""What remote sensors sent: checked, stripped of its prefix and handed on, in one transaction with what it claims.

A decky belongs to the first sensor that names it; whoever else speaks for it is refused, counted and dead-lettered.
The way out is the outbox, so an event is acknowledged only when it is on its way for good, with its id, time and
headers; the same event again changes nothing, because everybody downstream goes by derived ids.
"""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from decnet.bus import topics
from decnet.bus.base import BaseBus, Event
from decnet.bus.remote import (
    HEALTH,
    MAX_PACKED,
    OF_A_DECKY,
    is_piece,
    may_say,
    piece_of,
    piece_topic,
    prefix,
    split,
    worker_name,
)
from decnet.bus.wire import MAX_BLOB_BYTES
from decnet.config import SENSOR_NAME
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.names import MAX_TOKEN
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction

log = get_logger(__name__)
MAX_SENSORS = 1000
"""Remote sensors that are told of; those beyond are handed on like others."""
MAX_FIGURES = 80
"""Figures of a remote heartbeat that are shown."""
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_TOKEN}}}")
_SENSOR = re.compile(SENSOR_NAME)
_KEY = re.compile(r"[0-9a-f]{64}")
_FIGURE = re.compile(r"[a-z][a-z0-9_]{0,40}")
_STATE = re.compile(r"[a-z_]{1,40}")


@dataclass(slots=True)
class Seen:
    """What was heard of one remote sensor since this process began; times are epoch seconds."""

    events: int = 0
    last_event_ts: float | None = None
    heard: float = field(default_factory=time.time)
    refused: Counter[str] = field(default_factory=Counter)
    last_refusal: str = ""
    recordings_missing: int = 0


class RemoteIntake:
    """Takes the events of remote sensors for the sensors worker, and knows what came of each."""

    def __init__(self, silent_s: float) -> None:
        """``silent_s``: seconds without a word, heartbeats included, after which a sensor is called silent."""
        self._silent_s = silent_s
        self.seen: dict[str, Seen] = {}

    async def take(self, batch: Sequence[Received], tx: Transaction, bus: BaseBus) -> None:
        """The whole effect of a batch. Raises DatabaseError, or BusError for a recording that cannot be read now."""
        events = [one.event for one in batch]
        why = {id(event): _unfit(event) for event in events}
        owners = await self._owners([event for event in events if why[id(event)] is None], tx)
        for event in events:
            refusal = why[id(event)] or _foreign(event, owners)
            if refusal is not None:
                self._refuse(event, *refusal, tx)
            elif not is_piece(split(event.topic)[1]):
                await self._hand_on(event, tx, bus)

    async def _owners(self, events: Sequence[Event], tx: Transaction) -> dict[tuple[str, str], str]:
        """(sensor, decky) → whose it is; the sensors in the order in which they came."""
        claims: dict[str, list[str]] = {}
        for event in events:
            if decky := event.payload.get("decky_id"):
                claims.setdefault(split(event.topic)[0], []).append(decky)
        found: dict[tuple[str, str], str] = {}
        for sensor, deckies in claims.items():
            held = await tx.repo.decky_owners(sensor, deckies)
            found |= {(sensor, decky): owner for decky, owner in held.items()}
        return found

    async def _hand_on(self, event: Event, tx: Transaction, bus: BaseBus) -> None:
        sensor, topic = split(event.topic)
        seen = self._of(sensor)
        seen.heard = time.time()
        if topic == HEALTH:
            await _beat(sensor, event, tx)
            return
        if topic == "attacker.session.ended":
            seen.recordings_missing += not await _bring_recording(sensor, event, bus)
        tx.bus.events.append(
            Event(topic, event.payload, event.type, event.id, event.ts, event.v, event.headers)
        )
        seen.events += 1
        seen.last_event_ts = max(event.ts, seen.last_event_ts or event.ts)

    def _refuse(self, event: Event, kind: str, why: str, tx: Transaction) -> None:
        sensor, topic = split(event.topic)
        seen = self._of(sensor)
        if not seen.refused[kind]:
            log.warning("event of a remote sensor refused", sensor=sensor, topic=topic, reason=why)
        seen.refused[kind] += 1
        seen.last_refusal = f"{topic}: {why}"[:300]
        tx.dead_letter(event, f"refused: {why}")

    def _of(self, sensor: str) -> Seen:
        if sensor not in self.seen and len(self.seen) >= MAX_SENSORS:
            return Seen()
        return self.seen.setdefault(sensor, Seen())

    def rows(self) -> list[dict[str, Any]]:
        """One row for each remote sensor, as those of the sensors here: ``lines`` are its events."""
        now = time.time()
        return [
            {
                "kind": "remote",
                "path": prefix(name) + ">",
                "state": "silent" if now - seen.heard > self._silent_s else "ok",
                "age": None if seen.last_event_ts is None else max(now - seen.last_event_ts, 0.0),
                "last_line_ts": seen.last_event_ts,
                "lines": seen.events,
                "bytes_behind": 0,
                "refused": seen.refused.total(),
                "reasons": dict(seen.refused),
                "last_refusal": seen.last_refusal,
                "recordings_missing": seen.recordings_missing,
            }
            for name, seen in sorted(self.seen.items())
        ]

    def figures(self) -> dict[str, int]:
        """Sums over all remote sensors, for the worker's health."""
        every = self.seen.values()
        return {
            "remote_sensors": len(self.seen),
            "remote_events": sum(seen.events for seen in every),
            "remote_refused": sum(seen.refused.total() for seen in every),
            "remote_recordings_missing": sum(seen.recordings_missing for seen in every),
        }


def _unfit(event: Event) -> tuple[str, str] | None:
    """(kind, reason) for what nobody may say like this; None for an event that is in order by itself."""
    sensor, topic = split(event.topic)
    if not _SENSOR.fullmatch(sensor):
        return "sensor", "not the name of a remote sensor"
    if not may_say(topic):
        return "topic", "no remote sensor may say this"
    if is_piece(topic):
        return None if piece_of(event) is not None else ("recording", "not a piece of a recording")
    decky = event.payload.get("decky_id")
    if decky is None and topic not in OF_A_DECKY:
        return None
    if not isinstance(decky, str) or not _TOKEN.fullmatch(decky):
        return "decky", "names no decky"
    return None


def _foreign(event: Event, owners: Mapping[tuple[str, str], str]) -> tuple[str, str] | None:
    """(kind, reason) when the event speaks for a decky that is not its sensor's."""
    sensor, decky = split(event.topic)[0], event.payload.get("decky_id")
    if decky is None or is_piece(split(event.topic)[1]):
        return None
    owner = owners.get((sensor, decky))
    if owner == sensor:
        return None
    if owner is None:
        return "deckies", f"decky {decky} is one too many for sensor {sensor}"
    whose = f"belongs to sensor {owner}" if owner else "is one of this site's own"
    return "owner", f"decky {decky} {whose}"


async def _beat(sensor: str, event: Event, tx: Transaction) -> None:
    """The remote worker's health under a name of its own, cut down to figures: nothing else of it is believed."""
    name, said = worker_name(sensor), event.payload
    known = ((key, value) for key, value in said.items() if _FIGURE.fullmatch(key) and _is_figure(value))
    state, note = said.get("state"), said.get("note")
    payload = {
        **dict(list(known)[:MAX_FIGURES]),
        "worker": name,
        "ts": min(event.ts, time.time()),  # a clock that is ahead would never be stale
        "state": state if isinstance(state, str) and _STATE.fullmatch(state) else "failed",
        "note": note[:500] if isinstance(note, str) else "",
    }
    payload.pop("pid", None)
    await tx.repo.heartbeats_write({name: payload})
    news = Event(
        topics.system_health(name), payload, "health", event_id("sensors", f"beat|{event.id}"), event.ts
    )
    tx.bus.events.append(news)


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


async def _bring_recording(sensor: str, event: Event, bus: BaseBus) -> bool:
    """Puts the recording that a session names into the object store; False when it is not there. Raises BusError."""
    key = event.payload.get("keystrokes_ref")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        return True
    data = await _joined(sensor, key, bus)
    if data is None:
        log.warning("recording of a remote sensor is missing", sensor=sensor, key=key)
        return False
    await bus.put_blob(key, data)
    return True


async def _joined(sensor: str, key: str, bus: BaseBus) -> bytes | None:
    """The pieces of a recording put together; None unless they are what the key names."""
    packed, number, more = bytearray(), 0, True
    while more and len(packed) <= MAX_PACKED:
        event = await bus.last_of(prefix(sensor) + piece_topic(key, number))
        piece = piece_of(event) if event is not None else None
        if piece is None or not piece[0]:
            return None
        packed += piece[0]
        more = piece[1]
        number += 1
    try:
        data = zlib.decompressobj().decompress(bytes(packed), MAX_BLOB_BYTES + 1)
    except zlib.error:
        return None
    good = len(data) <= MAX_BLOB_BYTES and hashlib.sha256(data).hexdigest() == key
    return data if good else None
