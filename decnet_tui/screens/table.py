"""A view that is a table: columns, filter, sort, marks, follow scope; a subclass says what its rows are.

A row is a mapping of plain values. The cursor stays on its row (by :meth:`TableView.row_key`) while rows
come, go and change places.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from rich.style import Style

from decnet.hostile import visible
from decnet_tui.model.export import Sheet, plain_value
from decnet_tui.model.feed import Feed
from decnet_tui.model.filters import Filter, FilterError, parse_filter
from decnet_tui.model.keys import key
from decnet_tui.model.scope import Scope
from decnet_tui.screens.base import View
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.strips import FAINT, PLAIN, Line, fit

R = TypeVar("R", bound=Mapping[str, object])
"""The row of a table: a typed dictionary, so that columns are checked against its keys."""
WIDE = 100
GAP = " "


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column.

    ``text`` gives its cell (default: the row's value under ``id``), ``sort`` its sort key (default: that
    value). The one with ``grow`` gets the room that is left; those with ``wide`` need a screen of
    :data:`WIDE` columns.
    """

    id: str
    title: str
    width: int
    text: Callable[[R], str] | None = None
    style: Callable[[R], Style] | None = None
    sort: Callable[[R], object] | None = None
    right: bool = False
    grow: bool = False
    wide: bool = False

    def cell(self, row: R, width: int) -> str:
        """Visible text of exactly ``width`` characters."""
        value = self.text(row) if self.text else cell_text(row.get(self.id))
        shown = fit(value, width)
        return shown.rstrip().rjust(width) if self.right else shown

    def value(self, row: R) -> object:
        """What stands behind the cell, or its text where the row has no such value."""
        return row.get(self.id) if self.id in row or self.text is None else self.text(row)

    def order(self, row: R) -> tuple[bool, Any]:
        """Sort key; a missing value comes last."""
        value: object = self.sort(row) if self.sort else row.get(self.id)
        if isinstance(value, datetime):
            value = value.timestamp()
        if not isinstance(value, (int, float, str, tuple)):
            value = None if value is None else str(value)
        return value is None, value


class WordsColumn(Column[R]):
    """A column whose text is words: as many whole ones as fit, then how many more there are."""

    def cell(self, row: R, width: int) -> str:
        """``client +5`` rather than ``client creden…``; one that alone is too long is cut."""
        text = visible(self.text(row) if self.text else cell_text(row.get(self.id)))
        words = text.split(" ")
        for kept in range(len(words), 0, -1):
            left = len(words) - kept
            shown = " ".join(words[:kept]) + (f" +{left}" if left else "")
            if len(shown) <= width:
                return shown.ljust(width)
        return fit(text, width)


