"""The engine's own guards on SQLite: errors in our words, one writer, waiting, first contact, private files."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from decnet.db import engine, fresh, migrate
from decnet.db.engine import Database, _driver_url, translated
from decnet.db.repository import BaseRepository
from decnet.db.repository.base import CHUNK, WRITTEN_AT_ONCE, _sorted, chunks
from decnet.db.schema.columns import table_of
from decnet.db.schema.recorder import SessionRow
from decnet.db.schema.runtime import Lease
from decnet.errors import DatabaseError, DiskFull
from tests.dbkit import open_repo


class DriverError(Exception):
    """What a PostgreSQL driver raises: the state says what it is."""

    def __init__(self, message: str = "", sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


def wrapped(inner: Exception, kind: type[DBAPIError] = OperationalError, lost: bool = False) -> DBAPIError:
    """As SQLAlchemy raises it: from the driver's own error."""
    error = kind("SELECT 1", {}, inner, connection_invalidated=lost)
    error.__cause__ = inner
    return error


def behind(error: Exception, *, context: bool = False) -> DBAPIError:
    """An error that hides another one, as a failed savepoint does."""
    inner = DriverError("no such savepoint")
    if context:
        inner.__context__ = error
    else:
        inner.__cause__ = error
    return wrapped(inner)


@pytest.mark.parametrize(
    "raised",
    [
        wrapped(sqlite3.OperationalError("database or disk is full")),
        wrapped(DriverError("could not extend file", "53100")),
        behind(DriverError("x", "53100")),
        behind(sqlite3.OperationalError("database or disk is full"), context=True),
        behind(behind(DriverError("x", "53100"), context=True)),
    ],
)
def test_no_room_is_told_from_everything_else(raised: Exception) -> None:
    with pytest.raises(DiskFull, match="no room left") as said, translated():
        raise raised
    assert said.value.__cause__ is raised


@pytest.mark.parametrize(
    "raised",
    [
        OSError("no route"),
        ConnectionRefusedError(111, "refused"),
        wrapped(DriverError("gone"), lost=True),
        wrapped(DriverError("gone"), DBAPIError, lost=True),
        *(wrapped(DriverError("x", state)) for state in ("08000", "08006", "57P01", "57P03", "28P01", "28000", "3D000")),
        behind(DriverError("x", "57P01")),
        wrapped(sqlite3.OperationalError("unable to open database file")),
    ],
)  # fmt: skip
def test_a_database_that_is_away_is_one_error(raised: Exception) -> None:
    with pytest.raises(DatabaseError, match="cannot be reached") as said, translated():
        raise raised
    assert not isinstance(said.value, DiskFull)
    assert type(raised).__name__ in str(said.value)


@pytest.mark.parametrize(
    "raised",
    [
        wrapped(sqlite3.IntegrityError("UNIQUE constraint failed"), IntegrityError),
        wrapped(DriverError("duplicate key", "23505"), IntegrityError),
        wrapped(sqlite3.OperationalError("no such table: is")),
        *(wrapped(DriverError("x", state)) for state in ("40002", "42P01", "57014", "2D000", None)),
        ValueError("ours"),
        RuntimeError("ours"),
    ],
)  # fmt: skip
def test_an_error_about_one_statement_passes_as_it_is(raised: Exception) -> None:
    with pytest.raises(type(raised)) as said, translated():
        raise raised
    assert said.value is raised


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (wrapped(sqlite3.OperationalError("database is locked")), "locked by another process"),
        (wrapped(sqlite3.OperationalError("database table is locked: x")), "locked by another process"),
        *((wrapped(DriverError("x", state)), "too busy") for state in ("40001", "40P01", "55P03", "53000", "53200", "53300")),
    ],
)  # fmt: skip
def test_a_database_that_others_use_is_an_outage_and_no_fault_of_what_was_written(
    raised: Exception, said: str
) -> None:
    with pytest.raises(DatabaseError, match=said) as told, translated():
        raise raised
    assert not isinstance(told.value, DiskFull)


