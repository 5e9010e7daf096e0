"""What the tables share: columns that make text, numbers and JSON storable, and the way to a table's Core object."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Table
from sqlmodel import Field, SQLModel

from decnet.db.types import BigId, SafeFloat, SafeInt, SafeJson, SafeText, UtcTime


class Stored(SQLModel):
    """What every table is. No row is validated by its model, so no validator is made: a command starts sooner."""

    model_config = {"defer_build": True}


def text_key() -> Any:
    """A text primary key (or a part of one)."""
    return Field(sa_type=SafeText, primary_key=True)


def text(default: Any = ..., **more: Any) -> Any:
    """A text column; without a default it must be given."""
    return Field(default, sa_type=SafeText, **more)


def number(default: Any = ..., **more: Any) -> Any:
    """An integer column."""
    return Field(default, sa_type=SafeInt, **more)


def real(default: Any = ..., **more: Any) -> Any:
    """A float column."""
    return Field(default, sa_type=SafeFloat, **more)


def moment(default: Any = ..., **more: Any) -> Any:
    """A time column."""
    return Field(default, sa_type=UtcTime, **more)


def json_column(default: Any = None, **more: Any) -> Any:
    """A JSON column that may be NULL."""
    return Field(default, sa_type=SafeJson, nullable=True, **more)


def counter() -> Any:
    """A primary key that the database counts up and never gives out twice."""
    return Field(default=None, sa_column=Column(BigId, primary_key=True, autoincrement=True))


def table_of(model: type[SQLModel]) -> Table:
    """The Core table behind a model: bulk statements are Core statements."""
    return SQLModel.metadata.tables[str(model.__tablename__)]
