"""The worker over a bus: requests from outside, a full schedule, no fleet, the public functions alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from decnet.bus.memory import Broker, MemoryBus
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import SubstrateError
from decnet.logs import configure_logging
from decnet.mutator import mutate_decky, run_watch_loop
from decnet.mutator.queue import enqueue_op, request_rotation
from decnet.mutator.rows import Tools
from decnet.mutator.worker import GIVE_WAY_S, MutatorWorker
from decnet.runtime.supervisor import Supervisor
from tests.dbkit import open_repo
from tests.mutatorkit import Scripted, applied, drain, service_for, settings_for


@pytest.fixture
async def repo(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as opened:
        yield opened


@asynccontextmanager
async def running(repo: BaseRepository, settings: Settings, substrate: Scripted, bus: MemoryBus) -> AsyncIterator[MutatorWorker]:  # fmt: skip
    worker = MutatorWorker(settings, lambda repo, settings: service_for(repo, settings, substrate))
    supervisor = Supervisor([worker], repo, bus, settings)
    await supervisor.start()
    try:
        yield worker
    finally:
        await supervisor.stop()


async def test_a_request_on_the_bus_is_answered(repo: BaseRepository, tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    substrate, broker = Scripted(tmp_path / "dry"), Broker(settings.bus)
    bus, other = MemoryBus("engine", broker=broker), MemoryBus("other", broker=broker)
    await applied(repo, settings)
    await drain(service_for(repo, settings, substrate))
    async with running(repo, settings, substrate, bus):
        await other.connect()
        async with other.subscribe("decky.*.*") as news, asyncio.timeout(10):
            request = {"request_id": "req-1", "requested_by": "ann", "reason": "drill"}
            await other.publish("decky.web-01.mutate_request", request)
            await other.publish("decky.nobody.mutate_request", {"request_id": 5})
            told = {}
            wanted = {"decky.web-01.mutation", "decky.web-01.state", "decky.nobody.mutation"}
            async for event in news:
                answer = event.topic.endswith(".mutation")
                if answer and "request_id" not in event.payload and event.topic.startswith("decky.web-01."):
                    continue  # how the fleet came up, still on its way out when this subscribed
                told[event.topic] = event.payload
                if wanted <= told.keys() and told["decky.web-01.state"]["status"] == "running":
                    break
        assert told["decky.web-01.mutation"]["request_id"] == "req-1"
        assert told["decky.web-01.mutation"]["actor"] == "ann"
        assert told["decky.web-01.mutation"]["outcome"] == "applied"
        assert told["decky.nobody.mutation"]["outcome"] == "failed"
        assert "no decky 'nobody'" in told["decky.nobody.mutation"]["reason"]
    await bus.close()
    await other.close()


@pytest.mark.slow
async def test_with_200_due_at_once_a_request_is_served_within_a_second(
    repo: BaseRepository, tmp_path: Path
) -> None:
    names = [f"d-{i:03}" for i in range(200)]
    settings = settings_for(tmp_path)
    rows = "".join(
        f"  - {{name: {name}, pool: [ssh, ftp, http, redis], services: [ssh]}}\n" for name in names
    )
    await applied(repo, settings, f"fleet: big\nsubstrate: dry_run\nmutate_interval: 1h\ndeckies:\n{rows}")
    substrate = Scripted(tmp_path / "dry", delay_s=0.05)
    up = {"observed": ["ssh"], "pending": False, "state": "running", "last_mutated": time.time() - 7200}
    async with repo.transaction() as tx:
        for name in names:
            await tx.decky_update(name, None, **up, next_due=time.time() - 1)
        await tx.decky_update("d-199", None, mutate_interval="never", next_due=None)
    bus = MemoryBus("engine", broker=Broker(settings.bus))
    async with running(repo, settings, substrate, bus) as worker, asyncio.timeout(60):
        while worker.health()["rotations"] < 20:
            await asyncio.sleep(0.01)
        asked = time.monotonic()
        await bus.publish("decky.d-199.mutate_request", {"request_id": "now"})
        while (row := await repo.decky_get("d-199")) and (row["observed"] == ["ssh"] or row["pending"]):
            await asyncio.sleep(0.01)
        waited, done = time.monotonic() - asked, worker.service.rotations
        assert waited < 1.0, waited
        assert done < 150, "the others were still under way"
        while worker.service.rotations < done + 20:
            await asyncio.sleep(0.05)
    await bus.close()


async def test_no_deployment_is_idle_and_said_once(
    repo: BaseRepository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configure_logging("console", "INFO")
    logging.getLogger().addHandler(caplog.handler)
    settings = settings_for(tmp_path, observe_s=0.05)
    bus = MemoryBus("engine", broker=Broker(settings.bus))
    async with running(repo, settings, Scripted(tmp_path / "dry"), bus) as worker:
        async with asyncio.timeout(10):
            while not any("no deployment" in record.getMessage() for record in caplog.records):
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)  # a second word about it would come with the next look
        assert not worker.health()["degraded"]
        assert sum("no deployment" in record.getMessage() for record in caplog.records) == 1
        await applied(repo, settings)
        async with asyncio.timeout(10):
            while not all(row["observed"] for row in await repo.deckies()):
                await asyncio.sleep(0.02)
            while not any("fleet found" in record.getMessage() for record in caplog.records):
                await asyncio.sleep(0.02)
    await bus.close()


async def test_one_decky_ends_nothing(repo: BaseRepository, tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    substrate = Scripted(tmp_path / "dry")
    substrate.faults["web-01"] = [RuntimeError("odd") for _ in range(3)]
    await applied(repo, settings)
    bus = MemoryBus("engine", broker=Broker(settings.bus))
    async with running(repo, settings, substrate, bus) as worker, asyncio.timeout(10):
        while not all(row["observed"] and not row["pending"] for row in await repo.deckies()):
            await asyncio.sleep(0.02)
        assert worker.service.failures == 3
    await bus.close()


async def test_an_operation_is_carried_out(repo: BaseRepository, tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    await applied(repo, settings)
    bus = MemoryBus("engine", broker=Broker(settings.bus))
    async with running(repo, settings, Scripted(tmp_path / "dry"), bus), asyncio.timeout(10):
        key = await enqueue_op(
            repo, "lab", "update_decky", "db-01", {"services": ["ssh"]}, Tools.of(settings)
        )
        while (row := await repo.mutation_get(key)) and row["state"] != "applied":
            assert row["state"] != "failed", row["reason"]
            await asyncio.sleep(0.02)
    decky = await repo.decky_get("db-01")
    assert decky is not None
    assert decky["observed"] == ["ssh"]
    await bus.close()


@pytest.mark.parametrize("with_bus", [True, False])
async def test_the_loop_alone(repo: BaseRepository, tmp_path: Path, with_bus: bool) -> None:
    settings = settings_for(tmp_path)
    await applied(repo, settings)
    bus = MemoryBus("alone", broker=Broker(settings.bus)) if with_bus else None
    shutdown = asyncio.Event()
    loop = asyncio.create_task(run_watch_loop(repo, poll_interval_secs=0.2, bus=bus, shutdown=shutdown, settings=settings))  # fmt: skip
    async with asyncio.timeout(20):
        while not all(row["observed"] for row in await repo.deckies()):
            await asyncio.sleep(0.02)
        key = await request_rotation(repo, "db-01")
        while (row := await repo.mutation_get(key)) and row["state"] != "applied":
            await asyncio.sleep(0.02)
        if with_bus:
            while await repo.outbox_count():
                await asyncio.sleep(0.02)
        else:
            assert await repo.outbox_count(), "what nobody can be told yet is kept"
        shutdown.set()
        await loop
    if bus is not None:
        await bus.close()


async def test_mutate_decky_tells_the_bus(repo: BaseRepository, tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    await applied(repo, settings)
    service = service_for(repo, settings)
    await drain(service)
    bus = MemoryBus("alone", broker=Broker(settings.bus))
    await bus.connect()
    outcome = await mutate_decky("db-01", repo, bus, settings=settings, service=service)
    assert outcome.applied
    last = await bus.read_back("decky.db-01.*", 2)
    assert [event.topic for event in last] == ["decky.db-01.mutation", "decky.db-01.state"]
    assert (
        await mutate_decky("x", repo, bus, settings=settings, service=service)
    ).reason == "no decky 'x' in the fleet"
    await bus.close()


async def test_the_clocks_lanes_wait_a_moment_after_an_operator_asked(
    repo: BaseRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, bus = settings_for(tmp_path), MemoryBus("engine")
    looked: list[tuple[bool, float]] = []
    async with running(repo, settings, Scripted(tmp_path / "dry"), bus) as worker:
        while not hasattr(worker, "service"):
            await asyncio.sleep(0.01)
        real = worker.service.serve_one

        async def serve_one(*, operators_only: bool = False) -> bool:
            looked.append((operators_only, time.monotonic()))
            return await real(operators_only=operators_only)

        monkeypatch.setattr(worker.service, "serve_one", serve_one)
        before = worker._asked_at
        await bus.publish("decky.nobody.mutate_request", {})
        async with asyncio.timeout(10):
            while worker._asked_at == before or not any(
                at > worker._asked_at for only, at in looked if not only
            ):
                await asyncio.sleep(0.02)
        asked = worker._asked_at
    assert min(at for only, at in looked if only and at > asked) < asked + GIVE_WAY_S
    assert min(at for only, at in looked if not only and at > asked) >= asked + GIVE_WAY_S * 0.9


async def test_health_tells_of_a_failing_decky_before_the_next_look_at_everything(
    repo: BaseRepository, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, observe_s=600, retry_backoff_s=600, retry_backoff_max_s=600)
    substrate = Scripted(tmp_path / "dry")
    await applied(repo, settings)
    substrate.faults["web-01"] = [SubstrateError("port taken")]
    async with running(repo, settings, substrate, MemoryBus("engine")) as worker, asyncio.timeout(10):
        while not worker.health()["failing"]:
            await asyncio.sleep(0.02)
        assert "port taken" in worker.health()["degraded"]
