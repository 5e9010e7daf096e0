"""The tables that statements use are those of the models, column by column."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Table
from sqlmodel import SQLModel

from decnet.db import describe
from decnet.db.describe import rendered
from decnet.db.tables import DESCRIPTION, every_table, table
from decnet.db.types import SafeText


def told(column: Column[Any]) -> tuple[Any, ...]:
    kinds = [type(column.type.dialect_impl(dialect)) for dialect in dialects()]
    default = None if column.default is None else column.default.arg  # type: ignore[attr-defined]
    return (
        column.name, type(column.name), column.key, type(column.key), type(column.type), repr(column.type), kinds, column.primary_key, column.nullable, column.autoincrement,
        default, column.server_default, column.onupdate,
    )  # fmt: skip


def dialects() -> list[Any]:
    from sqlalchemy.dialects import postgresql, sqlite

    return [sqlite.dialect(), postgresql.dialect()]


def test_every_table_has_the_columns_of_its_model() -> None:
    models, tables = SQLModel.metadata.tables, every_table()
    assert sorted(tables) == sorted(models)
    assert len(tables) > 50
    for name, found in tables.items():
        assert [told(c) for c in found.columns] == [told(c) for c in models[name].columns], name
        assert [c.name for c in found.primary_key] == [c.name for c in models[name].primary_key], name


def test_the_description_that_ships_is_the_one_of_the_models() -> None:
    assert DESCRIPTION.read_text("ascii") == rendered(), "make schemas"


def test_a_table_is_made_once_and_another_name_is_an_error() -> None:
    assert table("session") is table("session") is every_table()["session"]
    with pytest.raises(KeyError):
        table("sessions")


@pytest.mark.parametrize(
    "column",
    [
        Column("c", SafeText, ForeignKey("other.c")),
        Column("c", SafeText, server_default="x"),
        Column("c", SafeText, onupdate="x"),
    ],
)
def test_what_has_no_words_is_not_left_out_in_silence(column: Column[Any]) -> None:
    Table("t", SQLModel.metadata.__class__(), column)
    with pytest.raises(TypeError, match="nothing but a default"):
        describe._column(column)


def test_the_repository_needs_no_models_nor_do_migrations(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\nfrom decnet.db.repository import BaseRepository\n"
        "async def main():\n"
        f"    repo = await BaseRepository.open({f'sqlite:///{tmp_path}/d.sqlite'!r})\n"
        "    assert await repo.list_tags() == []\n    await repo.close()\n"
        "asyncio.run(main())\n"
        "assert not {'sqlmodel', 'decnet.db.schema', 'pydantic'} & set(sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
