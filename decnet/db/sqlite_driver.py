"""The SQLite driver's connection, which can be closed whoever else asked for that before, and outlive its event loop.

A statement is one way to the driver's thread and back, with all its rows: a cursor that is made, run, read and closed
there costs four. A transaction that only reads begins with its first statement, on the same way, and nobody waits for
its end: a read of one statement is one way instead of four.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, NamedTuple

import aiosqlite
from sqlalchemy.engine import URL

_ROWS_AT_ONCE = 64
BEGIN = "BEGIN"
"""How a transaction begins that only reads; those that write say more."""
BEGIN_WRITING = "BEGIN IMMEDIATE"
"""How one begins that writes: it waits for its turn here, and never in the middle."""
TURN_S = 0.001
"""Seconds between two tries to get the turn. SQLite's own are up to 100 ms apart: of a busy engine, which frees the file
for moments only, a command of another process would get none (https://sqlite.org/c3ref/busy_timeout.html).
"""


class _Ran(NamedTuple):
    """What a statement came to."""

    description: Any
    lastrowid: int | None
    rowcount: int
    rows: Sequence[Any]


def _run(connection: sqlite3.Connection, many: bool, text: str, parameters: Any, first: str = "") -> _Ran:
    """One statement from its beginning to its end, in the driver's thread; ``first`` goes before it."""
    cursor = connection.cursor()
    try:
        if first:
            cursor.execute(first)
        if text == BEGIN_WRITING:
            _begin_writing(cursor)
            return _NOTHING
        (cursor.executemany if many else cursor.execute)(text, parameters)
        rows = cursor.fetchall() if cursor.description else ()
        return _Ran(cursor.description, cursor.lastrowid, cursor.rowcount, rows)
    finally:
        cursor.close()


_NOTHING = _Ran(None, None, -1, ())


def _begin_writing(cursor: sqlite3.Cursor) -> None:
    """Takes the turn of who writes, within the connection's own patience. Raises sqlite3.OperationalError after it."""
    patience_ms = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
    cursor.execute("PRAGMA busy_timeout=0")
    until = time.monotonic() + patience_ms / 1000
    try:
        while True:
            try:
                cursor.execute(BEGIN_WRITING)
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                    raise
            time.sleep(TURN_S)
    finally:
        cursor.execute(f"PRAGMA busy_timeout={patience_ms}")


class _Cursor:
    """As much of the driver's cursor as SQLAlchemy asks for; nothing of it is left open."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._ran = _NOTHING

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

    def __init__(self, opens: Callable[[], sqlite3.Connection], *, only_reads: bool = False) -> None:
        """``opens`` opens the file; ``only_reads`` says that nothing is ever written over this connection."""
        super().__init__(opens, _ROWS_AT_ONCE)
        self._only_reads = only_reads
        self._first = ""
        """The BEGIN of a transaction that has read nothing yet: SQLite, too, does nothing for it before that."""
        self._ended = False
        """Whether nothing was asked of the thread since the end of the last transaction."""
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
        if self._only_reads and text == BEGIN:
            self._first = text
            return _NOTHING
        first, self._first, self._ended = self._first, "", False
        found: _Ran = await self._execute(_run, self._conn, many, text, parameters, first)  # type: ignore[no-untyped-call]
        return found

    async def commit(self) -> None:
        """Ends the transaction. Raises sqlite3.Error."""
        if not self._is_over():
            await super().commit()
            self._ended = True

    async def rollback(self) -> None:
        """Undoes the transaction, if one is open. Raises sqlite3.Error."""
        if not self._is_over():
            await super().rollback()
            self._ended = True

    def _is_over(self) -> bool:
        """Whether there is nothing to end; what only reads is ended here, behind what the thread is at."""
        nothing_read, self._first = bool(self._first), ""
        if self._only_reads and not self._ended:
            if not nothing_read:
                self._tx.put_nowait((None, self._conn.rollback))
            self._ended = True
        return self._ended

    def stop(self) -> asyncio.Future[None] | None:
        """Asks the thread to end; the answer to await, or None when it was asked before."""
        if self._asked_to_stop:
            return None
        self._asked_to_stop = True
        return super().stop()


def connecting(url: URL, *, only_reads: bool = False) -> Callable[[], Awaitable[SqliteConnection]]:
    """What opens a connection to the file of a URL, in autocommit; a lock is not waited for until a pragma says so."""
    arguments, options = url.get_dialect()().create_connect_args(url)
    opens = partial(sqlite3.connect, *arguments, **{**options, "isolation_level": None, "timeout": 0})

    async def connect() -> SqliteConnection:
        connection = SqliteConnection(opens, only_reads=only_reads)
        await connection
        return connection

    return connect
