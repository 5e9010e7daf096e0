"""Connections: one writer and several readers on SQLite, a pool on PostgreSQL.

The driver's own transaction handling loses concurrent updates on SQLite (it begins late, and not
immediately), so the driver runs in autocommit and every transaction is begun here by hand.
Statements live in the repository, the schema in ``migrate.py``.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from decnet.db.blocked import APPLICATION, PATIENCE_S, SOMEBODY, SqliteLook, holder, postgres_blocker
from decnet.db.many import Many
from decnet.db.written import Written
from decnet.errors import DatabaseError, DiskFull
from decnet.jsontext import dumps, loads

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    from decnet.db.sqlite_driver import SqliteConnection

SCHEMA = "0030"
"""The newest revision in ``migrations``; a test holds the two together."""
BUSY_TIMEOUT_MS = 5000
READ_TIMEOUT_MS = 2000
"""Readers wait for nobody but who has the whole file to himself; that is to be said soon."""
LOOK_PATIENCE_S = 0.2
"""Seconds that a look for commits of others waits for our own writer."""
READERS = 4
READER_PAGES_KB, WRITER_PAGES_KB = 2_000, 16_000
CONTACT_TRIES = 25
CONTACT_S = 2.5
PG_POOL = 8
PG_OVERFLOW = 8
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_PG_DISK_FULL = "53100"
_BUSY_STATES = ("40001", "40P01", "55P03", "53")
"""Somebody else was first, or the server has too much to do: never the fault of what was to be written."""
_PG_ARGS = {"timeout": 10, "server_settings": {"application_name": APPLICATION}}
_PG_IO = "58030"
_UNREACHABLE_STATES = ("08", "57P", "28", "3D")


def _driver_url(url: str) -> URL:
    """The URL with our drivers. Raises DatabaseError for a kind that is not known, or whose driver is missing."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseError(
            "the database URL cannot be read; known: sqlite:///FILE, postgresql://…"
        ) from error
    kind = parsed.get_backend_name()
    if kind == "postgres":
        kind = "postgresql"
    if kind not in _DRIVERS:
        raise DatabaseError(f"unknown database {kind!r}; known: {', '.join(_DRIVERS)}")
    if kind == "postgresql" and find_spec("asyncpg") is None:
        raise DatabaseError("PostgreSQL needs the extra postgres: pip install 'decnet-tui[postgres]'")
    return parsed.set(drivername=_DRIVERS[kind])


def _make_private(path: Path) -> None:
    """The file, if there is none yet, for its owner only; SQLite's side files take its mode over.

    Its directory may be open to others: systemd makes a state directory that everybody can read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and everything it came from; a failed savepoint hides the reason behind it."""
    seen: dict[int, BaseException] = {}
    todo: list[BaseException | None] = [error]
    while todo:
        found = todo.pop()
        if found is not None and id(found) not in seen:
            seen[id(found)] = found
            todo += [found.__cause__, found.__context__]
    yield from seen.values()


def _is_disk_full(error: BaseException) -> bool:
    return any(
        "database or disk is full" in str(e) or getattr(e, "sqlstate", None) == _PG_DISK_FULL
        for e in _chain(error)
    )


def _is_disk_trouble(error: BaseException) -> bool:
    """A disk that refuses for another reason than that it is full: a quota, a limit on the length of files, a fault."""
    return any(
        (isinstance(e, sqlite3.OperationalError) and str(e).startswith("disk I/O error"))
        or getattr(e, "sqlstate", None) == _PG_IO
        for e in _chain(error)
    )


def _is_unreachable(error: BaseException) -> bool:
    if isinstance(error, OSError) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return True
    states = [str(getattr(e, "sqlstate", None) or "") for e in _chain(error)]
    return any(s.startswith(_UNREACHABLE_STATES) for s in states) or "unable to open database" in str(error)


def _is_locked(error: BaseException) -> bool:
    return any(
        isinstance(e, (sqlite3.OperationalError, OperationalError)) and "is locked" in str(e)
        for e in _chain(error)
    )


