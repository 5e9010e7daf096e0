"""The NATS adapter over a client that does what a test says: connecting once, coming back, giving up, letting go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import nats.errors
import nats.js.errors
import pytest
from nats.aio.msg import Msg
from nats.js import api
from structlog.testing import capture_logs

from decnet.bus.base import Event
from decnet.bus.live import LiveSubscription
from decnet.bus.nats import client as nats_client
from decnet.bus.nats import connection as subject
from decnet.bus.nats.client import Callbacks
from decnet.bus.nats.connection import NatsBus
from decnet.config import BusSettings
from decnet.errors import BusAuthError, BusError, BusUnavailable
from tests.natsfakes import ENDED, FakeClient, FakeSubscription, durable

LIVE = "decky.web.traffic"


class World:
    """A bus whose connections are made by hand; ``fail`` is what the next attempts end with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.now = 100.0
        self.clients: list[FakeClient] = []
        self.attempts = 0
        self.fail: BusError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.prepare: Callable[[FakeClient], None] = lambda client: None
        self.callbacks: Callbacks | None = None
        self.bus = NatsBus("nats://bus:1", client_name="ttp", token="t", settings=BusSettings(**settings))
        monkeypatch.setattr(subject, "open_client", self.open_client)
        monkeypatch.setattr(nats_client, "time", SimpleNamespace(monotonic=lambda: self.now))

    async def open_client(
        self, url: str, name: str, token: str | None, settings: BusSettings, callbacks: Callbacks
    ) -> FakeClient:
        assert (url, name, token) == ("nats://bus:1", "ttp", "t")
        self.attempts += 1
        self.callbacks = callbacks
        await self.gate.wait()
        if self.fail is not None:
            raise self.fail
        self.clients.append(FakeClient())
        self.prepare(self.clients[-1])
        return self.clients[-1]

    @property
    def client(self) -> FakeClient:
        return self.clients[-1]

    def heard(self, pattern: str) -> list[FakeSubscription]:
        return [raw for raw in self.client.subscriptions if raw.subject == pattern]

    async def answer(self, data: bytes = b'{"seq":1}', headers: dict[str, str] | None = None) -> None:
        """Acknowledges what was published last."""
        inbox = self.client.subscriptions[0]
        assert inbox.cb is not None
        await inbox.cb(Msg(_client=None, subject=self.client.sent[-1][2], data=data, headers=headers))  # type: ignore[arg-type]
        await turns()


async def turns() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def soon(work: Awaitable[Any]) -> Any:
    async with asyncio.timeout(5):
        return await work


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, live_queue=2, read_back_window=7, request_timeout_s=3.0)


async def test_connecting_is_done_once_and_makes_the_stream(world: World) -> None:
    assert not world.bus.connected
    await world.bus.connect()
    await world.bus.connect()
    assert world.bus.connected
    assert world.attempts == 1
    assert world.client.js.stream is not None
    assert world.client.js_options == {"timeout": 3.0}
    world.client.is_connected = False
    assert not world.bus.connected


async def test_who_comes_during_an_attempt_shares_its_end(world: World) -> None:
    world.gate.clear()
    world.fail = BusUnavailable("away")
    tries = [asyncio.create_task(world.bus.connect(), name=f"try {n}") for n in range(3)]
    await turns()
    world.gate.set()
    found = await soon(asyncio.gather(*tries, return_exceptions=True))
    assert [str(error) for error in found] == ["away"] * 3
    assert world.attempts == 1
    with pytest.raises(BusUnavailable):
        await world.bus.connect()  # who comes later has an attempt of its own
    assert world.attempts == 2
    world.fail = None
    world.gate.clear()
    tries = [asyncio.create_task(world.bus.connect(), name=f"try {n}") for n in range(3)]
    await turns()
    world.gate.set()
    await soon(asyncio.gather(*tries))
    assert world.attempts == 3


async def test_work_does_not_queue_behind_a_failure_until_it_is_old(world: World) -> None:
    with pytest.raises(BusUnavailable, match="not connected"):
        await world.bus.publish(LIVE, {})
    world.fail = BusAuthError("refused")
    with pytest.raises(BusAuthError):
        await world.bus.connect()
    world.now += 1.9
    for _ in range(3):
        with pytest.raises(BusAuthError, match="refused"):
            await world.bus.publish(LIVE, {})
    assert world.attempts == 1
    world.now += 0.1
    world.fail = None
    await world.bus.publish(LIVE, {})
    assert world.attempts == 2


