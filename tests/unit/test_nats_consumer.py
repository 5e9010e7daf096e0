"""Pull consumers of the NATS adapter: nothing, busy, gone and silent are four answers; redelivery has no end."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import nats.errors
import pytest
from nats.aio.msg import Msg
from nats.js import api

from decnet.bus.nats import consumer as nats_pull
from decnet.bus.nats.consumer import (
    FETCH_BYTES,
    GAP_S,
    LINGER_S,
    SILENCE_S,
    NatsConsumer,
    NatsDelivery,
    consumer_config,
    to_info,
)
from decnet.bus.nats.decoded import Decoded
from decnet.config import BusSettings
from decnet.errors import BusAuthError, BusUnavailable
from tests.natsfakes import ENDED, FakeClient, FakeSubscription, delivered, durable, status

SETTINGS = BusSettings(ack_wait_s=12.0, max_ack_pending=321)


class World:
    """One consumer over a client that a test moves; what it asked for and how long it slept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client = FakeClient()
        self.slept: list[float] = []
        self.streams = 0
        self.now = 100.0
        self.ready_error: Exception | None = None
        self.consumer = NatsConsumer(
            "ttp", [ENDED, "identity.>"], SETTINGS, self.ready, self.ensure_stream, Decoded()
        )  # type: ignore[arg-type]
        monkeypatch.setattr(nats_pull.asyncio, "sleep", self.sleep)
        monkeypatch.setattr(nats_pull.asyncio, "get_running_loop", lambda: self)

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def ready(self) -> tuple[FakeClient, Any]:
        if self.ready_error is not None:
            raise self.ready_error
        return self.client, self.client.js

    async def ensure_stream(self) -> None:
        self.streams += 1

    @property
    def inbox(self) -> FakeSubscription:
        return self.client.js.inboxes[-1]

    @property
    def asked(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body, _, _ in self.client.sent]

    async def numbers(self, limit: int, seconds: float) -> list[int]:
        return [delivery.seq for delivery in await self.consumer.fetch(limit, seconds)]

    def answer(self, *answers: Msg | BaseException) -> None:
        self.inbox.answers += answers

    def message(self, seq: int) -> Msg:
        return delivered(self.client, seq)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(monkeypatch)
    await made.consumer.open()
    return made


def test_a_durable_redelivers_for_ever_and_waits_for_each_answer() -> None:
    config = consumer_config("ttp", [ENDED, "identity.>"], SETTINGS)
    assert config.max_deliver == -1
    assert config.ack_policy == api.AckPolicy.EXPLICIT
    assert config.deliver_policy == api.DeliverPolicy.ALL
    assert (config.ack_wait, config.max_ack_pending) == (12.0, 321)
    assert (config.durable_name, config.filter_subjects) == ("ttp", [ENDED, "identity.>"])
    assert (config.inactive_threshold, config.deliver_subject, config.backoff) == (None, None, None)
    assert (BusSettings().ack_wait_s, BusSettings().max_ack_pending) == (30.0, 20_000)


async def test_opening_sends_the_settings_and_binds_once_a_client(world: World) -> None:
    js = world.client.js
    assert js.called("add_consumer") == [("DECNET", consumer_config("ttp", [ENDED, "identity.>"], SETTINGS))]
    assert js.called("bind") == [("ttp", "DECNET")]
    await world.consumer.open()
    assert (len(js.called("add_consumer")), len(js.called("bind"))) == (2, 1)
    world.client = FakeClient()
    await world.consumer.open()
    assert len(world.client.js.called("bind")) == 1


async def test_a_stream_that_vanished_is_made_before_its_consumer(world: World) -> None:
    world.client.js.missing = 1
    await world.consumer.open()
    assert (world.streams, len(world.client.js.called("add_consumer"))) == (1, 3)
    world.client.js.missing = 2
    with pytest.raises(BusUnavailable):
        await world.consumer.open()


async def test_a_request_asks_for_what_is_there_at_once(world: World) -> None:
    world.answer(world.message(1), status("404"))
    assert await world.numbers(5, 2.0) == [1]
    ((subject, _, reply, _),) = world.client.sent
    assert (subject, reply) == ("$JS.API.CONSUMER.MSG.NEXT.DECNET.ttp", world.inbox.subject)
    assert world.asked == [{"batch": 5, "max_bytes": FETCH_BYTES, "no_wait": True}]
    assert world.slept == []


