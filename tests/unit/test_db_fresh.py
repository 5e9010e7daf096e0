"""A new SQLite file gets its schema in one go: the same that the revisions make, whole or not at all."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import decnet
from decnet.db import fresh
from decnet.db.engine import Database

OPENING = """
import asyncio, sys
from decnet.db.engine import Database
async def main():
    db = Database(sys.argv[1])
    await db.open()
    await db.close()
asyncio.run(main())
print("alembic" in sys.modules)
"""


async def opened(path: Path) -> None:
    db = Database(f"sqlite:///{path}")
    await db.open()
    await db.close()


def test_the_script_is_what_the_revisions_make(tmp_path: Path) -> None:
    fresh.migrated(tmp_path / "old.sqlite")
    assert fresh.script_of(tmp_path / "old.sqlite") == fresh.SCRIPT.read_text("ascii"), (
        "python -m decnet.db.fresh"
    )


async def test_a_new_file_equals_one_made_by_the_revisions(tmp_path: Path) -> None:
    await opened(tmp_path / "new.sqlite")
    fresh.migrated(tmp_path / "old.sqlite")
    for statement in ("SELECT type, name, tbl_name, sql FROM sqlite_master", "SELECT * FROM schema_meta"):
        found = []
        for name in ("new.sqlite", "old.sqlite"):
            with closing(sqlite3.connect(tmp_path / name)) as db:
                found.append(sorted(map(str, db.execute(statement))))
        assert found[0] == found[1]
        assert found[0]
    with closing(sqlite3.connect(tmp_path / "new.sqlite")) as db:
        version = db.execute("SELECT value FROM schema_meta WHERE key = 'app_version'").fetchall()
        assert version == [(decnet.__version__,)]


def test_a_first_start_has_no_need_of_the_library_that_runs_revisions(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPENING, f"sqlite:///{tmp_path / 'new.sqlite'}"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["False"]


async def test_a_file_that_holds_something_is_for_the_revisions(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE notes_of_somebody (text TEXT)")
    await opened(path)
    with closing(sqlite3.connect(path)) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"notes_of_somebody", "attacker", "alembic_version"} <= tables


async def test_what_breaks_in_the_middle_leaves_a_file_that_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.sql"
    broken.write_text("CREATE TABLE attacker (x)\n;\nCREATE NONSENSE\n;\n", "ascii")
    with monkeypatch.context() as patched:
        patched.setattr(fresh, "SCRIPT", broken)
        with pytest.raises(Exception, match="NONSENSE"):
            await opened(tmp_path / "new.sqlite")
    with closing(sqlite3.connect(tmp_path / "new.sqlite")) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == []
    await opened(tmp_path / "new.sqlite")