async def test_a_client_that_closed_for_good_is_replaced_with_its_subscriptions(world: World) -> None:
    await world.bus.connect()
    live = world.bus.subscribe(LIVE)
    await turns()
    world.client.is_connected, world.client.is_closed = False, True
    await world.bus.publish(LIVE, {})
    assert world.attempts == 2
    (raw,) = world.heard(LIVE)
    assert raw.cb is not None
    await raw.cb(Msg(_client=None, subject=LIVE, data=Event(LIVE, {"n": 1}).to_bytes()))  # type: ignore[arg-type]
    assert (await soon(anext(live))).payload == {"n": 1}


async def test_who_reconnects_is_unavailable_and_not_replaced(world: World) -> None:
    await world.bus.connect()
    world.client.is_connected = False
    for call in (
        world.bus.publish(LIVE, {}),
        world.bus.publish(ENDED, {}),
        world.bus.consume("ttp", [ENDED]),
        world.bus.read_back(">", 1),
        world.bus.get_blob("0" * 64),
        world.bus.put_blob("0" * 64, b""),
        world.bus.stream_info(),
        world.bus.durables(),
        world.bus.purge_to(5),
    ):
        with pytest.raises(BusUnavailable, match="reconnecting"):
            await call
    assert (world.attempts, world.client.sent) == (1, [])


async def test_a_connection_without_a_stream_is_no_connection(world: World) -> None:
    def broken(client: FakeClient) -> None:
        client.js.error = nats.errors.TimeoutError()

    world.prepare = broken
    with pytest.raises(BusUnavailable):
        await world.bus.connect()
    assert (world.client.closed, world.bus.connected) == (1, False)

    def deaf(client: FakeClient) -> None:
        client.error = nats.errors.ConnectionClosedError()

    world.prepare = deaf
    with pytest.raises(BusUnavailable):
        await world.bus.connect()
    assert (world.client.closed, world.bus.connected) == (1, False)


async def test_closing_flushes_ends_and_lets_go_once(world: World) -> None:
    await world.bus.connect()
    live = world.bus.subscribe(LIVE)
    await turns()
    task = asyncio.create_task(world.bus.publish(ENDED, {}), name="publish")
    await turns()
    await world.bus.close()
    await world.bus.close()
    assert (world.client.flushed, world.client.closed) == ([2], 1)
    assert world.heard(LIVE)[0].left == 1
    with pytest.raises(StopAsyncIteration):
        await anext(live)
    with pytest.raises(BusUnavailable, match="connection lost"):
        await soon(task)
    with pytest.raises(BusUnavailable, match="not connected"):
        await world.bus.publish(LIVE, {})
    assert world.attempts == 1


async def test_closing_without_a_connection_or_a_flush_that_works_still_closes(world: World) -> None:
    await world.bus.close()
    await world.bus.connect()
    world.client.error = nats.errors.FlushTimeoutError()
    await world.bus.close()
    assert world.client.closed == 1
    await world.bus.connect()
    world.client.is_connected = False
    await world.bus.close()
    assert (world.client.flushed, world.client.closed) == ([], 1)


async def test_reconnections_are_counted_and_a_loss_is_warned_of_once_there_was_a_connection(
    world: World,
) -> None:
    world.fail = BusUnavailable("away")
    with pytest.raises(BusUnavailable):
        await world.bus.connect()
    assert world.callbacks is not None
    with capture_logs() as logs:
        await world.callbacks.lost()
    assert logs == []
    world.fail = None
    await world.bus.connect()
    task = asyncio.create_task(world.bus.publish(ENDED, {}), name="publish")
    await turns()
    with capture_logs() as logs:
        await world.callbacks.lost()
        await world.callbacks.back()
        await world.callbacks.back()
    assert [line["log_level"] for line in logs] == ["warning", "info", "info"]
    assert world.bus.reconnects == 2
    with pytest.raises(BusUnavailable, match="connection lost"):
        await soon(task)
    world.client.is_closed = True
    with capture_logs() as logs:
        await world.callbacks.lost()
    assert logs == []


async def test_a_client_that_closes_for_good_is_a_critical_line_unless_it_was_told_to(world: World) -> None:
    await world.bus.connect()
    assert world.callbacks is not None
    world.client.last_error = nats.errors.ProtocolError("maximum payload")
    with capture_logs() as logs:
        await world.callbacks.closed()
    (line,) = logs
    assert (line["log_level"], line["client"]) == ("critical", "ttp")
    assert "for good" in line["event"]
    assert line["reason"] == str(world.client.last_error)
    await world.bus.close()
    with capture_logs() as logs:
        await world.callbacks.closed()
        await world.callbacks.lost()
    assert logs == []


