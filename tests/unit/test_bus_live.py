"""Live subscriptions: bounded, counted, ended once; and the bus that is not there."""

from __future__ import annotations

import asyncio

import pytest

from decnet.bus.base import Event
from decnet.bus.live import LiveSubscription
from decnet.bus.null import NullBus, NullConsumer
from decnet.errors import MalformedEvent


def offered(subscription: LiveSubscription, count: int) -> None:
    for number in range(count):
        subscription.offer(Event("a", {"n": number}))


async def rest(subscription: LiveSubscription) -> list[int]:
    subscription.end()
    return [event.payload["n"] async for event in subscription]


@pytest.mark.parametrize(("count", "lost", "kept"), [(2, 0, [0, 1]), (3, 0, [0, 1, 2]), (4, 1, [1, 2, 3])])
async def test_the_buffer_holds_its_limit_and_each_lost_event_counts(
    count: int, lost: int, kept: list[int]
) -> None:
    subscription = LiveSubscription("a", limit=3)
    offered(subscription, count)
    assert subscription.lost == lost
    assert await rest(subscription) == kept


async def test_bodies_that_are_no_events_are_counted_apart() -> None:
    subscription = LiveSubscription("a", limit=3)
    assert (subscription.lost, subscription.malformed) == (0, 0)
    subscription.refuse("a", MalformedEvent("x"))
    subscription.refuse("a", MalformedEvent("x"))
    assert (subscription.lost, subscription.malformed) == (0, 2)


async def test_after_its_end_nothing_more_is_taken_and_what_is_there_is_given() -> None:
    subscription = LiveSubscription("a", limit=3)
    offered(subscription, 2)
    assert not subscription.closed
    subscription.end()
    assert subscription.closed
    offered(subscription, 3)
    assert subscription.lost == 0
    assert await rest(subscription) == [0, 1]
    with pytest.raises(StopAsyncIteration):
        await anext(subscription)


async def test_a_reader_that_waits_is_woken_by_an_event_and_by_the_end() -> None:
    subscription = LiveSubscription("a", limit=3)

    async def read() -> list[int]:
        return [event.payload["n"] async for event in subscription]

    reader = asyncio.create_task(read(), name="reader")
    await asyncio.sleep(0)
    offered(subscription, 1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not reader.done()
    subscription.end()
    async with asyncio.timeout(5):
        assert await reader == [0]


async def test_it_settles_when_it_is_entered_and_leaves_its_bus_once() -> None:
    calls: list[object] = []

    async def settle() -> None:
        calls.append("settled")

    async def leave(who: LiveSubscription) -> None:
        calls.append(who)

    subscription = LiveSubscription("a", limit=3, settle=settle, leave=leave)
    assert calls == []
    async with subscription as entered:
        assert entered is subscription
        assert calls == ["settled"]
    await subscription.aclose()
    assert calls == ["settled", subscription]
    assert subscription.closed


async def test_a_null_consumer_does_not_let_its_reader_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("decnet.bus.null.asyncio.sleep", sleep)
    consumer = NullConsumer("ttp")
    assert await consumer.fetch(10, 1.5) == []
    assert slept == [1.5]
    info = await consumer.info()
    assert (info.pending, info.unacked, info.ack_floor, info.delivered) == (0, 0, 0, 0)
    await consumer.close()


async def test_a_null_bus_keeps_nothing_and_says_whether_it_is_connected() -> None:
    bus = NullBus("x")
    assert not bus.connected
    await bus.connect()
    assert bus.connected
    await bus.publish_events([Event("a.b", {})])
    await bus.put_blob("0" * 64, b"x")
    assert await bus.get_blob("0" * 64) is None
    assert await bus.read_back(">", 5) == []
    await bus.close()
    assert not bus.connected
