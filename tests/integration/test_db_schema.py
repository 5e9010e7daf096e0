"""Schema versions on both databases: up, down, head equals the models, too new, copy of an older file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, event, inspect, text
from sqlmodel import SQLModel

import decnet
import decnet.db.schema  # fills the metadata
from decnet.db import engine, migrate
from decnet.db.engine import Database
from decnet.db.repository import BaseRepository
from decnet.errors import DatabaseError, DiskFull, SchemaTooNew
from tests.dbkit import KINDS, database_url, open_repo


@pytest.fixture(params=KINDS)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with database_url(request.param, tmp_path) as fresh:
        yield fresh


async def test_up_down_and_up_again(url: str) -> None:
    db = Database(url)
    await db.open()
    await db.open()
    async with db.write() as session:
        connection = await session.connection()
        await connection.run_sync(migrate.downgrade, "base")
    async with db.read() as session:
        connection = await session.connection()
        tables = await connection.run_sync(lambda c: inspect(c).get_table_names())
    assert tables == ["alembic_version"]
    await db.close()
    await db.close()
    await db.open()
    await db.close()


async def test_letters_of_the_version_before_keep_their_place_and_the_way_back_keeps_whole_events(
    url: str,
) -> None:
    repo = await BaseRepository.open(url)
    first = await repo.dead_letter_add("ttp", "a.b", "no", 7, b"one")
    again = await repo.dead_letter_add("ttp", "a.b", "no", 7, b"of a stream made anew")
    element = await repo.dead_letter_add("ttp", "a.b", "no", 7, b"1", key="k", path="commands[1]", value="1")
    assert len({first, again, element}) == 3
    async with repo.db.write() as session:
        await (await session.connection()).run_sync(migrate.downgrade, "0008")
    await repo.close()
    repo = await BaseRepository.open(url)
    assert [(row["id"], row["path"]) for row in await repo.dead_letters()] == [(first, None)]
    assert await repo.dead_letter_add("ttp", "a.b", "again", 7, b"one") == first, "delivered once more"
    await repo.close()


async def test_head_equals_the_models(url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, SQLModel.metadata))

    db = Database(url)
    await db.open()
    async with db.read() as session:
        connection = await session.connection()
        assert await connection.run_sync(differences) == []
    await db.close()


async def test_tags_stored_before_get_the_time_of_their_evidence(url: str) -> None:
    """Of their command, credential, session, aggregate or attacker, in that order; else of the tagging."""
    told = {
        "command": ("command", "c1", "s1", "2026-01-01 00:00:01"), "joined": ("command", "j1", "s1", "2026-01-01 00:00:05"),
        "secret": ("auth_attempt", "k1", "s1", "2026-01-01 00:00:03"), "session": ("session", "s1", "s1", "2026-01-01 00:00:05"),
        "aggregate": ("auth_attempt", "a#auth#4", None, "1970-01-01 00:20:00"), "odd": ("auth_attempt", "a#auth#x", None, None),
        "sight": ("session", "e", None, "2026-01-01 00:00:07"), "intel": ("intel", "a", None, None), "nobody": ("session", "e2", "gone", None),
    }  # fmt: skip
    made = "2027-05-05 05:05:05"
    db = Database(url)
    await db.open()
    async with db.write() as session:
        connection = await session.connection()
        await connection.run_sync(migrate.downgrade, "0008")
        for statement in (
            "INSERT INTO attacker (attacker_uuid, first_seen) VALUES ('a', '2026-01-01 00:00:07')",
            "INSERT INTO session (session_id, started_at) VALUES ('s1', '2026-01-01 00:00:05')",
            "INSERT INTO command (command_id, session_id, command_text, ts) VALUES ('c1', 's1', 'id', '2026-01-01 00:00:01')",
            "INSERT INTO credential (credential_id, attacker_uuid, first_seen) VALUES ('k1', 'a', '2026-01-01 00:00:03')",
        ):
            await session.execute(text(statement))
        insert = """INSERT INTO ttp_tag (uuid, source_kind, source_id, session_id, attacker_uuid, tactic, technique_id, confidence,
            rule_id, rule_version, attack_release, mitre_url, created_at) VALUES (:u, :k, :i, :s, 'a', 't', 'T1', 0.5, 'R', 1, '', '', '%s')"""
        for name, (kind, source, owner, _) in told.items():
            row = {"u": name, "k": kind, "i": source, "s": owner}
            await session.execute(text(insert % made), row)
    await db.close()
    repo = await BaseRepository.open(url)
    found = {row["uuid"]: row["seen_at"] for row in await repo.list_tags(limit=0)}
    await repo.close()
    assert found == {k: datetime.fromisoformat(v[3] or made).replace(tzinfo=UTC) for k, v in told.items()}


async def test_a_newer_schema_is_refused_with_its_version(url: str) -> None:
    db = Database(url)
    await db.open()
    async with db.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await session.execute(text("UPDATE schema_meta SET value = '42.0'"))
    await db.close()
    with pytest.raises(SchemaTooNew, match=r"9999.*42\.0"):
        await Database(url).open()


async def test_engines_that_start_together_migrate_once(url: str) -> None:
    """Each revision runs in one engine only, and every engine finds a schema that it can use."""
    made: list[str] = []

    def hear(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.strip().startswith("CREATE TABLE"):
            made.append(statement.split()[2])

    event.listen(Engine, "after_cursor_execute", hear)
    repos = [BaseRepository(Database(url)) for _ in range(4)]
    try:
        await asyncio.gather(*(repo.db.open() for repo in repos))
    finally:
        event.remove(Engine, "after_cursor_execute", hear)
    assert "attacker" in made
    assert len(made) == len(set(made)), "no table was made twice"
    async with repos[0].db.read() as session:
        stamps = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalars().all()
        query = text("SELECT value FROM schema_meta WHERE key = 'app_version'")
        assert stamps == [engine.SCHEMA]
        assert (await session.execute(query)).scalars().all() == [decnet.__version__]
    for n, repo in enumerate(repos):
        await repo.upsert_attacker(f"a{n}", None, 1.0)
        assert len(await repo.list_attackers()) == n + 1
    await asyncio.gather(*(repo.close() for repo in repos))


async def test_closed_database_says_so(url: str) -> None:
    with pytest.raises(DatabaseError, match="not open"):
        async with Database(url).read():
            pass


async def test_concurrent_writers_lose_nothing(url: str) -> None:
    """Two processes, here two Databases, count one row up together."""
    first, second = BaseRepository(Database(url)), BaseRepository(Database(url))
    await first.db.open()
    await second.db.open()
    work = [repo.failure_count_add("w", 1) for repo in (first, second) for _ in range(15)]
    counts = await asyncio.gather(*work)
    await first.close()
    await second.close()
    assert sorted(counts) == list(range(1, 31))


async def test_a_failed_start_on_a_newer_schema_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    repo = await BaseRepository.open(url)
    async with repo.db.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await session.execute(text("DELETE FROM schema_meta"))
    await repo.close()
    with pytest.raises(SchemaTooNew, match=r"9999, written by version unknown") as said:
        await Database(url).open()
    assert isinstance(said.value, DatabaseError)
    assert list(tmp_path.glob("*.bak")) == [], "what is refused is not copied either"
    with closing(sqlite3.connect(tmp_path / "new.sqlite")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


async def test_a_current_file_is_neither_copied_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    await (await BaseRepository.open(url)).close()

    def never(*_: object) -> None:
        raise AssertionError("a current schema was migrated")

    monkeypatch.setattr(migrate, "upgrade", never)
    db = Database(url)
    await db.open()
    await db.close()
    slow = Database(url)  # the long way round: somebody migrated between the look and the lock
    await slow.open(migrate=False)
    assert slow._writer is not None
    await migrate.migrate_database(slow._writer, slow.path)
    await slow.close()
    assert list(tmp_path.glob("*.bak")) == []


async def test_an_older_file_is_copied_before_it_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.sqlite"
    url = f"sqlite:///{path}"
    repo = await BaseRepository.open(url)
    await repo.upsert_attacker("a", "192.0.2.1", 1.0)
    await repo.close()
    monkeypatch.setattr(migrate, "head_revision", lambda: "9999")
    monkeypatch.setattr(engine, "SCHEMA", "9999")
    await (db := Database(url)).open()
    await db.close()
    (backup,) = tmp_path.glob("old.sqlite.*.bak")
    with closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("SELECT ip FROM attacker").fetchall() == [("192.0.2.1",)]
    assert backup.stat().st_mode & 0o777 == 0o600


async def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("half way")

    monkeypatch.setattr(migrate.decnet, "__version__", property(fail))
    db = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with pytest.raises(Exception, match=r"property|supported"):
        await db.open()
    with closing(sqlite3.connect(tmp_path / "x.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


async def test_sqlite_is_set_up_for_durability(tmp_path: Path) -> None:
    db = Database("sqlite:///sub/x.sqlite", data_dir=tmp_path)
    await db.open()
    assert db.path == tmp_path / "sub" / "x.sqlite"
    async with db.write() as session:
        pragmas = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        found = [(await session.execute(text(f"PRAGMA {p}"))).scalar_one() for p in pragmas]
    assert found == ["wal", 2, 5000, 1]
    with pytest.raises(Exception, match="readonly"):
        async with db.read() as session:
            await session.execute(text("DELETE FROM attacker"))
    await db.close()


async def test_a_reader_is_not_stopped_by_a_writer(tmp_path: Path) -> None:
    repo = await BaseRepository.open(f"sqlite:///{tmp_path / 'x.sqlite'}")
    async with repo.transaction() as tx:
        await tx.upsert_attacker("a", "192.0.2.1", 1.0)
        assert await asyncio.wait_for(repo.list_attackers(), 2) == []
    assert len(await repo.list_attackers()) == 1
    await repo.close()


async def test_disk_full_is_said_and_work_resumes(tmp_path: Path) -> None:
    repo = await BaseRepository.open(f"sqlite:///{tmp_path / 'x.sqlite'}")
    commands = [{"id": str(n), "command_text": "x" * 500, "ts": 1.0} for n in range(500)]
    async with repo.db.write() as session:
        pages = (await session.execute(text("PRAGMA page_count"))).scalar_one()
        await session.execute(text(f"PRAGMA max_page_count = {pages + 4}"))
    with pytest.raises(DiskFull):
        await repo.insert_commands("s", commands)
    with pytest.raises(DiskFull):
        async with repo.transaction() as tx, tx.savepoint():
            await tx.insert_commands("s", commands)
    async with repo.db.write() as session:
        await session.execute(text("PRAGMA max_page_count = 1000000"))
    await repo.insert_commands("s", commands)
    assert len(await repo.commands_of("s")) == 500
    await repo.close()


@pytest.mark.parametrize(
    "bad", ["mysql://h/x", "nonsense", "postgresql://u:p@127.0.0.1:1/x", "sqlite:////proc/none/x.sqlite"]
)
async def test_an_unusable_database_is_one_clear_error(bad: str) -> None:
    with pytest.raises(DatabaseError):
        await Database(bad).open()


def test_the_engine_knows_the_newest_revision() -> None:
    assert migrate.head_revision() == engine.SCHEMA


async def test_a_current_schema_is_opened_while_somebody_writes(tmp_path: Path) -> None:
    """A list command beside a busy engine took the writer's lock, and failed once."""
    url = f"sqlite:///{tmp_path / 'busy.sqlite'}"
    writer = await BaseRepository.open(url)
    async with writer.transaction():
        reader = await BaseRepository.open(url)
        assert await reader.list_tags() == []
        await reader.close()
    await writer.close()