async def test_a_stream_that_vanished_is_made_again_and_the_events_are_published_again(world: World) -> None:
    await world.bus.connect()
    world.client.js.stream = None
    task = asyncio.create_task(world.bus.publish(ENDED, {"n": 1}), name="publish")
    await turns()
    await world.answer(b"", {"Status": "503"})
    assert world.client.js.stream is not None
    assert len(world.client.sent) == 2
    assert not task.done()
    await world.answer(b"", {"Status": "503"})
    with pytest.raises(BusUnavailable, match="no stream"):
        await soon(task)
    assert len(world.client.sent) == 2


async def test_what_is_published_is_what_was_given(world: World) -> None:
    await world.bus.connect()
    await world.bus.publish(LIVE, {"n": 1}, event_type="kind", event_id="abc", ts=12.5)
    ((topic, body, _, headers),) = world.client.sent
    assert Event.from_bytes(topic, body) == Event(LIVE, {"n": 1}, "kind", "abc", 12.5)
    assert list(headers) == ["Nats-Msg-Id"]
    assert headers["Nats-Msg-Id"].startswith("abc:")


async def test_a_subscription_hears_from_its_call_on(world: World) -> None:
    await world.bus.connect()
    live = world.bus.subscribe(LIVE)
    await world.bus.publish(LIVE, {})
    assert len(world.heard(LIVE)) == 1  # the server knew it before the event was sent
    async with live:
        assert world.client.flushed == [3]
    assert world.heard(LIVE)[0].left == 1
    assert world.bus._live == {}
    with pytest.raises(ValueError):
        world.bus.subscribe("a..b")


async def test_settling_asks_for_at_least_a_second_and_fails_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, request_timeout_s=0.5)
    await world.bus.connect()
    live = world.bus.subscribe(LIVE)
    await turns()
    world.client.error = nats.errors.FlushTimeoutError()
    async with live:
        assert world.client.flushed == [1]  # the library refuses a limit of 0
        world.client.error = None
    world.client.is_connected = False
    async with world.bus.subscribe(LIVE):
        assert world.client.flushed == [1]


async def test_a_subscription_made_before_the_connection_is_put_on_it(world: World) -> None:
    async with world.bus.subscribe(LIVE):
        assert world.attempts == 0
        await world.bus.connect()
        assert len(world.heard(LIVE)) == 1


async def test_a_subscription_closed_while_the_server_is_told_leaves_the_server(world: World) -> None:
    await world.bus.connect()
    live = world.bus.subscribe(LIVE)
    await live.aclose()
    await turns()
    assert world.heard(LIVE) == []
    subscribe = world.client.subscribe

    async def closed_meanwhile(pattern: str, cb: Any) -> FakeSubscription:
        await late.aclose()
        return await subscribe(pattern, cb)

    world.client.subscribe = closed_meanwhile  # type: ignore[method-assign]
    late = world.bus.subscribe(LIVE)
    await turns()
    assert [raw.left for raw in world.heard(LIVE)] == [1]
    assert world.bus._live == {}


async def test_closing_leaves_no_subscription_under_way(world: World) -> None:
    await world.bus.connect()
    world.bus.subscribe(LIVE)
    assert len(world.bus._registering) == 1
    await world.bus.close()
    assert (world.bus._registering, world.heard(LIVE)) == (set(), [])


async def test_leaving_never_fails(world: World) -> None:
    await world.bus.connect()
    one, other = world.bus.subscribe(LIVE), world.bus.subscribe(LIVE)
    await turns()
    world.heard(LIVE)[0].error = nats.errors.BadSubscriptionError()
    await one.aclose()
    world.client.is_closed = True
    await other.aclose()
    assert [raw.left for raw in world.heard(LIVE)] == [1, 0]


async def test_a_subscription_that_fails_waits_for_the_next_connection(world: World) -> None:
    await world.bus.connect()
    world.client.error = nats.errors.ConnectionClosedError()
    with capture_logs() as logs:
        live = world.bus.subscribe(LIVE)
        await turns()
    assert [line["log_level"] for line in logs] == ["warning"]
    world.client.is_closed = True
    await world.bus.connect()
    assert len(world.heard(LIVE)) == 1
    await live.aclose()


async def test_what_arrives_is_bounded_counted_and_free_of_the_servers_own_traffic(world: World) -> None:
    await world.bus.connect()
    live = world.bus.subscribe(">")
    assert isinstance(live, LiveSubscription)
    await turns()
    (raw,) = world.heard(">")
    assert raw.cb is not None

    def message(topic: str, body: bytes, reply: str = "", **headers: str) -> Msg:
        return Msg(_client=None, subject=topic, data=body, reply=reply, headers=headers)  # type: ignore[arg-type]

    body = Event(LIVE, {"n": 1}).to_bytes()
    for found in (
        message(LIVE, body, "$JS.ACK.DECNET.ttp.1.1.1.1.0"),
        message("_INBOX.x", body),
        message("$JS.API.INFO", b""),
        message(LIVE, b"[]"),
        message(LIVE, body, "_INBOX.reply", trace="1", **{"Nats-Msg-Id": "x"}),
    ):
        await raw.cb(found)
    assert (live.malformed, live.lost) == (1, 0)
    for number in (2, 3):
        await raw.cb(message(LIVE, Event(LIVE, {"n": number}).to_bytes(), trace="1"))
    assert live.lost == 1
    event = await anext(live)
    assert (event.payload, dict(event.headers)) == ({"n": 2}, {"trace": "1"})


