"""A database that somebody else keeps to himself: who it is, on both databases, without a connection of the writers'."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url, text

from decnet.db import engine
from decnet.db.blocked import SOMEBODY, SqliteLook, holder
from decnet.db.engine import BUSY_TIMEOUT_MS, Database
from decnet.db.repository import BaseRepository
from decnet.errors import DatabaseError
from tests.dbkit import migrated, migrated_url, open_repo

HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for statement in sys.argv[2:]: db.execute(statement)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path, *statements: str) -> Iterator[int]:
    """Another process that holds a lock on a SQLite file; its id."""
    told = statements or ("BEGIN EXCLUSIVE",)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *told], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == b"held\n"
        yield process.pid
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


async def test_the_process_that_locks_a_file_is_named(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        path = repo.db.path
        assert path is not None
        assert await repo.db.blocked_by(0.0) == ""
        with held(path) as pid:
            began = time.monotonic()
            assert await repo.db.blocked_by(0.2) == f"process {pid} (python)"
            assert 0.15 < time.monotonic() - began < 2.0
            assert await repo.list_attackers() == [], "readers go on"
        assert await repo.db.blocked_by(0.0) == ""


async def test_our_own_transaction_is_no_trouble(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        async with repo.db.write() as session:
            await session.execute(text("SELECT 1"))
            assert await repo.db.blocked_by(0.05) == ""
            assert SqliteLook(repo.db.path).blocker(0.05).startswith(f"process {os.getpid()} ")  # type: ignore[arg-type]
        with held(repo.db.path) as pid:  # type: ignore[arg-type]
            assert await repo.db.blocked_by(0.05) == "", "nobody looks when our own writers got through"
            assert str(pid) in await repo.db.blocked_by(0.05), "it is over"


async def test_a_transaction_of_our_own_that_ends_during_the_look_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        loop, begun, looked = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def late(_patience: float) -> str:
            loop.call_soon_threadsafe(begun.set)
            assert looked.wait(10)
            return "somebody"

        monkeypatch.setattr(repo.db._look, "blocker", late)
        async with repo.db.write() as session:
            await session.execute(text("SELECT 1"))
            look = asyncio.create_task(repo.db.blocked_by(0.05))
            await begun.wait()
        looked.set()
        assert await look == ""


async def test_a_writer_that_gives_up_names_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decnet.db.engine.BUSY_TIMEOUT_MS", 100)
    repo = await BaseRepository.open(await migrated(tmp_path / "x.sqlite"))
    with held(tmp_path / "x.sqlite") as pid, pytest.raises(DatabaseError, match=f"locked by process {pid} "):
        await repo.upsert_attacker("a", None, 1.0)
    await repo.close()


async def test_who_writes_gets_a_turn_though_another_process_hardly_ever_leaves_one(tmp_path: Path) -> None:
    """As a command does beside an engine that works off a log."""
    file = tmp_path / "x.sqlite"
    repo = await BaseRepository.open(await migrated(file))
    over = threading.Event()

    def busy() -> None:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as db:
            while not over.is_set():
                db.execute("BEGIN IMMEDIATE")
                over.wait(0.37)
                db.execute("COMMIT")
                time.sleep(0.0005)

    engine = asyncio.create_task(asyncio.to_thread(busy))
    try:
        for number in range(6):
            await repo.upsert_attacker(f"a{number}", None, 1.0)
        async with repo.db.write() as session:
            patience = (await session.execute(text("PRAGMA busy_timeout"))).scalar_one()
        assert patience == BUSY_TIMEOUT_MS, "what comes later in a transaction waits as ever"
    finally:
        over.set()
        await engine
        await repo.close()


def test_a_file_that_is_none_blocks_nobody(tmp_path: Path) -> None:
    assert SqliteLook(tmp_path / "none.sqlite").blocker(0.0) == ""
    assert not (tmp_path / "none.sqlite").exists(), "looking makes nothing"
    (tmp_path / "text").write_text("no database at all, only some text that is long enough" * 20)
    assert SqliteLook(tmp_path / "text").blocker(0.0) == ""


def test_a_system_that_does_not_tell_leaves_somebody(tmp_path: Path) -> None:
    file = tmp_path / "x.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("CREATE TABLE t (a)")
        db.execute("BEGIN EXCLUSIVE")
        assert holder(file, tmp_path / "no-such-table") == SOMEBODY
        assert holder(file) == f"process {os.getpid()} ({Path('/proc/self/comm').read_text().strip()})"
    assert holder(file) == SOMEBODY, "nobody holds it any more"
    inode = file.stat().st_ino
    table = tmp_path / "locks"
    for line, who in (
        (f"1: POSIX  ADVISORY  WRITE -1 fd:01:{inode} 1073741824 1073742335", SOMEBODY),
        (f"1: POSIX  ADVISORY  READ 1 fd:01:{inode} 1073741824 1073742335", SOMEBODY),
        (f"1: POSIX  ADVISORY  WRITE 1 fd:01:{inode + 1} 1073741824 1073742335", SOMEBODY),
        (f"1: POSIX  ADVISORY  WRITE 1 fd:01:{inode} 0 100", SOMEBODY),
        (f"1: -> POSIX  ADVISORY  WRITE 1 fd:01:{inode} 0 EOF", SOMEBODY),
        (f"1: POSIX  ADVISORY  WRITE 999999999 fd:01:{inode} 0 EOF", "process 999999999 (gone)"),
    ):
        table.write_text(line)
        assert holder(file, table) == who, line


async def test_a_table_locked_on_the_server_is_named(tmp_path: Path) -> None:
    """Nobody needs to wait for it yet; and it is found while every connection of ours waits."""
    async with migrated_url("postgresql", tmp_path) as url:
        repo = await BaseRepository.open(url)
        other = await _stranger(url)
        try:
            assert await repo.db.blocked_by(0.0) == ""
            async with other.transaction():
                await other.execute("LOCK TABLE worker_heartbeat IN ACCESS EXCLUSIVE MODE")
                pid = other.get_server_pid()
                waiting = asyncio.create_task(repo.heartbeats_write({"ttp": {}}))
                assert await repo.db.blocked_by(0.0) == f"process {pid} of the server (a stranger)"
                assert await repo.db.blocked_by(60.0) == "", "not for long yet"
            await waiting
            assert await repo.db.blocked_by(0.0) == ""
        finally:
            await other.close()
            await repo.close()


async def test_a_row_locked_on_the_server_is_named_once_somebody_waits(tmp_path: Path) -> None:
    async with migrated_url("postgresql", tmp_path) as url:
        repo = await BaseRepository.open(url)
        other = await _stranger(url)
        try:
            await repo.heartbeats_write({"ttp": {}})
            async with other.transaction():
                await other.execute("SELECT * FROM worker_heartbeat FOR UPDATE")
                assert await repo.db.blocked_by(0.0) == ""
                waiting = asyncio.create_task(repo.heartbeats_write({"ttp": {}}))
                who = ""
                while not who:
                    who = await repo.db.blocked_by(0.0)
                assert who == f"process {other.get_server_pid()} of the server (a stranger)"
            await waiting
        finally:
            await other.close()
            await repo.close()


async def _stranger(url: str) -> asyncpg.Connection:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return await asyncpg.connect(dsn, server_settings={"application_name": "a stranger"})


async def test_a_file_that_even_readers_may_not_open_says_who_has_it_within_five_seconds(
    tmp_path: Path,
) -> None:
    await migrated(tmp_path / "x.sqlite")
    told = ("PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=DELETE", "BEGIN EXCLUSIVE")
    with held(tmp_path / "x.sqlite", *told) as pid:
        began = time.monotonic()
        with pytest.raises(DatabaseError, match=f"locked by process {pid} "):
            await Database(f"sqlite:///{tmp_path / 'x.sqlite'}").open()
        assert time.monotonic() - began < engine.READ_TIMEOUT_MS / 1000 + engine.CONTACT_S + 0.5 <= 5.0
