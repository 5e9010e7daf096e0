"""Closing a connection to SQLite ends, also when it was broken off in the middle."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from decnet.db import sqlite_driver
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


class Counted:
    """A database in which the ways to the drivers' threads are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ways = 0
        execute = SqliteConnection._execute

        async def counted(connection: SqliteConnection, *arguments: Any, **more: Any) -> Any:
            self.ways += 1
            return await execute(connection, *arguments, **more)  # type: ignore[no-untyped-call]

        monkeypatch.setattr(SqliteConnection, "_execute", counted)


async def test_a_read_of_one_statement_is_one_way_and_a_write_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    await database.open()
    for _ in range(2):  # connects first
        counted = Counted(monkeypatch)
        async with database.read() as session:
            await session.execute(text("SELECT 1"))
        read, counted.ways = counted.ways, 0
        async with database.read() as session:
            pass
        nothing, counted.ways = counted.ways, 0
        async with database.write() as session:
            await session.execute(text("DELETE FROM lease"))
        written = counted.ways
        monkeypatch.undo()
    assert (read, nothing, written) == (1, 0, 3)
    await database.close()


async def test_statements_of_one_read_see_one_state_and_those_of_the_next_a_newer_one(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    await database.open()
    how_many = text("SELECT count(*) FROM lease")

    async def add(name: str) -> None:
        async with database.write() as session:
            await session.execute(text(f"INSERT INTO lease VALUES ('{name}', 'x', 1.0)"))

    async with database.read() as session:
        await add("before the first statement")
        assert (await session.execute(how_many)).scalar_one() == 1
        await add("after it")
        assert (await session.execute(how_many)).scalar_one() == 1, "a read is consistent"
    for _ in range(5):  # each of the readers
        async with database.read() as session:
            assert (await session.execute(how_many)).scalar_one() == 2
    await database.close()


async def test_a_read_that_failed_or_is_over_holds_back_no_checkpoint(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    await database.open()

    async def read(statement: str) -> None:
        async with database.read() as session:
            await session.execute(text("SELECT count(*) FROM lease"))
            await session.execute(text(statement))

    await read("SELECT 1")
    with pytest.raises(OperationalError):
        await read("SELECT 1 FROM no_such_table")
    async with database.write() as session:
        await session.execute(text("INSERT INTO lease VALUES ('a', 'x', 1.0)"))
    await asyncio.sleep(0.1)
    with closing(sqlite3.connect(tmp_path / "x.sqlite")) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    await database.close()


async def test_a_transaction_of_the_writer_that_was_broken_off_is_undone(tmp_path: Path) -> None:
    """Its BEGIN may still wait for somebody else when it is cancelled: it is not taken for ended."""
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    await database.open()

    async def write() -> None:
        async with database.write() as session:
            await session.execute(text("INSERT INTO lease VALUES ('a', 'x', 1.0)"))
            await asyncio.sleep(60)

    with closing(sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)) as other:
        for seconds in (0.0, 0.05):
            other.execute("BEGIN IMMEDIATE")
            task = asyncio.create_task(write())
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.sleep(seconds)
            other.execute("ROLLBACK")
            await asyncio.gather(task, return_exceptions=True)
            async with database.write() as session:
                assert (await session.execute(text("SELECT count(*) FROM lease"))).scalar_one() == 0
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
    await database.close()


class Locked:
    """A cursor of a file that another process has for ever, and a clock that goes by what is waited."""

    def __init__(self, patience_ms: int) -> None:
        self.now, self.patience_ms = 100.0, patience_ms
        self.asked: list[str] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert self.now < 200.0, "it is waited for ever"
        self.now += seconds

    def execute(self, text: str) -> Locked:
        self.asked.append(text)
        if text == sqlite_driver.BEGIN_WRITING:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        return self

    def fetchone(self) -> tuple[int]:
        return (self.patience_ms,)


@pytest.mark.parametrize("patience_ms", [0, 2_500])
def test_a_turn_is_waited_for_as_long_as_the_patience_and_no_longer(
    patience_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Locked(patience_ms)
    monkeypatch.setattr(sqlite_driver, "time", file)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite_driver._begin_writing(file)  # type: ignore[arg-type]
    waited = file.now - 100.0
    assert patience_ms / 1000 <= waited <= patience_ms / 1000 + sqlite_driver.TURN_S
    assert file.asked[-1] == f"PRAGMA busy_timeout={patience_ms}", "what comes later waits as ever"
