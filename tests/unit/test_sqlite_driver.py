"""Closing a connection to SQLite ends, also when it was broken off in the middle."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from decnet.db.engine import Database
from decnet.db.sqlite_driver import SqliteConnection, connecting

SLOW = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n"
)


async def opened(tmp_path: Path) -> SqliteConnection:
    return await connecting(make_url(f"sqlite+aiosqlite:///{tmp_path / 'x.sqlite'}"))()


async def test_a_close_that_was_overtaken_by_a_stop_ends(tmp_path: Path) -> None:
    connection = await opened(tmp_path)
    gentle = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    assert connection.stop() is not None
    async with asyncio.timeout(10):
        await gentle


async def test_a_close_that_is_broken_off_after_a_stop_ends(tmp_path: Path) -> None:
    connection = await opened(tmp_path)
    stopped = connection.stop()
    gentle = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    gentle.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(gentle, *([stopped] if stopped else []), return_exceptions=True)
    assert connection.stop() is None
    assert not connection._thread.is_alive() or connection._thread.daemon


@pytest.mark.filterwarnings("ignore:.*was deleted before being closed:ResourceWarning")
def test_a_statement_that_outlives_its_loop_ends_without_a_word(tmp_path: Path) -> None:
    said: list[threading.ExceptHookArgs] = []

    async def asks() -> SqliteConnection:
        connection = await opened(tmp_path)
        task = asyncio.create_task(connection._execute(lambda: time.sleep(0.3)))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", said.append)
        connection = asyncio.run(asks())
        connection._thread.join(10)
        assert not connection._thread.is_alive()
    assert said == []


@pytest.mark.parametrize("times", [1, 3])
async def test_a_task_that_is_cancelled_in_a_statement_leaves_nothing_that_waits(
    tmp_path: Path, times: int
) -> None:
    """However often it is cancelled, at whatever moment."""
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    await database.open()

    async def asks() -> None:
        async with database.read() as session:
            await session.execute(text(SLOW))

    for turns in range(8):
        task = asyncio.create_task(asks())
        await asyncio.sleep(0.01)
        for _ in range(times):
            task.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await asyncio.gather(task, return_exceptions=True)
    await database.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    async with asyncio.timeout(30):
        await asyncio.gather(*others, return_exceptions=True)
