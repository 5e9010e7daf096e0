"""The schema of a new SQLite file in one go, as the revisions make it; ``python -m decnet.db.fresh`` writes it anew.

Most files that are opened without a schema are new. The revisions one after the other, and the library that
runs them, would cost every first start half a second and 20 MB: they are for files that hold something.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncEngine

import decnet

SCRIPT = Path(__file__).parent.parent / "_data" / "schemas" / "fresh_sqlite.sql"
_END = "\n;\n"


async def made_fresh(engine: AsyncEngine) -> bool:
    """Fills a SQLite file that holds nothing at all, in one transaction; False for every other one."""
    script = await asyncio.to_thread(SCRIPT.read_text, "ascii")
    async with engine.begin() as connection:
        # Looked up behind the write lock: of engines that start together one fills the file.
        found = await connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        if found.scalar_one():
            return False
        for statement in filter(None, script.split(_END)):
            await connection.exec_driver_sql(statement)
        version = "INSERT INTO schema_meta (key, value) VALUES ('app_version', ?)"
        await connection.exec_driver_sql(version, (decnet.__version__,))
    return True


def script_of(path: Path) -> str:
    """What makes a file with the schema, and the revision, of the one at ``path``."""
    with closing(sqlite3.connect(path)) as db:
        made = db.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid"
        ).fetchall()
        (revision,) = db.execute("SELECT version_num FROM alembic_version").fetchone()
    stamp = f"INSERT INTO alembic_version (version_num) VALUES ('{revision}')"  # noqa: S608  our own number
    return "".join(statement + _END for statement in (*(sql for (sql,) in made), stamp))


def migrated(path: Path) -> None:
    """Makes a file by the revisions alone."""
    from decnet.db.engine import set_up
    from decnet.db.migrate import upgrade  # here: a start has no need of it

    engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None})
    set_up(engine, begin="BEGIN IMMEDIATE", read_only=False)
    try:
        with engine.begin() as connection:
            upgrade(connection)
    finally:
        engine.dispose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new.sqlite"
        migrated(file)
        SCRIPT.write_text(script_of(file), encoding="ascii")
