"""An event whose time has not come is neither lost nor a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from decnet.bus.factory import get_bus
from decnet.config import RuntimeSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.runtime import batch
from decnet.runtime.received import Received
from decnet.runtime.supervisor import Supervisor
from decnet.runtime.worker import Transaction, Worker


class Patient(Worker):
    """Takes an event only when it is told that it may."""

    name = "attribution"
    topics = ("attacker.>",)

    def __init__(self) -> None:
        self.ready, self.asked = False, 0
        self.done = asyncio.Event()

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        self.asked += 1
        for one in batch:
            if self.ready:
                self.done.set()
            else:
                tx.defer(one.event)
        self.ready = self.asked >= 5


async def test_a_deferred_event_comes_again_and_is_never_dead_lettered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "DEFER_S", 0.01)
    runtime = RuntimeSettings(batch_wait_s=0.02, heartbeat_s=5, restart_backoff_s=0.02, tail_db_s=0.05)
    settings = Settings(data_dir=tmp_path, bus_type="memory", runtime=runtime)
    repo = await BaseRepository.open(settings.db_url)
    bus = get_bus(client_name="test", settings=settings)
    await bus.connect()
    worker = Patient()
    supervisor = Supervisor([worker], repo, bus, settings)
    await supervisor.start()
    await bus.publish("attacker.tested", {"n": 1})
    await asyncio.wait_for(worker.done.wait(), 20)
    await supervisor.stop()
    assert worker.asked >= 5
    assert await repo.dead_letters() == []
    assert await repo.failures_waiting("attribution") == 0
    await bus.close()
    await repo.close()
