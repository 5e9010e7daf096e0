"""A SQLite file that is only looked at, by one task: SQLAlchemy's statements without its sessions, which load slowly.

It is for commands that print and end. While a statement runs the event loop waits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import OperationalError, ProgrammingError

from decnet.db.engine import SCHEMA, Database, set_up, translated
from decnet.errors import DatabaseError
from decnet.jsontext import dumps, loads


class _Session:
    """As much of a session as reading asks for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        """What a statement comes to."""
        return self._connection.execute(statement, parameters)


class LookedAt(Database):
    """One SQLite database of this version's schema; ``close`` after use. Nothing can be written."""

    def __init__(self, url: str) -> None:
        """Raises DatabaseError when the URL is of no known kind."""
        super().__init__(url)
        plain = self.url.set(drivername="sqlite")
        arguments, options = plain.get_dialect()().create_connect_args(plain)
        opens = partial(sqlite3.connect, *arguments, **{**options, "isolation_level": None, "timeout": 0})
        self._engine: Engine = create_engine(
            plain, creator=opens, max_overflow=-1, json_serializer=dumps, json_deserializer=loads
        )
        set_up(self._engine, begin="BEGIN", read_only=True)

    def can_be_read(self) -> bool:
        """Whether there is a file with a schema of this version; all else is for who opens it in full. Raises DatabaseError."""
        if self.path is None or not self.path.is_file():
            return False
        try:
            with translated(self.path), self._engine.begin() as connection:
                found = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
                return [row[0] for row in found] == [SCHEMA]
        except (OperationalError, ProgrammingError):
            return False

    async def open(self, migrate: bool = True) -> None:
        """Nothing is left to be done."""

    async def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        """One consistent read. Raises DatabaseError."""
        with translated(self.path), self._engine.begin() as connection:
            yield _Session(connection)

    def write(self, *, told: bool = True) -> NoReturn:
        """Raises DatabaseError."""
        raise DatabaseError("this database is only looked at")
