"""News that may be lost, heartbeats and the control topic: what arrives, what is counted, what is obeyed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.bus import publish
from decnet.bus.memory import Broker, MemoryBus
from decnet.config import BusSettings
from decnet.errors import BusFull, BusUnavailable


class Wire:
    """A bus that keeps what is published, or says no."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.sent: list[tuple[str, dict[str, Any], str]] = []

    async def publish(self, topic: str, payload: dict[str, Any], *, event_type: str = "") -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((topic, payload, event_type))


@pytest.fixture(autouse=True)
def failures(monkeypatch: pytest.MonkeyPatch) -> Any:
    before = publish.publish_failures.copy()
    publish.publish_failures.clear()
    yield publish.publish_failures
    publish.publish_failures.clear()
    publish.publish_failures.update(before)


async def safely(bus: Wire | None) -> bool:
    return await publish.publish_safely(bus, "a.b", {"n": 1}, "kind")  # type: ignore[arg-type]


async def test_news_arrive_with_their_type(failures: Any) -> None:
    wire = Wire()
    assert await safely(wire) is True
    assert wire.sent == [("a.b", {"n": 1}, "kind")]
    assert await safely(None) is False
    assert failures == {}


async def test_each_failure_is_counted_under_its_name_and_warned_of(failures: Any) -> None:
    errors = [
        BusUnavailable("gone"),
        BusFull("full"),
        BusUnavailable("gone"),
        ValueError("bad"),
        KeyError("x"),
    ]
    with capture_logs() as logs:
        for error in errors:
            assert await safely(Wire(error)) is False
    assert failures == {"BusUnavailable": 2, "BusFull": 1, "ValueError": 1, "KeyError": 1}
    assert [line["log_level"] for line in logs] == ["warning"] * 5
    assert [line["exc_info"] for line in logs] == [False, False, False, True, True]
    assert {line["topic"] for line in logs} == {"a.b"}


async def test_a_cancelled_publish_stays_cancelled(failures: Any) -> None:
    with pytest.raises(asyncio.CancelledError):
        await safely(Wire(asyncio.CancelledError()))
    assert failures == {}


async def beats(
    monkeypatch: pytest.MonkeyPatch, wire: Wire | None, count: int = 1, **options: Any
) -> tuple[list[dict[str, Any]], list[float]]:
    """The first beats and the pauses between them, without waiting for any."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == count:
            raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(publish.asyncio, "sleep", pause)
        with pytest.raises(asyncio.CancelledError):
            await publish.run_health_heartbeat(wire, "ttp", **options)  # type: ignore[arg-type]
    return [payload for _, payload, _ in wire.sent] if wire else [], pauses


async def test_a_beat_has_every_standard_field(monkeypatch: pytest.MonkeyPatch) -> None:
    wire, before = Wire(), time.time()
    ((beat,), _) = await beats(monkeypatch, wire)
    assert before <= beat.pop("ts") <= time.time()
    assert beat == {
        "worker": "ttp",
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "state": "ok",
        "processed": 0,
        "failed": 0,
        "dead_lettered": 0,
        "lag": 0,
        "last_event_ts": None,
    }
    assert [(topic, kind) for topic, _, kind in wire.sent] == [("system.ttp.health", "health")]


async def test_beats_come_every_interval_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    _, pauses = await beats(monkeypatch, wire, 3)
    assert (len(wire.sent), pauses) == (3, [10.0, 10.0, 10.0])
    assert (await beats(monkeypatch, Wire(), 2, interval=2.5))[1] == [2.5, 2.5]


async def test_a_bus_that_says_no_or_is_not_there_stops_no_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len((await beats(monkeypatch, Wire(BusUnavailable("gone")), 3))[1]) == 3
    assert len((await beats(monkeypatch, None, 3))[1]) == 3


async def test_a_workers_own_state_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"state": "failed", "processed": 7, "lag": 3, "rules_loaded": 5}
    for extra in (own, lambda: own):
        (beat,), _ = await beats(monkeypatch, Wire(), extra=extra)
        assert {name: beat[name] for name in own} == own
        assert (beat["worker"], beat["failed"]) == ("ttp", 0)


async def test_extras_are_asked_for_at_each_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(9))
    found, _ = await beats(monkeypatch, Wire(), 3, extra=lambda: {"processed": next(numbers)})
    assert [beat["processed"] for beat in found] == [0, 1, 2]


async def test_extras_that_fail_degrade_the_beat_and_do_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, Any]:
        raise KeyError("x")

    found, _ = await beats(monkeypatch, Wire(), 2, extra=broken)
    assert [(beat["state"], beat["note"]) for beat in found] == [
        ("degraded", "health fields failed: KeyError")
    ] * 2


@pytest.fixture
async def bus() -> MemoryBus:
    made = MemoryBus(broker=Broker(BusSettings()))
    await made.connect()
    return made


async def listen(bus: MemoryBus, worker: str, told: list[tuple[str, dict[str, Any]]]) -> bool:
    """Whether the worker stops after it was told all this and then lost its bus."""
    shutdown = asyncio.Event()
    task = asyncio.create_task(publish.run_control_listener(bus, worker, shutdown), name="control")
    await asyncio.sleep(0)
    for topic, payload in told:
        await bus.publish(topic, payload)
    await bus.close()
    async with asyncio.timeout(5):
        await task
    return shutdown.is_set()


@pytest.mark.parametrize(
    ("topic", "payload", "stops"),
    [
        ("system.ttp.control", {"action": "stop"}, True),
        ("system.ttp.control", {"action": "stop", "requested_by": "x"}, True),
        ("system.behave.control", {"action": "stop"}, False),
        ("system.ttp.health", {"action": "stop"}, False),
        ("system.ttp.control", {"action": "pause"}, False),
        ("system.ttp.control", {"action": "restart"}, False),
        ("system.ttp.control", {"action": ["stop"]}, False),
        ("system.ttp.control", {"stop": True}, False),
        ("system.ttp.control", {}, False),
    ],
)
async def test_only_a_stop_for_this_worker_is_obeyed(
    bus: MemoryBus, topic: str, payload: dict[str, Any], stops: bool
) -> None:
    assert await listen(bus, "ttp", [(topic, payload)]) is stops


async def test_a_stop_after_others_is_obeyed_and_the_subscription_ends(bus: MemoryBus) -> None:
    told = [("system.ttp.control", {"action": action}) for action in ("pause", "stop", "stop")]
    assert await listen(bus, "ttp", told)
    assert bus._broker is not None
    assert bus._broker.live == []


async def test_without_a_bus_nobody_asks_for_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    shutdown = asyncio.Event()
    monkeypatch.setattr(publish.os, "kill", lambda *_: pytest.fail("a signal without a stop"))
    await publish.run_control_listener(None, "ttp", shutdown)
    await publish.run_control_listener_signal(None, "ttp")
    assert not shutdown.is_set()


@pytest.mark.parametrize(("action", "signals"), [("stop", 1), ("pause", 0)])
async def test_a_worker_alone_gets_sigterm_for_a_stop_and_for_nothing_else(
    bus: MemoryBus, monkeypatch: pytest.MonkeyPatch, action: str, signals: int
) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(publish.os, "kill", lambda pid, number: sent.append((pid, number)))
    task = asyncio.create_task(publish.run_control_listener_signal(bus, "ttp"), name="control")
    await asyncio.sleep(0)
    await bus.publish("system.ttp.control", {"action": action})
    await bus.close()
    async with asyncio.timeout(5):
        await task
    assert sent == [(os.getpid(), signal.SIGTERM)] * signals
