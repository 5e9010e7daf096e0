"""The tables as statements know them, made one by one from a description of :mod:`decnet.db.schema`.

There they are defined, as models; what builds those takes longer to load than most commands take as a whole, and only
migrations need it. ``make schemas`` writes the description, a test compares.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, Column, LargeBinary, MetaData, Table

from decnet.db import types

DESCRIPTION = Path(__file__).parent.parent / "_data" / "schemas" / "tables.json"
_METADATA = MetaData()
_TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (types.SafeText, types.SafeInt, types.SafeFloat, types.SafeJson, types.UtcTime)},
    "BigId": types.BigId,
    "Boolean": Boolean,
    "LargeBinary": LargeBinary,
}  # fmt: skip


@cache
def table(name: str) -> Table:
    """The table of that name; the same one each time. Raises KeyError for another name."""
    return Table(name, _METADATA, *[_column(own, how) for own, how in _described()[name].items()])


def every_table() -> dict[str, Table]:
    """All tables by name."""
    return {name: table(name) for name in _described()}


@cache
def _described() -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(DESCRIPTION.read_text("ascii"))
    return found


def _column(name: str, how: dict[str, Any]) -> Column[Any]:
    """A column whose name is a plain text, as it is in the models: rows have it as their keys."""
    column: Column[Any] = Column(**{**how, "type_": _TYPES[how["type_"]]})
    column.name = column.key = name
    return column
