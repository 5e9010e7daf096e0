"""One suite for the memory bus and a real server: what an adapter promises."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence

import nats
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decnet.bus.base import BaseBus, Delivery, Event, matches
from decnet.bus.memory import MemoryBus
from decnet.bus.nats.connection import NatsBus
from decnet.bus.topics import DURABLE_PATTERNS
from decnet.bus.wire import MSG_ID_HEADER
from decnet.config import BusSettings
from decnet.errors import BusFull
from tests.buskit import both_buses

SETTINGS = BusSettings(ack_wait_s=1.0, max_stream_bytes=2**20, publish_window=16)
ENDED = "attacker.session.ended"


bus = both_buses(SETTINGS)


async def inject(bus: BaseBus, topic: str, body: bytes) -> None:
    """Publishes a raw body, as a hostile or broken producer would."""
    if isinstance(bus, MemoryBus):
        bus.broker.put(topic, body, {MSG_ID_HEADER: hashlib.sha256(body).hexdigest()})
        return
    assert isinstance(bus, NatsBus)
    raw = await nats.connect(bus._url, token=bus._token)
    await raw.jetstream().publish(topic, body)
    await raw.close()


async def test_connect_and_close_are_idempotent(bus: BaseBus) -> None:
    await bus.connect()
    assert bus.connected
    await bus.close()
    await bus.close()
    assert not bus.connected


async def test_subscription_gets_the_envelope_as_published(bus: BaseBus) -> None:
    async with bus.subscribe("attacker.>") as sub:
        await bus.publish("attacker.observed", {"a": 1}, event_type="t", event_id="abc", ts=12.5)
        event = await anext(sub)
    assert (event.topic, event.payload, event.type, event.id, event.ts) == (
        "attacker.observed",
        {"a": 1},
        "t",
        "abc",
        12.5,
    )


async def test_how_far_a_session_is_reaches_who_watches_and_is_kept_by_nobody(bus: BaseBus) -> None:
    consumer = await bus.consume("ttp", ["attacker.>"])
    async with bus.subscribe("attacker.session.progress") as sub:
        await bus.publish("attacker.session.progress", {"seq": 1})
        assert (await anext(sub)).payload == {"seq": 1}
    await bus.publish("attacker.session.ended", {"n": 1})
    fetched = [delivery.topic for delivery in await consumer.fetch(2, 1.0)]
    assert fetched == ["attacker.session.ended"]
    assert [event.topic for event in await bus.read_back("attacker.>", 10)] == fetched


async def test_who_follows_everything_sees_each_event_once_whoever_else_consumes_it(bus: BaseBus) -> None:
    first, second = await bus.consume("one", ["attacker.>"]), await bus.consume("two", ["attacker.>"])
    async with bus.subscribe(">") as sub, asyncio.timeout(20):
        for number in range(3):
            await bus.publish(ENDED, {"n": number})
        for consumer in (first, second):
            got = 0
            while got < 3:
                deliveries = await consumer.fetch(10, 0.5)
                got += len(deliveries)
                for delivery in deliveries:
                    await delivery.ack()
        await bus.publish("system.ttp.health", {"n": "last"})
        seen = []
        while "last" not in seen:
            seen.append((await anext(sub)).payload["n"])
    assert seen == [0, 1, 2, "last"]
    assert getattr(sub, "malformed", 0) == 0
    await first.close()
    await second.close()


async def test_subscribe_then_publish_without_a_pause(bus: BaseBus) -> None:
    sub = bus.subscribe("decky.*.traffic")
    await bus.publish("decky.web.traffic", {"n": 1})
    assert (await anext(sub)).payload == {"n": 1}
    await sub.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(sub)


async def test_consumer_starts_at_the_first_event_and_keeps_order(bus: BaseBus) -> None:
    await bus.publish_events([Event(topic=ENDED, payload={"n": n}) for n in range(100)])
    consumer = await bus.consume("ttp", [ENDED, "identity.>"])
    seen: list[int] = []
    while len(seen) < 100:
        for delivery in await consumer.fetch(30, 2.0):
            assert delivery.event is not None
            seen.append(delivery.event.payload["n"])
            await delivery.ack()
    assert seen == list(range(100))
    assert await consumer.fetch(10, 0.1) == []


async def test_same_event_id_is_stored_once(bus: BaseBus) -> None:
    for _ in range(3):
        await bus.publish(ENDED, {}, event_id="one")
    consumer = await bus.consume("ttp", [ENDED])
    assert len(await consumer.fetch(10, 0.5)) == 1


async def test_two_things_under_one_id_are_two(bus: BaseBus) -> None:
    for n in (1, 2, 1):
        await bus.publish(ENDED, {"n": n}, event_id="one")
    consumer = await bus.consume("ttp", [ENDED])
    found = await consumer.fetch(10, 0.5)
    assert [d.event.payload["n"] for d in found if d.event] == [1, 2]
    assert {d.event.id for d in found if d.event} == {"one"}


async def test_nak_and_silence_lead_to_redelivery(bus: BaseBus) -> None:
    await bus.publish(ENDED, {})
    consumer = await bus.consume("ttp", [ENDED])
    (first,) = await consumer.fetch(5, 1.0)
    await first.nak()
    (second,) = await consumer.fetch(5, 5.0)
    assert (second.num_delivered, second.seq) == (2, first.seq)
    (third,) = await consumer.fetch(5, 5.0)  # nobody answered for ack_wait_s
    assert third.num_delivered == 3
    await third.ack()
    assert await consumer.fetch(5, 1.5) == []


async def test_redelivery_has_no_end_and_waits_for_its_delay(bus: BaseBus) -> None:
    await bus.publish(ENDED, {})
    consumer = await bus.consume("ttp", [ENDED])
    found: Sequence[Delivery] = []
    last = 0
    async with asyncio.timeout(20):
        while last < 8:
            while not (found := await consumer.fetch(5, 1.0)):
                pass
            assert found[0].num_delivered > last
            last = found[0].num_delivered
            await found[0].nak()
        while not (found := await consumer.fetch(5, 1.0)):
            pass
        asked = time.monotonic()
        await found[0].nak(0.3)
        while not (found := await consumer.fetch(5, 1.0)):
            pass
    assert time.monotonic() - asked >= 0.25
    await found[0].ack()


async def test_an_event_of_the_greatest_size_and_the_longest_topic_is_stored(bus: BaseBus) -> None:
    longest = "attacker." + "x" * 246
    empty = Event(longest, {"x": ""}, id="abc", ts=1.0)
    room = SETTINGS.max_event_bytes - len(empty.to_bytes()) - 64 - len("Nats-Msg-Id") - len("abc") - 4
    await bus.publish(longest, {"x": "y" * room}, event_id="abc", ts=1.0)
    with pytest.raises(ValueError):
        await bus.publish(longest, {"x": "y" * (room + 1)}, event_id="abd", ts=1.0)
    with pytest.raises(ValueError):
        await bus.publish(longest + "x", {})
    (event,) = await bus.read_back("attacker.*", 5)
    assert (event.topic, len(event.payload["x"]), event.id) == (longest, room, "abc")


@pytest.mark.parametrize(
    "topic", ["decky.state", "decky.web.more.state", "ttp.rule.fired.T1059.001", "ttp.tagged.x"]
)
async def test_a_topic_that_only_looks_durable_is_news(bus: BaseBus, topic: str) -> None:
    async with bus.subscribe(">") as sub, asyncio.timeout(5):
        await bus.publish(topic, {"n": 1})
        assert (await anext(sub)).payload == {"n": 1}
    assert await bus.read_back(">", 5) == []


async def test_two_readers_share_one_durable(bus: BaseBus) -> None:
    await bus.publish_events([Event(topic=ENDED, payload={"n": n}) for n in range(20)])
    one, two = await bus.consume("ttp", [ENDED]), await bus.consume("ttp", [ENDED])
    got = [*await one.fetch(10, 1.0), *await two.fetch(10, 1.0)]
    assert sorted(d.event.payload["n"] for d in got if d.event) == list(range(20))
    assert (await one.info()).unacked == 20


@pytest.mark.parametrize(
    "body", [b"", b"\x00\xff", b"[]", b'{"payload":[]}', b'{"payload":{},"ts":"x"}', b"[" * 50_000]
)
async def test_hostile_bodies_come_as_malformed(bus: BaseBus, body: bytes) -> None:
    consumer = await bus.consume("ttp", ["attacker.>"])
    await inject(bus, ENDED, body)
    await bus.publish(ENDED, {"good": True})
    found = []
    while len(found) < 2:
        found += await consumer.fetch(2, 1.0)
    assert found[0].malformed is not None
    assert found[0].event is None
    assert found[1].event is not None
    assert [e.payload for e in await bus.read_back("attacker.>", 10)] == [{"good": True}]


@pytest.mark.parametrize("topic", ["", "a..b", "a.*", "a.>", "a b", "a\r\nPUB x 0", "x" * 5000, "a.\x00"])
async def test_bad_topics_are_refused_and_the_bus_lives(bus: BaseBus, topic: str) -> None:
    with pytest.raises(ValueError):
        await bus.publish(topic, {})
    await bus.publish(ENDED, {})


async def test_oversized_and_unserialisable_events_are_refused(bus: BaseBus) -> None:
    for payload in ({"x": "y" * 300_000}, {"x": float("nan")}, {"x": object()}):
        with pytest.raises(ValueError):
            await bus.publish(ENDED, payload)
    with pytest.raises(ValueError):
        await bus.publish_events([Event(topic=ENDED, payload={}, headers={"a": "b\r\nNats-Rollup: all"})])
    await bus.publish_events([Event(topic=ENDED, payload={}, headers={"Nats-Rollup": "all", "trace": "1"})])
    (event,) = await bus.read_back(ENDED, 5)
    assert dict(event.headers) == {"trace": "1"}


async def test_a_full_stream_refuses(bus: BaseBus) -> None:
    with pytest.raises(BusFull):
        await bus.publish_events([Event(topic=ENDED, payload={"x": "y" * 60_000}) for _ in range(40)])


async def test_read_back_gives_the_newest_oldest_first(bus: BaseBus) -> None:
    for n in range(30):
        await bus.publish("identity.formed" if n % 10 == 0 else ENDED, {"n": n})
    assert [e.payload["n"] for e in await bus.read_back(ENDED, 3)] == [27, 28, 29]
    assert [e.payload["n"] for e in await bus.read_back("identity.*", 2)] == [10, 20]
    assert await bus.read_back("credential.>", 5) == []


async def test_blobs_survive_the_trip(bus: BaseBus) -> None:
    data = bytes(range(256)) * 4000
    key = hashlib.sha256(data).hexdigest()
    await bus.put_blob(key, data)
    await bus.put_blob(key, data)
    assert await bus.get_blob(key) == data
    assert await bus.get_blob("0" * 64) is None
    with pytest.raises(ValueError):
        await bus.put_blob(key, b"x" * (8 * 2**20 + 1))
    with pytest.raises(ValueError):
        await bus.get_blob("../etc")


@pytest.mark.parametrize("bus", ["nats"], indirect=True)
async def test_the_server_has_the_settings_that_keep_evidence(bus: BaseBus) -> None:
    assert isinstance(bus, NatsBus)
    await bus.consume("ttp", [ENDED, "identity.>"])
    _, js = await bus._ready()
    stream = (await js.stream_info(SETTINGS.stream)).config
    assert (stream.discard, stream.retention, stream.storage) == ("new", "limits", "file")
    assert (stream.max_age or 0, stream.max_bytes, stream.max_msgs) == (0, 2**20, -1)
    assert sorted(stream.subjects or []) == sorted(DURABLE_PATTERNS)
    durable = (await js.consumer_info(SETTINGS.stream, "ttp")).config
    assert (durable.max_deliver, durable.ack_policy, durable.deliver_policy) == (-1, "explicit", "all")
    assert (durable.ack_wait, durable.max_ack_pending) == (1.0, SETTINGS.max_ack_pending)
    assert sorted(durable.filter_subjects or []) == [ENDED, "identity.>"]


_token = st.sampled_from(["a", "b", "*", ">"])
_patterns = st.lists(_token, min_size=1, max_size=4).filter(lambda p: ">" not in p[:-1])
_topics = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4)


@pytest.mark.parametrize("bus", ["nats"], indirect=True)
async def test_matches_is_the_servers_twin(bus: BaseBus) -> None:
    loop = asyncio.get_running_loop()

    async def check(pattern: str, topic: str) -> None:
        async with bus.subscribe(pattern) as wild, bus.subscribe(topic) as plain:
            await bus.publish(topic, {})
            await anext(plain)
            await wild._settle()
            assert bool(wild._buffer) == matches(pattern, topic), (pattern, topic)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_patterns, _topics)
    def property_(pattern: list[str], topic: list[str]) -> None:
        asyncio.run_coroutine_threadsafe(check(".".join(pattern), ".".join(topic)), loop).result(10)

    await asyncio.to_thread(property_)


async def test_a_worker_that_reads_more_topics_than_before_gets_them_from_its_old_consumer(
    bus: BaseBus,
) -> None:
    """A new version on a running server: the durable stays, its place stays, its patterns are the new ones."""
    first = await bus.consume("recorder", [ENDED])
    await bus.publish(ENDED, {"n": 1}, event_id="a")
    (old,) = await first.fetch(10, 2.0)
    await old.ack()
    await first.close()
    second = await bus.consume("recorder", [ENDED, "canary.*.triggered", "email.received"])
    await bus.publish("canary.tok.triggered", {"n": 2}, event_id="b")
    await bus.publish("email.received", {"n": 3}, event_id="c")
    await bus.publish("canary.tok.placed", {"n": 4}, event_id="d")
    got: list[Delivery] = []
    while len(got) < 2:
        got += await second.fetch(10, 2.0)
    assert [d.event.payload["n"] for d in got if d.event is not None] == [2, 3], (
        "each once, what was done not again"
    )
    await second.close()


async def test_a_consumer_that_is_forgotten_starts_again_and_one_that_never_was_is_no_fault(
    bus: BaseBus,
) -> None:
    await bus.forget_consumer("nobody")
    await bus.publish(ENDED, {"n": 1})
    for _ in range(2):
        consumer = await bus.consume("gone", [ENDED])
        (delivery,) = await consumer.fetch(5, 2.0)
        assert delivery.event.payload == {"n": 1}
        await delivery.ack()
        await consumer.close()
        await bus.forget_consumer("gone")
    if isinstance(bus, NatsBus):
        assert "gone" not in await bus.durables(), "it holds up no purge"
