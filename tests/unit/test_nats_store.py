"""The stream and the object store: settings that keep evidence, the tail, the first event since, blobs."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import nats.errors
import nats.js.errors
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.js import api

from decnet.bus.base import Event, matches
from decnet.bus.nats import store as nats_store
from decnet.bus.nats.store import BLOB_CALL_S, Blobs, Reader, ensure_stream, stream_config
from decnet.bus.topics import DURABLE_PATTERNS
from decnet.bus.wire import MAX_BLOB_BYTES
from decnet.config import BusSettings
from decnet.errors import BusFull, BusUnavailable
from tests.natsfakes import ENDED, FakeClient, FakeJetStream

SETTINGS = BusSettings(max_stream_bytes=2**21, replicas=1, max_blob_store_bytes=2**25, request_timeout_s=4.0)


def test_the_stream_refuses_rather_than_to_forget() -> None:
    config = stream_config(SETTINGS)
    assert config.discard == api.DiscardPolicy.NEW
    assert not config.max_age
    assert config.retention == api.RetentionPolicy.LIMITS
    assert config.storage == api.StorageType.FILE
    assert (config.max_bytes, config.max_msgs, config.max_msgs_per_subject) == (2**21, None, -1)
    assert (config.name, config.num_replicas, config.duplicate_window) == ("DECNET", 1, 120.0)
    assert config.subjects == list(DURABLE_PATTERNS)
    assert BusSettings().max_stream_bytes == 4 * 2**30


def fake() -> FakeJetStream:
    return FakeClient().js


async def ensured(js: FakeJetStream) -> list[str]:
    js.calls.clear()
    await ensure_stream(js, SETTINGS)  # type: ignore[arg-type]
    return [call[0] for call in js.calls]


async def test_a_stream_that_is_missing_is_made_and_one_that_fits_is_left() -> None:
    js = fake()
    assert await ensured(js) == ["stream_info", "add_stream"]
    assert js.stream == stream_config(SETTINGS)
    assert await ensured(js) == ["stream_info"]
    js.stream = js.stream.evolve(subjects=list(reversed(DURABLE_PATTERNS)))
    assert await ensured(js) == ["stream_info"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("subjects", ["attacker.>"]),
        ("subjects", None),
        ("max_bytes", 2**30),
        ("discard", api.DiscardPolicy.OLD),
        ("duplicate_window", 1.0),
        ("compression", api.StoreCompression.NONE),
        ("compression", None),
    ],
)
async def test_a_stream_of_an_earlier_version_is_brought_up_to_date(key: str, value: Any) -> None:
    js = fake()
    wanted = stream_config(SETTINGS)
    js.stream = wanted.evolve(**{key: value, "description": "somebody's own"})
    assert await ensured(js) == ["stream_info", "update_stream"]
    assert getattr(js.stream, key) == getattr(wanted, key)
    assert js.stream.description == "somebody's own"


async def test_trouble_with_the_stream_comes_out_as_ours() -> None:
    js = fake()
    js.error = nats.errors.TimeoutError()
    with pytest.raises(BusUnavailable):
        await ensured(js)
    js.error = nats.js.errors.APIError(code=500, description="insufficient storage resources available")
    with pytest.raises(BusFull):
        await ensured(js)


class Log:
    """Stands in for JetStream: a stream of topics from sequence ``first`` on, and its temporary consumers."""

    def __init__(self, topics: Sequence[str], first: int = 1) -> None:
        self.topics = topics
        self.first = first
        self.open: dict[str, list[int]] = {}
        self.configs: list[api.ConsumerConfig] = []
        self.fetched: list[tuple[int, float]] = []
        self.left = 0
        self.error: Exception | None = None
        self.times: dict[int, float] = {}

    async def stream_info(self, name: str) -> Any:
        assert name == "DECNET"
        last = self.first + len(self.topics) - 1
        state = SimpleNamespace(messages=len(self.topics), first_seq=self.first, last_seq=last)
        return SimpleNamespace(state=state)

    async def add_consumer(self, stream: str, config: api.ConsumerConfig) -> Any:
        assert config.name is not None
        assert config.filter_subjects
        assert config.opt_start_seq is not None
        assert config.opt_start_seq >= 1
        self.configs.append(config)
        seqs = [
            seq
            for seq, topic in enumerate(self.topics, start=self.first)
            if seq >= config.opt_start_seq
            and any(matches(pattern, topic) for pattern in config.filter_subjects)
        ]
        self.open[config.name] = seqs
        return SimpleNamespace(name=config.name, num_pending=len(seqs))

    async def delete_consumer(self, stream: str, name: str) -> None:
        del self.open[name]

    async def pull_subscribe_bind(self, consumer: str, stream: str) -> Any:
        async def fetch(batch: int, timeout: float) -> list[Any]:
            self.fetched.append((batch, timeout))
            if self.error is not None:
                raise self.error
            found, self.open[consumer] = self.open[consumer][:batch], self.open[consumer][batch:]
            return [self.message(seq) for seq in found]

        async def unsubscribe() -> None:
            self.left += 1

        return SimpleNamespace(fetch=fetch, unsubscribe=unsubscribe)

    def message(self, seq: int) -> Any:
        topic = self.topics[seq - self.first]
        body = Event(topic, {"n": seq}).to_bytes()
        return SimpleNamespace(subject=topic, data=body, headers={"Nats-Msg-Id": "x", "trace": "1"})

    async def get_msg(self, stream: str, *, seq: int, subject: str, next: bool) -> Any:
        assert (stream, subject, next) == ("DECNET", ">", True)
        later = [at for at in sorted(self.times) if at >= seq]
        if not later:
            raise nats.js.errors.NotFoundError
        return SimpleNamespace(time=datetime.fromtimestamp(self.times[later[0]], UTC))


def reader(log: Log) -> Reader:
    return Reader(log, SETTINGS)  # type: ignore[arg-type]


@settings(max_examples=60)
@given(
    topics=st.lists(st.sampled_from(["a.x", "a.y", "b.x"]), max_size=40),
    pattern=st.sampled_from(["a.*", "a.x", ">", "b.>", "c"]),
    last=st.integers(-1, 45),
    first=st.integers(1, 1000),
)
def test_the_tail_is_the_newest_that_match_and_leaves_nothing_behind(
    topics: list[str], pattern: str, last: int, first: int
) -> None:
    log = Log(topics, first)
    found = asyncio.run(reader(log).tail(pattern, last))
    wanted = [seq for seq, topic in enumerate(topics, start=first) if matches(pattern, topic)]
    assert [event.payload["n"] for event in found] == wanted[-last:] * (last > 0)
    assert log.open == {}


async def test_reading_back_acknowledges_nothing_and_is_forgotten_by_the_server_as_well() -> None:
    log = Log(["a.x"] * 3)
    (event,) = await reader(log).tail("a.x", 1)
    assert dict(event.headers) == {"trace": "1"}
    for config in log.configs:
        assert config.ack_policy == api.AckPolicy.NONE
        assert config.deliver_policy == api.DeliverPolicy.BY_START_SEQUENCE
        assert (config.durable_name, config.inactive_threshold) == (None, 30.0)
        assert (config.mem_storage, config.num_replicas) == (True, 1)
    assert len({config.name for config in log.configs}) == len(log.configs)


async def test_a_tail_is_read_in_pages_each_with_a_time_limit() -> None:
    log = Log(["a.x"] * 1200)
    assert len(await reader(log).tail("a.x", 1100)) == 1100
    assert log.fetched == [(500, 4.0), (500, 4.0), (100, 4.0)]


async def test_a_tail_that_breaks_off_leaves_nothing_behind() -> None:
    log = Log(["a.x"] * 3)
    log.error = nats.errors.TimeoutError()
    with pytest.raises(BusUnavailable):
        await reader(log).tail("a.x", 2)
    assert (log.open, log.left) == ({}, 1)
    with pytest.raises(ValueError):
        await reader(log).tail("a..x", 2)


async def test_what_is_no_event_is_left_out_of_the_tail() -> None:
    log = Log(["a.x"] * 3)
    message = log.message

    def broken(seq: int) -> Any:
        return SimpleNamespace(subject="a.x", data=b"[]", headers=None) if seq == 2 else message(seq)

    log.message = broken  # type: ignore[method-assign]
    assert [event.payload["n"] for event in await reader(log).tail("a.x", 3)] == [1, 3]


@settings(max_examples=60)
@given(
    gaps=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=20),
    cutoff=st.integers(0, 60),
)
def test_the_first_event_since_a_time_is_found_across_gaps(gaps: list[tuple[int, int]], cutoff: int) -> None:
    log = Log([])
    seq, at = 0, 0
    for step, later in gaps:
        seq, at = seq + step, at + later
        log.times[seq] = float(at)
    log.first, log.topics = min(log.times), [ENDED] * (seq - min(log.times) + 1)
    found = asyncio.run(reader(log).first_since(float(cutoff)))
    young = [number for number, when in log.times.items() if when >= cutoff]
    assert all(number >= found for number in young)
    assert all(number < found for number, when in log.times.items() if when < cutoff)
    if not young:
        assert found == seq + 1


async def test_an_event_stored_at_the_very_time_is_young_and_an_unknown_time_is() -> None:
    log = Log([ENDED] * 2)
    log.times = {1: 10.0, 2: 20.0}
    assert [await reader(log).first_since(at) for at in (10.0, 10.5, 20.0, 20.5)] == [1, 2, 2, 3]

    async def timeless(stream: str, **_: Any) -> Any:
        return SimpleNamespace(time=None)

    log.get_msg = timeless  # type: ignore[method-assign]
    assert await reader(log).first_since(1e12) == 1


class Shelf:
    """Stands in for the object store."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.entries: list[api.ObjectInfo] = []
        self.dropped: list[str] = []
        self.puts = 0
        self.error: Exception | None = None

    async def get_info(self, name: str) -> None:
        if self.error is not None:
            raise self.error
        if name not in self.kept:
            raise nats.js.errors.ObjectNotFoundError

    async def put(self, name: str, data: bytes) -> None:
        self.puts += 1
        self.kept[name] = data

    async def get(self, name: str) -> Any:
        await self.get_info(name)
        return SimpleNamespace(data=self.kept[name])

    async def list(self, ignore_deletes: bool) -> list[api.ObjectInfo]:
        assert ignore_deletes
        if not self.entries:
            raise nats.js.errors.NotFoundError
        return self.entries

    async def delete(self, name: str) -> None:
        self.dropped.append(name)


