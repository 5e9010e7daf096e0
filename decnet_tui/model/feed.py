"""Bus events become view models: plain data that knows no terminal.

The ring holds flat tuples and the event's own bytes, never nested dicts: those would cost long
garbage-collection pauses. Reducers keep what the views need: workers, rule news, rates.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from decnet.bus import topics
from decnet.bus.base import Event
from decnet.errors import MalformedEvent
from decnet.hostile import storable, visible
from decnet.runtime.health import AHEAD_S, PARTS, STALE_BEATS, process_gone
from decnet.runtime.received import received
from decnet_tui.model.event_text import LIMIT, UNNAMED, first_trip, source_of, summarise
from decnet_tui.model.event_times import EventTimes
from decnet_tui.model.figures import losses
from decnet_tui.model.keys import key
from decnet_tui.model.running import RunningSessions
from decnet_tui.model.trends import Trend
from decnet_tui.model.words import span

KNOWN_IPS = 20_000
"""Attackers whose address is remembered for events that name them by id only."""
RATE_SECONDS = 60
GAP_TOPIC = "(gap)"
KNOWN_MUTATIONS = 200
KNOWN_WORKERS = 200
"""Workers of which heartbeats are kept; there are six, and the name comes from a subject."""
KNOWN_RULES = 2_000
"""Rules of which the last news are kept; these names come from subjects too."""
KNOWN_ROOTS = 32
"""Topic families that have a rate of their own."""
DEEP = 100
"""Levels of a payload that are kept as they came."""
_LAST_S = 1e15
_MERGED, _UNMERGED = "identity.merged", "identity.unmerged"
_ALERT = "attribution.profile.multi_actor_suspected"


class EventRow(NamedTuple):
    """One line of Traffic. ``topic``, ``source`` and ``summary`` are visible text; ``raw`` is not."""

    seq: int
    ts: float
    topic: str
    source: str
    summary: str
    raw: bytes
    session: str = ""
    """The session that it is of."""


@dataclass
class WorkerModel:
    """The last heartbeat of one worker."""

    name: str
    seen_at: float
    payload: dict[str, Any] = field(default_factory=dict)

    def age(self, now: float) -> float:
        """Seconds since the last heartbeat."""
        return max(0.0, now - self.seen_at)

    def status(self, now: float, heartbeat_s: float) -> str:
        """ok, or as reported: degraded, failed, paused, waiting_for_…, stopped; stale when the beats stopped."""
        state = str(self.payload.get("state") or "ok")
        if state == "stopped":
            return state
        ahead = self.seen_at - now > AHEAD_S  # seen before the clock was set back
        if ahead or self.age(now) > STALE_BEATS * heartbeat_s or process_gone(self.payload):
            return "stale"
        return "degraded" if state == "ok" and self.payload.get("degraded") else visible(state, 40)


class Rates:
    """Events per second over the last minute, one slot a second."""

    def __init__(self) -> None:
        self.slots: deque[int] = deque([0] * RATE_SECONDS, maxlen=RATE_SECONDS)
        self.current = 0
        self._second = 0

    def add(self, now: float) -> None:
        """Counts one event at ``now`` (epoch seconds)."""
        self.roll(now)
        self.current += 1

    def roll(self, now: float) -> None:
        """Closes the seconds that are over."""
        second = int(now)
        if not self._second:
            self._second = second
        for _ in range(min(max(second - self._second, 0), RATE_SECONDS + 1)):
            self.slots.append(self.current)
            self.current = 0
        self._second = max(self._second, second)

    @property
    def per_second(self) -> int:
        """The last whole second."""
        return self.slots[-1]

    @property
    def peak(self) -> int:
        """The busiest second of the last minute."""
        return max(self.slots)


class Feed:
    """Everything the views read. Not thread-safe: it lives in the event loop."""

    def __init__(self, ring: int = 50_000, heartbeat_s: float = 10.0) -> None:
        self.ring: deque[EventRow] = deque(maxlen=ring)
        self.heartbeat_s = heartbeat_s
        self.total = 0
        self.lost = 0
        self.running = RunningSessions()
        self._times = EventTimes(self.running)
        self.rates = Rates()
        self.by_root: Counter[str] = Counter()
        self.root_rates: dict[str, Rates] = {}
        self.dead_letters: deque[tuple[float, dict[str, Any]]] = deque(maxlen=200)
        self.merges: deque[tuple[str, str]] = deque(maxlen=200)
        self.partings: deque[tuple[str, str]] = deque(maxlen=200)
        """Identities that are their own again, each with the one that it was part of."""
        self.alerts_open: int | None = None
        self.trends: tuple[Trend, ...] = ()
        """Rates of the last day by the hour, as the store has them."""
        self.mutations: dict[str, dict[str, Any]] = {}
        self.topology_ops: dict[str, dict[str, Any]] = {}
        """How operations on topologies ended, by their id."""
        self.notices: deque[str] = deque(maxlen=20)
        self.workers: dict[str, WorkerModel] = {}
        self.workers_version = 0
        self.rules_version = 0
        self.rule_news: dict[str, tuple[float, dict[str, Any]]] = {}
        self._ips: dict[str, str] = {}

    def add(self, event: Event, *, live: bool = True, now: float | None = None) -> None:
        """Takes one event in; ``live`` is false for what was read back from the stream.

        What a remote sensor says comes again under its own topic when the centre has taken it.
        """
        if event.topic.startswith(f"{topics.SENSOR}."):
            return
        now = time.time() if now is None else now
        event, raw = bounded(event)
        event, fault = readable(event)
        payload = event.payload
        self._learn_ip(payload)
        source = source_of(event.topic, payload, self._ips)
        summary = summarise(event.topic, payload)
        if fault:
            summary = visible(f"{fault}; {summary}", LIMIT)
        ts = self._times.of(event.topic, payload, event.ts)
        session = self.running.take(event.topic, payload, source, ts)
        self._append(ts, visible(event.topic, 255), source, summary, raw, session)
        root = event.topic.partition(".")[0]
        if root in self.by_root or len(self.by_root) < KNOWN_ROOTS:
            self.by_root[root] += 1
        if live:
            self._rate(root, now)
        self._reduce(root, event, source, now, live)

    def _reduce(self, root: str, event: Event, source: str, now: float, live: bool) -> None:
        """What the other views need of an event."""
        payload = event.payload
        if root == "system":
            self._reduce_system(event, now)
        elif root == "ttp":
            self._reduce_ttp(event, now, live)
        elif root == "decky":
            self._reduce_decky(event)
        elif root == "topology":
            self._reduce_topology(event)
        elif event.topic == _ALERT and live:
            sure = payload.get("confidence")
            shown = f"{sure:.2f}" if isinstance(sure, (int, float)) else "?"
            self.notices.append(
                f"multi-actor alert: {source} confidence {shown}  ({key('view.alerts')} shows it)"
            )
        elif root == "canary" and event.topic.endswith(".triggered") and live and payload.get("first_trip"):
            who = "a resolver" if payload.get("peer_kind") == "resolver" else source
            where = f"({key('view.fleet')} shows it)"  # before what may be cut off on a narrow screen
            self.notices.append(
                visible(f"canary token set off by {who} {where}: {first_trip(payload)}", LIMIT)
            )
        elif event.topic == _MERGED:
            self.merges.append((str(payload.get("winner_uuid")), str(payload.get("loser_uuid"))))
        elif event.topic == _UNMERGED:
            self.partings.append((str(payload.get("resurrected")), str(payload.get("former_winner"))))

    def _rate(self, root: str, now: float) -> None:
        self.rates.add(now)
        rates = self.root_rates.get(root)
        if rates is None and len(self.root_rates) < KNOWN_ROOTS:
            rates = self.root_rates[root] = Rates()
        if rates is not None:
            rates.add(now)

    def roll(self, now: float) -> None:
        """Closes the seconds that are over, for all rates."""
        for rates in (self.rates, *self.root_rates.values()):
            rates.roll(now)

    def add_gap(self, seconds: float, ts: float | None = None) -> None:
        """A line that says how long nothing was received."""
        text = f"--- connection lost for {span(seconds)}: live events of that time are missing here ---"
        self._append(time.time() if ts is None else ts, GAP_TOPIC, "-", text, b"{}")

    def _append(
        self, ts: float, topic: str, source: str, summary: str, raw: bytes, session: str = ""
    ) -> None:
        if len(self.ring) == self.ring.maxlen:
            self.running.leaves(self.ring[0].session)
        self.ring.append(EventRow(self.total, ts, topic, source, summary, raw, session))
        self.total += 1

    def since(self, seq: int) -> list[EventRow]:
        """Rows from ``seq`` on, oldest first; rows that left the ring are gone."""
        count = min(self.total - seq, len(self.ring))
        if count <= 0:
            return []
        return list(islice(reversed(self.ring), count))[::-1]

    @property
    def first_seq(self) -> int:
        """Number of the oldest row still held."""
        return self.total - len(self.ring)

    def load_heartbeats(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Heartbeats from the database: they show workers that fell silent before we came."""
        for row in rows:
            payload = row.get("payload")
            if isinstance(payload, Mapping) and row.get("worker"):
                self._heartbeat(str(row["worker"]), dict(payload), _epoch(row.get("ts")), time.time())

    def sensors(self) -> list[dict[str, Any]]:
        """What the sensors worker last said about each sensor."""
        model = self.workers.get("sensors")
        rows = model.payload.get("sensors") if model is not None else None
        return [dict(r) for r in rows if isinstance(r, Mapping)] if isinstance(rows, list) else []

    def silent_sensors(self) -> int:
        """Sensors that are missing, unreadable or silent too long."""
        return sum(str(row.get("state")) not in ("ok", "None") for row in self.sensors())

    def losses(self) -> dict[str, list[str]]:
        """What workers and the engine's parts say that was lost or limited, in words, by their names."""
        said = {name: losses(self.workers[name].payload) for name in sorted(self.workers)}
        for row in self.sensors() if not said.get("sensors") else ():
            said["sensors"] = [*said["sensors"], *losses(row)]
        if self.lost:
            said["this console"] = [f"{self.lost} live events not shown"]
        return {visible(name, 20): words for name, words in said.items() if words}

    def load_addresses(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Attackers that were stored before we came: their addresses, and when they were seen last."""
        for row in rows:
            self._learn_ip(row)
            if isinstance(seen := row.get("last_seen"), datetime):
                self._times.note(row.get("attacker_uuid"), seen.timestamp())

    def name_sources(self) -> int:
        """Gives events that came before their addresses were known the address; how many there were."""
        named = 0
        for i, row in enumerate(self.ring):
            if row.source.startswith(UNNAMED):
                payload = json.loads(row.raw).get("payload")
                source = source_of(row.topic, payload, self._ips) if isinstance(payload, dict) else row.source
                if source != row.source:
                    self.ring[i] = row._replace(source=source)
                    named += 1
        return named

    def worker_counts(self, now: float) -> tuple[int, int]:
        """Workers that are ok, and all workers known; the bus and the database are none."""
        known = [w for name, w in self.workers.items() if name not in PARTS]
        return sum(w.status(now, self.heartbeat_s) == "ok" for w in known), len(known)

    def address_of(self, attacker_uuid: object) -> str | None:
        """The address of an attacker, once an event named both."""
        return self._ips.get(attacker_uuid) if isinstance(attacker_uuid, str) else None

    def _learn_ip(self, payload: Mapping[str, Any]) -> None:
        ip, uuid = payload.get("attacker_ip"), payload.get("attacker_uuid")
        if isinstance(ip, str) and isinstance(uuid, str) and len(self._ips) < KNOWN_IPS:
            self._ips[uuid] = visible(ip, 45)

    def _reduce_system(self, event: Event, now: float) -> None:
        parts = event.topic.split(".")
        if len(parts) == 3 and parts[2] == "health":
            self._heartbeat(parts[1], event.payload, min(event.ts, now), now)
        elif len(parts) == 3 and parts[1] == "deadletter":
            self.dead_letters.append((now, {**event.payload, "worker": parts[2]}))

    def _heartbeat(self, worker: str, payload: dict[str, Any], ts: float, now: float) -> None:
        """The newest one counts; one from the future was seen before the clock was set back."""
        old = self.workers.get(worker)
        if old is None and len(self.workers) >= KNOWN_WORKERS:
            return
        if old is None or ts >= old.seen_at or old.seen_at > now + AHEAD_S:
            said = payload.get("ts")
            if said is not None and not (isinstance(said, (int, float)) and abs(said) < _LAST_S):
                payload = {**payload, "ts": None}  # who asks when it was sent may take this for a time
            self.workers[worker] = WorkerModel(worker, ts, payload)
            self.workers_version += 1

    def _reduce_decky(self, event: Event) -> None:
        """How rotations ended, by the id of their request."""
        request = event.payload.get("request_id")
        if event.topic.endswith(".mutation") and isinstance(request, str):
            self.mutations[request[:128]] = event.payload
            if len(self.mutations) > KNOWN_MUTATIONS:
                self.mutations.pop(next(iter(self.mutations)))

    def _reduce_topology(self, event: Event) -> None:
        """How operations on topologies ended, by their id."""
        name, end = event.payload.get("mutation_id"), event.topic.rpartition(".")[2]
        if isinstance(name, str) and end in ("applied", "failed"):
            self.topology_ops[name[:128]] = {**event.payload, "outcome": end}
            if len(self.topology_ops) > KNOWN_MUTATIONS:
                self.topology_ops.pop(next(iter(self.topology_ops)))

    def _reduce_ttp(self, event: Event, now: float, live: bool) -> None:
        if event.topic.startswith(("ttp.rule.state.", "ttp.rule.reloaded.")):
            if event.topic.startswith("ttp.rule.state."):
                rule = event.topic.removeprefix("ttp.rule.state.")
                self.rule_news.pop(rule, None)
                self.rule_news[rule] = (now, event.payload)
                if len(self.rule_news) > KNOWN_RULES:
                    del self.rule_news[next(iter(self.rule_news))]
                if live and event.payload.get("auto_revert"):
                    # An alert that came in the same moment is the last one, and so the one that is shown.
                    self.notices.appendleft(
                        f"{rule} is enabled again: its time is over  ({key('view.journal')} shows it)"
                    )
            elif live and not event.payload.get("deleted"):
                rule = event.topic.removeprefix("ttp.rule.reloaded.")
                self.notices.appendleft(
                    f"{rule} was changed: {key('rule.backfill')} on it in view {key('view.rules')} judges the past by it"
                )
            self.rules_version += 1


def readable(event: Event) -> tuple[Event, str]:
    """The event with the values that its record has for what was sent, and why it is none; empty when it is one.

    What no record knows stays as it came: Traffic shows what is on the wire.
    """
    try:
        one = received(event, Counter())  # keys that nobody knows are the engine's to count
        said = one.said()
    except (MalformedEvent, UnicodeEncodeError) as error:
        return event, f"unreadable: {error}"
    return (event if one.record is None else replace(event, payload={**event.payload, **said})), ""


def bounded(event: Event) -> tuple[Event, bytes]:
    """The event and its JSON; a payload nested beyond :data:`DEEP` levels as a store would keep it.

    Who shows it stands deeper in the stack than who took it from the wire, where it was just readable.
    """
    try:
        raw = event.to_bytes()
        if raw.count(b"{") + raw.count(b"[") <= DEEP or not _deeper(event.payload):
            return event, raw
    except (ValueError, RecursionError):
        raw = b""
    kept = replace(event, payload=storable(event.payload), ts=storable(float(event.ts)) or 0.0)
    return kept, kept.to_bytes()


def _deeper(payload: Mapping[str, Any]) -> bool:
    """Whether there are more than :data:`DEEP` levels below the first."""
    level: list[Any] = [payload]
    for _ in range(DEEP):
        inside = (value.values() if isinstance(value, Mapping) else value for value in level)
        level = [child for children in inside for child in children if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _epoch(value: Any) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    return float(value.timestamp()) if hasattr(value, "timestamp") else 0.0
