"""100,000 events delivered again add no row and publish nothing: recorder, ttp worker and their jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from decnet.bus.base import Event
from decnet.bus.null import NullBus
from decnet.config import SensorSpec, load_settings
from decnet.db.repository import BaseRepository
from decnet.db.tables import every_table
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction, Worker
from decnet.sensors.files.tailer import Line
from decnet.sensors.sources import make_source
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.worker import TtpWorker
from tests.cowriegen import lines
from tests.dbkit import open_repo
from tests.wirekit import taken

DELIVERIES = 100_000
BATCH = 500
_MOVING = {"tagged_at"}
"""What a delivery may touch without being an effect: the mark that a session was looked at."""


def made(folder: Path) -> list[Event]:
    """What the sensors publish for a log of 2,000 lines."""
    source = make_source(
        SensorSpec(kind="cowrie", path=folder / "x"), load_settings(data_dir=folder), b"k" * 32
    )
    events = source.feed(Line("x", n, 0, text.encode()) for n, text in enumerate(lines(2000, 5)))
    return events + source.end_all("eof")


async def deliver(repo: BaseRepository, workers: Sequence[Worker], events: Sequence[Event]) -> int:
    """Hands events to the workers in batches and runs their jobs; events published."""
    published = 0
    for worker in workers:
        wanted = [event for event in events if event.topic in worker.topics]
        for start in range(0, len(wanted), BATCH):
            async with repo.transaction() as bound:
                tx = Transaction(bound)
                await worker.handle(taken(wanted[start : start + BATCH]), tx)
            published += len(tx.bus.events) + len(tx.dead)
        for job in worker.jobs:
            if job.by_data:
                await job.run(repo, NullBus())
    return published + await drained(repo)


async def drained(repo: BaseRepository) -> int:
    rows = await repo.outbox_take(100_000)
    await repo.outbox_delete([row for row, _ in rows])
    return len(rows)


async def content(repo: BaseRepository) -> dict[str, list[str]]:
    out = {}
    async with repo.db.read() as reader:
        for name, table in every_table().items():
            if name not in ("lease", "schema_meta", "link_due"):  # what was told again is looked at again
                found = (await reader.execute(table.select())).mappings()
                out[name] = sorted(str({k: v for k, v in row.items() if k not in _MOVING}) for row in found)
    return out


@pytest.mark.fault(
    fault="100,000 events delivered again",
    guard="ids are derived; news are of rows really inserted",
    control="mutant ttp-news-of-tags-that-were-there",
    figure="0 rows, 0 news",
)
@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_redelivered_events_add_no_row_and_publish_nothing(tmp_path: Path) -> None:
    events = made(tmp_path)
    async with open_repo("sqlite", tmp_path) as repo:
        settings = load_settings(data_dir=tmp_path)
        workers = [RecorderWorker(settings), TtpWorker(get_rule_store(settings, repo=repo), settings)]
        for worker in workers:
            await worker.start(repo, NullBus())
        assert await deliver(repo, workers, events) > 0
        assert await deliver(repo, workers, events) == 0
        before = await content(repo)
        assert len(before["ttp_tag"]) > 100
        started, done = time.perf_counter(), 0
        while done < DELIVERIES:
            assert await deliver(repo, workers, events) == 0
            done += sum(event.topic in worker.topics for worker in workers for event in events)
        spent = time.perf_counter() - started
        assert await content(repo) == before
    print(f"{done} deliveries in {spent:.1f} s, {done / spent:.0f}/s")
