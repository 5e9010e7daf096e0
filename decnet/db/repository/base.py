"""What the repository's parts share: sessions, upserts for both dialects, batches.

A repository is either free (every method is a transaction of its own) or bound to one write
transaction (:meth:`SqlRepository.transaction`), which all its methods then join.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import lru_cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, overload

from sqlalchemy import ColumnElement, Table, func

from decnet.db.blocked import PATIENCE_S
from decnet.db.engine import Database, translated
from decnet.db.many import identity_of
from decnet.db.repository.locks import advise, advise_shared
from decnet.db.written import Written
from decnet.turns import in_turns

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

Row = dict[str, Any]
"""A row on its way through the repository; what leaves it has a type of :mod:`decnet.db.rows`."""
T = TypeVar("T")
R = TypeVar("R", bound=Mapping[str, object])
Merge = Callable[[Any, Any, str], ColumnElement[Any]]
"""(stored column, new value, dialect) → the value that stays."""
CHUNK = 500
KINDS_KNOWN = 256
"""Kinds of rows that are known to have the keys that they should."""
FETCHED_AT_ONCE = 100
"""Rows that are made of what the driver has before the event loop may run: half a millisecond."""
WRITTEN_AT_ONCE = 100
"""Rows of one statement: their values are bound in one go, and the event loop waits for it."""


def greatest(old: Any, new: Any, dialect: str) -> ColumnElement[Any]:
    """The greater of both; NULL loses. Commutative, so the order of deliveries does not matter."""
    pick = func.greatest if dialect == "postgresql" else func.max
    return pick(func.coalesce(old, new), func.coalesce(new, old))


def least(old: Any, new: Any, dialect: str) -> ColumnElement[Any]:
    """The lesser of both; NULL loses."""
    pick = func.least if dialect == "postgresql" else func.min
    return pick(func.coalesce(old, new), func.coalesce(new, old))


def replace(_old: Any, new: Any, _dialect: str) -> ColumnElement[Any]:
    """The new value."""
    return new  # type: ignore[no-any-return]


def chunks(items: Sequence[Any], size: int = CHUNK) -> Iterator[Sequence[Any]]:
    """Pieces small enough for the bound parameters of one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def check_keys(kind: type[Mapping[str, object]], keys: Iterable[str]) -> None:
    """Raises TypeError when columns of a query are not the keys of the typed row that it gives."""
    if wrong := _wrong(kind, tuple(keys)):
        raise TypeError(f"{kind.__name__} and its query differ in {', '.join(sorted(wrong))}")


@lru_cache(maxsize=KINDS_KNOWN)
def _wrong(kind: type[Mapping[str, object]], keys: tuple[str, ...]) -> frozenset[str]:
    """The keys in which they differ: worked out once, since thousands of rows are alike."""
    typed, given = cast("Any", kind), frozenset(keys)
    wrong = (typed.__required_keys__ - given) | (given - typed.__required_keys__ - typed.__optional_keys__)
    return frozenset(wrong)


def shaped(kind: type[R], row: Row) -> R:
    """A row that was put together by hand, as what it is. Raises TypeError when its keys are others."""
    check_keys(kind, row)
    return cast("R", row)


def insert_for(dialect: str, table: Table) -> Any:
    """An INSERT that knows ON CONFLICT."""
    module = import_module(f"sqlalchemy.dialects.{dialect}")  # the other one takes long to load
    return module.insert(table)