def _is_none(error: BaseException) -> bool:
    """Whether a file is no SQLite database, or none any longer."""
    said = ("file is not a database", "database disk image is malformed")
    return any(isinstance(e, sqlite3.DatabaseError) and str(e).startswith(said) for e in _chain(error))


def _is_busy(error: BaseException) -> bool:
    return any(str(getattr(e, "sqlstate", None) or "").startswith(_BUSY_STATES) for e in _chain(error))


def _why_shut(path: Path) -> str:
    """Why SQLite, which does not say it, cannot open a file; it writes beside it, also to read."""
    try:
        if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
            return "its file system is read-only"
    except OSError as error:
        return str(error.strerror)
    places = [
        place for place in (path, path.parent) if place.exists() and not os.access(place, os.R_OK | os.W_OK)
    ]
    return f"{places[0]} may not be written" if places else "SQLite does not say why"


def _errors() -> tuple[type[Exception], ...]:
    """What a database may raise; a server that refuses a connection does so past SQLAlchemy."""
    driver = sys.modules.get("asyncpg")
    return (SQLAlchemyError, OSError) if driver is None else (SQLAlchemyError, OSError, driver.PostgresError)


@contextmanager
def translated(path: Path | None = None) -> Iterator[None]:
    """Turns a driver's words for "no room", "not there" and "in use" into DiskFull and DatabaseError.

    ``path`` is the SQLite file, whose lock's owner is named. Every other database error passes unchanged: it is about one statement, not about the database.
    """
    try:
        yield
    except _errors() as error:
        if _is_disk_full(error):
            raise DiskFull(
                "no room left where the database lives; make room, work resumes by itself"
            ) from error
        if _is_disk_trouble(error):
            raise DatabaseError(
                "the disk under the database refuses (a fault of it, a quota or a limit on files); work resumes by itself"
            ) from error
        if path is not None and "unable to open database" in str(error):
            raise DatabaseError(f"the database {path} cannot be opened: {_why_shut(path)}") from error
        if _is_unreachable(error):
            raise DatabaseError(f"the database cannot be reached: {type(error).__name__}") from error
        if _is_locked(error):
            who = holder(path) if path else SOMEBODY
            raise DatabaseError(f"the database is locked by {who}") from error
        if _is_none(error):
            which = f"{path} is" if path else "the file is"
            raise DatabaseError(
                f"{which} no database, or a damaged one: move it away, or name another"
            ) from error
        if _is_busy(error):
            raise DatabaseError("the database is too busy: a conflict or no resources") from error
        raise


def _async_engine(url: URL, **options: Any) -> AsyncEngine:
    """An engine for many tasks at once."""
    from sqlalchemy.ext.asyncio import create_async_engine  # here: who only looks needs no sessions

    return create_async_engine(url, json_serializer=dumps, json_deserializer=loads, **options)


def _sqlite_engine(url: URL, *, begin: str, size: int, read_only: bool) -> AsyncEngine:
    """An engine whose transactions start with ``begin`` and whose driver never begins by itself."""
    from decnet.db.sqlite_driver import connecting

    engine = _async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=60,
        async_creator=connecting(url, only_reads=read_only),
    )
    set_up(engine.sync_engine, begin=begin, read_only=read_only)
    return engine


