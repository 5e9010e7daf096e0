"""A database that is only looked at gives the rows that any other way gives, can be written by nobody, and loads little."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from decnet.db.engine import SCHEMA
from decnet.db.looking import LookedAt
from decnet.db.repository import BaseRepository
from decnet.db.repository.looking import look
from decnet.errors import DatabaseError
from decnet.ids import attacker_id
from tests.rowkit import TABLES, put

ATTACKER = attacker_id("192.0.2.1")
NOW = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """A database with a session, its attacker and a dead letter."""
    found = f"sqlite:///{tmp_path / 'd.sqlite'}"
    repo = await BaseRepository.open(found)
    await put(repo, "attacker", {"attacker_uuid": ATTACKER, "ip": "192.0.2.1", "last_seen": NOW})
    await put(repo, "session", {"session_id": "s", "attacker_uuid": ATTACKER, "started_at": NOW})
    tag = {"uuid": "t", "session_id": "s", "attacker_uuid": ATTACKER, "seen_at": NOW, "created_at": NOW}
    await put(repo, "ttp_tag", {**tag, "evidence": {"n": [1.5, "\u2028"]}})
    await repo.close()
    return found


async def test_rows_are_those_of_the_whole_repository(url: str) -> None:
    whole, some = await BaseRepository.open(url), await look(url)
    try:
        assert isinstance(some.db, LookedAt)
        assert await some.list_sessions() == await whole.list_sessions() != []
        assert await some.list_tags() == await whole.list_tags() != []
        assert await some.list_tags(attacker="192.0.2.1", since=NOW) == await whole.list_tags() != []
        assert await some.list_attackers() == await whole.list_attackers() != []
        assert await some.tagging_figures() == await whole.tagging_figures(), "asked of the whole one"
        assert (await some.list_sessions())[0]["started_at"] == NOW
    finally:
        await whole.close()
        await some.close()


async def test_nothing_can_be_written(url: str) -> None:
    repo = await look(url)
    try:
        with pytest.raises(DatabaseError, match="only looked at"):
            await repo.heartbeats_write({"ttp": {}})
        with pytest.raises(Exception, match="readonly"):
            async with repo.db.read() as session:
                await session.execute(TABLES["attacker"].delete())
        assert len(await repo.list_attackers()) == 1
    finally:
        await repo.close()
    with pytest.raises(AttributeError):
        repo.no_such_question  # noqa: B018


async def test_reads_within_reads_do_not_wait_for_each_other(url: str) -> None:
    repo = await look(url)
    try:
        async with (
            repo.db.read(),
            repo.db.read(),
            repo.db.read(),
            repo.db.read(),
            repo.db.read(),
            repo.db.read(),
        ):
            assert len(await repo.list_attackers()) == 1
    finally:
        await repo.close()


async def test_a_schema_of_another_version_is_for_the_whole_repository(url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "d.sqlite")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match=r"later|newer"):
        await look(url)
    new = await look(f"sqlite:///{tmp_path / 'new.sqlite'}")
    try:
        assert not isinstance(new.db, LookedAt)
        assert await new.list_attackers() == []
    finally:
        await new.close()
    with closing(sqlite3.connect(tmp_path / "new.sqlite")) as db:
        assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [(SCHEMA,)]


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.sqlite").write_bytes(b"no database " * 100)
    with pytest.raises(DatabaseError, match=r"d\.sqlite is no database"):
        await look(f"sqlite:///{tmp_path / 'd.sqlite'}")


async def test_who_has_the_whole_file_is_told(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decnet.db.engine.READ_TIMEOUT_MS", 50)
    with closing(sqlite3.connect(tmp_path / "d.sqlite", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseError, match="locked by"):
            await look(url)


async def test_a_list_loads_little(url: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom decnet_tui.cli.main import app\n"
        f"app(['sessions', '--limit', '1', '--db', {url!r}], standalone_mode=False)\n"
        "heavy = {'sqlmodel', 'sqlalchemy.orm', 'sqlalchemy.ext.asyncio', 'pydantic', 'yaml', 'structlog', 'aiosqlite', 'nats'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert 'decnet.db.repository.whole' not in sys.modules"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DECNET_")}
    env = {**kept, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "192.0.2.1" in done.stdout or "2026-03-01 12:00:00Z" in done.stdout
