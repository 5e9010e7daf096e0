"""The bus as a remote sensor has it: it publishes below ``sensor.<name>.``, and reads its inbox and its control.

Its user has no rights on the stream or on JetStream's API, so nothing here asks for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nats.js import JetStreamContext

from decnet.bus import topics
from decnet.bus.base import Consumer, Event, Sealed, Subscription
from decnet.bus.live import LiveSubscription
from decnet.bus.nats.connection import NatsBus
from decnet.bus.remote import control_topic, may_say, pieces, prefix, takes_control
from decnet.bus.wire import check_blob, check_pattern
from decnet.errors import BusUnavailable


class SensorBus(NatsBus):
    """A client whose user is a remote sensor."""

    @property
    def _sensor(self) -> str:
        assert self.settings.sensor
        return self.settings.sensor

    async def _prepare(self, js: JetStreamContext) -> None:
        """The stream is the centre's affair."""

    async def _ensure_stream(self) -> None:
        """Raises BusUnavailable: what is not stored is kept by the sensor until the centre has made its stream."""
        raise BusUnavailable(
            "no stream takes events of remote sensors: the engine at the centre has to run once"
        )

    async def publish_events(self, events: Sequence[Event | Sealed]) -> None:
        """Publishes below the sensor's prefix. Raises as the adapter does, and ValueError for what no sensor may say.

        News about this process itself, but its health, stay here: nobody at the centre could do anything with them.
        """
        told = [self._below(event) for event in events if may_say(event.topic) or not _own(event.topic)]
        await super().publish_events(told)

    def _below(self, event: Event | Sealed) -> Sealed:
        """The event under its subject; the body is what it would be elsewhere, and so is its size."""
        if not may_say(event.topic):
            raise ValueError(f"no remote sensor may say {event.topic!r:.80}")
        try:
            body = event.to_bytes()
        except (TypeError, RecursionError) as error:
            raise ValueError(f"payload is not JSON: {error}") from error
        return Sealed(prefix(self._sensor) + event.topic, body, event.headers)

    def subscribe(self, pattern: str) -> Subscription:
        """What this sensor is told to do, for whoever listens to control; nothing ever for others."""
        check_pattern(pattern)
        if takes_control(pattern):
            wanted = control_topic(self._sensor)
            return self._listen(
                _Control(wanted, self.settings.live_queue, settle=self._settle, leave=self._leave)
            )
        return LiveSubscription(pattern, self.settings.live_queue)

    async def consume(self, name: str, patterns: Sequence[str]) -> Consumer:
        """Raises BusUnavailable: a remote sensor reads nothing."""
        raise BusUnavailable("a remote sensor publishes only: run its other workers at the centre")

    async def read_back(self, pattern: str, last: int) -> list[Event]:
        """Nothing."""
        return []

    async def last_of(self, topic: str) -> Event | None:
        """None."""
        return None

    async def fill(self) -> float | None:
        """Nobody here knows."""
        return None

    async def put_blob(self, key: str, data: bytes) -> None:
        """Publishes a recording in pieces, which the centre puts together. Raises ValueError, BusFull or BusUnavailable."""
        check_blob(key, data)
        parts = await asyncio.to_thread(lambda: list(pieces(key, data, self.settings.max_event_bytes)))
        await self.publish_events(parts)

    async def get_blob(self, key: str) -> bytes | None:
        """None: what was published cannot be read from here."""
        check_blob(key)
        return None


def _own(topic: str) -> bool:
    """Whether it is news about a process."""
    return topic.startswith(f"{topics.SYSTEM}.")


class _Control(LiveSubscription):
    """Events of the sensor's control topic, as those of its one worker."""

    def offer(self, event: Event) -> None:
        topic = topics.system_control("sensors")
        super().offer(Event(topic, event.payload, event.type, event.id, event.ts, event.v, event.headers))
