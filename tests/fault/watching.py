"""What an engine says of itself, heard on its bus as the console hears it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from decnet.bus.connection import read_connection
from decnet.bus.nats.connection import NatsBus
from decnet.config import BusSettings
from decnet_tui.model.feed import Feed
from decnet_tui.screens.workers import WorkersView


class Watch:
    """The last heartbeats."""

    def __init__(self, bus: NatsBus) -> None:
        self.bus, self.feed = bus, Feed()

    def note(self, worker: str) -> str:
        """Why it is not green."""
        model = self.feed.workers.get(worker)
        return str(model.payload.get("note", "")) if model else ""

    def state(self, worker: str) -> str:
        """Its state as a list shows it."""
        model = self.feed.workers.get(worker)
        return model.status(time.time(), 10.0) if model else ""

    def figure(self, worker: str, name: str) -> object:
        """One of its figures."""
        model = self.feed.workers.get(worker)
        return model.payload.get(name) if model else None

    def screen(self) -> str:
        """The console's view of the workers."""
        view = WorkersView(self.feed)
        view.sync(time.time())
        return "\n".join("".join(text for text, _ in view.line(i, 300)) for i in range(view.count()))

    async def until(self, ready: Callable[[], bool], limit_s: float, what: str) -> None:
        """Returns when it is so; fails with what was said last otherwise."""
        deadline = time.monotonic() + limit_s
        while not ready():
            said = {name: (self.state(name), self.note(name)) for name in self.feed.workers}
            assert time.monotonic() < deadline, f"not within {limit_s:.0f} s: {what}; {said}"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def watching(data_dir: Path) -> AsyncIterator[Watch]:
    """Hears the engine that runs on a data directory, over a bus server that may go and come back."""
    found = read_connection(data_dir)
    assert found is not None
    settings = found.bus_settings(BusSettings())
    bus = NatsBus(found.bus_url, token=found.token or None, settings=settings)
    await bus.connect()
    watch = Watch(bus)

    async def follow() -> None:
        async with bus.subscribe("system.*.health") as news:
            async for event in news:
                watch.feed.add(event)

    task = asyncio.create_task(follow())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bus.close()