async def test_the_state_of_the_stream_is_the_servers(world: World) -> None:
    await world.bus.connect()
    js = world.client.js
    js.state = api.StreamState(messages=3, bytes=400, first_seq=5, last_seq=9, consumer_count=1)
    assert await world.bus.stream_info() == {
        "messages": 3,
        "bytes": 400,
        "first_seq": 5,
        "last_seq": 9,
        "max_bytes": 4 * 2**30,
    }
    await world.bus.purge_to(7)
    assert js.called("purge_stream") == [("DECNET", 7)]
    js.error = nats.errors.TimeoutError()
    for call in (world.bus.stream_info(), world.bus.purge_to(7), world.bus.durables()):
        with pytest.raises(BusUnavailable):
            await call


async def test_every_durable_counts_on_every_page_and_temporary_ones_do_not(world: World) -> None:
    await world.bus.connect()
    js = world.client.js
    js.pages = [
        [durable("a", ack_floor=1), durable("tail-1", temporary=True), durable("b", ack_floor=2)],
        [durable("tail-2", temporary=True), durable("tail-3", temporary=True)],
        [durable("tail-3", temporary=True), durable("c", ack_floor=3)],
        [durable("c", ack_floor=3)],
        [durable("never asked for")],
    ]
    found = await world.bus.durables()
    assert {name: info.ack_floor for name, info in found.items()} == {"a": 1, "b": 2, "c": 3}
    assert js.called("consumers_info") == [("DECNET", offset) for offset in (0, 3, 5, 6)]


async def test_no_more_is_read_back_than_the_window(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    async def tail(self: Any, pattern: str, last: int) -> list[Event]:
        asked.append((pattern, last))
        return []

    monkeypatch.setattr("decnet.bus.nats.store.Reader.tail", tail)
    await world.bus.connect()
    for last in (6, 7, 8):
        await world.bus.read_back(ENDED, last)
    assert asked == [(ENDED, 6), (ENDED, 7), (ENDED, 7)]


async def test_names_and_patterns_are_checked_before_a_server_sees_them(world: World) -> None:
    await world.bus.connect()
    for name, pattern in (("a.b", ENDED), ("ttp", "a..b"), ("ttp", "a.>.b")):
        with pytest.raises(ValueError):
            await world.bus.consume(name, [pattern])
    assert world.client.js.called("add_consumer") == []
    consumer = await world.bus.consume("ttp", [ENDED])
    assert consumer.name == "ttp"
    assert len(world.client.js.called("add_consumer")) == 1


async def test_a_server_that_hangs_is_noticed_by_all_who_wait_and_asked_for_them_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "PULSE_S", 0.01)
    monkeypatch.setattr(subject, "SILENCE_S", 1.0)
    await world.bus.connect()
    consumers = [await world.bus.consume(name, [ENDED]) for name in ("ttp", "recorder")]
    given_up: list[str] = []
    for consumer in consumers:
        monkeypatch.setattr(consumer, "give_up", lambda name=consumer.name: given_up.append(name))  # type: ignore[attr-defined]
    await asyncio.sleep(0.1)
    assert world.client.flushed == [], "nobody waits"
    consumers[0].waits = True  # type: ignore[attr-defined]
    await asyncio.sleep(0.1)
    assert set(world.client.flushed) == {1}
    assert given_up == []
    world.client.error = nats.errors.FlushTimeoutError()
    await asyncio.sleep(0.1)
    assert {*given_up} == {"ttp", "recorder"}
    world.client.is_connected = False
    world.client.flushed.clear()
    await asyncio.sleep(0.05)
    assert world.client.flushed == [], "one that is gone is no hanging one"
    world.client.error = None
    await world.bus.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_lost_connection_ends_the_waiting_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.bus.connect()
    consumer = await world.bus.consume("ttp", [ENDED])
    given_up: list[bool] = []
    monkeypatch.setattr(consumer, "give_up", lambda: given_up.append(True))
    assert world.callbacks is not None
    await world.callbacks.lost()
    assert given_up == [True]
    await world.bus.close()
