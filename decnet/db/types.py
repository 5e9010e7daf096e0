"""Column types that make values storable at the edge, the same way for SQLite and PostgreSQL.

Whatever reaches a statement went through here, so that no caller can forget NUL bytes, lone
surrogates, integers beyond 63 bits or naive times.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Float, Integer, Text
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeDecorator

from decnet.hostile import storable, storable_text
from decnet.jsontext import Kept

MAX_INT = 2**63 - 1
_WITHOUT_ZONE = len("2026-01-02 03:04:05.000006")
Bind = Callable[[Any], Any]
"""A value → what the driver is given."""
_DIGITS = re.compile(r"-?[0-9]+\Z")
_LONGEST = 400
BigId = BigInteger().with_variant(Integer(), "sqlite")
"""Type of an autoincrement key (SQLite counts by itself only in an INTEGER column)."""


def as_utc(value: Any) -> datetime | None:
    """An aware UTC datetime from epoch seconds, an ISO text or a datetime (a naive one is UTC).

    Raises ValueError for anything that is no time.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"not a time: {type(value).__name__}")  # noqa: TRY004  one error for every bad time
    try:
        if isinstance(value, str):
            return as_utc(datetime.fromisoformat(value))
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError("time out of range") from error


def _as_it_is(value: Any) -> Any:
    return value


def utcnow() -> datetime:
    """The wall clock, aware, UTC."""
    return datetime.now(UTC)


class _SqliteTime(sqlite.DATETIME):
    """A fixed-width text in UTC without zone, which also sorts right; written and read without regular expressions."""

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], str | None]:
        """``2026-01-02 03:04:05.000006``, as the dialect writes it."""

        def text(moment: datetime | None) -> str | None:
            return None if moment is None else moment.isoformat(" ", "microseconds")

        return text

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        """Without zone, as the dialect reads it."""

        def moment(text: str | None) -> datetime | None:
            return None if text is None else datetime.fromisoformat(text)

        return moment


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC in and out; takes what :func:`as_utc` takes."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """SQLite has texts for times."""
        return dialect.type_descriptor(_SqliteTime() if dialect.name == "sqlite" else self.impl_instance)  # type: ignore[no-untyped-call]

    def bind_processor(self, dialect: Dialect) -> Bind:
        """Nearly every time is aware and UTC already."""
        checked = super().bind_processor(dialect) or _as_it_is
        if dialect.name != "sqlite":
            return checked

        def text(value: Any) -> Any:
            if type(value) is datetime and value.tzinfo is UTC:
                return value.isoformat(" ", "microseconds")[:_WITHOUT_ZONE]
            return checked(value)

        return text

    def process_bind_param(self, value: Any, dialect: Dialect) -> datetime | None:
        """An aware time; for SQLite without its zone."""
        moment = as_utc(value)
        return moment.replace(tzinfo=None) if moment and dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Always aware."""
        return as_utc(value)


class SafeText(TypeDecorator[str]):
    """Text of any origin; other values are written out as text."""

    impl = Text
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Bind:
        """Nearly every text may stay as it is."""
        checked = super().bind_processor(dialect) or _as_it_is

        def text(value: Any) -> Any:
            return value if type(value) is str and value.isascii() and "\0" not in value else checked(value)

        return text

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """NUL and lone surrogates become U+FFFD."""
        if value is None:
            return None
        return storable_text(value if isinstance(value, str) else str(value))


class SafeInt(TypeDecorator[int]):
    """A 63-bit integer; a greater one is clamped, a value that is no number becomes NULL."""

    impl = BigInteger
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Bind:
        """Nearly every number may stay as it is."""
        checked = super().bind_processor(dialect) or _as_it_is

        def number(value: Any) -> Any:
            return value if type(value) is int and -MAX_INT <= value <= MAX_INT else checked(value)

        return number

    def process_bind_param(self, value: Any, dialect: Dialect) -> int | None:
        """Clamps; digits count as a number, since a JSON column keeps a huge integer as text."""
        if isinstance(value, str) and _DIGITS.match(value):
            value = int(value[:_LONGEST])
        if not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124  NaN, also beside huge integers
            return None
        if isinstance(value, float) and math.isinf(value):
            return MAX_INT if value > 0 else -MAX_INT - 1
        return max(-MAX_INT - 1, min(MAX_INT, int(value)))


class SafeFloat(TypeDecorator[float]):
    """A finite float; anything else becomes NULL."""

    impl = Float(53)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> float | None:
        """NaN, infinities and text have no place in a sum."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
            return None
        return float(value)


class SafeJson(TypeDecorator[Any]):
    """Any JSON-like value; None is SQL NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """JSONB on PostgreSQL, where it compares and indexes."""
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON(none_as_null=True))
        from sqlalchemy.dialects.postgresql import JSONB  # here: a console on SQLite starts sooner

        return dialect.type_descriptor(JSONB(none_as_null=True))

    def bind_processor(self, dialect: Dialect) -> Bind:
        """What is kept is written out once, however often it is stored."""
        checked = super().bind_processor(dialect) or _as_it_is

        def text(value: Any) -> Any:
            return value.text() if type(value) is Kept else checked(value)

        return text

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """See :func:`decnet.hostile.storable`."""
        return value if value is None or type(value) is Kept else storable(value)
