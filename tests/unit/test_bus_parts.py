"""Purge policy, connection file, factory, null bus, live buffer and the publish helpers."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from decnet.bus import publish
from decnet.bus.base import ConsumerInfo, Event
from decnet.bus.connection import Connection, read_connection, remove_connection, write_connection
from decnet.bus.factory import get_bus
from decnet.bus.live import LiveSubscription
from decnet.bus.memory import Broker, MemoryBus
from decnet.bus.nats.connection import NatsBus
from decnet.bus.null import NullBus
from decnet.bus.purge import StreamState, acknowledged_to, purge_below
from decnet.config import BusSettings, Settings
from decnet.errors import BusUnavailable, ConfigError


def info(pending: int = 0, unacked: int = 0, ack_floor: int = 0, delivered: int = 0) -> ConsumerInfo:
    return ConsumerInfo(pending=pending, unacked=unacked, ack_floor=ack_floor, delivered=delivered)


def test_an_idle_consumer_of_rare_topics_does_not_hold_the_stream() -> None:
    assert acknowledged_to([info(), info(ack_floor=90, unacked=1, delivered=95)], 100) == 90
    assert acknowledged_to([info()], 100) == 100
    assert acknowledged_to([], 100) == 0


@given(
    first=st.integers(1, 50),
    length=st.integers(0, 100),
    fill=st.floats(0, 1),
    expired=st.integers(0, 200),
    done=st.integers(0, 200),
    window=st.integers(0, 60),
)
def test_unread_evidence_never_leaves(
    first: int, length: int, fill: float, expired: int, done: int, window: int
) -> None:
    state = StreamState(first, first + length - 1, int(1000 * fill), 1000, expired)
    below = purge_below(state, done, window)
    assert first <= below <= max(first, done + 1)
    if state.bytes < 800:
        assert below <= max(first, expired)


def test_space_leaves_the_read_back_window() -> None:
    state = StreamState(1, 100, 900, 1000, expired_below=1)
    assert purge_below(state, acknowledged=100, read_back_window=30) == 71


def test_connection_file_is_private_and_survives_the_trip(tmp_path: Path) -> None:
    path = write_connection(tmp_path, Connection("nats://x:1", "sqlite:///a", token="secret"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = read_connection(tmp_path)
    assert found is not None
    assert (found.token, found.pid) == ("secret", os.getpid())
    assert "secret" not in repr(found)
    remove_connection(tmp_path)
    assert read_connection(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bus_url": 1, "pid": 1}', "\x00"])
def test_broken_connection_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "connection.json").write_text(text)
    assert read_connection(tmp_path) is None


def test_connection_of_a_dead_engine_is_none(tmp_path: Path) -> None:
    path = write_connection(tmp_path, Connection("nats://x:1", "sqlite:///a"))
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": child}))
    assert read_connection(tmp_path) is None


def test_connection_of_a_dead_engine_whose_process_id_is_used_again_is_none(tmp_path: Path) -> None:
    path = write_connection(tmp_path, Connection("nats://x:1", "sqlite:///a"))
    with subprocess.Popen(["sleep", "60"]) as other:
        path.write_text(json.dumps({**json.loads(path.read_text()), "pid": other.pid}))
        found = read_connection(tmp_path)
        other.kill()
    assert found is None


def test_connection_of_an_earlier_version_counts_while_its_process_runs(tmp_path: Path) -> None:
    path = write_connection(tmp_path, Connection("nats://x:1", "sqlite:///a"))
    body = json.loads(path.read_text())
    del body["mark"]
    path.write_text(json.dumps(body))
    assert read_connection(tmp_path) is not None


def test_an_engine_of_another_host_counts_until_its_lock_is_free(tmp_path: Path) -> None:
    write_connection(tmp_path, Connection("nats://x:1", "sqlite:///a", host="elsewhere"))
    assert read_connection(tmp_path) is not None  # it may have a bus of its own and no lock
    (tmp_path / "bus").mkdir()
    with (tmp_path / "bus" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert read_connection(tmp_path) is not None
    assert read_connection(tmp_path) is None


def test_factory(tmp_path: Path) -> None:
    assert isinstance(get_bus(settings=Settings(bus_type="memory")), MemoryBus)
    assert isinstance(get_bus(settings=Settings(bus_type="null")), NullBus)
    with pytest.raises(ConfigError):
        get_bus(settings=Settings(data_dir=tmp_path))
    write_connection(tmp_path, Connection("nats://127.0.0.1:1", "sqlite:///a"))
    assert isinstance(get_bus(settings=Settings(data_dir=tmp_path)), NatsBus)


def test_an_unknown_bus_type_is_an_error_that_lists_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(Settings):
        """Settings of a later version."""

        @property
        def effective_bus_type(self) -> str:
            return "kafka"

    with pytest.raises(ConfigError, match="'kafka'; known: memory, nats, null"):
        get_bus(settings=Later())
    monkeypatch.setenv("DECNET_BUS_TYPE", "kafka")
    with pytest.raises(ConfigError, match="'nats', 'memory' or 'null'"):
        get_bus()


def test_the_short_form_of_the_bus_type_wins_and_nats_is_the_default(tmp_path: Path) -> None:
    assert Settings().effective_bus_type == "nats"
    assert isinstance(get_bus(settings=Settings(bus_type="null", bus=BusSettings(type="memory"))), NullBus)
    assert isinstance(get_bus(settings=Settings(bus=BusSettings(type="memory"))), MemoryBus)


def test_without_a_url_the_engine_of_the_data_directory_is_used_and_with_one_it_is_not(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="no bus URL, and no engine runs on"):
        get_bus(settings=Settings(data_dir=tmp_path))
    write_connection(tmp_path, Connection("", "sqlite:///a"))
    with pytest.raises(ConfigError, match="no bus URL"):
        get_bus(settings=Settings(data_dir=tmp_path))
    write_connection(tmp_path, Connection("nats://127.0.0.1:1", "sqlite:///a", token="engine's"))
    found = get_bus("ttp", Settings(data_dir=tmp_path, bus=BusSettings(stream="S")))
    assert isinstance(found, NatsBus)
    assert (found._url, found._token, found.client_name) == ("nats://127.0.0.1:1", "engine's", "ttp")
    assert found.settings.stream == "S"
    own = BusSettings(url="nats://127.0.0.1:2", token=SecretStr("own"))
    chosen = get_bus(settings=Settings(data_dir=tmp_path, bus=own))
    assert isinstance(chosen, NatsBus)
    assert (chosen._url, chosen._token) == ("nats://127.0.0.1:2", "own")


async def test_null_bus_ends_at_once() -> None:
    bus = NullBus()
    await bus.connect()
    await bus.publish("anything at all", {})
    assert [event async for event in bus.subscribe(">")] == []
    assert await (await bus.consume("x", [">"])).fetch(1, 0) == []
    await bus.close()


async def test_a_slow_reader_loses_the_oldest() -> None:
    sub = LiveSubscription("a", limit=2)
    for n in range(5):
        sub.offer(Event("a", {"n": n}))
    assert sub.lost == 3
    assert (await anext(sub)).payload == {"n": 3}


async def memory_bus() -> MemoryBus:
    bus = MemoryBus(broker=Broker(BusSettings()))
    await bus.connect()
    return bus


async def test_publish_safely_never_raises() -> None:
    bus = MemoryBus()
    assert await publish.publish_safely(None, "a.b", {}) is False
    assert await publish.publish_safely(bus, "a.b", {}) is False
    await bus.connect()
    assert await publish.publish_safely(bus, "a b", {}) is False
    assert await publish.publish_safely(bus, "a.b", {}) is True
    with pytest.raises(BusUnavailable):
        await MemoryBus().publish("a.b", {})


async def test_heartbeat_beats_with_extras() -> None:
    bus = await memory_bus()
    async with bus.subscribe("system.ttp.health") as sub:
        beat = asyncio.create_task(
            publish.run_health_heartbeat(bus, "ttp", interval=0.01, extra=lambda: {"rules_loaded": 7}),
            name="beat",
        )
        events = [await anext(sub), await anext(sub)]
        beat.cancel()
        await asyncio.gather(beat, return_exceptions=True)
    assert events[0].payload["rules_loaded"] == 7
    assert events[0].payload["pid"] == os.getpid()


async def test_control_listener_obeys_stop_only() -> None:
    bus, shutdown = await memory_bus(), asyncio.Event()
    listener = asyncio.create_task(publish.run_control_listener(bus, "ttp", shutdown), name="control")
    await asyncio.sleep(0)
    await bus.publish("system.ttp.control", {"action": "pause"})
    assert not shutdown.is_set()
    await bus.publish("system.ttp.control", {"action": "stop"})
    await asyncio.wait_for(listener, 5)
    assert shutdown.is_set()


async def test_control_listener_signal_sends_sigterm() -> None:
    bus, got = await memory_bus(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, got.set)
    listener = asyncio.create_task(publish.run_control_listener_signal(bus, "ttp"), name="control")
    await asyncio.sleep(0)
    await bus.publish("system.ttp.control", {"action": "stop"})
    await asyncio.wait_for(got.wait(), 5)
    await listener
    loop.remove_signal_handler(signal.SIGTERM)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\ud800b"', "a\ufffdb"),
        (r'"a\u0000"', "a\ufffd"),
        ("1" + "0" * 30, "1" + "0" * 30),
        ("NaN", None),
        (r'"\ud83d\ude00"', "\U0001f600"),
    ],
)
def test_what_no_database_stores_is_made_storable_at_the_bus(text: str, value: object) -> None:
    event = Event.from_bytes("attacker.session.ended", b'{"payload": {"commands": [' + text.encode() + b"]}}")
    assert event.payload == {"commands": [value]}


def test_a_surrogate_in_raw_bytes_is_made_storable_at_the_bus() -> None:
    event = Event.from_bytes("attacker.observed", b'{"payload": {"user": "\xed\xa0\x80"}}')
    assert event.payload["user"].isprintable()
    event.payload["user"].encode()