@pytest.mark.parametrize(
    "raised",
    [
        wrapped(sqlite3.OperationalError("disk I/O error")),
        behind(sqlite3.OperationalError("disk I/O error")),
        wrapped(DriverError("could not write block", "58030")),
    ],
)
def test_a_disk_that_refuses_is_an_outage_and_no_fault_of_what_was_written(raised: Exception) -> None:
    with pytest.raises(DatabaseError, match="the disk under the database refuses") as told, translated():
        raise raised
    assert told.value.__cause__ is raised


@pytest.mark.parametrize("words", ["file is not a database", "database disk image is malformed"])
def test_a_file_that_is_no_database_is_named(words: str) -> None:
    with (
        pytest.raises(DatabaseError, match=r"^/data/x is no database, or a damaged one"),
        translated(Path("/data/x")),
    ):
        raise wrapped(sqlite3.DatabaseError(words))
    with pytest.raises(DatabaseError, match=r"^the file is no database"), translated():
        raise wrapped(sqlite3.DatabaseError(words))


def test_a_ring_of_errors_ends() -> None:
    first, second = wrapped(DriverError("a")), wrapped(DriverError("b"))
    first.__cause__, second.__context__ = second, first
    with pytest.raises(OperationalError), translated():
        raise first


def test_urls_get_our_drivers_and_others_are_refused() -> None:
    assert _driver_url("sqlite:///x").drivername == "sqlite+aiosqlite"
    for known in ("postgresql://h/x", "postgres://h/x", "postgresql+psycopg://h/x"):
        assert _driver_url(known).drivername == "postgresql+asyncpg"
    with pytest.raises(DatabaseError, match="unknown database 'mysql'"):
        _driver_url("mysql://u:secret@h/x")
    with pytest.raises(DatabaseError, match="cannot be read") as said:
        _driver_url("not a url with secret")
    assert "secret" not in str(said.value)


def test_a_relative_file_is_in_the_data_directory() -> None:
    assert Database("sqlite:///x.sqlite", data_dir=Path("/srv/d")).path == Path("/srv/d/x.sqlite")
    assert Database("sqlite:////abs/x.sqlite", data_dir=Path("/srv/d")).path == Path("/abs/x.sqlite")
    assert Database("sqlite:///x.sqlite").path == Path("x.sqlite")
    assert Database("postgresql://h/x", data_dir=Path("/srv/d")).path is None


