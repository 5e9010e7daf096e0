"""The event envelope and the abstract bus; adapters live beside this module.

Two kinds of reading: ``subscribe`` is live news (nothing is kept for a reader that is away),
``consume`` is durable work (batches, acknowledged one by one, redelivered until they are).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self
from uuid import uuid4

import msgspec

from decnet.errors import MalformedEvent
from decnet.hostile import storable
from decnet.jsontext import decoded, encoded

SCHEMA_VERSION = 1
_DIGITS = bytes.maketrans(b"0123456789", b"0000000000")
_LONG_INTEGER = b"0" * 19
_BEFORE_NUMBERS = (b":", b",", b"[", b"-", b" ", b"\n", b"\t", b"\r")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    ``ts`` is epoch seconds, ``type`` a short discriminator, ``id`` hex. ``headers`` travel beside
    the body (trace context) and take no part in equality.
    """

    topic: str
    payload: dict[str, Any]
    type: str = ""
    id: str = field(default_factory=lambda: uuid4().hex)
    ts: float = field(default_factory=time.time)
    v: int = SCHEMA_VERSION
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS, compare=False, repr=False)

    def to_bytes(self) -> bytes:
        """The JSON body for the wire; ASCII, so that no byte of it can upset a transport."""
        body = {
            "v": self.v,
            "id": self.id,
            "topic": self.topic,
            "type": self.type,
            "ts": self.ts,
            "payload": self.payload,
        }
        return encoded(body)

    @classmethod
    def from_bytes(cls, topic: str, body: bytes, headers: Mapping[str, str] | None = None) -> Event:
        """The event in ``body``; the topic is the transport's, never the body's.

        What no database stores (NUL, lone surrogates, integers beyond 63 bits, infinities) is made storable
        here: any producer's text could otherwise cost the whole event.

        Raises MalformedEvent when the body is no envelope with an object as payload.
        """
        try:
            raw, strict = decoded(body)
        except (ValueError, RecursionError) as error:
            raise MalformedEvent(f"not JSON: {str(error)[:200]}") from error
        if not isinstance(raw, dict):
            raise MalformedEvent(f"envelope is {type(raw).__name__}, not an object")
        payload = raw.get("payload")
        if not isinstance(payload, dict):
            raise MalformedEvent("payload is not an object")
        kind, name = _checked(raw, "type", str, ""), _checked(raw, "id", str, "")
        if not strict or _doubtful(body):
            payload, kind, name = map(storable, (payload, kind, name))
        return cls(
            topic=topic,
            payload=payload,
            type=kind,
            id=name or uuid4().hex,
            ts=_finite(raw.get("ts")),
            v=_checked(raw, "v", int, SCHEMA_VERSION),
            headers=headers or _NO_HEADERS,
        )


@dataclass(frozen=True, slots=True)
class Sealed:
    """An event as it goes on the wire, which is how it waits in the outbox: nobody reads what it says."""

    topic: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS, compare=False, repr=False)

    @property
    def id(self) -> str:
        """The event's id; empty for a body that is none of an event."""
        try:
            return _HEAD.decode(self.body).id
        except msgspec.DecodeError:
            return ""

    def to_bytes(self) -> bytes:
        """The body."""
        return self.body

    def opened(self) -> Event:
        """The event. Raises MalformedEvent."""
        return Event.from_bytes(self.topic, self.body, self.headers)


class _Head(msgspec.Struct):
    id: str = ""


_HEAD = msgspec.json.Decoder(_Head)


def _doubtful(body: bytes) -> bool:
    """Whether strict JSON may hold what no database stores: NUL, or nineteen digits that are a number.

    Digits after a quotation mark are text: ids and hashes.
    """
    if b"\\u0000" in body:
        return True
    folded = body.translate(_DIGITS)
    return _LONG_INTEGER in folded and any(before + _LONG_INTEGER in folded for before in _BEFORE_NUMBERS)


def _checked(raw: dict[str, Any], key: str, kind: type, default: Any) -> Any:
    value = raw.get(key, default)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MalformedEvent(f"{key} is {type(value).__name__}, not {kind.__name__}")
    return value


def _finite(value: Any) -> float:
    if value is None:
        return time.time()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15:
        raise MalformedEvent("ts is not a time in epoch seconds")
    return float(value)