async def test_it_waits_for_one_then_lingers_for_the_rest(world: World) -> None:
    world.answer(status("404"), world.message(1), world.message(2), status("404"))
    assert await world.numbers(5, 2.0) == [1, 2]
    assert world.asked == [
        {"batch": 5, "max_bytes": FETCH_BYTES, "no_wait": True},
        {"batch": 1, "expires": 2_000_000_000},
        {"batch": 4, "max_bytes": FETCH_BYTES, "no_wait": True},
    ]
    assert world.slept == [LINGER_S]


async def test_a_single_event_is_not_lingered_for_and_a_linger_ends_with_the_time(world: World) -> None:
    world.answer(status("404"), world.message(1))
    assert await world.numbers(1, 2.0) == [1]
    assert world.slept == []
    world.answer(status("404"), world.message(1), status("404"))
    assert await world.numbers(5, 0.005) == [1]
    assert world.slept == [0.005]


async def test_an_event_that_is_larger_than_an_answer_comes_alone(world: World) -> None:
    world.answer(status("409", "Message Size Exceeds MaxBytes"), world.message(1))
    world.answer(world.message(2), status("409", "Message Size Exceeds MaxBytes"))
    assert await world.numbers(5, 2.0) == [1, 2]
    assert ["max_bytes" in asked for asked in world.asked] == [True, False, True]
    assert world.streams == 0, "nothing is gone"


async def test_a_look_without_waiting_asks_once(world: World) -> None:
    world.answer(status("404"))
    assert await world.numbers(5, 0) == []
    assert (len(world.client.sent), world.slept) == (1, [])


async def test_no_more_than_the_limit_is_taken(world: World) -> None:
    world.answer(*(world.message(n) for n in range(1, 6)))
    assert await world.numbers(3, 0) == [1, 2, 3]
    assert len(world.inbox.answers) == 2


@pytest.mark.parametrize("code", ["404", "408"])
async def test_nothing_there_is_an_empty_batch_after_its_time(world: World, code: str) -> None:
    world.answer(status(code), status(code))
    assert await world.numbers(5, 2.0) == []
    assert (world.streams, len(world.client.js.called("add_consumer"))) == (0, 1)
    assert world.slept == [2.0]  # refused early: the reader's loop does not spin


@pytest.mark.parametrize(
    "reason", ["Exceeded MaxAckPending", "Exceeded MaxWaiting", "Exceeded MaxRequestBatch of 1"]
)
async def test_a_busy_consumer_is_not_made_again(world: World, reason: str) -> None:
    world.answer(status("409", reason), status("409", reason))
    assert await world.numbers(5, 2.0) == []
    assert (world.streams, len(world.client.js.called("add_consumer"))) == (0, 1)
    assert world.slept == [2.0]


@pytest.mark.parametrize(
    ("code", "reason"), [("409", "Consumer Deleted"), ("409", "Leadership Change"), ("409", ""), ("503", "")]
)
async def test_a_consumer_that_is_gone_is_made_again(world: World, code: str, reason: str) -> None:
    world.answer(status(code, reason))
    assert await world.numbers(5, 2.0) == []
    assert (world.streams, len(world.client.js.called("add_consumer"))) == (1, 2)
    world.answer(world.message(1), status("404"))
    assert await world.numbers(5, 2.0) == [1]


async def test_other_signs_of_life_are_no_answer(world: World) -> None:
    world.answer(status("100", "Idle Heartbeat"), world.message(1), status("404"))
    assert await world.numbers(5, 2.0) == [1]


@pytest.mark.parametrize(
    "end", [status("409", "Consumer Deleted"), status("503"), status("408"), status("409", "Exceeded x")]
)
async def test_what_came_before_a_bad_answer_is_delivered(world: World, end: Msg) -> None:
    world.answer(world.message(1), world.message(2), end)
    assert await world.numbers(5, 2.0) == [1, 2]
    assert world.streams == 0


@pytest.mark.parametrize(
    "error", [nats.errors.TimeoutError(), TimeoutError(), nats.errors.ConnectionClosedError()]
)
async def test_silence_is_a_lost_connection_and_not_an_empty_batch(world: World, error: Exception) -> None:
    world.answer(error)
    with pytest.raises(BusUnavailable):
        await world.numbers(5, 2.0)
    world.answer(status("404"), error)
    with pytest.raises(BusUnavailable):
        await world.numbers(5, 2.0)
    assert world.streams == 0
    world.answer(world.message(1), error)
    assert await world.numbers(5, 2.0) == [1]


