"""The embedded server: secrets, single ownership, death, and what a lost connection costs."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from decnet.bus.base import Consumer, Event
from decnet.bus.nats.connection import NatsBus
from decnet.bus.nats.server import EmbeddedServer, free_port
from decnet.bus.purge import purge_stream
from decnet.config import BusSettings
from decnet.errors import BusAuthError, BusUnavailable, EngineError
from decnet.processes import process_alive

SETTINGS = BusSettings(ack_wait_s=2.0, connect_timeout_s=2.0)
ENDED = "attacker.session.ended"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    embedded = EmbeddedServer(tmp_path, SETTINGS)
    await embedded.start()
    yield embedded
    await embedded.stop()


async def test_token_is_private(server: EmbeddedServer) -> None:
    assert stat.S_IMODE(server.config_path.stat().st_mode) == 0o600
    assert server.token.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()


async def test_wrong_token_fails_soon(server: EmbeddedServer) -> None:
    started = time.monotonic()
    with pytest.raises(BusAuthError):
        await NatsBus(server.url, token="wrong", settings=SETTINGS).connect()
    assert time.monotonic() - started < 10


async def test_nobody_there_is_unavailable_in_time() -> None:
    with pytest.raises(BusUnavailable):
        await NatsBus("nats://127.0.0.1:1", settings=SETTINGS).connect()


async def test_second_engine_on_one_directory_is_refused(server: EmbeddedServer, tmp_path: Path) -> None:
    with pytest.raises(EngineError):
        await EmbeddedServer(tmp_path, SETTINGS).start()


async def test_stale_server_is_ended_and_its_events_are_there(tmp_path: Path) -> None:
    old = EmbeddedServer(tmp_path, SETTINGS)
    await old.start()
    async with asyncio.timeout(20):
        bus = NatsBus(old.url, token=old.token, settings=SETTINGS)
        await bus.connect()
        await bus.publish(ENDED, {"n": 1})
        await bus.close()
        assert old._watcher is not None
        old._watcher.cancel()  # as after kill -9 of the engine, but the child lives on
        old._release_lock()
        new = EmbeddedServer(tmp_path, SETTINGS)
        await new.start()
        again = NatsBus(new.url, token=new.token, settings=SETTINGS)
        await again.connect()
        assert [e.payload for e in await again.read_back(ENDED, 5)] == [{"n": 1}]
        await again.close()
        await new.stop()
        if old._process is not None:
            await old._process.wait()


async def stored(bus: NatsBus, events: list[Event]) -> None:
    while True:
        try:
            return await bus.publish_events(events)
        except BusUnavailable:
            await asyncio.sleep(0.05)


async def read_all(consumer: Consumer, seen: set[int], count: int) -> None:
    while len(seen) < count:
        try:
            for delivery in await consumer.fetch(200, 0.5):
                assert delivery.event is not None
                seen.add(delivery.event.payload["n"])
                await delivery.ack()
        except BusUnavailable:
            await asyncio.sleep(0.05)


async def test_kill_9_of_the_server_under_load_loses_nothing(server: EmbeddedServer) -> None:
    bus = NatsBus(server.url, token=server.token, settings=SETTINGS)
    await bus.connect()
    consumer = await bus.consume("ttp", [ENDED])
    live = bus.subscribe("decky.*.traffic")
    seen: set[int] = set()

    async def publish() -> None:
        for start in range(0, 5000, 250):
            numbers = range(start, start + 250)
            await stored(bus, [Event(topic=ENDED, payload={"n": n}, id=f"e{n}") for n in numbers])
            if start in (1000, 3000) and server.pid:
                os.kill(server.pid, signal.SIGKILL)

    async with asyncio.timeout(60):
        await asyncio.gather(publish(), read_all(consumer, seen, 5000))
        assert server.restarts == 2
        await bus.publish("decky.web.traffic", {})
        await anext(live)
    await bus.close()


async def test_vanished_stream_and_consumer_are_made_again(server: EmbeddedServer) -> None:
    bus = NatsBus(server.url, token=server.token, settings=SETTINGS)
    await bus.connect()
    consumer = await bus.consume("ttp", [ENDED])
    _, js = await bus._ready()
    await js.delete_stream(SETTINGS.stream)
    await bus.publish(ENDED, {"n": 1})
    async with asyncio.timeout(20):
        while not (found := await consumer.fetch(5, 0.5)):
            pass
    assert found[0].event is not None
    await js.delete_consumer(SETTINGS.stream, "ttp")
    async with asyncio.timeout(20):
        while not await consumer.fetch(5, 0.5):
            pass
    await bus.close()


async def test_what_goes_away_while_a_consumer_waits_long_is_noticed_soon(server: EmbeddedServer) -> None:
    bus = NatsBus(server.url, token=server.token, settings=SETTINGS)
    await bus.connect()
    consumer = await bus.consume("ttp", [ENDED])
    _, js = await bus._ready()
    ways = (
        lambda: js.delete_consumer(SETTINGS.stream, "ttp"),
        lambda: js.delete_stream(SETTINGS.stream),
        lambda: asyncio.sleep(0, os.kill(server.pid or 0, signal.SIGKILL)),
    )
    for number, gone in enumerate(ways):
        waits = asyncio.create_task(consumer.fetch(5, 60.0))
        await asyncio.sleep(0.2)
        await gone()
        async with asyncio.timeout(5):
            await asyncio.gather(waits, return_exceptions=True)
        await stored(bus, [Event(topic=ENDED, payload={}, id=f"e{number}")])
        async with asyncio.timeout(10):
            while not await fetched(consumer):
                pass
    await bus.close()


async def fetched(consumer: Consumer) -> int:
    """How many events there are now; none while the bus is away."""
    try:
        found = await consumer.fetch(5, 0.5)
    except BusUnavailable:
        await asyncio.sleep(0.1)
        return 0
    for one in found:
        await one.ack()
    return len(found)


async def test_a_server_that_hangs_is_no_server_that_has_nothing(server: EmbeddedServer) -> None:
    """Its connections stand, and the request may wait for a minute."""
    bus = NatsBus(server.url, token=server.token, settings=SETTINGS)
    await bus.connect()
    consumer = await bus.consume("ttp", [ENDED])
    waits = asyncio.create_task(consumer.fetch(5, 60.0))
    await asyncio.sleep(0.2)
    pid = server.pid
    assert pid is not None
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(BusUnavailable, match="does not answer"):
            await waits
        assert time.monotonic() - began < 5.0
    finally:
        os.kill(pid, signal.SIGCONT)
    await stored(bus, [Event(topic=ENDED, payload={}, id="e1")])
    async with asyncio.timeout(10):
        while not await fetched(consumer):
            pass
    await bus.close()


async def test_purge_leaves_what_is_unread(server: EmbeddedServer) -> None:
    bus = NatsBus(server.url, token=server.token, settings=SETTINGS)
    await bus.connect()
    await bus.publish_events([Event(topic=ENDED, payload={"n": n}) for n in range(10)])
    consumer = await bus.consume("ttp", [ENDED])
    late = time.time() + SETTINGS.retention_s + 60
    for delivery in await consumer.fetch(4, 1.0):
        await delivery.ack()
    while (await consumer.info()).unacked:
        await asyncio.sleep(0)
    assert (await purge_stream(bus)).events == 0
    assert (await purge_stream(bus, late)).events == 4
    assert (await bus.stream_info())["messages"] == 6
    await bus.close()


async def test_a_consumer_at_its_limit_waits_and_goes_on(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = NatsBus(server.url, token=server.token, settings=SETTINGS.model_copy(update={"max_ack_pending": 3}))
    await bus.connect()
    consumer = await bus.consume("ttp", [ENDED])
    await bus.publish_events([Event(topic=ENDED, payload={"n": n}) for n in range(5)])
    first = await consumer.fetch(10, 0.5)
    assert len(first) == 3
    monkeypatch.setattr(consumer, "open", lambda: pytest.fail("a busy consumer was taken for a gone one"))
    started = time.monotonic()
    assert await consumer.fetch(10, 0.3) == []
    assert time.monotonic() - started >= 0.25
    for delivery in first:
        await delivery.ack()
    assert len(await consumer.fetch(10, 2.0)) == 2
    await bus.close()


_ENGINE = """
import asyncio, sys
from pathlib import Path
from decnet.bus.nats.server import EmbeddedServer, free_port