def cell_text(value: object) -> str:
    """A plain value as a cell."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%m-%d %H:%M:%S")
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value[:20]))
    return str(value)


class TableView(View, Generic[R]):
    """Rows in columns. ``unit`` is what a row is called, in the plural."""

    unit = "rows"
    filtered = True
    columns: tuple[Column[R], ...] = ()

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.rows: list[R] = []
        self.marked: set[Any] = set()
        self.hidden_columns: set[str] = set()
        self.laid_out = False
        """Whether the columns that the operator chose in earlier runs were asked for."""
        self.sort_by = ""
        self.descending = False
        self._all: list[R] = []
        self._filter = Filter()

    # --- for subclasses

    def row_key(self, row: R) -> Any:
        """What a row keeps when it changes; the cursor and marks hold on to it."""
        return next(iter(row.values()), None)

    def fields(self, row: R) -> Mapping[str, str]:
        """What the filter looks at, by name; the columns by default."""
        return {c.id: visible(c.text(row) if c.text else cell_text(row.get(c.id))) for c in self.columns}

    def unfilled(self) -> list[str]:
        """What an empty table says: what would fill it, and which key or command does that."""
        return [f"No {self.unit} yet."]

    def about(self) -> str:
        """More for line 3."""
        return ""

    def row_detail(self, row: R) -> list[str]:
        """The detail of one row, as lines."""
        text = json.dumps(dict(row), indent=1, ensure_ascii=False, default=plain_value)
        return text.split("\n")

    # --- rows

    def load(self, data: Any) -> None:
        """What :meth:`fetch` gave; a subclass whose answer is more than rows takes it apart."""
        self.fill(data)

    def fill(self, rows: Sequence[R]) -> None:
        """Rows that were just read from the store; the cursor stays on its row."""
        self.problem, self.loaded_at = "", time.monotonic()
        self.put(rows)

    def put(self, rows: Sequence[R]) -> None:
        """The same without saying that the store was read."""
        self._all = list(rows)
        self.marked &= {self.row_key(row) for row in self._all}
        self.select()

    def select(self) -> None:
        """Filter, scope and order anew."""
        at = self.current
        shown = [row for row in self._all if self.shows(row)]
        column = next((c for c in self.columns if c.id == self.sort_by), None)
        if column is not None:
            missing = [row for row in shown if column.order(row)[0]]
            there = [row for row in shown if not column.order(row)[0]]
            there.sort(key=lambda row: column.order(row)[1], reverse=self.descending)
            shown = there + missing
        self.rows = shown
        self._return_to(at)

    def _return_to(self, row: R | None) -> None:
        keys = [self.row_key(r) for r in self.rows]
        if row is not None and (key := self.row_key(row)) in keys:
            self.cursor = keys.index(key)
        else:
            self.cursor = min(self.cursor, max(len(keys) - 1, 0))

    def shows(self, row: R) -> bool:
        """Whether filter and scope let the row through."""
        if self.scope is not None and not self.in_scope(row, self.scope):
            return False
        return not self._filter.tests or self._filter.shows_row(self.fields(row))

    def in_scope(self, row: R, scope: Scope) -> bool:
        """Whether a row is about an actor; a table without actors shows all of its rows."""
        names = ("attacker_ip", "attacker_uuid", "identity_uuid", "attacker_uuids")
        values = [row[name] for name in names if row.get(name)]
        return scope.covers(values) if any(name in row for name in names) else True

    def set_scope(self, scope: Scope | None) -> None:
        """Shows one actor only, or everything again."""
        self.scope = scope
        self.select()

    def set_filter(self, text: str) -> None:
        """Rows that hold all parts of it. Raises FilterError."""
        titles = {column.title: column.id for column in self.columns}
        self._filter = parse_filter(self.parsed_text(text), self.names_of_filter(), titles)
        self.filter_text = text
        self.select()

    def names_of_filter(self) -> list[str]:
        """What may stand before the colon in a filter."""
        return [c.id for c in self.columns]

    def parsed_text(self, text: str) -> str:
        """A filter as it is meant, for tables that allow several spellings."""
        return text

    @property
    def current(self) -> R | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if 0 <= self.cursor < len(self.rows) else None

    def find(self, key: Any) -> R | None:
        """A row by its key, shown or not."""
        return next((row for row in self._all if self.row_key(row) == key), None)

    def go_to(self, key: Any) -> bool:
        """Puts the cursor on a row; False when it is not shown."""
        keys = [self.row_key(row) for row in self.rows]
        if key in keys:
            self.cursor = keys.index(key)
        return key in keys

    # --- sort, columns, marks

    def sort(self, by: int) -> str:
        """The next or last column to sort by, numbers and times from the greatest; what is sorted by now.

        The cursor goes to the first row: who sorts wants to see the top.
        """
        ids = ["", *(c.id for c in self.columns)]
        self.sort_by = ids[(ids.index(self.sort_by) + by) % len(ids)]
        column = next((c for c in self.columns if c.id == self.sort_by), None)
        # The greatest number and the newest time are what one looks for.
        self.descending = column is not None and (column.right or self._is_time(column))
        self.select()
        self.cursor = 0
        return self._order()

    def order_by(self, column: str, *, descending: bool) -> None:
        """Sorts by a column, or not at all for none. Raises FilterError for one that there is not."""
        known = [c.id for c in self.columns]
        if column and column not in known:
            raise FilterError(f"no column {column}; there are {' '.join(known)}")
        self.sort_by, self.descending = column, descending
        self.select()
        self.cursor = 0

    def reverse(self) -> str:
        """The other way round; what is sorted by now."""
        self.sort_by = self.sort_by or self.columns[0].id
        self.descending = not self.descending
        self.select()
        self.cursor = 0
        return self._order()

    def _is_time(self, column: Column[R]) -> bool:
        return any(isinstance(row.get(column.id), datetime) for row in self._all[:20])

    def _order(self) -> str:
        title = next((c.title for c in self.columns if c.id == self.sort_by), "")
        return (
            f"{title}{' down' if self.descending else ' up'}; r turns it round" if title else "its own order"
        )

    def choose_columns(self, names: Collection[str]) -> None:
        """Shows these columns only. Raises FilterError for one that there is not, or none at all."""
        known = [c.id for c in self.columns]
        wrong = [name for name in names if name not in known]
        if wrong or not names:
            raise FilterError(f"no column {wrong[0] if wrong else 'is left'}; there are {' '.join(known)}")
        self.hidden_columns = set(known) - set(names)

    def toggle_mark(self) -> None:
        """Marks the row under the cursor, or takes the mark away."""
        if self.current is not None:
            self.marked ^= {self.row_key(self.current)}

    # --- painting

    def sync(self, now: float) -> bool:
        """Nothing comes by itself."""
        return False

    def count(self) -> int:
        """Rows shown."""
        return len(self.rows)

    def layout(self, width: int) -> list[tuple[Column[R], int]]:
        """The columns that fit into ``width``, with their widths."""
        chosen = [
            c for c in self.columns if c.id not in self.hidden_columns and (width >= WIDE or not c.wide)
        ]
        room = width - 1 - sum(c.width + len(GAP) for c in chosen)
        while room < 0 and len(chosen) > 1:
            room += chosen.pop().width + len(GAP)
        return [(c, c.width + (max(room, 0) if c.grow else 0)) for c in chosen]

    def titles(self, width: int) -> Line | None:
        """Column titles; the one that sorts is in capitals and has an arrow."""
        g = glyphs.current()
        text = " "
        for column, size in self.layout(width):
            sorts = column.id == self.sort_by
            title = (column.title.upper() if sorts else column.title)[:size]
            arrow = (g.down if self.descending else g.up) if sorts else ""
            # A title that fills its column has its arrow in the gap behind it.
            if column.right:
                text += title.rjust(size) + (arrow or GAP)
            else:
                text += fit(title + arrow, size) + GAP if len(title) < size else title + (arrow or GAP)
        return [(text[: width - 1], FAINT)]

    def line(self, index: int, width: int) -> Line:
        """One row."""
        row = self.rows[index]
        line: Line = []
        for column, size in self.layout(width + 1):
            style = column.style(row) if column.style else PLAIN
            line += [(column.cell(row, size), style), (GAP, PLAIN)]
        return line

    def gutter(self, index: int) -> str:
        """A marked row."""
        return glyphs.current().mark if self.row_key(self.rows[index]) in self.marked else " "

    def empty(self, width: int) -> list[str]:
        """Unreadable, unread, hidden, or nothing there: always with what to do."""
        if self.problem:
            return [f"This cannot be read: {self.problem}", "It is tried again every few seconds."]
        if self._all and self.scope is not None:
            return [
                f"Nothing about {self.scope.label} here.",
                f"{key('follow')} shows everybody again, {key('filter.clear')} clears the filter",
            ]
        if self._all:
            return [f"No {self.unit} hold: {self.filter_text}", f"{key('filter.clear')} clears the filter"]
        if self.stored and not self.loaded_at:
            return ["Reading ..."]
        return self.unfilled()

    def status(self) -> tuple[str, str]:
        """The filter, the scope, and how many are hidden."""
        left = f"filter {self.filter_text or '-'}"
        if self.scope is not None:
            left += f"  follow {self.scope.title}"
        if self.marked:
            left += f"  {len(self.marked)} marked"
        if more := self.about():
            left += f"  {more}"
        if self.problem and self._all:
            left += f"  ! {self.problem}"
        return left, f"{len(self._all) - len(self.rows)} hidden  {len(self.rows)}/{len(self._all)}"

    # --- detail

    def detail_key(self) -> object:
        """The row and what stands in it."""
        row = self.current
        return None if row is None else (self.row_key(row), hash(repr(row)))

    def detail(self) -> list[str]:
        """The row under the cursor."""
        return [] if self.current is None else self.row_detail(self.current)

    def record(self) -> dict[str, Any]:
        """The row under the cursor."""
        return dict(self.current or {})

    def records(self) -> list[Any]:
        """The marked rows, or all that are shown."""
        return [dict(row) for row in self._chosen()]

    def _chosen(self) -> list[R]:
        return [row for row in self._all if self.row_key(row) in self.marked] or self.rows

    def sheet(self) -> Sheet:
        """The columns that were chosen, those of wide screens too; values as they are where a row has them."""
        columns = [c for c in self.columns if c.id not in self.hidden_columns]
        return Sheet([c.id for c in columns], [[c.value(row) for c in columns] for row in self._chosen()])

    def copy_text(self) -> str:
        """The marked rows or the one under the cursor, as JSON lines."""
        rows = self.records() if self.marked else [self.record()]
        return "\n".join(json.dumps(row, default=plain_value) for row in rows if row)