async def test_an_answer_has_its_time_and_a_gap_between_messages_is_short(world: World) -> None:
    world.answer(status("404"), status("408"))
    await world.numbers(5, 3.0)
    assert world.inbox.waited == [SILENCE_S, 3.0 + SILENCE_S]
    world.inbox.waited.clear()
    world.answer(world.message(1), world.message(2), status("404"))
    await world.numbers(5, 0)
    assert world.inbox.waited == [SILENCE_S, GAP_S, GAP_S]


async def test_who_waited_in_vain_waits_again_without_asking_what_is_there(world: World) -> None:
    world.answer(
        status("404"), status("408"), status("408"), world.message(1), world.message(2), status("404")
    )
    assert [await world.numbers(5, 2.0) for _ in range(3)] == [[], [], [1, 2]]
    at_once, waiting = (
        {"batch": 5, "max_bytes": FETCH_BYTES, "no_wait": True},
        {"batch": 1, "expires": 2_000_000_000},
    )
    rest = {"batch": 4, "max_bytes": FETCH_BYTES, "no_wait": True}
    assert world.asked == [at_once, waiting, waiting, waiting, rest]
    world.client.sent.clear()
    world.answer(world.message(3), status("404"))
    assert await world.numbers(5, 2.0) == [3]
    assert world.asked == [at_once], "whoever got something asks again"
    world.answer(status("404"), status("408"))
    await world.numbers(5, 2.0)
    world.client.sent.clear()
    world.answer(status("404"))
    await world.numbers(5, 0)
    assert world.asked == [at_once], "a look without waiting always asks"


async def test_time_that_went_by_is_taken_off(world: World) -> None:
    def second() -> None:
        world.now += 1.0

    world.inbox.passing = second
    world.answer(status("404"), status("408"))
    await world.numbers(5, 3.0)
    assert world.slept == [2.0]
    world.inbox.waited.clear()
    world.answer(status("100"), status("100"), world.message(1), status("404"), status("404"))
    await world.consumer._answers(5, 3.0)
    assert world.inbox.waited == [3.0, 2.0, 1.0, 0.001]
    world.inbox.answers.clear()
    world.slept.clear()
    world.answer(world.message(1), status("404"))
    assert await world.numbers(5, 1.0) == [1]
    assert world.slept == [0.0]


async def test_who_reconnects_asks_nobody(world: World) -> None:
    world.client.is_connected = False
    with pytest.raises(BusUnavailable, match="reconnecting"):
        await world.numbers(5, 2.0)
    assert world.client.sent == []


async def test_a_client_that_closed_for_good_is_replaced(world: World) -> None:
    world.client.is_closed = True
    old, world.client = world.client, FakeClient()
    world.client.js.inboxes.append(FakeSubscription("_INBOX.before"))
    with pytest.raises(BusUnavailable):  # the new inbox says nothing
        await world.numbers(5, 0)
    assert (len(old.sent), len(world.client.sent)) == (0, 1)
    world.client.is_closed = True
    world.ready_error = BusAuthError("refused")
    with pytest.raises(BusAuthError):
        await world.numbers(5, 0)


async def test_a_request_that_cannot_be_sent_is_unavailable(world: World) -> None:
    world.client.error = nats.errors.OutboundBufferLimitError()
    with pytest.raises(BusUnavailable, match="OutboundBufferLimit"):
        await world.numbers(5, 0)


async def test_messages_that_came_late_are_delivered_first_and_counted_out(world: World) -> None:
    for message in (world.message(1), status("408"), world.message(2), world.message(3)):
        world.inbox.keep(message)
    world.answer(world.message(4), status("404"))
    assert await world.numbers(2, 0) == [1, 2]
    assert world.client.sent == []
    assert await world.numbers(2, 0) == [3, 4]
    assert world.asked == [{"batch": 1, "no_wait": True}]
    assert (world.inbox._pending_size, world.inbox.pending_msgs) == (0, 0)


async def test_closing_leaves_the_inbox_whatever_the_server_says(world: World) -> None:
    inbox = world.inbox
    inbox.error = nats.errors.ConnectionClosedError()
    await world.consumer.close()
    await world.consumer.close()
    assert inbox.left == 1
    with pytest.raises(BusUnavailable):  # opened anew; nobody answers
        await world.numbers(1, 0)
    assert len(world.client.js.inboxes) == 2


