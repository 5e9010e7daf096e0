"""The SQLite driver's connection, which can be closed whoever else asked for that before, and outlive its event loop.

A statement is one way to the driver's thread and back, with all its rows: a cursor that is made, run, read and closed
there costs four.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, NamedTuple

import aiosqlite
from sqlalchemy.engine import URL

_ROWS_AT_ONCE = 64


class _Ran(NamedTuple):
    """What a statement came to."""

    description: Any
    lastrowid: int | None
    rowcount: int
    rows: Sequence[Any]


def _run(connection: sqlite3.Connection, many: bool, text: str, parameters: Any) -> _Ran:
    """One statement from its beginning to its end, in the driver's thread."""
    cursor = connection.cursor()
    try:
        (cursor.executemany if many else cursor.execute)(text, parameters)
        rows = cursor.fetchall() if cursor.description else ()
        return _Ran(cursor.description, cursor.lastrowid, cursor.rowcount, rows)
    finally:
        cursor.close()


class _Cursor:
    """As much of the driver's cursor as SQLAlchemy asks for; nothing of it is left open."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._ran = _Ran(None, None, -1, ())

    @property
    def description(self) -> Any:
        """The columns; None where there are no rows to come."""
        return self._ran.description

    @property
    def lastrowid(self) -> int | None:
        """As the standard library has it."""
        return self._ran.lastrowid

    @property
    def rowcount(self) -> int:
        """As the standard library has it."""
        return self._ran.rowcount

    async def execute(self, text: str, parameters: Iterable[Any] = ()) -> None:
        """Runs a statement. Raises sqlite3.Error."""
        self._ran = await self._connection.ran(text, parameters, many=False)

    async def executemany(self, text: str, parameters: Iterable[Iterable[Any]]) -> None:
        """Runs a statement for many rows. Raises sqlite3.Error."""
        self._ran = await self._connection.ran(text, parameters, many=True)

    async def fetchall(self) -> Sequence[Any]:
        """All rows."""
        return self._ran.rows

    async def close(self) -> None:
        """Nothing is open."""


class SqliteConnection(aiosqlite.Connection):
    """A connection whose thread is asked once to end.

    A task that is cancelled twice makes SQLAlchemy end the thread while its own graceful close still waits; that
    close then asks the ended thread once more, and nobody answers: the event loop could never be closed.
    """

    _asked_to_stop = False

    def __init__(self, opens: Callable[[], sqlite3.Connection]) -> None:
        """``opens`` opens the file."""
        super().__init__(opens, _ROWS_AT_ONCE)
        driver = self._thread

        def works() -> None:
            with suppress(
                RuntimeError
            ):  # the loop is closed: of what was broken off nobody waits for the answer
                driver.run()

        self._thread = Thread(target=works, daemon=True, name="sqlite")

    async def cursor(self) -> Any:  # type: ignore[override]
        """A cursor; see the module."""
        return _Cursor(self)

    async def ran(self, text: str, parameters: Any, *, many: bool) -> _Ran:
        """What a statement comes to. Raises sqlite3.Error."""
        found: _Ran = await self._execute(_run, self._conn, many, text, parameters)  # type: ignore[no-untyped-call]
        return found

    def stop(self) -> asyncio.Future[None] | None:
        """Asks the thread to end; the answer to await, or None when it was asked before."""
        if self._asked_to_stop:
            return None
        self._asked_to_stop = True
        return super().stop()


def connecting(url: URL) -> Callable[[], Awaitable[SqliteConnection]]:
    """What opens a connection to the file of a URL, in autocommit; a lock is not waited for until a pragma says so."""
    arguments, options = url.get_dialect()().create_connect_args(url)
    opens = partial(sqlite3.connect, *arguments, **{**options, "isolation_level": None, "timeout": 0})

    async def connect() -> SqliteConnection:
        connection = SqliteConnection(opens)
        await connection
        return connection

    return connect
