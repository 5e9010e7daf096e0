"""A NATS client and its JetStream that do what a test says: errors and answers without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import api

from decnet.bus.base import Event

ENDED = "attacker.session.ended"


def status(code: str, description: str = "") -> Msg:
    """An answer of the server without a message in it."""
    return Msg(_client=None, subject="_INBOX.x", headers={"Status": code, "Description": description})  # type: ignore[arg-type]


def delivered(client: FakeClient, seq: int, body: bytes | None = None, **options: Any) -> Msg:
    """One message of a durable consumer."""
    times = options.pop("times", 1)
    return Msg(
        _client=client,  # type: ignore[arg-type]
        subject=options.pop("topic", ENDED),
        reply=f"$JS.ACK.DECNET.ttp.{times}.{seq}.{seq}.1700000000000000000.0",
        data=Event(ENDED, {"n": seq}).to_bytes() if body is None else body,
        **options,
    )


class FakeSubscription:
    """What ``subscribe`` gives; ``answers`` are what ``next_msg`` gives or raises, then it times out."""

    def __init__(self, subject: str, cb: Callable[[Msg], Awaitable[None]] | None = None) -> None:
        self.subject = subject
        self.cb = cb
        self.answers: list[Msg | BaseException] = []
        self.waited: list[float] = []
        self.passing: Callable[[], None] = int
        """Called at each wait: time that goes by meanwhile."""
        self.left = 0
        self.error: Exception | None = None
        self._pending_queue: asyncio.Queue[Msg] = asyncio.Queue()
        self._pending_size = 0

    @property
    def pending_msgs(self) -> int:
        return self._pending_queue.qsize()

    def keep(self, message: Msg) -> None:
        """Buffers a message that came late."""
        self._pending_queue.put_nowait(message)
        self._pending_size += len(message.data)

    async def next_msg(self, timeout: float) -> Msg:
        self.waited.append(timeout)
        self.passing()
        answer = self.answers.pop(0) if self.answers else nats.errors.TimeoutError()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def unsubscribe(self) -> None:
        self.left += 1
        if self.error is not None:
            raise self.error


class FakeClient:
    """Keeps what is published and subscribed to."""

    def __init__(self) -> None:
        self.is_connected = True
        self.is_closed = False
        self.max_payload = 2**20
        self.last_error: Exception | None = None
        self.sent: list[tuple[str, bytes, str, dict[str, str] | None]] = []
        self.error: Exception | None = None
        self.subscriptions: list[FakeSubscription] = []
        self.flushed: list[float] = []
        self.closed = 0
        self.js = FakeJetStream(self)
        self.js_options: dict[str, Any] = {}

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((subject, payload, reply, headers))

    async def subscribe(
        self, subject: str, cb: Callable[[Msg], Awaitable[None]] | None = None
    ) -> FakeSubscription:
        if self.error is not None:
            raise self.error
        self.subscriptions.append(FakeSubscription(subject, cb))
        return self.subscriptions[-1]

    async def flush(self, timeout: float) -> None:
        self.flushed.append(timeout)
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        self.closed += 1
        self.is_connected, self.is_closed = False, True

    def new_inbox(self) -> str:
        return "_INBOX.fake"

    def jetstream(self, **options: Any) -> FakeJetStream:
        self.js_options = options
        return self.js


class Bound:
    """A pull subscription as nats-py binds it."""

    def __init__(self, inbox: FakeSubscription) -> None:
        self._sub = inbox
        self._deliver = inbox.subject


class FakeJetStream:
    """Streams and consumers by name; ``missing`` says how many times they are not found first."""

    def __init__(self, client: FakeClient) -> None:
        self.client = client
        self.calls: list[tuple[Any, ...]] = []
        self.stream: api.StreamConfig | None = None
        self.state = api.StreamState(0, 0, 0, 0, 0)
        self.missing = 0
        self.error: Exception | None = None
        self.inboxes: list[FakeSubscription] = []
        self.pages: list[list[api.ConsumerInfo]] = []

    def _try(self, *call: Any) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """Arguments of each call of ``name``."""
        return [call[1:] for call in self.calls if call[0] == name]

    async def stream_info(self, name: str) -> api.StreamInfo:
        self._try("stream_info", name)
        if self.stream is None:
            raise nats.js.errors.NotFoundError(code=404, description="stream not found")
        return api.StreamInfo(self.stream, self.state)

    async def add_stream(self, config: api.StreamConfig) -> None:
        self._try("add_stream", config)
        self.stream = config

    async def update_stream(self, config: api.StreamConfig) -> None:
        self._try("update_stream", config)
        self.stream = config

    async def purge_stream(self, name: str, seq: int) -> None:
        self._try("purge_stream", name, seq)

    async def add_consumer(self, stream: str, config: api.ConsumerConfig) -> None:
        self._try("add_consumer", stream, config)
        if self.missing:
            self.missing -= 1
            raise nats.js.errors.NotFoundError(code=404, description="stream not found")

    async def pull_subscribe_bind(self, consumer: str, stream: str) -> Bound:
        self._try("bind", consumer, stream)
        self.inboxes.append(FakeSubscription(f"_INBOX.{len(self.inboxes)}"))
        return Bound(self.inboxes[-1])

    async def consumer_info(self, stream: str, name: str) -> api.ConsumerInfo:
        self._try("consumer_info", stream, name)
        return durable(name, num_pending=3, num_ack_pending=2, ack_floor=7, delivered=9)

    async def consumers_info(self, stream: str, offset: int) -> Sequence[api.ConsumerInfo]:
        self._try("consumers_info", stream, offset)
        return self.pages.pop(0) if self.pages else []


def durable(name: str, *, temporary: bool = False, **numbers: Any) -> api.ConsumerInfo:
    """A consumer as the server describes it."""
    floor, last = numbers.pop("ack_floor", None), numbers.pop("delivered", None)
    return api.ConsumerInfo(
        name=name,
        stream_name="DECNET",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        config=api.ConsumerConfig(durable_name=None if temporary else name),
        ack_floor=None if floor is None else api.SequenceInfo(1, floor),
        delivered=None if last is None else api.SequenceInfo(1, last),
        **numbers,
    )