class SqlRepository:
    """Sessions and statements; the subjects are in the modules beside this one."""

    def __init__(self, db: Database, session: AsyncSession | None = None) -> None:
        """``session`` binds the repository to a running write transaction."""
        self.db = db
        self._session = session

    @classmethod
    async def open(cls, url: str, *, data_dir: Path | None = None) -> Self:
        """A repository on its own database, migrated to this version; end it with :meth:`close`.

        Raises what :meth:`decnet.db.engine.Database.open` raises.
        """
        db = Database(url, data_dir=data_dir)
        await db.open()
        return cls(db)

    async def close(self) -> None:
        """Closes the database behind it."""
        await self.db.close()

    @property
    def written(self) -> Written:
        """Who waits for rows waits there."""
        return self.db.written

    async def blocked_by(self, patience_s: float = PATIENCE_S) -> str:
        """Who else keeps the database from being written for longer than that; empty for nobody. Raises DatabaseError."""
        return await self.db.blocked_by(patience_s)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        """A repository bound to one write transaction; inside a bound one that one itself."""
        if self._session is not None:
            yield self
            return
        async with self.db.write() as session:
            yield type(self)(self.db, session)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[Self]:
        """Undoes only what happened inside when it fails. Raises RuntimeError when not bound."""
        if self._session is None:
            raise RuntimeError("a savepoint needs a bound repository: use transaction() first")
        with translated():
            async with self._session.begin_nested():
                yield self

    @asynccontextmanager
    async def _write(self, *, told: bool = True) -> AsyncIterator[AsyncSession]:
        """A write; nobody who waits for rows hears of one that is not ``told``."""
        if self._session is not None:
            with translated():
                yield self._session
            return
        async with self.db.write(told=told) as session:
            yield session

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncSession]:
        if self._session is not None:
            yield self._session
            return
        async with self.db.read() as session:
            yield session

    async def _at_once(self, *asked: Callable[[], Coroutine[Any, Any, Any]]) -> list[Any]:
        """What questions come to that need no answer of each other, in their order: each reads over a connection of its own.

        Bound to a transaction they go one after the other. Raises what the first one raises that fails.
        """
        if self._session is not None:
            return [await one() for one in asked]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(), name=f"read-{n}") for n, one in enumerate(asked)]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _asked(self, ask: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """What a question comes to, in a read of its own."""
        async with self._read() as session:
            return await ask(session)

    async def _upsert(
        self,
        session: AsyncSession,
        table: Table,
        rows: Sequence[Mapping[str, object]],
        merge: Mapping[str, Merge] | None = None,
        where: Callable[[Any], Any] | None = None,
    ) -> None:
        """Inserts rows; one that is there already is merged column by column, or kept as it is.

        ``where`` gets the new row and limits the merge. Rows of a batch need the same keys.
        """
        if not rows:
            return
        key = (
            table.name,
            tuple((name, identity_of(how)) for name, how in (merge or {}).items()),
            identity_of(where),
        )
        await self._each(
            session, key, lambda: self._upsert_statement(table, merge, where), _sorted(table, rows)
        )

    async def _each(
        self,
        session: AsyncSession,
        key: Hashable,
        statement: Callable[[], Any],
        rows: Sequence[Mapping[str, object]],
    ) -> None:
        """Runs a write without answer for each row. What has one ``key`` has one ``statement``; rows have the same keys."""
        if not rows:
            return
        many = self.db.many(key, statement, tuple(rows[0]))
        connection = await session.connection()
        for part in chunks(rows, WRITTEN_AT_ONCE):
            await connection.exec_driver_sql(many.text, many.values(part))

    def _upsert_statement(
        self,
        table: Table,
        merge: Mapping[str, Merge] | None = None,
        where: Callable[[Any], Any] | None = None,
    ) -> Any:
        statement = insert_for(self.db.dialect, table)
        keys = list(table.primary_key.columns)
        if not merge:
            return statement.on_conflict_do_nothing(index_elements=keys)
        new = statement.excluded
        values = {name: how(table.c[name], new[name], self.db.dialect) for name, how in merge.items()}
        return statement.on_conflict_do_update(
            index_elements=keys, set_=values, where=where(new) if where else None
        )

    @overload
    async def _rows(self, session: AsyncSession, statement: Any) -> list[Row]: ...

    @overload
    async def _rows(self, session: AsyncSession, statement: Any, kind: type[R]) -> list[R]: ...

    async def _rows(self, session: AsyncSession, statement: Any, kind: type[R] | None = None) -> list[Any]:
        """The rows of a statement, as ``kind`` when one is given. Raises TypeError when its columns are not the keys."""
        result = await session.execute(statement)
        names = tuple(result.keys())
        if kind is not None:
            check_keys(kind, names)
        # Some hundred at once: a row that is fetched alone costs as much as it takes to make ten of them.
        rows = chain.from_iterable(result.partitions(FETCHED_AT_ONCE))
        return await in_turns(lambda row: dict(zip(names, row, strict=True)), rows)

    async def _serialise(self, session: AsyncSession, *keys: int) -> None:
        """Makes transactions of this kind commit one after the other (SQLite has one writer anyway)."""
        if self.db.dialect == "postgresql":
            await advise(session, keys)

    async def _share(self, session: AsyncSession, key: int) -> None:
        """Lets transactions of this kind run at once, but none beside one that :meth:`_serialise` holds."""
        if self.db.dialect == "postgresql":
            await advise_shared(session, key)


def _sorted(table: Table, rows: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """Rows in the order of their keys: two transactions that lock in one order cannot deadlock."""
    names = [column.name for column in table.primary_key.columns]
    return sorted(rows, key=lambda row: tuple(str(row.get(name)) for name in names))
