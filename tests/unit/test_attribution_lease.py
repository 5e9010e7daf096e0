"""A job by data after a crash: its lease is short, and who works until idle waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from decnet.bus.base import BaseBus
from decnet.bus.factory import get_bus
from decnet.config import RuntimeSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.runtime.received import Received
from decnet.runtime.supervisor import Supervisor
from decnet.runtime.worker import Job, Transaction, Worker


class Counting(Worker):
    """Counts how often its job ran."""

    name = "attribution"

    def __init__(self) -> None:
        self.runs = 0
        self.jobs = (Job("count", 3600.0, self._count, lease="count", by_data=True),)

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """Has no topics."""

    async def _count(self, repo: BaseRepository, bus: BaseBus) -> None:
        self.runs += 1


async def test_the_lease_of_a_killed_engine_delays_the_job_but_does_not_drop_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, bus_type="memory", runtime=RuntimeSettings(lease_s=0.5))
    repo = await BaseRepository.open(settings.db_url)
    bus = get_bus(client_name="test", settings=settings)
    worker = Counting()
    runner = Supervisor([worker], repo, bus, settings).runners["attribution"]
    assert await repo.lease_acquire("count", "killed", 0.5)
    await runner.run_job(worker.jobs[0])
    assert worker.runs == 0
    await asyncio.wait_for(runner.run_job(worker.jobs[0], patient=True), 10)
    assert worker.runs == 1
    assert await repo.lease_acquire("count", "another", 0.5), "given back after the run"
    await repo.close()
