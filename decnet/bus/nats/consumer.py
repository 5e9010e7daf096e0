"""Durable pull consumers; part of the NATS adapter.

nats-py's own ``fetch`` takes a deleted consumer (409, 503) for "nothing there" and stays deaf for ever,
so the pull requests are made here: 404 and 408 mean nothing, 409 and 503 mean "make the consumer again",
silence means that the connection is gone. A request may wait long: whoever notices sooner that nobody will answer
says so with :meth:`NatsConsumer.give_up`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext, api

from decnet.bus.base import ConsumerInfo, Delivery, Event
from decnet.bus.nats.client import translate, translated
from decnet.bus.nats.decoded import Decoded
from decnet.config import BusSettings
from decnet.errors import BusError, BusUnavailable, MalformedEvent
from decnet.logs import get_logger
from decnet.turns import in_turns

log = get_logger(__name__)

SILENCE_S = 2.0
"""Seconds past its expiry until a pull request without an answer counts as lost."""
GAP_S = 0.1
"""Seconds between two messages of one answer; what comes later is kept for the next fetch."""
LINGER_S = 0.02
"""Seconds after the first of a trickle of events until the batch is closed."""
FETCH_BYTES = 8 * 2**20
"""Bytes of one answer, however many events were asked for; an event that is larger comes by itself."""
_NOTHING = ("404", "408")
_GONE = ("409", "503")
_FULL = ("Exceeded", "Message Size Exceeds")
"""What a server says first that gives no more now, and has not forgotten the consumer."""
_LOST = "lost"
"""Status of a message of our own: the server does not answer, or the connection is gone."""


class ConsumerGone(Exception):
    """The server does not know the consumer (any more)."""


class NatsDelivery:
    """One message of a durable consumer."""

    __slots__ = ("_message", "body", "event", "malformed", "num_delivered", "seq", "topic")

    def __init__(self, message: Msg, decoded: Decoded) -> None:
        self._message = message
        self.topic: str = message.subject
        self.body: bytes = message.data
        metadata = message.metadata
        self.seq: int = metadata.sequence.stream
        self.num_delivered: int = metadata.num_delivered or 1
        self.event: Event | None = None
        self.malformed: MalformedEvent | None = None
        try:
            self.event = decoded.event(self.topic, self.body, message.headers)
        except MalformedEvent as error:
            self.malformed = error.bare()

    async def ack(self) -> None:
        """The whole effect is committed. Raises BusUnavailable."""
        with _once(), translated():
            await self._message.ack()

    async def nak(self, delay: float = 0.0) -> None:
        """Deliver again after ``delay`` seconds. Raises BusUnavailable."""
        with _once(), translated():
            await self._message.nak(delay=delay or None)

    async def in_progress(self) -> None:
        """Restarts the acknowledgement clock. Raises BusUnavailable."""
        with translated():
            await self._message.in_progress()


@contextlib.contextmanager
def _once() -> Iterator[None]:
    """A second ack of the same delivery is no error."""
    try:
        yield
    except BusUnavailable as error:
        if not isinstance(error.__cause__, nats.errors.MsgAlreadyAckdError):
            raise


def consumer_config(name: str, patterns: Sequence[str], settings: BusSettings) -> api.ConsumerConfig:
    """A durable that redelivers for ever; the runtime counts failures, not the server."""
    return api.ConsumerConfig(
        durable_name=name,
        filter_subjects=list(patterns),
        deliver_policy=api.DeliverPolicy.ALL,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=settings.ack_wait_s,
        max_deliver=-1,
        max_ack_pending=settings.max_ack_pending,
    )


class NatsConsumer:
    """A durable pull consumer."""

    def __init__(
        self,
        name: str,
        patterns: Sequence[str],
        settings: BusSettings,
        ready: Callable[[], Awaitable[tuple[Client, JetStreamContext]]],
        ensure_stream: Callable[[], Awaitable[None]],
        decoded: Decoded,
    ) -> None:
        self._decoded = decoded
        self.name = name
        self._patterns = tuple(patterns)
        self._settings = settings
        self._ready = ready
        self._ensure_stream = ensure_stream
        self._client: Client | None = None
        self._inbox: Subscription | None = None
        self._bound: JetStreamContext.PullSubscription | None = None
        self._nothing_came = False
        """Whether the last request waited in vain: then the next one waits too, without asking what is there first."""
        self.waits = False
        """Whether a request is under way."""

    async def open(self) -> None:
        """Makes or updates the durable on the server and binds to it. Raises BusError."""
        client, js = await self._ready()
        config = consumer_config(self.name, self._patterns, self._settings)
        stream = self._settings.stream
        with translated():
            try:
                await js.add_consumer(stream, config=config)
            except nats.js.errors.NotFoundError:
                await self._ensure_stream()
                await js.add_consumer(stream, config=config)
            if self._bound is None or self._client is not client:
                self._bound = await js.pull_subscribe_bind(consumer=self.name, stream=stream)
                self._inbox = self._bound._sub
                self._client = client

    async def fetch(self, max_events: int, timeout: float) -> Sequence[Delivery]:
        """Up to ``max_events`` deliveries, empty after ``timeout`` seconds. Raises BusUnavailable."""
        if self._client is None or self._client.is_closed:
            await self.open()
        try:
            messages = await self._collect(max_events, timeout)
            return await in_turns(lambda message: NatsDelivery(message, self._decoded), messages)
        except ConsumerGone as gone:
            log.info("durable consumer is made again", consumer=self.name, reason=str(gone))
            await self._ensure_stream()
            await self.open()
            return []

    async def _collect(self, limit: int, seconds: float) -> list[Msg]:
        messages = self._buffered(limit)
        if len(messages) < limit and not (self._nothing_came and seconds > 0):
            messages += await self._pull(limit - len(messages), None)
        if messages or seconds <= 0:
            return messages
        started = asyncio.get_running_loop().time()
        messages = await self._pull(1, seconds)
        left = seconds - (asyncio.get_running_loop().time() - started)
        self._nothing_came = not messages
        if not messages:
            await asyncio.sleep(max(0.0, left))  # refused early: the reader's loop must not spin
        elif limit > 1:
            await asyncio.sleep(max(0.0, min(LINGER_S, left)))
            messages += await self._pull(limit - 1, None)
        return messages

    def _buffered(self, limit: int) -> list[Msg]:
        """Messages that came after the request they answer was given up."""
        found: list[Msg] = []
        while len(found) < limit and (message := self._arrived()) is not None:
            if not _status(message):
                found.append(message)
        return found

    def _arrived(self) -> Msg | None:
        """The next message that is there already: the client makes a task of each one that is waited for."""
        assert self._inbox is not None
        if not self._inbox.pending_msgs:
            return None
        message: Msg = self._inbox._pending_queue.get_nowait()
        self._inbox._pending_size -= len(message.data)
        self._inbox._pending_queue.task_done()
        return message

    async def _pull(self, limit: int, seconds: float | None) -> list[Msg]:
        """One pull request: what is there now, or what comes within ``seconds``."""
        assert self._client is not None
        assert self._bound is not None
        if not self._client.is_connected:
            raise BusUnavailable("the bus is reconnecting")
        request: dict[str, int | bool] = {"batch": limit}
        if limit > 1:  # one alone is given whatever its size: else it would never come
            request["max_bytes"] = FETCH_BYTES
        request |= {"no_wait": True} if seconds is None else {"expires": max(1, int(seconds * 1e9))}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._settings.stream}.{self.name}"
        self.waits = True
        try:
            with translated():
                await self._client.publish(subject, json.dumps(request).encode(), reply=self._bound._deliver)
            return await self._answers(limit, (seconds or 0.0) + SILENCE_S)
        finally:
            self.waits = False

    def give_up(self) -> None:
        """No answer will come to the request that is under way, if one is."""
        if self.waits and self._inbox is not None and self._client is not None:
            lost = Msg(_client=self._client, subject=self._inbox.subject, headers={"Status": _LOST})
            self._inbox._pending_queue.put_nowait(lost)

    async def _answers(self, limit: int, seconds: float) -> list[Msg]:
        assert self._inbox is not None
        messages: list[Msg] = []
        deadline = asyncio.get_running_loop().time() + seconds
        while len(messages) < limit:
            left = deadline - asyncio.get_running_loop().time()
            if messages:  # a server that stops at max_ack_pending says nothing more
                left = min(left, GAP_S)
            try:
                message = self._arrived() or await self._inbox.next_msg(timeout=max(left, 0.001))
            except (nats.errors.Error, TimeoutError) as error:
                if messages:
                    return messages
                raise translate(error) from error
            status = _status(message)
            if not status:
                messages.append(message)
            elif status in _NOTHING or messages:
                return messages
            elif status == _LOST:
                raise BusUnavailable("the bus does not answer")
            elif status in _GONE:
                if _description(message).startswith(_FULL):
                    return messages  # too much is unacknowledged, or the next is too large for this answer
                raise ConsumerGone(_description(message) or status)
        return messages

    async def info(self) -> ConsumerInfo:
        """Backlog now. Raises BusUnavailable."""
        _, js = await self._ready()
        with translated():
            return to_info(await js.consumer_info(self._settings.stream, self.name))

    async def close(self) -> None:
        """Leaves the inbox; what is buffered there is delivered again."""
        inbox, self._inbox, self._client, self._bound = self._inbox, None, None, None
        if inbox is not None:
            with contextlib.suppress(BusError), translated():
                await inbox.unsubscribe()


def to_info(info: api.ConsumerInfo) -> ConsumerInfo:
    """Our view of a consumer's state."""
    return ConsumerInfo(
        pending=info.num_pending or 0,
        unacked=info.num_ack_pending or 0,
        ack_floor=(info.ack_floor.stream_seq if info.ack_floor else 0) or 0,
        delivered=(info.delivered.stream_seq if info.delivered else 0) or 0,
    )


def _status(message: Msg) -> str | None:
    return message.headers.get("Status") if message.headers and not message.data else None


def _description(message: Msg) -> str:
    return (message.headers or {}).get("Description", "")