async def test_the_backlog_is_the_servers(world: World) -> None:
    info = await world.consumer.info()
    assert (info.pending, info.unacked, info.ack_floor, info.delivered) == (3, 2, 7, 9)
    assert world.client.js.called("consumer_info") == [("DECNET", "ttp")]
    empty = to_info(durable("ttp"))
    assert (empty.pending, empty.unacked, empty.ack_floor, empty.delivered) == (0, 0, 0, 0)
    world.client.js.error = nats.errors.TimeoutError()
    with pytest.raises(BusUnavailable):
        await world.consumer.info()


def test_a_delivery_says_where_it_stands() -> None:
    message = delivered(FakeClient(), 7, times=3, headers={"trace": "1", "Nats-Msg-Id": "x"})
    delivery = NatsDelivery(message, Decoded())
    assert (delivery.seq, delivery.num_delivered, delivery.topic) == (7, 3, ENDED)
    assert delivery.malformed is None
    assert delivery.event is not None
    assert delivery.event.payload == {"n": 7}
    assert dict(delivery.event.headers) == {"trace": "1"}


def test_a_body_that_is_no_event_is_delivered_as_malformed() -> None:
    delivery = NatsDelivery(delivered(FakeClient(), 7, b"[]"), Decoded())
    assert delivery.event is None
    assert delivery.malformed is not None
    assert (delivery.seq, delivery.body) == (7, b"[]")


@pytest.mark.parametrize("body", [b"[]", b"{"])
def test_a_malformed_delivery_is_freed_at_once(body: bytes) -> None:
    """With its traceback it would hold itself, and poison would fill the memory until the collector looks."""
    delivery = NatsDelivery(delivered(FakeClient(), 7, body), Decoded())
    assert delivery.malformed is not None
    kept = weakref.ref(delivery.malformed)
    gc.disable()
    try:
        del delivery
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("delay", "told"),
    [(0.0, b"-NAK"), (1.5, b'-NAK {"delay": 1500000000}'), (30.0, b'-NAK {"delay": 30000000000}')],
)
async def test_a_refusal_carries_its_delay(delay: float, told: bytes) -> None:
    client = FakeClient()
    delivery = NatsDelivery(message := delivered(client, 7), Decoded())
    await delivery.nak(delay)
    assert client.sent == [(message.reply, told, "", None)]


async def test_work_in_progress_is_told_and_an_answer_is_given_once() -> None:
    client = FakeClient()
    delivery = NatsDelivery(message := delivered(client, 7), Decoded())
    await delivery.in_progress()
    await delivery.in_progress()
    await delivery.ack()
    await delivery.ack()
    await delivery.nak(3.0)
    assert [(reply, told) for reply, told, _, _ in client.sent] == [
        (message.reply, b"+WPI"),
        (message.reply, b"+WPI"),
        (message.reply, b""),
    ]


async def test_an_answer_that_cannot_be_given_is_unavailable() -> None:
    client = FakeClient()
    delivery = NatsDelivery(delivered(client, 7), Decoded())
    client.error = nats.errors.ConnectionClosedError()
    for answer in (delivery.ack, delivery.nak, delivery.in_progress):
        with pytest.raises(BusUnavailable):
            await answer()
    client.error = None
    await delivery.ack()
    assert len(client.sent) == 1


async def test_who_is_told_that_no_answer_will_come_waits_no_longer(world: World) -> None:
    world.consumer.give_up()
    assert world.inbox.pending_msgs == 0, "nobody waits"

    def hangs() -> None:
        assert world.consumer.waits
        world.consumer.give_up()
        world.inbox.answers.append(world.inbox._pending_queue.get_nowait())

    world.inbox.passing = hangs
    with pytest.raises(BusUnavailable, match="does not answer"):
        await world.numbers(5, 30.0)
    assert not world.consumer.waits
    world.inbox.passing = int

    def hangs_then() -> None:
        world.consumer.give_up()
        world.inbox.passing = int

    world.answer(world.message(1))
    world.inbox.passing = hangs_then
    assert await world.numbers(5, 0) == [1], "what came before is delivered"
    world.consumer.give_up()
    world.answer(world.message(2), status("404"))
    assert await world.numbers(5, 0) == [2]
