"""The bus inside one process, for tests: publish, subscribe, consume, acknowledge, redeliver.

Buses of one event loop share a broker, as clients of one server do; give ``broker`` for one apart.
Kept to the same conformance suite as the NATS adapter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from decnet.bus.base import BaseBus, Consumer, ConsumerInfo, Delivery, Event, Sealed, Subscription, matches
from decnet.bus.live import LiveSubscription
from decnet.bus.topics import is_durable
from decnet.bus.views import Through
from decnet.bus.wire import (
    MSG_ID_HEADER,
    check_blob,
    check_consumer_name,
    check_pattern,
    incoming_headers,
    new_event,
    outgoing,
)
from decnet.config import BusSettings
from decnet.errors import BusFull, BusUnavailable, MalformedEvent

_FOREVER = float("inf")


@dataclass(slots=True)
class _Stored:
    seq: int
    topic: str
    body: bytes
    headers: dict[str, str]

    def event(self) -> Event:
        return Event.from_bytes(self.topic, self.body, incoming_headers(self.headers))


@dataclass(slots=True)
class _Durable:
    """State of one durable consumer; ``waiting`` maps unacknowledged sequences to their next delivery."""

    patterns: tuple[str, ...]
    next_seq: int = 1
    waiting: dict[int, float] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)

    def wants(self, topic: str) -> bool:
        return any(matches(pattern, topic) for pattern in self.patterns)


class Broker:
    """What the server is to NATS: one stream, durable consumers, live subscriptions, blobs."""

    def __init__(self, settings: BusSettings) -> None:
        self.settings = settings
        self.stream: list[_Stored] = []
        self.ids: set[str] = set()
        self.bytes = 0
        self.durables: dict[str, _Durable] = {}
        self.live: list[LiveSubscription] = []
        self.blobs: dict[str, bytes] = {}
        self.arrived = asyncio.Event()

    def put(self, topic: str, body: bytes, headers: dict[str, str]) -> None:
        """Stores what is durable, once by its header for that, and hands it to the live readers."""
        once = headers[MSG_ID_HEADER]
        if is_durable(topic) and once not in self.ids:
            if self.bytes + len(body) > self.settings.max_stream_bytes:
                raise BusFull("the stream is full of unread events")
            self.ids.add(once)
            self.bytes += len(body)
            self.stream.append(_Stored(len(self.stream) + 1, topic, body, headers))
            self.arrived.set()
        for subscription in self.live:
            if subscription.through.wants(topic):
                _hand_over(subscription, topic, body, headers)

    def due(self, durable: _Durable, limit: int, now: float) -> list[_Stored]:
        """Up to ``limit`` messages to deliver at ``now``: late ones first, then new ones."""
        late = sorted(seq for seq, at in durable.waiting.items() if at <= now)[:limit]
        found = [self.stream[seq - 1] for seq in late]
        room = self.settings.max_ack_pending - len(durable.waiting) + len(late)
        while len(found) < min(limit, room) and durable.next_seq <= len(self.stream):
            stored = self.stream[durable.next_seq - 1]
            durable.next_seq += 1
            if durable.wants(stored.topic):
                found.append(stored)
        for stored in found:
            durable.waiting[stored.seq] = now + self.settings.ack_wait_s
            durable.counts[stored.seq] = durable.counts.get(stored.seq, 0) + 1
        return found


def _hand_over(subscription: LiveSubscription, topic: str, body: bytes, headers: dict[str, str]) -> None:
    try:
        subscription.offer(Event.from_bytes(topic, body, incoming_headers(headers)))
    except MalformedEvent as error:
        subscription.refuse(topic, error)


class MemoryDelivery:
    """One delivery of the memory bus."""

    def __init__(self, broker: Broker, durable: _Durable, stored: _Stored) -> None:
        self._broker, self._durable = broker, durable
        self.topic, self.body, self.seq = stored.topic, stored.body, stored.seq
        self.num_delivered = durable.counts[stored.seq]
        self.event: Event | None = None
        self.malformed: MalformedEvent | None = None
        try:
            self.event = stored.event()
        except MalformedEvent as error:
            self.malformed = error.bare()

    async def ack(self) -> None:
        """The whole effect is committed."""
        self._durable.waiting.pop(self.seq, None)
        self._durable.counts.pop(self.seq, None)

    async def nak(self, delay: float = 0.0) -> None:
        """Deliver again after ``delay`` seconds."""
        self._again_after(delay)
        self._broker.arrived.set()

    async def in_progress(self) -> None:
        """Restarts the acknowledgement clock."""
        self._again_after(self._broker.settings.ack_wait_s)

    def _again_after(self, delay: float) -> None:
        if self.seq in self._durable.waiting:
            self._durable.waiting[self.seq] = _now() + delay


class MemoryConsumer:
    """A durable consumer of the memory bus."""

    def __init__(self, name: str, bus: MemoryBus, durable: _Durable) -> None:
        self.name = name
        self._bus, self._durable = bus, durable

    async def fetch(self, max_events: int, timeout: float) -> Sequence[Delivery]:
        """Up to ``max_events`` deliveries, empty after ``timeout`` seconds. Raises BusUnavailable."""
        deadline = _now() + timeout
        while True:
            broker = self._bus.broker
            broker.arrived.clear()
            found = broker.due(self._durable, max_events, _now())
            if found or _now() >= deadline:
                return [MemoryDelivery(broker, self._durable, stored) for stored in found]
            await self._something(broker, deadline)

    async def _something(self, broker: Broker, deadline: float) -> None:
        """Waits for a new event, the next redelivery or the deadline."""
        until = min(deadline, min(self._durable.waiting.values(), default=_FOREVER))
        try:
            async with asyncio.timeout_at(until):
                await broker.arrived.wait()
        except TimeoutError:
            return

    async def info(self) -> ConsumerInfo:
        """Backlog now. Raises BusUnavailable."""
        stream, durable = self._bus.broker.stream, self._durable
        pending = sum(durable.wants(stored.topic) for stored in stream[durable.next_seq - 1 :])
        floor = min(durable.waiting, default=durable.next_seq) - 1
        return ConsumerInfo(
            pending=pending, unacked=len(durable.waiting), ack_floor=floor, delivered=durable.next_seq - 1
        )

    async def close(self) -> None:
        """Forgets the local end."""


_brokers: WeakKeyDictionary[asyncio.AbstractEventLoop, Broker] = WeakKeyDictionary()


def _now() -> float:
    return asyncio.get_running_loop().time()


class MemoryBus(BaseBus):
    """Adapter within one process."""

    def __init__(
        self,
        client_name: str = "decnet",
        *,
        settings: BusSettings | None = None,
        broker: Broker | None = None,
    ) -> None:
        self.client_name = client_name
        self.settings = settings or BusSettings(type="memory")
        self._broker = broker
        self._connected = False
        self._live: list[LiveSubscription] = []

    async def connect(self) -> None:
        """Joins the broker of this event loop."""
        if self._connected:
            return
        loop = asyncio.get_running_loop()
        if self._broker is None:
            self._broker = _brokers.setdefault(loop, Broker(self.settings))
        self._connected = True
        self._broker.live.extend(self._live)

    async def close(self) -> None:
        """Leaves the broker; the subscriptions end."""
        for subscription in list(self._live):
            await subscription.aclose()
        self._connected = False

    @property
    def connected(self) -> bool:
        """Whether it joined a broker."""
        return self._connected

    @property
    def broker(self) -> Broker:
        """The broker joined. Raises BusUnavailable before ``connect`` and after ``close``."""
        if self._broker is None or not self._connected:
            raise BusUnavailable("the memory bus is not connected")
        return self._broker

    async def publish(
        self,
        topic: str,
        payload: dict[str, Any],
        *,
        event_type: str = "",
        event_id: str | None = None,
        ts: float | None = None,
    ) -> None:
        """Publishes one event. Raises BusUnavailable, BusFull or ValueError."""
        await self.publish_events([new_event(topic, payload, event_type, event_id, ts)])

    async def publish_events(self, events: Sequence[Event | Sealed]) -> None:
        """Publishes in order. Raises BusUnavailable, BusFull or ValueError."""
        broker = self.broker
        for event in events:
            body, headers = outgoing(event, self.settings.max_event_bytes)
            broker.put(event.topic, body, headers)
        await asyncio.sleep(0)

    def subscribe(self, pattern: str) -> Subscription:
        """Live events that match. Raises ValueError for a bad pattern."""
        check_pattern(pattern)
        subscription = LiveSubscription(pattern, self.settings.live_queue, leave=self._leave)
        self._live.append(subscription)
        if self._connected:
            self.broker.live.append(subscription)
        return subscription

    async def _leave(self, subscription: LiveSubscription) -> None:
        for group in (self._live, self._broker.live if self._broker else []):
            if subscription in group:
                group.remove(subscription)

    async def consume(self, name: str, patterns: Sequence[str]) -> Consumer:
        """The durable consumer ``name``; other patterns than before replace those."""
        check_consumer_name(name)
        wanted = tuple(check_pattern(pattern) for pattern in patterns)
        durable = self.broker.durables.setdefault(name, _Durable(wanted))
        durable.patterns = wanted
        return MemoryConsumer(name, self, durable)

    async def forget_consumer(self, name: str) -> None:
        """The next consumer of that name starts at the stream's first event."""
        self.broker.durables.pop(name, None)

    async def read_back(self, pattern: str, last: int) -> list[Event]:
        """The newest ``last`` durable events that match, oldest first, at most ``read_back_window``."""
        through = Through(check_pattern(pattern))
        last = min(last, self.settings.read_back_window)
        found: list[Event] = []
        for stored in reversed(self.broker.stream):
            if len(found) >= last:
                break
            if through.wants(stored.topic):
                try:
                    found += reversed(list(through.seen(stored.event())))
                except MalformedEvent:
                    continue
        return found[:last][::-1]

    async def put_blob(self, key: str, data: bytes) -> None:
        """Stores a blob. Raises ValueError over the limit or for a bad key."""
        check_blob(key, data)
        self.broker.blobs[key] = data

    async def get_blob(self, key: str) -> bytes | None:
        """A stored blob or None. Raises ValueError for a bad key."""
        check_blob(key)
        return self.broker.blobs.get(key)
