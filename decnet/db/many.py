"""One write for many rows, compiled once: what is the same for every row is worked out once, not for each.

The statement is SQLAlchemy's and so are the types, so that both databases get what they always got; only the way from
rows to bound values is shorter.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect

Bind = Callable[[Any], Any]


class Many:
    """A statement with named values, ready for the driver."""

    __slots__ = ("_constant", "_places", "text")

    def __init__(self, statement: Any, dialect: Dialect, names: Sequence[str]) -> None:
        """``names`` are the keys of the rows.

        Raises TypeError for a statement whose text depends on its values, or that needs values which the rows lack.
        """
        compiled = statement.compile(dialect=dialect, column_keys=list(names))
        if compiled.post_compile_params or compiled.literal_execute_params or compiled.insert_prefetch:
            raise TypeError("a statement for many rows has one text, and all its values come with the rows")
        self.text = str(compiled)
        own, given = compiled.params, frozenset(names)
        binds = {name: _bind(compiled.binds[name].type, dialect) for name in compiled.positiontup}
        self._places = [(name, binds[name]) for name in compiled.positiontup]
        self._constant = {
            name: own[name] if bind is None else bind(own[name])
            for name, bind in binds.items()
            if name not in given
        }

    def values(self, rows: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        """The values of rows in the order of the text's places. Raises what the types raise, KeyError for a lack."""
        places, constant = self._places, self._constant
        if constant:
            rows = [{**row, **constant} for row in rows]
            places = [(name, None if name in constant else bind) for name, bind in places]
        return [
            tuple([row[name] if bind is None else bind(row[name]) for name, bind in places]) for row in rows
        ]


def _bind(kind: Any, dialect: Dialect) -> Bind | None:
    """What makes a value of a type one for the driver; None where it stays as it is."""
    found: Bind | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return found


def identity_of(part: Any) -> Hashable:
    """What tells functions in the making of a statement apart: two of one place in the source make the same.

    Raises TypeError for one that depends on what is around it.
    """
    if getattr(part, "__closure__", None):
        raise TypeError(f"{part.__qualname__} makes another statement each time")
    found: Hashable = getattr(part, "__code__", part)
    return found