def matches(pattern: str, topic: str) -> bool:
    """Whether a NATS subject pattern covers a topic: ``*`` is one token, ``>`` one or more at the end."""
    want, have = pattern.split("."), topic.split(".")
    for i, token in enumerate(want):
        if token == ">":
            return i == len(want) - 1 and len(have) > i
        if i >= len(have) or (token not in ("*", have[i])) or not have[i]:
            return False
    return len(want) == len(have)


class Subscription(Protocol):
    """Live events of one pattern: an async context manager and an async iterator."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...
    def __aiter__(self) -> AsyncIterator[Event]: ...
    async def __anext__(self) -> Event: ...
    async def aclose(self) -> None:
        """Ends the iteration; idempotent."""
        ...


class Delivery(Protocol):
    """One delivered durable message; exactly one of ``event`` and ``malformed`` is set."""

    event: Event | None
    malformed: MalformedEvent | None
    topic: str
    body: bytes
    seq: int
    """Sequence number in the stream; the key of failure counts."""
    num_delivered: int

    async def ack(self) -> None:
        """The whole effect is committed."""
        ...

    async def nak(self, delay: float = 0.0) -> None:
        """Deliver again after ``delay`` seconds."""
        ...

    async def in_progress(self) -> None:
        """Work goes on: restart the acknowledgement clock."""
        ...


@dataclass(frozen=True, slots=True)
class ConsumerInfo:
    """Backlog of one durable consumer, as the server sees it."""

    pending: int
    unacked: int
    ack_floor: int
    delivered: int


class Consumer(Protocol):
    """A durable pull consumer; several processes may share one by its name."""

    name: str

    async def fetch(self, max_events: int, timeout: float) -> Sequence[Delivery]:
        """Up to ``max_events`` deliveries; an empty list when nothing came within ``timeout`` seconds.

        Raises BusUnavailable when the server cannot be reached.
        """
        ...

    async def info(self) -> ConsumerInfo:
        """Backlog now. Raises BusUnavailable."""
        ...

    async def close(self) -> None:
        """Forget the local end; the durable itself stays on the server."""
        ...


class BaseBus(ABC):
    """What every adapter can do. ``connect`` and ``close`` are idempotent."""

    client_name: str

    @abstractmethod
    async def connect(self) -> None:
        """Connects and makes sure that the stream exists. Raises BusUnavailable or BusAuthError."""

    @abstractmethod
    async def close(self) -> None:
        """Flushes what was acknowledged and disconnects."""

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether the transport is up at this moment."""

    def counters(self) -> dict[str, int]:
        """What this client had to lose, refuse or do again so far, by name; part of the health of the bus."""
        return {}

    async def fill(self) -> float | None:
        """How much of the stream's room is used, 0..1; None where nobody knows. Raises BusUnavailable."""
        return None

    @abstractmethod
    async def publish(
        self,
        topic: str,
        payload: dict[str, Any],
        *,
        event_type: str = "",
        event_id: str | None = None,
        ts: float | None = None,
    ) -> None:
        """Publishes one event; for a durable topic it returns after the broker has stored it.

        Raises BusUnavailable, BusFull, or ValueError for a bad topic or an event over the size limit.
        """

    @abstractmethod
    async def publish_events(self, events: Sequence[Event | Sealed]) -> None:
        """Publishes many, pipelined, in order; returns when all durable ones are stored.

        Raises as ``publish``; then any subset may have been stored, and publishing all again is safe.
        """

    @abstractmethod
    def subscribe(self, pattern: str) -> Subscription:
        """Live events that match; registered at the call when connected."""

    @abstractmethod
    async def consume(self, name: str, patterns: Sequence[str]) -> Consumer:
        """The durable consumer ``name`` over ``patterns``; starts at the stream's first event when new."""

    async def forget_consumer(self, name: str) -> None:
        """Lets a durable consumer go that nobody reads any more: what it has not read holds nothing up. Raises BusError."""
        return

    @abstractmethod
    async def read_back(self, pattern: str, last: int) -> list[Event]:
        """The last ``last`` durable events that match, oldest first; malformed ones are left out."""

    async def last_of(self, topic: str) -> Event | None:
        """The newest durable event of exactly this topic, None when there is none. Raises BusUnavailable."""
        return next(iter(await self.read_back(topic, 1)), None)

    @abstractmethod
    async def put_blob(self, key: str, data: bytes) -> None:
        """Stores up to 8 MiB under ``key`` (its sha256 in hex); the same key twice is one blob."""

    @abstractmethod
    async def get_blob(self, key: str) -> bytes | None:
        """The bytes stored under ``key``, or None."""