@pytest.fixture
async def repo(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as opened:
        yield opened


@asynccontextmanager
async def statements(database: Database, *, reads: bool = False) -> AsyncIterator[list[str]]:
    chosen = database._reader if reads else database._writer
    assert chosen is not None
    heard: list[str] = []

    def hear(_c: Any, _cur: Any, statement: str, *_: Any) -> None:
        heard.append(statement.split(" (", maxsplit=1)[0])

    event.listen(chosen.sync_engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(chosen.sync_engine, "before_cursor_execute", hear)


async def test_a_write_takes_the_lock_at_once_and_a_read_takes_none(repo: BaseRepository) -> None:
    async with statements(repo.db) as wrote, repo.db.write() as session:
        await session.execute(text("SELECT 1"))
    async with statements(repo.db, reads=True) as read, repo.db.read() as session:
        await session.execute(text("SELECT 1"))
    assert wrote == ["BEGIN IMMEDIATE", "SELECT 1"]
    assert read == ["BEGIN", "SELECT 1"]


async def test_the_pragmas_of_writer_and_readers(repo: BaseRepository) -> None:
    names = (
        "busy_timeout",
        "foreign_keys",
        "journal_mode",
        "synchronous",
        "query_only",
        "temp_store",
        "cache_size",
    )
    async with repo.db.write() as session:
        wrote = [(await session.execute(text(f"PRAGMA {n}"))).scalar_one() for n in names]
    async with repo.db.read() as session:
        read = [(await session.execute(text(f"PRAGMA {n}"))).scalar_one() for n in names]
    assert wrote == [5000, 1, "wal", 2, 0, 2, -16_000]
    assert (read[0], read[1], read[4], read[6]) == (2000, 1, 1, -2_000), "there are several readers"


async def test_writers_of_one_process_wait_for_each_other(repo: BaseRepository) -> None:
    order: list[str] = []
    inside, leave = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with repo.db.write() as session:
            await session.execute(text("SELECT 1"))
            order.append("first in")
            inside.set()
            await leave.wait()
            order.append("first out")

    async def second() -> None:
        await inside.wait()
        leave.set()
        async with repo.db.write():
            order.append("second in")

    await asyncio.gather(first(), second())
    assert order == ["first in", "first out", "second in"]


async def test_a_write_is_whole_or_nothing_and_the_next_one_works(repo: BaseRepository) -> None:
    row = {"name": "n", "owner": "o", "expires_at": 1.0}
    with pytest.raises(RuntimeError, match="half way"):  # noqa: PT012
        async with repo.db.write() as session:
            await session.execute(table_of(Lease).insert(), [row])
            raise RuntimeError("half way")
    async with repo.db.write() as session:
        await session.execute(table_of(Lease).insert(), [row])
    with pytest.raises(IntegrityError):
        async with repo.db.write() as session:
            await session.execute(table_of(Lease).insert(), [row])
    async with repo.db.read() as session:
        assert len((await session.execute(table_of(Lease).select())).all()) == 1


async def test_a_read_is_one_moment(repo: BaseRepository) -> None:
    async with repo.db.read() as session:
        assert (await session.execute(table_of(SessionRow).select())).all() == []
        await repo.upsert_session({"session_id": "s", "attacker_uuid": "a", "started_at": 1.0})
        assert (await session.execute(table_of(SessionRow).select())).all() == [], (
            "what came since is not seen"
        )
    assert len(await repo.list_sessions()) == 1


async def test_one_bad_row_in_a_savepoint_costs_one_row(repo: BaseRepository) -> None:
    """How a batch that fails is tried again: the other ninety-nine are kept."""
    failed = []
    async with repo.transaction() as bound:
        for n in range(100):
            payload = {"session_id": f"s{n}", "attacker_uuid": "a", "started_at": "never" if n == 42 else n}
            try:
                async with bound.savepoint() as inner:
                    assert inner is bound
                    await inner.upsert_attacker(f"a{n}", None, 1.0)
                    await inner.upsert_session(payload)
            except ValueError:
                failed.append(n)
    assert failed == [42]
    assert len(await repo.list_sessions(limit=0)) == 99
    attackers = {row["attacker_uuid"] for row in await repo.list_attackers(limit=0)}
    assert "a42" not in attackers
    assert len(attackers) == 99


async def test_a_bound_repository_reads_what_it_wrote_and_others_do_not_yet(repo: BaseRepository) -> None:
    async with repo.transaction() as bound:
        await bound.upsert_attacker("a", None, 1.0)
        assert len(await bound.list_attackers()) == 1
        assert await repo.list_attackers() == []
        async with bound.transaction() as same:
            assert same is bound


async def test_opening_twice_and_closing_twice_is_fine_and_closed_says_so(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    await database.open()
    writer = database._writer
    await database.open()
    assert database._writer is writer
    await database.close()
    await database.close()
    for way in (database.read, database.write):
        with pytest.raises(DatabaseError, match="not open"):
            async with way():
                pass


async def test_a_start_that_fails_closes_what_it_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> None:
        raise OSError("no disk")

    monkeypatch.setattr(fresh, "made_fresh", fails)
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with pytest.raises(DatabaseError, match="cannot be reached"):
        await database.open()
    assert (database._writer, database._reader) == (None, None)


class _Busy:
    """An engine that is locked a number of times."""

    def __init__(self, times: int, message: str = "database is locked") -> None:
        self.left, self.message, self.asked = times, message, 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[None]:
        self.asked += 1
        if self.asked <= self.left:
            raise wrapped(sqlite3.OperationalError(self.message))
        yield


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The clock of the first contact: how long it would have slept."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with monkeypatch.context() as patch:
        patch.setattr(engine.asyncio, "sleep", sleep)
        yield slept


async def test_first_contact_waits_as_long_as_a_busy_database_may_be(waits: list[float]) -> None:
    database = Database("sqlite:///x")
    for times in (0, 1, engine.CONTACT_TRIES - 1):
        waits.clear()
        busy: Any = _Busy(times)
        await database._first_contact(busy)
        assert busy.asked == times + 1
        assert waits == [0.1] * times
    assert sum(waits) == pytest.approx(engine.CONTACT_S, abs=0.11)
    busy = _Busy(engine.CONTACT_TRIES)
    with pytest.raises(OperationalError, match="locked"):
        await database._first_contact(busy)
    assert busy.asked == engine.CONTACT_TRIES
    other: Any = _Busy(1, "file is not a database")
    with pytest.raises(OperationalError, match="not a database"):
        await database._first_contact(other)
    assert other.asked == 1, "only a lock is worth waiting for"


async def test_a_schema_copy_is_private_from_its_first_byte_and_replaces_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "d.sqlite"
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()
    earlier = tmp_path / "d.sqlite.0001.bak"
    earlier.write_text("a copy that broke off")
    earlier.chmod(0o644)
    modes: list[int] = []
    honest = sqlite3.connect

    def connect(path: Any, **more: Any) -> sqlite3.Connection:
        if Path(path) == earlier:
            modes.append(os.stat(path).st_mode & 0o777)
        return honest(path, **more)

    monkeypatch.setattr(migrate.sqlite3, "connect", connect)
    copy = migrate._copy(source, "0001")
    assert copy == earlier
    assert modes == [0o600]
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(honest(copy)) as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]


async def test_a_file_that_is_there_keeps_its_mode_and_content(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "x"
    engine._make_private(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("kept")
    path.chmod(0o640)
    engine._make_private(path)
    assert path.read_text() == "kept"
    assert path.stat().st_mode & 0o777 == 0o640


def test_pieces_of_a_statement_at_the_limit() -> None:
    assert [len(part) for part in chunks(range(CHUNK))] == [500]
    assert [len(part) for part in chunks(range(CHUNK + 1))] == [500, 1]
    assert [len(part) for part in chunks(range(CHUNK - 1))] == [499]
    assert list(chunks([])) == []
    assert [item for part in chunks(range(1201)) for item in part] == list(range(1201))


async def test_rows_are_written_a_hundred_at_once_in_the_order_of_their_keys(repo: BaseRepository) -> None:
    sent: list[int] = []
    assert repo.db._writer is not None

    def hear(_c: Any, _cur: Any, statement: str, rows: Any, _ctx: Any, many: bool) -> None:
        if statement.startswith("INSERT INTO attacker"):
            sent.append(len(rows) if many else 1)

    event.listen(repo.db._writer.sync_engine, "before_cursor_execute", hear)
    for count, wanted in ((100, [100]), (101, [100, 1]), (99, [99])):
        sent.clear()
        await repo.upsert_attackers([(f"{count}a{n}", None, 1.0) for n in range(count)])
        assert sent == wanted
    assert WRITTEN_AT_ONCE == 100
    table = table_of(Lease)
    assert [row["name"] for row in _sorted(table, [{"name": n} for n in ("b", "c", "a")])] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "kind",
    [
        "CannotConnectNowError",
        "AdminShutdownError",
        "InvalidCatalogNameError",
        "TooManyConnectionsError",
        "InvalidPasswordError",
    ],
)
def test_a_server_that_refuses_a_connection_is_away(kind: str) -> None:
    """SQLAlchemy hands on what its driver raises while it connects: a server that starts is no fault of an event."""
    import asyncpg

    with pytest.raises(DatabaseError), translated():
        raise getattr(asyncpg, kind)("the database system is starting up")
    with pytest.raises(asyncpg.UniqueViolationError), translated():
        raise asyncpg.UniqueViolationError("twice")


async def test_a_database_that_was_dropped_is_away(tmp_path: Path) -> None:
    from tests.dbkit import _admin, migrated_url

    async with migrated_url("postgresql", tmp_path) as url:
        repo = await BaseRepository.open(url)
        name = url.rpartition("/")[2].partition("?")[0]
        try:
            await _admin(f"DROP DATABASE {name} WITH (FORCE)")
            for _ in range(2):
                with pytest.raises(DatabaseError, match="cannot be reached"):
                    await repo.heartbeats_write({"ttp": {}})
            with pytest.raises(DatabaseError, match="cannot be reached"):
                await repo.blocked_by()
        finally:
            await repo.close()
            await _admin(f"CREATE DATABASE {name}")
