"""What an engine asks its database while nothing happens: whether somebody else has written, and nothing more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.db.sqlite_driver import SqliteConnection
from decnet.engine import Engine
from decnet.mutator.queue import request_rotation
from tests.cowriegen import write_log
from tests.dbkit import KINDS, migrated_url

WATCHED_S = 6.0


def beats(watched_s: float) -> int:
    """Rounds of heartbeats in that time at most: they come 1, 3 and 7 seconds after a start, and at full tens."""
    return 2 + int(watched_s // 10)


def leases(watched_s: float) -> int:
    """Renewals of the leases of linking and of the rule files in that time: every five seconds."""
    return 2 * (1 + int(watched_s // 5))


@asynccontextmanager
async def idle(url: str, folder: Path) -> AsyncIterator[Engine]:
    """An engine that has read its log and has nothing left to do."""
    write_log(log := folder / "cowrie.json", 50, 3)
    soon = {"observe_s": 1.0, "poll_interval_s": 1.0}  # what it does every so often, it does while it settles
    settings = load_settings(
        data_dir=folder / "data", db=url, bus={"type": "memory"}, mutator=soon, sensors=[{"kind": "cowrie", "path": str(log)}]
    )  # fmt: skip
    engine = Engine(settings)
    await engine.start()
    try:
        assert await engine.until_idle(0.2) is None
        assert await engine.repo.list_attackers() != []
        yield engine
    finally:
        await engine.stop(5.0)


async def test_an_idle_engine_reads_nothing_and_writes_what_says_that_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []
    ran = SqliteConnection.ran

    async def noted(connection: SqliteConnection, text: str, *arguments: Any, **more: Any) -> Any:
        texts.append(text)
        return await ran(connection, text, *arguments, **more)

    async with migrated_url("sqlite", tmp_path) as url, idle(url, tmp_path):
        monkeypatch.setattr(SqliteConnection, "ran", noted)
        async with asyncio.timeout(60):  # rows that it wrote last are looked at once more
            while not texts or reads(texts):
                texts.clear()
                await asyncio.sleep(3.0)
        texts.clear()
        began = time.monotonic()
        await asyncio.sleep(WATCHED_S)
        monkeypatch.undo()
        watched_s = time.monotonic() - began  # a busy machine wakes nobody in time
    looks, begun = texts.count("PRAGMA data_version"), texts.count("BEGIN IMMEDIATE")
    assert reads(texts) == []
    assert 1 <= looks <= watched_s + 2
    assert 1 <= begun <= leases(watched_s) + 3 * beats(watched_s), (
        "beats that come together are one transaction"
    )
    # Each of them is one statement; a transaction may be cut by the beginning or the end of the watch.
    assert abs(len(texts) - looks - 2 * begun) <= 1, texts


def reads(texts: list[str]) -> list[str]:
    return [text for text in texts if text.startswith(("SELECT", "WITH"))]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_another_process_writes_is_in_force_soon_all_the_same(kind: str, tmp_path: Path) -> None:
    async with migrated_url(kind, tmp_path) as url, idle(url, tmp_path) as engine:
        await asyncio.sleep(2 * engine.settings.runtime.tail_db_s)  # a look in vain, and one more
        other = await BaseRepository.open(url)
        rule = sorted(one.rule_id for one in engine.rules.rules())[0]
        try:
            await other.rule_state_set(rule, state="disabled")
            assert await within(lambda: _state(engine, rule)) <= 1.5
            request = await request_rotation(other, "nobody")
            assert await within(lambda: _answered(other, request)) <= 1.5
        finally:
            await other.close()


async def _state(engine: Engine, rule: str) -> bool:
    known = engine.rules.states().get(rule)
    return known is not None and known.state == "disabled"


async def _answered(repo: BaseRepository, request: str) -> bool:
    row = await repo.mutation_get(request)
    return row is not None and row["state"] == "failed"


async def within(look: Callable[[], Awaitable[bool]]) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    async with asyncio.timeout(10):
        while not await look():
            await asyncio.sleep(0.02)
    return time.monotonic() - began
