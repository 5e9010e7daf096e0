"""The runtime over the memory bus and a SQLite file: batches, bisecting, control, outbox, shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.bus.base import BaseBus, Event
from decnet.bus.factory import get_bus
from decnet.config import RuntimeSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.runtime.received import Received
from decnet.runtime.supervisor import Supervisor
from decnet.runtime.worker import Job, Transaction, Worker

WAIT_S = 30.0


class Recording(Worker):
    """Notes what it handles; refuses events that say so; passes everything on as news."""

    name = "ttp"
    topics = ("attacker.>",)

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.batches: list[int] = []
        self.lives = 0

    async def start(self, repo: BaseRepository, bus: BaseBus) -> None:
        self.lives += 1

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        events = [one.event for one in batch]
        if any(e.payload.get("poison") for e in events):
            raise RuntimeError("poisoned")
        self.batches.append(len(batch))
        for event in events:
            if event.payload.get("hopeless"):
                tx.dead_letter(event, "hopeless")
                continue
            self.seen.append(event.payload["n"])
            await tx.bus.publish(
                "ttp.tagged", {"n": event.payload["n"]}, event_id=f"tagged{event.payload['n']}"
            )


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """Kept, not rendered: a traceback takes longer than a test."""
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    runtime = RuntimeSettings(
        batch_wait_s=0.02, heartbeat_s=0.05, restart_backoff_s=0.02, tail_db_s=0.05, grace_s=5
    )
    return Settings(data_dir=tmp_path, bus_type="memory", runtime=runtime)


@pytest.fixture
async def repo(settings: Settings) -> AsyncIterator[BaseRepository]:
    repo = await BaseRepository.open(settings.db_url)
    yield repo
    await repo.close()


@pytest.fixture
async def bus(settings: Settings) -> AsyncIterator[BaseBus]:
    bus = get_bus("test", settings)
    await bus.connect()
    yield bus
    await bus.close()


async def until(condition: Callable[[], Any]) -> None:
    """Waits for a condition that becomes true by itself."""
    async with asyncio.timeout(WAIT_S):
        while True:
            result = condition()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.01)


async def publish(bus: BaseBus, *payloads: dict[str, Any]) -> None:
    await bus.publish_events([Event("attacker.tested", p, id=f"e{p['n']}") for p in payloads])


async def test_a_batch_is_handled_and_its_news_relayed(
    bus: BaseBus, repo: BaseRepository, settings: Settings
) -> None:
    worker = Recording()
    supervisor = Supervisor([worker], repo, bus, settings)
    async with bus.subscribe("ttp.tagged") as news:
        await supervisor.start()
        await publish(bus, *({"n": n} for n in range(50)))
        async with asyncio.timeout(WAIT_S):
            got = [(await anext(aiter(news))).payload["n"] for _ in range(50)]
    await until(lambda: _empty(repo))
    await supervisor.stop()
    assert got == list(range(50))
    assert worker.seen == list(range(50))


async def _empty(repo: BaseRepository) -> bool:
    return await repo.outbox_count() == 0


async def test_one_bad_event_costs_the_others_nothing(
    bus: BaseBus, repo: BaseRepository, settings: Settings
) -> None:
    await publish(bus, *({"n": n, "poison": n == 7} for n in range(20)))
    worker = Recording()
    supervisor = Supervisor([worker], repo, bus, settings)
    await supervisor.start()
    await until(lambda: supervisor.runners["ttp"].stats.dead_lettered == 1)
    await until(lambda: len(worker.seen) == 19)
    await supervisor.stop()
    letters = await repo.dead_letters()
    assert sorted(worker.seen) == [n for n in range(20) if n != 7]
    assert [(row["worker"], row["topic"]) for row in letters] == [("ttp", "attacker.tested")]
    assert "poisoned" in letters[0]["reason"]
    assert await repo.failures_waiting("ttp") == 0


async def test_a_handler_can_give_an_event_up(bus: BaseBus, repo: BaseRepository, settings: Settings) -> None:
    await publish(bus, {"n": 1}, {"n": 2, "hopeless": True})
    supervisor = Supervisor([Recording()], repo, bus, settings)
    async with bus.subscribe("system.deadletter.ttp") as letters:
        await supervisor.start()
        async with asyncio.timeout(WAIT_S):
            letter = await anext(aiter(letters))
    await supervisor.stop()
    assert letter.payload["reason"] == "hopeless"
    assert letter.payload["topic"] == "attacker.tested"


@pytest.mark.parametrize(("action", "state"), [("pause", "paused"), ("stop", "stopped")])
async def test_control_acts_on_that_worker(
    bus: BaseBus, repo: BaseRepository, settings: Settings, action: str, state: str
) -> None:
    worker = Recording()
    supervisor = Supervisor([worker], repo, bus, settings)
    await supervisor.start()
    runner = supervisor.runners["ttp"]
    await until(lambda: runner.state == "ok")
    await bus.publish("system.ttp.control", {"action": action})
    await until(lambda: runner.state == state)
    await publish(bus, {"n": 1})
    await bus.publish("system.ttp.control", {"action": "start" if action == "stop" else "resume"})
    await until(lambda: worker.seen == [1])
    await supervisor.stop()
    assert worker.lives == 2


async def test_a_failing_start_is_tried_again(bus: BaseBus, repo: BaseRepository, settings: Settings) -> None:
    class Failing(Recording):
        async def start(self, repo: BaseRepository, bus: BaseBus) -> None:
            await super().start(repo, bus)
            if self.lives < 3:
                raise RuntimeError("not yet")

    worker = Failing()
    supervisor = Supervisor([worker], repo, bus, settings)
    await supervisor.start()
    await until(lambda: supervisor.runners["ttp"].state == "ok")
    await supervisor.stop()
    assert worker.lives == 3


async def test_background_tasks_are_restarted_and_jobs_run(
    bus: BaseBus, repo: BaseRepository, settings: Settings
) -> None:
    class Busy(Recording):
        def __init__(self) -> None:
            super().__init__()
            self.watches = self.job_runs = 0

            async def job(repo: BaseRepository, bus: BaseBus) -> None:
                self.job_runs += 1

            self.jobs = (Job("count", 0.01, job, lease="count"),)

        def background(self) -> dict[str, Any]:
            async def watch() -> None:
                self.watches += 1
                raise OSError("watch broke")

            return {"watch": watch}

    worker = Busy()
    supervisor = Supervisor([worker], repo, bus, settings)
    await supervisor.start()
    await until(lambda: worker.watches >= 2 and worker.job_runs >= 2)
    await publish(bus, {"n": 1})
    await until(lambda: worker.seen == [1])
    await supervisor.stop()


async def test_the_last_heartbeat_says_stopped(
    bus: BaseBus, repo: BaseRepository, settings: Settings
) -> None:
    supervisor = Supervisor([Recording()], repo, bus, settings)
    await supervisor.start()
    await until(lambda: supervisor.runners["ttp"].state == "ok")
    await supervisor.stop()
    assert [row["payload"]["state"] for row in await repo.heartbeats()] == ["stopped"]


async def test_no_task_outlives_the_supervisor(
    bus: BaseBus, repo: BaseRepository, settings: Settings
) -> None:
    before = asyncio.all_tasks()
    supervisor = Supervisor([Recording()], repo, bus, settings)
    await supervisor.start()
    await until(lambda: supervisor.runners["ttp"].state == "ok")
    await supervisor.stop(grace_s=0)
    assert {t for t in asyncio.all_tasks() - before if not t.done() and "memory" not in t.get_name()} == set()
