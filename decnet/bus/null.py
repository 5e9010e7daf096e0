"""The bus that is not there: publishes vanish, subscriptions end at once, consumers stay empty."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from decnet.bus.base import BaseBus, Consumer, ConsumerInfo, Delivery, Event, Sealed, Subscription
from decnet.bus.live import LiveSubscription
from decnet.errors import BusUnavailable


class NullConsumer:
    """A durable consumer that never gets anything."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def fetch(self, max_events: int, timeout: float) -> Sequence[Delivery]:
        """Nothing, after ``timeout`` seconds, so that a reader's loop does not spin."""
        await asyncio.sleep(timeout)
        return []

    async def info(self) -> ConsumerInfo:
        """No backlog."""
        return ConsumerInfo(pending=0, unacked=0, ack_floor=0, delivered=0)

    async def close(self) -> None:
        """Nothing to forget."""


class NullBus(BaseBus):
    """Adapter without a transport."""

    def __init__(self, client_name: str = "decnet") -> None:
        self.client_name = client_name
        self._connected = False

    async def connect(self) -> None:
        """Marks the bus as connected."""
        self._connected = True

    async def close(self) -> None:
        """Marks the bus as closed."""
        self._connected = False

    @property
    def connected(self) -> bool:
        """Whether ``connect`` was called."""
        return self._connected

    async def publish(
        self,
        topic: str,
        payload: dict[str, Any],
        *,
        event_type: str = "",
        event_id: str | None = None,
        ts: float | None = None,
    ) -> None:
        """Drops the event."""

    async def publish_events(self, events: Sequence[Event | Sealed]) -> None:
        """Drops the events."""

    def subscribe(self, pattern: str) -> Subscription:
        """A subscription that has already ended."""
        subscription = LiveSubscription(pattern, limit=1)
        subscription.end()
        return subscription

    async def consume(self, name: str, patterns: Sequence[str]) -> Consumer:
        """A consumer without deliveries."""
        return NullConsumer(name)

    async def read_back(self, pattern: str, last: int) -> list[Event]:
        """Nothing was kept."""
        return []

    async def put_blob(self, key: str, data: bytes) -> None:
        """Drops the blob."""

    async def get_blob(self, key: str) -> bytes | None:
        """Nothing was kept."""
        return None


class AbsentBus(NullBus):
    """What a worker that runs alone has where there is no bus: nothing that waits in the outbox is lost.

    It is never connected, so that whoever asks knows that nobody else brings work.
    """

    @property
    def connected(self) -> bool:
        """Never."""
        return False

    async def publish_events(self, events: Sequence[Event | Sealed]) -> None:
        """Refuses, so that the outbox keeps its rows for an engine that has a bus. Raises BusUnavailable."""
        raise BusUnavailable("running without a bus")

    async def consume(self, name: str, patterns: Sequence[str]) -> Consumer:
        """Refuses likewise. Raises BusUnavailable."""
        raise BusUnavailable("running without a bus")
