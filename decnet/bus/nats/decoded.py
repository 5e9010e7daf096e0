"""Events of messages that several consumers of one engine are given: decoded once.

Whoever has an event reads it only; the next consumer is handed the same object.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from decnet.bus.base import Event
from decnet.bus.wire import incoming_headers

EVENTS_KEPT = 1024
BYTES_KEPT = 8 * 2**20
"""Bodies that are kept, in bytes; an event takes several times as much."""


class Decoded:
    """The newest events by topic and body."""

    def __init__(self) -> None:
        self._events: OrderedDict[tuple[str, bytes], Event] = OrderedDict()
        self._bytes = 0

    def event(self, topic: str, body: bytes, headers: Mapping[str, str] | None) -> Event:
        """The event of a message. Raises MalformedEvent."""
        key = (topic, body)
        known = self._events.get(key)
        if known is not None:
            return known
        event = self._events[key] = Event.from_bytes(topic, body, incoming_headers(headers))
        self._bytes += len(body)
        while len(self._events) > EVENTS_KEPT or self._bytes > BYTES_KEPT:
            (_, old), _ = self._events.popitem(last=False)
            self._bytes -= len(old)
        return event
