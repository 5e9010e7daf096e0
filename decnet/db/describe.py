"""Describes the tables of the models for :mod:`decnet.db.tables`; ``python -m decnet.db.describe`` writes it."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Column
from sqlmodel import SQLModel

import decnet.db.schema  # noqa: F401  fills the metadata
from decnet.db.tables import DESCRIPTION
from decnet.db.types import BigId


def described() -> dict[str, dict[str, dict[str, Any]]]:
    """By table and column what the column is made with, where that is not what every column is made with."""
    found = SQLModel.metadata.tables
    return {name: {column.name: _column(column) for column in found[name].columns} for name in sorted(found)}


def _column(column: Column[Any]) -> dict[str, Any]:
    """A column. Raises TypeError for what the description has no words for."""
    if column.server_default is not None or column.onupdate is not None or column.foreign_keys:
        raise TypeError(f"{column}: nothing but a default that is a value")
    how: dict[str, Any] = {"type_": "BigId" if column.type is BigId else type(column.type).__name__}
    if column.primary_key:
        how["primary_key"] = True
    if column.nullable is column.primary_key:
        how["nullable"] = column.nullable
    if column.autoincrement != "auto":
        how["autoincrement"] = column.autoincrement
    if column.default is not None:
        how["default"] = column.default.arg  # type: ignore[attr-defined]
    return how


def rendered() -> str:
    """The text of the file: a line for each column."""
    tables = []
    for name, columns in described().items():
        lines = ",\n".join(f"  {json.dumps(own)}: {json.dumps(how)}" for own, how in columns.items())
        tables.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(tables) + "\n}\n"


if __name__ == "__main__":
    DESCRIPTION.write_text(rendered(), encoding="ascii")
