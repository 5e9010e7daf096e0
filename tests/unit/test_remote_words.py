"""What remote sensors may say, how a recording is cut into events, and what their bus sends and hears."""

from __future__ import annotations

import hashlib
import random
import zlib
from typing import Any

import pytest

from decnet.bus import remote
from decnet.bus.base import Event, Sealed
from decnet.bus.nats.connection import NatsBus
from decnet.bus.nats.sensor import SensorBus
from decnet.bus.wire import outgoing
from decnet.config import BusSettings, load_settings
from decnet.errors import BusUnavailable, ConfigError


@pytest.mark.parametrize("max_event_bytes", [4096, 262_144])
@pytest.mark.parametrize("size", [1, 2304, 50_000])
def test_pieces_fit_and_give_the_recording_again(max_event_bytes: int, size: int) -> None:
    data = random.Random(size).randbytes(size)
    key = hashlib.sha256(data).hexdigest()
    events = list(remote.pieces(key, data, max_event_bytes))
    packed = b""
    for number, event in enumerate(events):
        assert event.topic == f"blob.{key}.{number}"
        assert remote.may_say(event.topic)
        outgoing(
            Event("sensor." + "n" * 40 + "." + event.topic, event.payload, event.type, event.id),
            max_event_bytes,
        )
        part, more = remote.piece_of(event) or (b"", True)
        assert more == (number < len(events) - 1)
        packed += part
    assert zlib.decompress(packed) == data
    assert [e.id for e in remote.pieces(key, data, max_event_bytes)] == [e.id for e in events]


def test_nothing_is_said_that_only_the_centre_says() -> None:
    for topic in ("attacker.scored", "system.sensors.control", "system.bus.health", "ttp.tagged", "blob.x.0",
                  f"blob.{'0' * 64}", f"blob.{'0' * 64}.1.2", "sensor.a.attacker.observed", ""):  # fmt: skip
        assert not remote.may_say(topic)


class Wire:
    """Stands for the publisher: notes what would go out."""

    def __init__(self) -> None:
        self.sent: list[Event | Sealed] = []

    async def publish(self, events: list[Event | Sealed]) -> None:
        self.sent += events


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> SensorBus:
    made = SensorBus("nats://127.0.0.1:1", settings=BusSettings(sensor="east"))
    made._publisher = Wire()  # type: ignore[assignment]

    async def ready(self: NatsBus) -> Any:
        return None, None

    monkeypatch.setattr(NatsBus, "_ready", ready)
    return made


async def test_everything_goes_below_the_prefix_with_its_body_as_it_was(bus: SensorBus) -> None:
    event = Event("attacker.observed", {"decky_id": "d"}, "t", "i", 3.0, headers={"traceparent": "x"})
    await bus.publish_events([event, Event("system.sensors.health", {})])
    first, second = bus._publisher.sent  # type: ignore[union-attr]
    assert (first.topic, second.topic) == (
        "sensor.east.attacker.observed",
        "sensor.east.system.sensors.health",
    )
    assert (first.to_bytes(), first.headers) == (event.to_bytes(), event.headers)


async def test_news_of_the_process_stays_there_and_the_rest_is_refused(bus: SensorBus) -> None:
    await bus.publish_events([Event("system.bus.health", {}), Event("system.deadletter.sensors", {})])
    assert bus._publisher.sent == []  # type: ignore[union-attr]
    for topic in ("ttp.tagged", "attacker.scored", "identity.merged"):
        with pytest.raises(ValueError, match="no remote sensor may say"):
            await bus.publish_events([Event(topic, {})])


async def test_a_recording_goes_as_events(bus: SensorBus) -> None:
    data = b"typed"
    key = hashlib.sha256(data).hexdigest()
    await bus.put_blob(key, data)
    assert [e.topic for e in bus._publisher.sent] == [f"sensor.east.blob.{key}.0"]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="sha256"):
        await bus.put_blob("k", data)


async def test_it_reads_nothing_but_its_control(bus: SensorBus) -> None:
    control, other = bus.subscribe("system.*.control"), bus.subscribe(">")
    assert [live.pattern for live in bus._live] == ["system.sensor-east.control"] * 2
    silent = bus.subscribe("ttp.>")
    assert len(bus._live) == 2
    next(iter(bus._live)).offer(Event("system.sensor-east.control", {"action": "pause"}, id="c"))
    told = await anext(control)
    assert (told.topic, told.payload, told.id) == ("system.sensors.control", {"action": "pause"}, "c")
    assert await bus.read_back(">", 5) == []
    assert await bus.last_of("x") is None
    assert await bus.get_blob("0" * 64) is None
    assert await bus.fill() is None
    with pytest.raises(BusUnavailable, match="publishes only"):
        await bus.consume("ttp", [">"])
    for live in (control, other, silent):
        await live.aclose()


def test_a_name_is_one_token() -> None:
    assert load_settings(bus={"sensor": "a" * 40}).bus.sensor == "a" * 40
    for name in ("", "a" * 41, "a.b", "a b", ">", "-a", "a\n"):
        with pytest.raises(ConfigError):
            load_settings(bus={"sensor": name})
