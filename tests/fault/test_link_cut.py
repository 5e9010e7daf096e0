"""The link between a honeypot's host and the centre is cut: the checkpoint that waits is the buffer, and nothing is lost.

The host runs ``--headless --workers sensors``; between it and the server stands a link that can be cut in both ways a network
has: connections are refused, or nothing comes through any more. ``DECNET_CUT_S`` is how long (60 for a whole minute).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import text

from decnet.config import SensorSpec, Settings
from decnet.engine import Engine
from decnet.errors import BusError
from decnet.sensors.run import SensorRun
from tests.cowriegen import append_session
from tests.remotekit import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CUT_S = float(os.environ.get("DECNET_CUT_S", "4"))
Cut = Literal["refused", "silent"]


class Link:
    """A TCP connection between two hosts; ``up`` says whether anything comes through."""

    def __init__(self, port: int) -> None:
        self._to, self._how = port, ""
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._through = asyncio.Event()
        self._through.set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self, how: Cut) -> None:
        self._through.clear()
        if how == "refused":
            await self._shut()

    async def mend(self) -> None:
        self._through.set()
        if self._server is None:
            await self.start()

    async def _shut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in list(self._open):
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if server is not None:
            await server.wait_closed()

    stop = _shut

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._through.wait()
            inner, outer = await asyncio.open_connection("127.0.0.1", self._to)
            self._open |= {writer, outer}
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, outer))
                both.create_task(self._pump(inner, writer))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65_536):
            await self._through.wait()
            writer.write(block)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Engine]:
    engine = Engine(settings)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop(1)


def host(site: Site, link: Link, folder: Path, log: Path) -> Settings:
    """The sensor-only engine, which reaches the server by the link alone."""
    bus = site.bus("sensor-east") | {"url": f"nats://127.0.0.1:{link.port}"}
    return Settings(
        data_dir=folder / "east", bus=bus, workers=("sensors",), sensors=(SensorSpec(kind="cowrie", path=log),),
        sensor={"checkpoint_s": 0.1, "poll_s": 0.1}, runtime={"heartbeat_s": 1.0},
    )  # fmt: skip


async def sessions(centre: Engine) -> list[str]:
    """The honeypot's own ids of what ended, as often as it is stored."""
    async with centre.repo.db.read() as reading:
        found = await reading.execute(text("SELECT sensor_session FROM session WHERE ended_at IS NOT NULL"))
        return sorted(found.scalars())


async def commands(centre: Engine) -> int:
    async with centre.repo.db.read() as reading:
        return int((await reading.execute(text("SELECT count(*) FROM command"))).scalar_one())


async def until_there(centre: Engine, names: set[str], limit: float = 60.0) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(limit):
            while not names <= set(await sessions(centre)):
                await asyncio.sleep(0.2)


async def cut_in_the_middle(
    tmp_path: Path, how: Cut, *, restart: bool, patience: float = 60.0
) -> tuple[list[str], int, list[str]]:
    """What the centre has in the end, and what was written; before the cut, in it (with a rotation and perhaps a new
    process), and after it.
    """
    site, log = Site(tmp_path / "nats"), tmp_path / "cowrie.json"
    log.touch()
    written: list[str] = []

    def write(count: int) -> None:
        for _ in range(count):
            written.append(f"feedbeef{len(written):04d}")
            append_session(log, written[-1], ["uname -a", "crontab -l"])

    with site.up():
        link = Link(int(site.url.rpartition(":")[2]))
        await link.start()
        centre_settings = site.settings("engine", tmp_path / "centre", workers=("sensors", "recorder"))
        try:
            async with running(centre_settings) as centre:
                settings = host(site, link, tmp_path, log)
                remote = Engine(settings)
                await remote.start()
                try:
                    write(5)
                    await until_there(centre, set(written))
                    before = set(await sessions(centre))
                    assert before == set(written)
                    await link.cut(how)
                    write(20)
                    await asyncio.sleep(CUT_S / 2)
                    log.rename(tmp_path / "cowrie.json.1")
                    write(20)
                    if restart:
                        await remote.stop(0)
                        remote = Engine(settings)
                        await remote.start()
                    await asyncio.sleep(CUT_S / 2)
                    assert set(await sessions(centre)) == before, "the link is cut indeed"
                    assert remote.sensors is not None
                    if not restart and patience == 60.0:
                        assert remote.sensors.health()["degraded"], "and the host says so"
                    await link.mend()
                    write(5)
                    await until_there(centre, set(written), patience)
                    return await sessions(centre), await commands(centre), written
                finally:
                    await remote.stop(0)
        finally:
            await link.stop()


@pytest.mark.fault(
    fault="the link between a honeypot's host and the centre is cut for a minute, refused or silent, with a rotation and a new process meanwhile",
    guard="a sensor lets go of events only when the broker has stored them; the checkpoint that waits is the buffer",
    control="test_without_the_checkpoint_that_waits_it_would",
    figure="50 sessions, lost 0, doubled 0",
)
@pytest.mark.parametrize("how", ["refused", "silent"])
@pytest.mark.parametrize("restart", [False, True], ids=["it goes on", "it starts anew"])
async def test_a_link_that_is_cut_loses_nothing_and_doubles_nothing(
    tmp_path: Path, how: Cut, restart: bool
) -> None:
    found, lines, written = await cut_in_the_middle(tmp_path, how, restart=restart)
    assert found == sorted(written)
    assert lines == 2 * len(written)


async def test_without_the_checkpoint_that_waits_it_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a sensor that lets go of what the bus did not take."""

    async def careless(self: SensorRun) -> None:
        pending: list[Any] = self._pending
        try:
            async with asyncio.timeout(1.0):
                await self._publish(pending)
        except (BusError, TimeoutError):
            pass
        pending.clear()

    monkeypatch.setattr(SensorRun, "_flush", careless)
    found, _, written = await cut_in_the_middle(tmp_path, "refused", restart=False, patience=8.0)
    assert set(found) < set(written)
    assert len(set(written) - set(found)) >= 20, json.dumps(found)