async def test_a_new_database_file_is_private_in_an_open_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    database = Database(f"sqlite:///{tmp_path / 'd.sqlite'}")
    await database.open()
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    await database.close()
    assert modes["d.sqlite"] == 0o600
    assert set(modes.values()) == {0o600}


async def test_a_lost_connection_is_said_and_work_resumes(tmp_path: Path) -> None:
    async with open_repo("postgresql", tmp_path) as repo:
        with pytest.raises(DatabaseError, match="cannot be reached"):  # noqa: PT012
            async with repo.transaction() as bound, bound._write() as session:
                await bound.upsert_attacker("a", None, 1.0)
                own = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
                async with repo.db.write() as other:
                    await other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": own})
                await bound.upsert_attacker("b", None, 1.0)
        assert await repo.list_attackers() == [], "nothing of it was kept"
        await repo.upsert_attacker("c", None, 1.0)
        assert len(await repo.list_attackers()) == 1


async def test_a_locked_database_is_named_and_work_goes_on(tmp_path: Path) -> None:
    """Another process holds the writer's lock for longer than we wait."""
    repo = await BaseRepository.open(f"sqlite:///{tmp_path / 'x.sqlite'}")
    async with repo.db.write() as session:
        await session.execute(text("PRAGMA busy_timeout=0"))
    with closing(sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseError, match=rf"locked by process {os.getpid()} "):
            await repo.upsert_attacker("a", None, 1.0)
        assert await repo.list_attackers() == [], "readers do not wait for a writer"
        other.execute("ROLLBACK")
    await repo.upsert_attacker("a", None, 1.0)
    assert len(await repo.list_attackers()) == 1
    await repo.close()
