"""What one observation costs with a short and with a long history, and how many the worker takes a second."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from decnet.attribution.multi_actor import examine
from decnet.attribution.worker import AttributionWorker, handle_observation_event
from decnet.bus.base import Event
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id
from decnet.runtime.worker import Transaction
from tests.dbkit import KINDS, open_repo
from tests.simulator.pairs import pair_history
from tests.wirekit import taken

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]
P = "cognitive.planning_depth"
SHORT, LONG = attacker_id("192.0.2.1"), attacker_id("192.0.2.2")


def observation(attacker: str, n: int, primitive: str = P) -> dict[str, Any]:
    return {
        "primitive": primitive, "value": "ab"[n % 7 == 0], "confidence": 1.0, "attacker_uuid": attacker,
        "evidence_ref": f"{attacker}-{n:06}", "ts": float(n),
    }  # fmt: skip


async def filled(repo: BaseRepository, attacker: str, count: int) -> None:
    await repo.upsert_attacker(attacker, None, 1.0)
    for start in range(0, count, 500):
        await repo.insert_observations(
            [observation(attacker, n) for n in range(start, min(start + 500, count))]
        )
    assert await handle_observation_event(None, repo, observation(attacker, count))


@pytest.mark.parametrize("kind", KINDS)
async def test_the_cost_does_not_grow_with_history(kind: str, tmp_path: Path) -> None:
    async with open_repo(kind, tmp_path) as repo:
        await filled(repo, SHORT, 10)
        await filled(repo, LONG, 10_000)
        taken: dict[str, list[float]] = {SHORT: [], LONG: []}
        for n in range(400):
            for attacker in (SHORT, LONG) if n % 2 else (LONG, SHORT):
                event = observation(attacker, 20_000 + n)
                started = time.process_time()
                assert await handle_observation_event(None, repo, event)
                taken[attacker].append(time.process_time() - started)
        short, long = median(taken[SHORT]), median(taken[LONG])
        print(
            f"\n{kind}: one observation, 10 earlier {short * 1e3:.2f} ms, 10,000 earlier {long * 1e3:.2f} ms"
        )
        assert long <= short * 1.2


async def test_batches_of_observations(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        attackers = [attacker_id(f"198.51.100.{n}") for n in range(50)]
        for attacker in attackers:
            await repo.upsert_attacker(attacker, None, 1.0)
        events = [
            Event(f"attacker.observation.p.{k}", observation(attacker, n, f"p.{k}"), "", f"{attacker}{n}{k}", float(n))
            for n in range(4) for attacker in attackers for k in range(20)
        ]  # fmt: skip
        worker, started = AttributionWorker(), time.perf_counter()
        for i in range(0, len(events), 200):
            async with repo.transaction() as bound:
                await worker.handle(taken(events[i : i + 200]), Transaction(bound))
        rate = len(events) / (time.perf_counter() - started)
        print(f"\nattribution: {rate:.0f} observations/s on SQLite in batches of 200")
        assert rate > 300


def test_a_full_window() -> None:
    rows = pair_history(("client", "account", "work"), "random", 5, count=64).rows
    taken = []
    for _ in range(20):
        started = time.process_time()
        assert examine(rows).suspected
        taken.append(time.process_time() - started)
    print(f"\nmulti-actor test over 64 sessions: {median(taken) * 1e3:.0f} ms")
    assert median(taken) < 0.2