class Shop:
    """JetStream with one bucket, which is missing at first."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.made: list[tuple[str, api.ObjectStoreConfig]] = []
        self.hangs = False

    async def object_store(self, bucket: str) -> Shelf:
        if self.hangs:
            await asyncio.Event().wait()
        if not self.made:
            raise nats.js.errors.BucketNotFoundError
        assert bucket == self.made[0][0]
        return self.shelf

    async def create_object_store(self, bucket: str, config: api.ObjectStoreConfig) -> Shelf:
        self.made.append((bucket, config))
        return self.shelf


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def shop(shelf: Shelf) -> Shop:
    return Shop(shelf)


@pytest.fixture
def blobs(shop: Shop) -> Blobs:
    return Blobs(shop, SETTINGS)  # type: ignore[arg-type]


def keyed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_a_blob_is_stored_once_and_compressed_in_a_bucket_of_a_bounded_size(
    blobs: Blobs, shop: Shop, shelf: Shelf
) -> None:
    data = b"ls -la\r\n" * 10_000
    await blobs.put(keyed(data), data)
    await blobs.put(keyed(data), data)
    assert shelf.puts == 1
    assert len(shelf.kept[keyed(data)]) < len(data) // 10
    assert await blobs.get(keyed(data)) == data
    ((bucket, config),) = shop.made
    assert (bucket, config.max_bytes, config.replicas, config.ttl) == ("DECNET_blobs", 2**25, 1, None)


async def test_a_blob_of_8_mib_goes_both_ways_and_one_byte_more_goes_nowhere(
    blobs: Blobs, shelf: Shelf
) -> None:
    data = bytes(MAX_BLOB_BYTES)
    await blobs.put(keyed(data), data)
    assert await blobs.get(keyed(data)) == data
    more = bytes(MAX_BLOB_BYTES + 1)
    with pytest.raises(ValueError):
        await blobs.put(keyed(more), more)
    shelf.kept[keyed(more)] = zlib.compress(more)
    assert await blobs.get(keyed(more)) is None


async def test_a_blob_that_is_not_what_its_key_names_is_none_and_no_outage(
    blobs: Blobs, shelf: Shelf
) -> None:
    data = b"recording" * 100
    packed = zlib.compress(data)
    for wrong in (b"", b"no zlib", packed[:-20], zlib.compress(b"other")):
        shelf.kept[keyed(data)] = wrong
        assert await blobs.get(keyed(data)) is None
    shelf.kept[keyed(data)] = packed
    assert await blobs.get(keyed(data)) == data


async def test_a_few_bytes_do_not_unpack_to_gigabytes(
    blobs: Blobs, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[int] = []

    class Unpacker:
        def decompress(self, packed: bytes, bound: int = 0) -> bytes:
            bounds.append(bound)
            return b""

    monkeypatch.setattr(nats_store.zlib, "decompressobj", Unpacker)
    shelf.kept["0" * 64] = b"bomb"
    assert await blobs.get("0" * 64) is None
    assert bounds == [MAX_BLOB_BYTES + 1]


async def test_a_blob_that_is_not_there_is_none_and_trouble_is_not(blobs: Blobs, shelf: Shelf) -> None:
    assert await blobs.get("0" * 64) is None
    shelf.error = nats.errors.TimeoutError()
    with pytest.raises(BusUnavailable):
        await blobs.get("0" * 64)
    with pytest.raises(BusUnavailable):
        await blobs.put("0" * 64, b"x")
    assert shelf.puts == 0
    for call in (blobs.get("x"), blobs.put("x", b"")):
        with pytest.raises(ValueError):
            await call


async def test_a_store_that_does_not_answer_is_unavailable_in_time(
    blobs: Blobs, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BLOB_CALL_S == 30.0
    monkeypatch.setattr(nats_store, "BLOB_CALL_S", 0.01)
    shop.hangs = True
    for call in (blobs.get("0" * 64), blobs.put("0" * 64, b"x"), blobs.drop_older(1.0)):
        with pytest.raises(BusUnavailable):
            await call


def entry(name: str, mtime: str | None, *, deleted: bool = False) -> api.ObjectInfo:
    return api.ObjectInfo(name=name, bucket="b", nuid="n", mtime=mtime, deleted=deleted)


async def test_only_blobs_stored_before_the_cutoff_are_dropped(blobs: Blobs, shelf: Shelf) -> None:
    assert await blobs.drop_older(1e12) == 0
    cutoff = datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    shelf.entries = [
        entry("older", "2026-01-01T23:59:59.999+00:00"),
        entry("older elsewhere", "2026-01-02T01:59:59+02:00"),
        entry("naive", "2026-01-01T00:00:00"),
        entry("at the cutoff", "2026-01-02T00:00:00+00:00"),
        entry("younger", "2026-01-02T00:00:01Z"),
        entry("gone", "2026-01-01T00:00:00Z", deleted=True),
        entry("timeless", None),
        entry("strange", "yesterday"),
    ]
    assert await blobs.drop_older(cutoff) == 3
    assert shelf.dropped == ["older", "older elsewhere", "naive"]
