"""Durable publishing with a window of unacknowledged messages; part of the NATS adapter.

nats-py waits for each acknowledgement or makes several objects per message; this keeps one inbox and
one number per message, because sensors publish a whole log when they start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from decnet.bus.base import Event, Sealed
from decnet.bus.nats.client import api_error, translated
from decnet.bus.topics import is_durable
from decnet.bus.wire import outgoing
from decnet.config import BusSettings
from decnet.errors import BusError, BusUnavailable
from decnet.turns import TURN


class StreamMissing(BusUnavailable):
    """No stream takes the subject: it vanished with the server's store and must be made again."""


class _Flight:
    """The messages of one call that are on their way."""

    __slots__ = ("error", "left", "moved")

    def __init__(self) -> None:
        self.left = 0
        self.error: BusError | None = None
        self.moved = asyncio.Event()

    def landed(self, error: BusError | None) -> None:
        self.left -= 1
        self.error = self.error or error
        self.moved.set()


class Publisher:
    """Publishes events of one client."""

    def __init__(self, client: Client, settings: BusSettings) -> None:
        self._client = client
        self._settings = settings
        self._prefix = ""
        self._number = 0
        self._flights: dict[str, _Flight] = {}
        self._inbox: Subscription | None = None

    async def open(self) -> None:
        """Subscribes to the inbox of the acknowledgements."""
        self._prefix = self._client.new_inbox() + "."
        self._inbox = await self._client.subscribe(f"{self._prefix}*", cb=self._acknowledged)

    def drop(self) -> None:
        """Fails everything on its way: the connection is gone and the answers with it."""
        gone, self._flights = self._flights, {}
        for flight in gone.values():
            flight.landed(BusUnavailable("connection lost before the bus acknowledged"))

    async def publish(self, events: Sequence[Event | Sealed]) -> None:
        """Publishes in order; returns when all durable ones are stored. Raises BusError or ValueError."""
        flight = _Flight()
        tokens: list[str] = []
        try:
            with translated():
                for number, event in enumerate(events, start=1):
                    if number % TURN == 0:
                        await asyncio.sleep(0)
                    if flight.left >= self._settings.publish_window:
                        await self._room(flight, self._settings.publish_window // 2)
                    await self._send(event, flight, tokens)
            await self._room(flight, 0)
        finally:
            if flight.left > 0:
                for token in tokens:
                    self._flights.pop(token, None)

    async def _send(self, event: Event | Sealed, flight: _Flight, tokens: list[str]) -> None:
        if flight.error is not None:
            raise flight.error
        limit = min(self._settings.max_event_bytes, self._client.max_payload)
        body, headers = outgoing(event, limit)
        reply = ""
        if is_durable(event.topic):
            self._number += 1
            token = str(self._number)
            tokens.append(token)
            self._flights[token] = flight
            flight.left += 1
            reply = self._prefix + token
        await self._client.publish(event.topic, body, reply=reply, headers=headers)

    async def _room(self, flight: _Flight, below: int) -> None:
        """Waits until at most ``below`` messages are on their way."""
        while flight.left > below and flight.error is None:
            flight.moved.clear()
            try:
                async with asyncio.timeout(self._settings.request_timeout_s):
                    await flight.moved.wait()
            except TimeoutError:
                raise BusUnavailable("the bus did not acknowledge in time") from None
        if flight.error is not None:
            raise flight.error

    async def _acknowledged(self, message: Msg) -> None:
        flight = self._flights.pop(message.subject[len(self._prefix) :], None)
        if flight is not None:
            flight.landed(_refusal(message))

    async def close(self) -> None:
        """Leaves the inbox."""
        self.drop()
        if self._inbox is not None:
            with contextlib.suppress(BusError), translated():
                await self._inbox.unsubscribe()


def _refusal(message: Msg) -> BusError | None:
    """None for a stored message, else why it was not."""
    if message.headers and message.headers.get("Status") == "503":
        return StreamMissing("no stream takes the event")
    if b'"error"' not in message.data:
        return None
    try:
        error = json.loads(message.data)["error"]
        return api_error(error.get("code"), error.get("description"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return BusUnavailable("the bus answered with something unreadable")
