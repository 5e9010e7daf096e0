"""Durable publishing: what is stored is told as stored, what is not is told why, and no more is on its way than the window."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import nats.errors
import pytest
from nats.aio.msg import Msg

from decnet.bus.base import Event
from decnet.bus.nats.publisher import Publisher, StreamMissing
from decnet.bus.wire import HEADER_OVERHEAD
from decnet.config import BusSettings
from decnet.errors import BusFull, BusUnavailable
from tests.natsfakes import ENDED, FakeClient

LIVE = "decky.web.traffic"
STORED = b'{"stream":"DECNET","seq":1}'


class World:
    """A publisher, and the server's answers by hand."""

    def __init__(self, window: int = 4, timeout: float = 5.0) -> None:
        self.client = FakeClient()
        settings = BusSettings(publish_window=window, request_timeout_s=timeout)
        self.publisher = Publisher(self.client, settings)  # type: ignore[arg-type]

    @property
    def replies(self) -> list[str]:
        return [reply for _, _, reply, _ in self.client.sent]

    async def answer(self, reply: str, data: bytes = STORED, headers: dict[str, str] | None = None) -> None:
        (inbox,) = self.client.subscriptions
        assert inbox.cb is not None
        await inbox.cb(Msg(_client=None, subject=reply, data=data, headers=headers))  # type: ignore[arg-type]
        await turns()

    async def start(self, events: Sequence[Event]) -> asyncio.Task[None]:
        task = asyncio.create_task(self.publisher.publish(events), name="publish")
        await turns()
        return task


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def ended(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(5):
        await task


@pytest.fixture
async def world() -> World:
    made = World()
    await made.publisher.open()
    return made


def events(count: int, topic: str = ENDED) -> list[Event]:
    return [Event(topic, {"n": n}, id=f"e{n}") for n in range(count)]


async def test_a_durable_event_is_published_once_it_is_stored(world: World) -> None:
    assert [inbox.subject for inbox in world.client.subscriptions] == ["_INBOX.fake.*"]
    task = await world.start(events(2))
    assert len(set(world.replies)) == 2
    assert all(reply.startswith("_INBOX.fake.") for reply in world.replies)
    await world.answer(world.replies[0])
    assert not task.done()
    await world.answer(world.replies[1])
    await ended(task)


async def test_each_event_carries_its_id_and_goes_in_order(world: World) -> None:
    task = await world.start([*events(2), *events(1, LIVE)])
    sent = [
        (topic, (headers or {})["Nats-Msg-Id"].partition(":")[0])
        for topic, _, _, headers in world.client.sent
    ]
    assert sent == [
        (ENDED, "e0"),
        (ENDED, "e1"),
        (LIVE, "e0"),
    ]
    assert [json.loads(body)["payload"]["n"] for _, body, _, _ in world.client.sent] == [0, 1, 0]
    for reply in world.replies[:2]:
        await world.answer(reply)
    await ended(task)


async def test_news_wait_for_no_answer(world: World) -> None:
    await ended(await world.start(events(9, LIVE)))
    assert world.replies == [""] * 9


async def test_no_more_than_the_window_is_on_its_way(world: World) -> None:
    task = await world.start(events(7))
    assert len(world.replies) == 4
    await world.answer(world.replies[0])
    assert len(world.replies) == 4  # half of it must have arrived
    await world.answer(world.replies[1])
    assert len(world.replies) == 6
    for reply in world.replies[2:6]:
        await world.answer(reply)
    assert len(world.replies) == 7
    await world.answer(world.replies[6])
    await ended(task)


REFUSALS = [
    (b'{"error":{"code":503,"description":"maximum bytes exceeded"}}', BusFull),
    (b'{"error":{"code":503,"description":"insufficient resources"}}', BusFull),
    (b'{"error":{"code":500,"description":"stream store failed"}}', BusUnavailable),
    (b'{"error":{}}', BusUnavailable),
    (b'{"error":null}', BusUnavailable),
    (b'{"error":', BusUnavailable),
    (b'["error"]', BusUnavailable),
]


@pytest.mark.parametrize(("answer", "error"), REFUSALS)
async def test_a_refused_event_says_why(world: World, answer: bytes, error: type[Exception]) -> None:
    task = await world.start(events(1))
    await world.answer(world.replies[0], answer)
    with pytest.raises(error) as raised:
        await ended(task)
    assert type(raised.value) is error


async def test_no_stream_is_told_apart_from_no_answer(world: World) -> None:
    task = await world.start(events(1))
    await world.answer(world.replies[0], b"", {"Status": "503"})
    with pytest.raises(StreamMissing):
        await ended(task)
    task = await world.start(events(1))
    await world.answer(world.replies[1], STORED, {"Status": "200"})
    await ended(task)


async def test_after_a_refusal_nothing_more_is_sent_and_the_first_reason_counts(world: World) -> None:
    task = await world.start(events(7))
    answers = zip(world.replies, (REFUSALS[0][0], REFUSALS[2][0], STORED), strict=False)
    await asyncio.gather(*(world.answer(reply, answer) for reply, answer in answers))
    with pytest.raises(BusFull):
        await ended(task)
    assert len(world.replies) == 4
    for reply in world.replies:
        await world.answer(reply)  # late answers meet nobody


async def test_no_answer_in_time_is_unavailable_and_leaves_nothing_behind() -> None:
    world = World(timeout=0.01)
    await world.publisher.open()
    task = await world.start(events(2))
    with pytest.raises(BusUnavailable, match="did not acknowledge in time"):
        await ended(task)
    assert world.publisher._flights == {}
    for reply in world.replies:
        await world.answer(reply)


async def test_a_publish_that_is_given_up_leaves_nothing_behind(world: World) -> None:
    task = await world.start(events(2))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ended(task)
    assert world.publisher._flights == {}


async def test_a_lost_connection_fails_what_is_on_its_way_and_nothing_else(world: World) -> None:
    one, other = await world.start(events(2)), await world.start(events(1))
    await world.answer(world.replies[2])
    await ended(other)
    world.publisher.drop()
    with pytest.raises(BusUnavailable, match="connection lost"):
        await ended(one)
    task = await world.start(events(1))
    assert not task.done()
    await world.answer(world.replies[3])
    await ended(task)


async def test_publishes_side_by_side_wait_for_their_own_events(world: World) -> None:
    one, other = await world.start(events(1)), await world.start(events(1))
    await world.answer(world.replies[0], REFUSALS[0][0])
    assert one.done()
    assert not other.done()
    await world.answer(world.replies[1])
    await ended(other)
    with pytest.raises(BusFull):
        await ended(one)


async def test_a_bad_event_in_the_middle_is_a_value_error_and_leaves_nothing_behind(world: World) -> None:
    with pytest.raises(ValueError):
        await ended(await world.start([*events(1), Event("a b", {})]))
    assert len(world.replies) == 1
    assert world.publisher._flights == {}


async def test_a_client_that_cannot_send_is_unavailable(world: World) -> None:
    for error in (nats.errors.OutboundBufferLimitError(), nats.errors.ConnectionClosedError(), OSError("x")):
        world.client.error = error
        with pytest.raises(BusUnavailable):
            await ended(await world.start(events(1)))
        assert world.publisher._flights == {}


async def test_the_servers_own_limit_counts_when_it_is_smaller(world: World) -> None:
    event = Event(LIVE, {}, id="e0")
    size = len(event.to_bytes()) + HEADER_OVERHEAD + len("Nats-Msg-Id") + len("e0") + 4
    world.client.max_payload = size
    await ended(await world.start([event]))
    world.client.max_payload = size - 1
    with pytest.raises(ValueError, match=f"limit of {size - 1}"):
        await ended(await world.start([event]))
    world.client.max_payload = 2**30
    with pytest.raises(ValueError, match=f"limit of {256 * 1024}"):
        await ended(await world.start([Event(LIVE, {"x": "y" * 256 * 1024})]))


async def test_closing_fails_what_is_on_its_way_and_leaves_the_inbox(world: World) -> None:
    task = await world.start(events(1))
    (inbox,) = world.client.subscriptions
    inbox.error = nats.errors.ConnectionClosedError()
    await world.publisher.close()
    assert inbox.left == 1
    with pytest.raises(BusUnavailable):
        await ended(task)


async def test_a_long_log_leaves_turns_to_others(world: World) -> None:
    task = asyncio.create_task(world.publisher.publish(events(60, LIVE)), name="publish")
    seen = []
    while not task.done():
        await asyncio.sleep(0)
        seen.append(len(world.replies))
    assert seen[:3] == [24, 49, 60]
