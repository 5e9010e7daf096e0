"""The bus inside one process: redelivery by a clock, what may be out at once, what is full, what is counted."""

from __future__ import annotations

import gc
import hashlib
import weakref
from collections.abc import Sequence

import pytest

from decnet.bus import memory
from decnet.bus.base import Delivery, Event
from decnet.bus.live import LiveSubscription
from decnet.bus.memory import Broker, MemoryBus, MemoryConsumer
from decnet.bus.wire import HEADER_OVERHEAD, MSG_ID_HEADER
from decnet.config import BusSettings
from decnet.errors import BusFull, BusUnavailable

ENDED = "attacker.session.ended"
SETTINGS = BusSettings(
    type="memory", ack_wait_s=30.0, max_ack_pending=4, max_stream_bytes=2**20, live_queue=3
)


class Clock:
    """The time of the bus; stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(memory, "_now", made)
    return made


@pytest.fixture
async def bus(clock: Clock) -> MemoryBus:
    made = MemoryBus(settings=SETTINGS, broker=Broker(SETTINGS))
    await made.connect()
    return made


async def filled(bus: MemoryBus, count: int) -> MemoryConsumer:
    await bus.publish_events([Event(ENDED, {"n": n}) for n in range(count)])
    consumer = await bus.consume("ttp", [ENDED])
    assert isinstance(consumer, MemoryConsumer)
    return consumer


def numbers(deliveries: Sequence[Delivery]) -> list[tuple[int, int]]:
    """Sequence and number of the delivery."""
    return [(delivery.seq, delivery.num_delivered) for delivery in deliveries]


async def test_an_unanswered_event_comes_again_at_the_end_of_its_wait_and_not_before(
    bus: MemoryBus, clock: Clock
) -> None:
    consumer = await filled(bus, 1)
    assert numbers(await consumer.fetch(5, 0)) == [(1, 1)]
    clock.now += 29.999
    assert await consumer.fetch(5, 0) == []
    clock.now = 1030.0
    assert numbers(await consumer.fetch(5, 0)) == [(1, 2)]


async def test_it_comes_again_without_end(bus: MemoryBus, clock: Clock) -> None:
    consumer = await filled(bus, 1)
    for number in range(1, 12):
        (delivery,) = await consumer.fetch(5, 0)
        assert delivery.num_delivered == number
        await delivery.nak()
    await delivery.ack()
    clock.now += 1000
    assert await consumer.fetch(5, 0) == []


async def test_a_refused_event_waits_for_its_delay(bus: MemoryBus, clock: Clock) -> None:
    consumer = await filled(bus, 1)
    (delivery,) = await consumer.fetch(5, 0)
    await delivery.nak(100.0)
    clock.now += 99.9
    assert await consumer.fetch(5, 0) == []
    clock.now += 0.1
    assert numbers(await consumer.fetch(5, 0)) == [(1, 2)]


async def test_work_in_progress_restarts_the_clock(bus: MemoryBus, clock: Clock) -> None:
    consumer = await filled(bus, 1)
    (delivery,) = await consumer.fetch(5, 0)
    clock.now += 29.0
    await delivery.in_progress()
    clock.now += 29.9
    assert await consumer.fetch(5, 0) == []
    clock.now += 0.1
    assert len(await consumer.fetch(5, 0)) == 1


async def test_what_is_acknowledged_never_comes_again_whatever_follows(bus: MemoryBus, clock: Clock) -> None:
    consumer = await filled(bus, 1)
    (delivery,) = await consumer.fetch(5, 0)
    await delivery.ack()
    await delivery.nak()
    await delivery.in_progress()
    await delivery.ack()
    clock.now += 1000
    assert await consumer.fetch(5, 0) == []
    assert (await consumer.info()).unacked == 0


async def test_late_events_come_before_new_ones_and_within_the_limit(bus: MemoryBus, clock: Clock) -> None:
    consumer = await filled(bus, 8)
    assert numbers(await consumer.fetch(2, 0)) == [(1, 1), (2, 1)]
    clock.now += 30
    assert numbers(await consumer.fetch(3, 0)) == [(1, 2), (2, 2), (3, 1)]
    clock.now += 30
    assert numbers(await consumer.fetch(2, 0)) == [(1, 3), (2, 3)]


async def test_no_more_is_out_at_once_than_the_setting_says(bus: MemoryBus, clock: Clock) -> None:
    consumer = await filled(bus, 8)
    first = await consumer.fetch(3, 0)
    assert [seq for seq, _ in numbers(first)] == [1, 2, 3]
    assert [seq for seq, _ in numbers(await consumer.fetch(9, 0))] == [4]
    assert await consumer.fetch(9, 0) == []
    await first[1].ack()
    assert [seq for seq, _ in numbers(await consumer.fetch(9, 0))] == [5]
    clock.now += 30
    assert [seq for seq, _ in numbers(await consumer.fetch(9, 0))] == [
        1,
        3,
        4,
        5,
    ]  # redelivery is no new work


async def test_the_backlog_is_told_as_it_is(bus: MemoryBus) -> None:
    await bus.publish("identity.formed", {})
    consumer = await filled(bus, 3)
    info = await consumer.info()
    assert (info.pending, info.unacked, info.ack_floor, info.delivered) == (3, 0, 0, 0)
    one, two = await consumer.fetch(2, 0)
    info = await consumer.info()
    assert (info.pending, info.unacked, info.ack_floor, info.delivered) == (1, 2, 1, 3)
    await two.ack()
    assert (await consumer.info()).ack_floor == 1
    await one.ack()
    info = await consumer.info()
    assert (info.pending, info.unacked, info.ack_floor, info.delivered) == (1, 0, 3, 3)
    await consumer.close()


async def test_durables_are_apart_and_one_name_is_one_durable(bus: MemoryBus) -> None:
    await filled(bus, 2)
    one, same, other = [await bus.consume(name, [ENDED]) for name in ("ttp", "ttp", "behave")]
    assert len(await one.fetch(1, 0)) == 1
    assert numbers(await same.fetch(5, 0)) == [(2, 1)]
    assert numbers(await other.fetch(5, 0)) == [(1, 1), (2, 1)]
    changed = await bus.consume("behave", ["identity.>"])
    await bus.publish("identity.formed", {})
    assert numbers(await changed.fetch(5, 0)) == [(3, 1)]


async def test_news_are_not_kept_and_ids_are_stored_once(bus: MemoryBus) -> None:
    await bus.publish("decky.web.traffic", {})
    for topic, payload in ((ENDED, {}), ("identity.formed", {}), (ENDED, {}), (ENDED, {"n": 1})):
        await bus.publish(topic, payload, event_id="same")
    await bus.publish(ENDED, {}, event_id="other")
    stream = [stored.event() for stored in bus.broker.stream]
    assert [(event.topic, event.id, event.payload) for event in stream] == [
        (ENDED, "same", {}),
        ("identity.formed", "same", {}),
        (ENDED, "same", {"n": 1}),
        (ENDED, "other", {}),
    ]
    ids = [stored.headers[MSG_ID_HEADER].partition(":")[0] for stored in bus.broker.stream]
    assert ids == ["same"] * 3 + ["other"]


def test_a_full_stream_refuses_the_first_byte_too_many_and_keeps_what_it_has() -> None:
    broker = Broker(BusSettings(max_stream_bytes=2**20))
    broker.put(ENDED, bytes(2**20 - 1), {MSG_ID_HEADER: "a"})
    broker.put(ENDED, bytes(1), {MSG_ID_HEADER: "b"})
    assert broker.bytes == 2**20
    for _ in range(2):
        with pytest.raises(BusFull):
            broker.put(ENDED, bytes(1), {MSG_ID_HEADER: "c"})
    broker.put(ENDED, bytes(1), {MSG_ID_HEADER: "a"})  # stored already
    broker.put("decky.web.traffic", bytes(1), {MSG_ID_HEADER: "d"})
    assert (broker.bytes, len(broker.stream)) == (2**20, 2)


async def test_an_event_over_the_limit_is_refused(bus: MemoryBus) -> None:
    headers = HEADER_OVERHEAD + len(MSG_ID_HEADER) + len("abc") + 4
    size = len(Event(ENDED, {"x": ""}, id="abc", ts=1.0).to_bytes()) + headers
    room = SETTINGS.max_event_bytes - size
    with pytest.raises(ValueError, match="over the limit"):
        await bus.publish(ENDED, {"x": "y" * (room + 1)}, event_id="abc", ts=1.0)
    await bus.publish(ENDED, {"x": "y" * room}, event_id="abc", ts=1.0)
    assert len(bus.broker.stream) == 1


async def test_a_live_reader_that_is_too_slow_loses_the_oldest(bus: MemoryBus) -> None:
    subscription = bus.subscribe("decky.*.traffic")
    assert isinstance(subscription, LiveSubscription)
    for number in range(3):
        await bus.publish("decky.web.traffic", {"n": number})
    assert subscription.lost == 0
    await bus.publish("decky.web.traffic", {"n": 3})
    assert subscription.lost == 1
    assert (await anext(subscription)).payload == {"n": 1}
    bus.broker.put("decky.web.traffic", b"[]", {MSG_ID_HEADER: "x"})
    assert subscription.malformed == 1


async def test_a_malformed_delivery_is_freed_at_once(bus: MemoryBus) -> None:
    consumer = await bus.consume("one", (ENDED,))
    bus.broker.put(ENDED, b"{", {MSG_ID_HEADER: "x"})
    (delivery,) = await consumer.fetch(1, 0.0)
    assert delivery.malformed is not None
    kept = weakref.ref(delivery.malformed)
    gc.disable()
    try:
        del delivery
        assert kept() is None
    finally:
        gc.enable()


async def test_who_left_hears_nothing_and_is_forgotten(bus: MemoryBus) -> None:
    staying, leaving = bus.subscribe(">"), bus.subscribe(">")
    await leaving.aclose()
    await bus.publish("decky.web.traffic", {})
    assert [subscription is staying for subscription in bus.broker.live] == [True]
    with pytest.raises(StopAsyncIteration):
        await anext(leaving)
    assert (await anext(staying)).topic == "decky.web.traffic"


async def test_a_subscription_made_before_the_connection_hears_after_it() -> None:
    bus = MemoryBus(broker=Broker(SETTINGS))
    subscription = bus.subscribe(">")
    await bus.connect()
    await bus.connect()
    await bus.publish("decky.web.traffic", {"n": 1})
    assert (await anext(subscription)).payload == {"n": 1}
    await bus.close()
    with pytest.raises(StopAsyncIteration):
        await anext(subscription)  # it was registered once: no second copy of the event


async def test_without_a_connection_nothing_works(bus: MemoryBus) -> None:
    consumer = await filled(bus, 1)
    await bus.close()
    await bus.close()
    assert not bus.connected
    for call in (
        bus.publish(ENDED, {}),
        bus.consume("ttp", [ENDED]),
        bus.read_back(">", 1),
        bus.put_blob("0" * 64, b""),
        bus.get_blob("0" * 64),
        consumer.fetch(1, 0),
        consumer.info(),
    ):
        with pytest.raises(BusUnavailable):
            await call


async def test_names_patterns_and_keys_are_checked(bus: MemoryBus) -> None:
    with pytest.raises(ValueError):
        bus.subscribe("a.>.b")
    for call in (
        bus.consume("a.b", [ENDED]),
        bus.consume("ttp", [ENDED, "a..b"]),
        bus.read_back("a b", 1),
        bus.put_blob("x", b""),
        bus.get_blob("x"),
    ):
        with pytest.raises(ValueError):
            await call


async def test_no_more_is_read_back_than_asked_for_and_than_the_window() -> None:
    settings = SETTINGS.model_copy(update={"read_back_window": 3})
    bus = MemoryBus(settings=settings, broker=Broker(settings))
    await bus.connect()
    await filled(bus, 5)
    bus.broker.put(ENDED, b"no event", {MSG_ID_HEADER: "x"})
    for last, kept in ((-1, []), (0, []), (1, [4]), (2, [3, 4]), (3, [2, 3, 4]), (4, [2, 3, 4])):
        assert [event.payload["n"] for event in await bus.read_back(ENDED, last)] == kept


async def test_a_blob_of_exactly_8_mib_survives(bus: MemoryBus) -> None:
    data = bytes(8 * 2**20)
    key = hashlib.sha256(data).hexdigest()
    await bus.put_blob(key, data)
    assert await bus.get_blob(key) == data
    with pytest.raises(ValueError):
        await bus.put_blob(key, data + b"x")


async def test_buses_of_one_loop_share_a_broker_unless_told_otherwise() -> None:
    one, other, apart = MemoryBus(), MemoryBus(), MemoryBus(broker=Broker(SETTINGS))
    for bus in (one, other, apart):
        await bus.connect()
    assert one.broker is other.broker
    assert apart.broker is not one.broker