def set_up(engine: Engine, *, begin: str, read_only: bool) -> None:
    """Makes each connection to a SQLite file what it has to be, and each transaction start with ``begin``."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in _pragmas(read_only):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def _pragmas(read_only: bool) -> list[str]:
    """The time-out comes last: the switch to WAL does not wait, who connects tries again for it.

    Each reader has pages of its own, and what it reads the system has in memory anyway.
    """
    pages = READER_PAGES_KB if read_only else WRITER_PAGES_KB
    shared = ["foreign_keys=ON", "temp_store=MEMORY", f"cache_size=-{pages}"]
    own = ["query_only=ON"] if read_only else ["journal_mode=WAL", "synchronous=FULL"]
    return [*shared, *own, f"busy_timeout={READ_TIMEOUT_MS if read_only else BUSY_TIMEOUT_MS}"]


class Database:
    """One database. ``open`` before use, ``close`` after; both may be called twice."""

    def __init__(self, url: str, *, data_dir: Path | None = None) -> None:
        """``url`` is ``sqlite:///path`` or ``postgresql://…``; ``data_dir`` is the base of a relative path.

        Raises DatabaseError when the URL is of no known kind.
        """
        self.url = _driver_url(url)
        self.dialect = self.url.get_backend_name()
        if self.dialect == "sqlite" and data_dir and self.url.database:
            self.url = self.url.set(database=str(data_dir / self.url.database))
        self._lock = asyncio.Lock()
        self._writer: AsyncEngine | None = None
        self._reader: AsyncEngine | None = None
        self._looker: AsyncEngine | None = None
        self._look = SqliteLook(self.path) if self.path is not None else None
        self._writing = False
        self._transactions = 0
        """Transactions that had the write lock and ended."""
        self._looked = 0
        """How many of them there were at the last look for others."""
        self._many: dict[Hashable, Many] = {}
        self.written = Written(self._others_wrote)
        """Who waits for rows waits here."""
        self._writes_on: SqliteConnection | None = None
        self._state_of_others: object = None
        """What a look for commits of others saw last."""

    def many(self, key: Hashable, statement: Callable[[], Any], names: tuple[str, ...]) -> Many:
        """A write for rows with these keys, compiled at the first call; ``key`` stands for the statement."""
        assert self._writer is not None
        found = self._many.get((key, names))
        if found is None:
            found = self._many[key, names] = Many(statement(), self._writer.dialect, names)
        return found

    @property
    def path(self) -> Path | None:
        """The SQLite file; None on PostgreSQL."""
        return Path(self.url.database) if self.dialect == "sqlite" and self.url.database else None

    async def open(self, migrate: bool = True) -> None:
        """Connects and brings the schema to this version.

        Raises DatabaseError when unreachable, SchemaTooNew when a later version wrote it, DiskFull.
        """
        if self._writer is not None:
            return
        self._make_engines()
        try:
            with translated(self.path):
                await self._prepare(migrate)
        except BaseException:
            await self.close()
            raise

    async def _prepare(self, migrate: bool) -> None:
        assert self._writer is not None
        if migrate and await self._is_current():
            return
        if self.path is not None:
            await asyncio.to_thread(_make_private, self.path)
        await self._first_contact(self._writer)
        if not migrate:
            return
        if self.path is not None:
            from decnet.db.fresh import made_fresh  # here: most starts find the schema current

            if await made_fresh(self._writer):
                return
        from decnet.db.migrate import migrate_database

        await migrate_database(self._writer, self.path)

    async def _is_current(self) -> bool:
        """Whether the schema is this version's, looked up without taking the writer's lock."""
        assert self._reader is not None
        if self.path is not None and not await asyncio.to_thread(self.path.is_file):
            return False
        try:
            async with self._reader.connect() as connection:
                found = await connection.exec_driver_sql("SELECT version_num FROM alembic_version")
                return [row[0] for row in found] == [SCHEMA]
        except (OperationalError, ProgrammingError):
            return False

    async def _first_contact(self, engine: AsyncEngine) -> None:
        """Connects once; the switch to WAL does not wait for other engines by itself, so we do."""
        for attempt in range(CONTACT_TRIES):
            try:
                async with engine.connect():
                    return
            except OperationalError as error:
                if "locked" not in str(error) or attempt == CONTACT_TRIES - 1:
                    raise
            await asyncio.sleep(CONTACT_S / CONTACT_TRIES)

    def _make_engines(self) -> None:
        if self.dialect == "sqlite":
            from decnet.db.sqlite_driver import BEGIN, BEGIN_WRITING  # here: who only looks needs no thread

            self._writer = _sqlite_engine(self.url, begin=BEGIN_WRITING, size=1, read_only=False)
            event.listen(self._writer.sync_engine, "begin", self._began)
            event.listen(self._writer.sync_engine, "connect", self._connected)
            self._reader = _sqlite_engine(self.url, begin=BEGIN, size=READERS, read_only=True)
            return
        self._writer = self._reader = _async_engine(
            self.url, pool_size=PG_POOL, max_overflow=PG_OVERFLOW, pool_pre_ping=True, connect_args=_PG_ARGS
        )

    def _began(self, _connection: Connection) -> None:
        """Called after the write lock is ours."""
        self._writing = True

    def _connected(self, connection: Any, _record: Any) -> None:
        """Called with the writer's connection, and with the next one when that is lost."""
        self._writes_on = connection.driver_connection

    async def close(self) -> None:
        """Closes every connection."""
        engines = {id(e): e for e in (self._reader, self._writer, self._looker) if e is not None}
        self._writer = self._reader = self._looker = None
        self._writes_on = None
        for engine in engines.values():
            await engine.dispose()
        if self._look is not None and self._look.is_open:
            await asyncio.to_thread(self._look.close)

    @asynccontextmanager
    async def write(self, *, told: bool = True) -> AsyncIterator[AsyncSession]:
        """One write transaction: commit on exit, rollback on error.

        SQLite has one writer, so callers wait here for each other instead of in the driver; a task
        must not open a second one inside the first. Raises DiskFull and DatabaseError. Nobody waits for what
        is not ``told``.
        """
        if self.dialect != "sqlite":
            async with self._session(self._writer) as session:
                yield session
        else:
            async with self._lock:
                try:
                    async with self._session(self._writer) as session:
                        yield session
                finally:
                    self._transactions += self._writing
                    self._writing = False
        if told:
            self.written.note()

    async def _others_wrote(self) -> bool:
        """Whether another process has committed since the last look; True as well where that cannot be told."""
        try:
            state = await (self._data_version() if self.dialect == "sqlite" else self._snapshot())
        except (SQLAlchemyError, sqlite3.Error, OSError, ValueError):
            return True  # who reads then says what is wrong
        if state is None:
            return True
        before, self._state_of_others = self._state_of_others, state
        return state != before

    async def _data_version(self) -> object:
        """A number of the writer's connection that only the commits of all others move; None while it is at work for long.

        https://sqlite.org/pragma.html#pragma_data_version
        """
        try:
            async with asyncio.timeout(LOOK_PATIENCE_S):
                await self._lock.acquire()
        except TimeoutError:
            return None
        try:
            if self._writes_on is None:
                return None
            return (await self._writes_on.ran("PRAGMA data_version", (), many=False)).rows[0][0]
        finally:
            self._lock.release()

    async def _snapshot(self) -> object:
        """Which transactions are visible. Our own move it too, and those of other databases: then one looks in vain."""
        if self._reader is None:
            return None
        async with self._reader.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            return (await connection.exec_driver_sql("SELECT pg_current_snapshot()::text")).scalar_one()

    async def blocked_by(self, patience_s: float = PATIENCE_S) -> str:
        """Who else keeps this database from being written for longer than ``patience_s`` seconds; empty for nobody.

        A transaction of this process that is at work is no trouble. Needs none of the connections that writers wait
        for. Raises DatabaseError when the server cannot be asked.
        """
        if self._look is not None:
            before = self._transactions
            since, self._looked = self._looked, before
            if before != since:  # our own writers get through; a look would only stand in their way
                return ""
            who = await asyncio.to_thread(self._look.blocker, patience_s)
            # What ended during the look was ours, and so was the lock.
            ours = self._writing or self._transactions != before
            return "" if ours else who
        if self._looker is None:
            self._looker = _async_engine(
                self.url, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=_PG_ARGS
            )
        with translated():
            return await postgres_blocker(self._looker, patience_s)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """One consistent read. Raises DatabaseError."""
        async with self._session(self._reader) as session:
            yield session

    @asynccontextmanager
    async def _session(self, engine: AsyncEngine | None) -> AsyncIterator[AsyncSession]:
        if engine is None:
            raise DatabaseError("the database is not open")
        from sqlalchemy.ext.asyncio import AsyncSession

        with translated(self.path):
            async with (
                AsyncSession(engine, expire_on_commit=False, autoflush=False) as session,
                session.begin(),
            ):
                yield session
