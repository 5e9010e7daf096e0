"""The SQLite driver's connection, which can be closed whoever else asked for that before, and outlive its event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from threading import Thread

import aiosqlite
from sqlalchemy.engine import URL

_ROWS_AT_ONCE = 64


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
