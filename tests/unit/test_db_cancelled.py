"""A task that is cancelled in the middle of a statement leaves no lock on the database behind."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from decnet.db import engine, sqlite_driver
from decnet.db.repository import BaseRepository
from tests.dbkit import open_repo


async def cancelled_in_a_statement(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> asyncio.Task[None]:
    """A write transaction that ended by cancellation while a SELECT of it was running in the driver's thread."""
    loop, reached, released = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    true = sqlite_driver._run

    def slow(connection: sqlite3.Connection, many: bool, text: str, parameters: Any, first: str) -> Any:
        if text.startswith("SELECT"):
            loop.call_soon_threadsafe(reached.set)
            released.wait(30)
        return true(connection, many, text, parameters, first)

    async def work() -> None:
        async with repo.transaction() as bound:
            await bound.mark_due(["written"])
            monkeypatch.setattr(sqlite_driver, "_run", slow)
            await bound.verdict_of("written")

    task = asyncio.create_task(work(), name="work")
    await reached.wait()
    monkeypatch.undo()
    task.cancel()
    await asyncio.sleep(0)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    return task


async def test_a_cancelled_transaction_gives_the_lock_back_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(engine, "BUSY_TIMEOUT_MS", 200)
        async with open_repo("sqlite", tmp_path) as repo:
            await repo.upsert_attacker("a", "192.0.2.1", 1.0)
            task = await cancelled_in_a_statement(repo, monkeypatch)
            await repo.mark_due(["after"])
            assert await repo.verdict_of("written") is None
            async with repo.db.read() as reading:
                query = "SELECT identity_uuid FROM multi_actor_evidence"
                found = (await (await reading.connection()).exec_driver_sql(query)).scalars().all()
            assert list(found) == ["after"]
            assert task.cancelled()  # and keeps its traceback, with whatever is in it, until here
