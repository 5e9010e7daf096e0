"""The schema's version: look, copy, upgrade, refuse.

The revisions live in ``migrations/`` inside the package. An older SQLite file is copied before it
is touched; a schema that a later version wrote is refused.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

import decnet
from decnet.errors import DatabaseError, SchemaTooNew
from decnet.logs import get_logger

log = get_logger(__name__)
_MIGRATION_LOCK = 0x0DEC_4E37


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration for the packaged revisions; ``connection`` is what they run on."""
    config = Config()
    config.set_main_option("script_location", str(files("decnet.db") / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def head_revision() -> str:
    """The revision of this version of the program."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise DatabaseError("no migrations are installed with the package")
    return head


def current_revision(connection: Connection) -> str | None:
    """The revision of the database; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def _check(connection: Connection) -> str | None:
    """The current revision. Raises SchemaTooNew when this version does not know it."""
    current = current_revision(connection)
    script = ScriptDirectory.from_config(alembic_config())
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        wanted = _writer_version(connection)
        raise SchemaTooNew(
            f"the database has schema {current}, written by version {wanted}; this is {decnet.__version__}: "
            f"use version {wanted} or later, or another data directory"
        )
    return current


def _writer_version(connection: Connection) -> str:
    if "schema_meta" not in inspect(connection).get_table_names():
        return "unknown"
    row = connection.execute(text("SELECT value FROM schema_meta WHERE key = 'app_version'")).first()
    return str(row[0]) if row else "unknown"


def _copy(path: Path, revision: str) -> Path:
    """A consistent copy of a live SQLite file beside it; an earlier copy of that revision is replaced."""
    target = path.with_name(f"{path.name}.{revision}.bak")
    target.unlink(missing_ok=True)
    # Private before there is anything in it: the directory may be open to others.
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target


def upgrade(connection: Connection) -> None:
    """Takes the schema to head. Raises SchemaTooNew."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    _check(connection)
    command.upgrade(alembic_config(connection), "head")
    connection.execute(text("DELETE FROM schema_meta WHERE key = 'app_version'"))
    connection.execute(
        text("INSERT INTO schema_meta (key, value) VALUES ('app_version', :version)"),
        {"version": decnet.__version__},
    )


def downgrade(connection: Connection, revision: str) -> None:
    """Takes the schema back to ``revision`` (``base`` for nothing at all)."""
    command.downgrade(alembic_config(connection), revision)


async def migrate_database(engine: AsyncEngine, path: Path | None) -> None:
    """Brings the schema to head, in one transaction; engines that start together wait for each other.

    ``path`` is the SQLite file, which is copied before an older schema is changed. Raises SchemaTooNew.
    """
    async with engine.begin() as connection:
        current = await connection.run_sync(_check)
    head = head_revision()
    if current == head:
        return
    if current is not None:
        copy = await asyncio.to_thread(_copy, path, current) if path is not None else None
        log.warning(
            "database schema is older and is migrated", old=current, new=head, copy=str(copy or "none")
        )
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
