"""The NATS adapter: core NATS for news, one JetStream stream for everything durable.

With its helpers ``nats_client``, ``nats_publish``, ``nats_pull`` and ``nats_store`` it holds every fact
about nats-py. Every call has a time limit; trouble comes out as BusError.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as RawSubscription
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from decnet.bus.base import BaseBus, Consumer, ConsumerInfo, Event, Sealed, Subscription
from decnet.bus.live import LiveSubscription
from decnet.bus.nats.client import Attempts, Callbacks, abandon, is_plumbing, open_client, translated
from decnet.bus.nats.consumer import SILENCE_S, NatsConsumer, to_info
from decnet.bus.nats.decoded import Decoded
from decnet.bus.nats.publisher import Publisher, StreamMissing
from decnet.bus.nats.store import Blobs, Reader, ensure_stream
from decnet.bus.wire import check_consumer_name, check_pattern, incoming_headers, new_event
from decnet.config import BusSettings
from decnet.errors import BusError, BusUnavailable, MalformedEvent
from decnet.logs import get_logger

log = get_logger(__name__)
PULSE_S = 2.0
"""Seconds between two questions whether the server is there, while consumers wait for its answers."""


class NatsBus(BaseBus):
    """A client of a NATS server or cluster. ``reconnects`` counts connections that came back."""

    def __init__(
        self,
        url: str,
        *,
        client_name: str = "decnet",
        token: str | None = None,
        settings: BusSettings | None = None,
    ) -> None:
        self.client_name = client_name
        self.settings = settings or BusSettings()
        self.reconnects = 0
        self._left = Counter[str]()
        self._url = url
        self._token = token
        self._client: Client | None = None
        self._js: JetStreamContext | None = None
        self._publisher: Publisher | None = None
        self._decoded = Decoded()
        self._live: dict[LiveSubscription, list[RawSubscription] | None] = {}
        self._registering: set[asyncio.Task[None]] = set()
        self._consumers = weakref.WeakSet[NatsConsumer]()
        self._pulse: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._attempts = Attempts()
        self._wanted = False

    async def connect(self) -> None:
        """Connects and makes sure that the stream exists. Raises BusUnavailable or BusAuthError.

        Who comes while an attempt is under way shares what becomes of it.
        """
        self._wanted = True
        before = self._attempts.failed
        async with self._opening:
            if self._client is not None and not self._client.is_closed:
                return
            if self._attempts.failed != before:
                self._attempts.repeat()
            with self._attempts.watched():
                await self._open()

    async def _open(self) -> None:
        callbacks = Callbacks(lost=self._on_lost, back=self._on_back, closed=self._on_closed)
        client = await open_client(self._url, self.client_name, self._token, self.settings, callbacks)
        try:
            await self._adopt(client)
        except BusError:
            self._client = None
            await abandon(client)
            raise

    async def _adopt(self, client: Client) -> None:
        """Takes a fresh client into use and puts the live subscriptions on it."""
        js = client.jetstream(timeout=self.settings.request_timeout_s)
        await self._prepare(js)
        publisher = Publisher(client, self.settings)
        with translated():
            await publisher.open()
        self._client, self._js, self._publisher = client, js, publisher
        for subscription in list(self._live):
            await self._register(subscription)
        if self._pulse is None:
            self._pulse = asyncio.get_running_loop().create_task(
                self._feel_pulse(), name=f"{self.client_name}:pulse"
            )

    async def _feel_pulse(self) -> None:
        """For ever: one question serves all consumers. A server that hangs takes part in nothing, and keeps its connections."""
        while True:
            await asyncio.sleep(PULSE_S)
            client = self._client
            if client is None or not client.is_connected or not any(one.waits for one in self._consumers):
                continue
            try:
                async with asyncio.timeout(SILENCE_S):
                    with translated():
                        await client.flush(timeout=int(SILENCE_S))
            except (BusError, TimeoutError) as error:
                log.debug("the bus server does not answer", reason=str(error))
                self._give_up()

    def _give_up(self) -> None:
        for consumer in self._consumers:
            consumer.give_up()

    async def close(self) -> None:
        """Flushes what was acknowledged and disconnects; the live subscriptions end."""
        self._wanted = False
        for subscription in list(self._live):
            await subscription.aclose()
        ending, self._pulse = [self._pulse] if self._pulse is not None else [], None
        for pulse in ending:
            pulse.cancel()
        await asyncio.gather(*ending, *self._registering, return_exceptions=True)
        client, self._client = self._client, None
        if client is None:
            return
        if self._publisher is not None:
            self._publisher.drop()
        if client.is_connected:
            with contextlib.suppress(BusError), translated():
                await client.flush(timeout=2)
        await abandon(client)

    @property
    def connected(self) -> bool:
        """Whether the transport is up at this moment."""
        return self._client is not None and bool(self._client.is_connected)

    def counters(self) -> dict[str, int]:
        """Reconnections, failed connections, and live events that slow readers lost or that were none."""
        return {
            "reconnects": self.reconnects,
            "connect_failures": self._attempts.failed,
            "live_lost": self._left["live_lost"] + sum(s.lost for s in self._live),
            "live_malformed": self._left["live_malformed"] + sum(s.malformed for s in self._live),
        }

    async def fill(self) -> float | None:
        """How much of the stream's room is used, 0..1. Raises BusUnavailable."""
        info = await self.stream_info()
        return info["bytes"] / info["max_bytes"] if info["max_bytes"] > 0 else None

    async def _on_lost(self) -> None:
        if self._publisher is not None:
            self._publisher.drop()
        self._give_up()
        had_one = self._client is not None and not self._client.is_closed
        if self._wanted and had_one:
            log.warning("bus connection lost", client=self.client_name)

    async def _on_back(self) -> None:
        self.reconnects += 1
        log.info("bus connection is back", client=self.client_name)

    async def _on_closed(self) -> None:
        """The library gave up for good; the next call makes a new client."""
        if self._wanted and self._client is not None:
            log.critical(
                "bus client closed for good and will be replaced",
                client=self.client_name,
                reason=str(self._client.last_error),
            )

    async def _ready(self) -> tuple[Client, JetStreamContext]:
        """The live client; replaces one that the library has closed. Raises BusError."""
        if not self._wanted:
            raise BusUnavailable("the bus is not connected")
        if self._client is None or self._client.is_closed:
            if self._attempts.fresh():
                self._attempts.repeat()
            await self.connect()
        assert self._client is not None
        assert self._js is not None
        if not self._client.is_connected:
            raise BusUnavailable("the bus is reconnecting")
        return self._client, self._js

    async def _prepare(self, js: JetStreamContext) -> None:
        """What has to be there before a fresh client is of use. Raises BusError."""
        await ensure_stream(js, self.settings)

    async def _ensure_stream(self) -> None:
        _, js = await self._ready()
        await ensure_stream(js, self.settings)

    async def publish(
        self,
        topic: str,
        payload: dict[str, Any],
        *,
        event_type: str = "",
        event_id: str | None = None,
        ts: float | None = None,
    ) -> None:
        """Publishes one event. Raises BusUnavailable, BusFull, BusAuthError or ValueError."""
        await self.publish_events([new_event(topic, payload, event_type, event_id, ts)])

    async def publish_events(self, events: Sequence[Event | Sealed]) -> None:
        """Publishes many, pipelined, in order. Raises as ``publish``; publishing all again is safe."""
        await self._ready()
        if self._registering:
            await asyncio.gather(*self._registering, return_exceptions=True)
        assert self._publisher is not None
        try:
            await self._publisher.publish(events)
        except StreamMissing:
            await self._ensure_stream()
            await self._publisher.publish(events)

    def subscribe(self, pattern: str) -> Subscription:
        """Live events that match; survives reconnects. Raises ValueError for a bad pattern."""
        check_pattern(pattern)
        return self._listen(
            LiveSubscription(pattern, self.settings.live_queue, settle=self._settle, leave=self._leave)
        )

    def _listen(self, subscription: LiveSubscription) -> LiveSubscription:
        """Puts a live subscription on the client, as soon as there is one."""
        self._live[subscription] = None
        if self.connected:
            task = asyncio.get_running_loop().create_task(
                self._register(subscription), name=f"{self.client_name}:subscribe:{subscription.pattern}"
            )
            self._registering.add(task)
            task.add_done_callback(self._registering.discard)
        return subscription

    async def _register(self, subscription: LiveSubscription) -> None:
        """Puts a live subscription on the current client; a failure is mended at the next connection."""
        if subscription.closed or self._client is None:
            return

        async def arrived(message: Msg) -> None:
            if is_plumbing(message):
                return
            try:
                headers = incoming_headers(message.headers)
                subscription.offer(Event.from_bytes(message.subject, message.data, headers))
            except MalformedEvent as error:
                subscription.refuse(message.subject, error)

        raw: list[RawSubscription] = []
        try:
            for pattern in (subscription.pattern, *subscription.through.also):
                raw += [await self._client.subscribe(pattern, cb=arrived)]
        except nats.errors.Error as error:
            log.warning("subscription failed", pattern=subscription.pattern, reason=str(error))
            await _left(raw)
            return
        if subscription in self._live:
            self._live[subscription] = raw
        else:  # closed while the server was told
            await _left(raw)

    async def _settle(self) -> None:
        """Returns when the server knows every subscription made so far; no error when it is away."""
        await asyncio.gather(*self._registering, return_exceptions=True)
        if self._client is not None and self._client.is_connected:
            with contextlib.suppress(BusError), translated():
                await self._client.flush(timeout=max(1, int(self.settings.request_timeout_s)))

    async def _leave(self, subscription: LiveSubscription) -> None:
        raw = self._live.pop(subscription, None)
        self._left.update(live_lost=subscription.lost, live_malformed=subscription.malformed)
        if raw is not None and self._client is not None and not self._client.is_closed:
            with contextlib.suppress(BusError), translated():
                await _left(raw)

    async def consume(self, name: str, patterns: Sequence[str]) -> Consumer:
        """The durable consumer ``name``; raises BusError, or ValueError for a bad name or pattern."""
        check_consumer_name(name)
        wanted = [check_pattern(pattern) for pattern in patterns]
        consumer = NatsConsumer(name, wanted, self.settings, self._ready, self._ensure_stream, self._decoded)
        await consumer.open()
        self._consumers.add(consumer)
        return consumer

    async def forget_consumer(self, name: str) -> None:
        """Lets a durable consumer go; one that is not there is no fault. Raises BusUnavailable."""
        check_consumer_name(name)
        _, js = await self._ready()
        with translated(), contextlib.suppress(NotFoundError):
            await js.delete_consumer(self.settings.stream, name)

    async def read_back(self, pattern: str, last: int) -> list[Event]:
        """The last durable events that match, oldest first, at most ``read_back_window``."""
        _, js = await self._ready()
        return await Reader(js, self.settings).tail(pattern, min(last, self.settings.read_back_window))

    async def last_of(self, topic: str) -> Event | None:
        """The newest durable event of exactly this topic, None when there is none. Raises BusUnavailable."""
        _, js = await self._ready()
        return await Reader(js, self.settings).newest(topic)

    async def put_blob(self, key: str, data: bytes) -> None:
        """Stores a blob under its sha256. Raises ValueError, BusFull or BusUnavailable."""
        _, js = await self._ready()
        await Blobs(js, self.settings).put(key, data)

    async def get_blob(self, key: str) -> bytes | None:
        """The blob, or None. Raises ValueError or BusUnavailable."""
        _, js = await self._ready()
        return await Blobs(js, self.settings).get(key)

    async def stream_info(self) -> dict[str, int]:
        """messages, bytes, first_seq, last_seq and max_bytes of the stream. Raises BusUnavailable."""
        _, js = await self._ready()
        with translated():
            info = await js.stream_info(self.settings.stream)
        return {
            "messages": info.state.messages,
            "bytes": info.state.bytes,
            "first_seq": info.state.first_seq,
            "last_seq": info.state.last_seq,
            "max_bytes": info.config.max_bytes or 0,
        }

    async def durables(self) -> dict[str, ConsumerInfo]:
        """State of every durable consumer of the stream by name. Raises BusUnavailable."""
        _, js = await self._ready()
        found: dict[str, ConsumerInfo] = {}
        seen: set[str] = set()  # temporary ones too: a page of them alone is not the last page
        with translated():
            while page := await js.consumers_info(self.settings.stream, offset=len(seen)):
                if seen.issuperset(info.name for info in page):
                    break
                seen.update(info.name for info in page)
                found |= {info.name: to_info(info) for info in page if info.config.durable_name}
        return found

    async def first_since(self, cutoff: float) -> int:
        """First sequence stored at or after ``cutoff`` (epoch seconds). Raises BusUnavailable."""
        _, js = await self._ready()
        return await Reader(js, self.settings).first_since(cutoff)

    async def purge_to(self, below: int) -> None:
        """Deletes everything below the sequence ``below``. Raises BusUnavailable."""
        _, js = await self._ready()
        with translated():
            await js.purge_stream(self.settings.stream, seq=below)

    async def drop_blobs(self, cutoff: float) -> int:
        """Deletes blobs stored before ``cutoff`` (epoch seconds); how many. Raises BusUnavailable."""
        _, js = await self._ready()
        return await Blobs(js, self.settings).drop_older(cutoff)


async def _left(raw: Sequence[RawSubscription]) -> None:
    """No more messages of any of them."""
    for each in raw:
        await each.unsubscribe()
