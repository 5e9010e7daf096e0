"""The stream and the object store on the server; part of the NATS adapter."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext, api
from nats.js.object_store import ObjectStore

from decnet.bus.base import Event
from decnet.bus.nats.client import translated
from decnet.bus.topics import DURABLE_PATTERNS
from decnet.bus.views import Through
from decnet.bus.wire import MAX_BLOB_BYTES, check_blob, check_pattern, check_topic, incoming_headers
from decnet.config import BusSettings
from decnet.errors import MalformedEvent
from decnet.logs import get_logger

log = get_logger(__name__)

DUPLICATE_WINDOW_S = 120.0
"""Seconds in which the server drops a message with an id it has seen."""
BLOB_CALL_S = 30.0
"""Seconds until a blob counts as not transferred; the library itself would wait for ever."""
_PAGE = 500


def stream_config(settings: BusSettings) -> api.StreamConfig:
    """No age limit: one deletes unread evidence in silence."""
    return api.StreamConfig(
        name=settings.stream,
        subjects=list(DURABLE_PATTERNS),
        storage=api.StorageType.FILE,
        retention=api.RetentionPolicy.LIMITS,
        discard=api.DiscardPolicy.NEW,
        max_bytes=settings.max_stream_bytes,
        duplicate_window=DUPLICATE_WINDOW_S,
        num_replicas=settings.replicas,
        allow_direct=True,
        compression=api.StoreCompression.S2,
    )


async def ensure_stream(js: JetStreamContext, settings: BusSettings) -> None:
    """Makes the stream, or brings subjects and size of an existing one up to date. Raises BusError."""
    wanted = stream_config(settings)
    with translated():
        try:
            found = (await js.stream_info(settings.stream)).config
        except nats.js.errors.NotFoundError:
            await js.add_stream(wanted)
            return
        keys = ("subjects", "max_bytes", "discard", "duplicate_window", "compression")
        changes = {key: getattr(wanted, key) for key in keys if not _same(found, wanted, key)}
        if changes:
            await js.update_stream(found.evolve(**changes))


def _same(found: api.StreamConfig, wanted: api.StreamConfig, key: str) -> bool:
    have, want = getattr(found, key), getattr(wanted, key)
    return sorted(have or []) == sorted(want) if key == "subjects" else bool(have == want)


class Reader:
    """Reads the tail of the stream without leaving anything behind."""

    def __init__(self, js: JetStreamContext, settings: BusSettings) -> None:
        self._js = js
        self._settings = settings

    async def tail(self, pattern: str, last: int) -> list[Event]:
        """The newest ``last`` events that match, oldest first. Raises BusUnavailable or ValueError."""
        through = Through(check_pattern(pattern))
        patterns = (pattern, *through.also)
        # Of what carries pieces beside what was asked for, nobody knows how many events hold the last of them.
        at_least = self._settings.read_back_window if through.also else last
        with translated():
            state = (await self._js.stream_info(self._settings.stream)).state
            if last <= 0 or state.messages == 0:
                return []
            start = await self._start(patterns, at_least, state.first_seq, state.last_seq)
            return await self._read(patterns, start, through, last)

    async def _start(self, patterns: Sequence[str], last: int, first: int, end: int) -> int:
        """A sequence from which at least ``last`` events match (or ``first``), found by halving."""
        low, high = first, max(first, end - last + 1)
        if await self._count(patterns, high) >= last:
            return high
        while high - low > last:
            middle = (low + high) // 2
            count = await self._count(patterns, middle)
            if last <= count <= 2 * last:
                return middle
            low, high = (middle, high) if count > last else (low, middle)
        return low

    async def _count(self, patterns: Sequence[str], start: int) -> int:
        """Events from ``start`` on that match."""
        name, pending = await self._temporary(patterns, start)
        await self._js.delete_consumer(self._settings.stream, name)
        return pending

    async def _temporary(self, patterns: Sequence[str], start: int) -> tuple[str, int]:
        """A consumer in memory that the server forgets by itself, and how much it has to give."""
        info = await self._js.add_consumer(
            self._settings.stream,
            config=api.ConsumerConfig(
                name=f"tail-{uuid4().hex}",
                filter_subjects=list(patterns),
                deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=max(1, start),
                ack_policy=api.AckPolicy.NONE,
                inactive_threshold=30.0,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        return info.name, info.num_pending or 0

    async def _read(self, patterns: Sequence[str], start: int, through: Through, last: int) -> list[Event]:
        kept: deque[Event] = deque(maxlen=last)
        name, left = await self._temporary(patterns, start)
        subscription = await self._js.pull_subscribe_bind(consumer=name, stream=self._settings.stream)
        try:
            while left > 0:
                messages = await subscription.fetch(
                    min(left, _PAGE), timeout=self._settings.request_timeout_s
                )
                left -= len(messages)
                for message in messages:
                    _keep(kept, through, message.subject, message.data, message.headers)
        finally:
            await subscription.unsubscribe()
            await self._js.delete_consumer(self._settings.stream, name)
        return list(kept)

    async def newest(self, topic: str) -> Event | None:
        """The newest event of one topic; None when there is none, or one that cannot be read. Raises BusUnavailable."""
        with translated():
            try:
                message = await self._js.get_last_msg(self._settings.stream, check_topic(topic))
            except nats.js.errors.NotFoundError:
                return None
        try:
            return Event.from_bytes(topic, message.data or b"")
        except MalformedEvent:
            return None

    async def first_since(self, cutoff: float) -> int:
        """The first sequence stored since ``cutoff`` (epoch seconds), by halving; last + 1 when none."""
        with translated():
            state = (await self._js.stream_info(self._settings.stream)).state
            low, high = state.first_seq, state.last_seq + 1
            while low < high:
                middle = (low + high) // 2
                if await self._time_of(middle) < cutoff:
                    low = middle + 1
                else:
                    high = middle
        return low

    async def _time_of(self, seq: int) -> float:
        """Epoch seconds at which the message ``seq``, or the next one still there, was stored."""
        try:
            message = await self._js.get_msg(self._settings.stream, seq=seq, subject=">", next=True)
        except nats.js.errors.NotFoundError:
            return float("inf")
        return message.time.timestamp() if message.time else float("inf")


def _keep(
    kept: deque[Event], through: Through, topic: str, body: bytes, headers: dict[str, str] | None
) -> None:
    try:
        kept.extend(through.seen(Event.from_bytes(topic, body, incoming_headers(headers))))
    except MalformedEvent as error:
        log.debug("malformed event left out", topic=topic, reason=str(error))


class Blobs:
    """Recordings in the object store, compressed; the key is the sha256 of the content."""

    def __init__(self, js: JetStreamContext, settings: BusSettings) -> None:
        self._js = js
        self._settings = settings
        self._store: ObjectStore | None = None

    async def put(self, key: str, data: bytes) -> None:
        """Stores a blob once. Raises ValueError, BusFull or BusUnavailable."""
        check_blob(key, data)
        packed = await asyncio.to_thread(zlib.compress, data, 6)
        with translated():
            async with asyncio.timeout(BLOB_CALL_S):
                store = await self._open()
                if not await self._has(store, key):
                    await store.put(key, packed)

    async def get(self, key: str) -> bytes | None:
        """A blob; None when there is none, or none that its key names. Raises ValueError or BusUnavailable."""
        check_blob(key)
        with translated():
            async with asyncio.timeout(BLOB_CALL_S):
                try:
                    packed = (await (await self._open()).get(key)).data or b""
                except nats.js.errors.NotFoundError:
                    return None
        return await asyncio.to_thread(_unpacked, key, packed)

    async def drop_older(self, cutoff: float) -> int:
        """Deletes blobs stored before ``cutoff`` (epoch seconds); how many. Raises BusUnavailable."""
        with translated():
            async with asyncio.timeout(BLOB_CALL_S):
                store = await self._open()
                try:
                    entries = await store.list(ignore_deletes=True)
                except nats.js.errors.NotFoundError:
                    return 0
                old = [entry.name for entry in entries if not entry.deleted and _stored_at(entry) < cutoff]
                for name in old:
                    await store.delete(name)
        return len(old)

    async def _open(self) -> ObjectStore:
        """The bucket, made when it is not there (any more)."""
        bucket = f"{self._settings.stream}_blobs"
        try:
            return await self._js.object_store(bucket)
        except nats.js.errors.NotFoundError:
            return await self._js.create_object_store(
                bucket,
                config=api.ObjectStoreConfig(
                    max_bytes=self._settings.max_blob_store_bytes, replicas=self._settings.replicas
                ),
            )

    @staticmethod
    async def _has(store: ObjectStore, key: str) -> bool:
        try:
            await store.get_info(key)
        except nats.js.errors.NotFoundError:
            return False
        return True


def _stored_at(entry: api.ObjectInfo) -> float:
    """Epoch seconds; a blob without a readable time is never old."""
    try:
        moment = datetime.fromisoformat(entry.mtime or "")
    except ValueError:
        return float("inf")
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _unpacked(key: str, packed: bytes) -> bytes | None:
    """The content, bounded, because a few bytes can unpack to gigabytes; None when it is not what the key names.

    Such a blob never gets better: as an outage of the bus it would hold up its reader for ever.
    """
    try:
        data = zlib.decompressobj().decompress(packed, MAX_BLOB_BYTES + 1)
    except zlib.error as error:
        log.warning("blob cannot be unpacked", key=key, reason=str(error))
        return None
    if len(data) > MAX_BLOB_BYTES or hashlib.sha256(data).hexdigest() != key:
        log.warning("blob is not what its key names", key=key, bytes=len(data))
        return None
    return data
