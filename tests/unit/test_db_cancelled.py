"""A task that is cancelled in the middle of a statement leaves no lock on the database behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from decnet.db import engine
from decnet.db.repository import BaseRepository
from tests.dbkit import open_repo


async def cancelled_between_execute_and_fetch(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> asyncio.Task[None]:
    """A write transaction that ended by cancellation while a SELECT of it was still open."""
    reached = asyncio.Event()

    async def never(_cursor: Any) -> Any:
        reached.set()
        await asyncio.Event().wait()

    async def work() -> None:
        async with repo.transaction() as bound:
            await bound.mark_due(["written"])
            monkeypatch.setattr(aiosqlite.Cursor, "fetchall", never)
            await bound.verdict_of("written")

    task = asyncio.create_task(work(), name="work")
    await reached.wait()
    monkeypatch.undo()
    task.cancel()
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
            task = await cancelled_between_execute_and_fetch(repo, monkeypatch)
            await repo.mark_due(["after"])
            assert await repo.verdict_of("written") is None
            async with repo.db.read() as reading:
                query = "SELECT identity_uuid FROM multi_actor_evidence"
                found = (await (await reading.connection()).exec_driver_sql(query)).scalars().all()
            assert list(found) == ["after"]
            assert task.cancelled()  # and keeps its traceback, with the open cursor in it, until here