async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_server_ends_with_a_killed_engine(tmp_path: Path) -> None:
    engine = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ENGINE, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert engine.stdout is not None
    async with asyncio.timeout(30):
        pid = int(await engine.stdout.readline())
        engine.kill()
        await engine.wait()
        while process_alive(pid):
            await asyncio.sleep(0.01)


async def test_many_who_need_a_bus_that_never_was_do_not_queue_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = NatsBus("nats://127.0.0.1:1", settings=SETTINGS)
    started = time.monotonic()
    with pytest.raises(BusUnavailable):
        await bus.connect()
    tries = [bus.publish(ENDED, {"n": n}) for n in range(20)]
    found = await asyncio.gather(*tries, bus.connect(), bus.connect(), return_exceptions=True)
    assert all(isinstance(error, BusUnavailable) and "cannot be reached" in str(error) for error in found)
    assert time.monotonic() - started < 3 * SETTINGS.connect_timeout_s
    assert "bus connection lost" not in caplog.text
    await bus.close()


async def test_a_server_without_jetstream_is_told_what_it_lacks(tmp_path: Path) -> None:
    port = free_port()
    program = Path(sys.executable).with_name("nats-server")
    child = await asyncio.create_subprocess_exec(
        str(program), "-a", "127.0.0.1", "-p", str(port), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        with pytest.raises(BusUnavailable, match="nats-server -js"):
            await NatsBus(f"nats://127.0.0.1:{port}", settings=SETTINGS).connect()
    finally:
        child.terminate()
        await child.wait()
