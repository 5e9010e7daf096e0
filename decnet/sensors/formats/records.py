"""Lines of text and of tables of columns become the objects that a table reads; pure.

A record of a CSV file may go over several lines. What a quote opens only a quote closes: an attacker's password that
looks like a record of its own is none, however long it is.
"""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from decnet.sensors.files.tailer import Line
from decnet.sensors.formats.table import Table
from decnet.sensors.values import MAX_NAME, Data, Refusal

MAX_PARTS = 64
"""Files whose columns and unfinished records are kept at a time; the one that was read longest ago goes first."""
MAX_MISSING = 2
"""Columns that an older version of a program need not have."""
MAX_CELLS = 1_000
"""Columns of a record that are read."""
Found = Sequence[Data | Refusal]


class Records(Protocol):
    """Takes lines of files, and keeps what is not finished."""

    dropped: int
    """Unfinished records that were given up."""

    def feed(self, line: Line) -> Found:
        """The objects that a line finishes, or why it gives none."""
        ...

    @property
    def unfinished(self) -> int:
        """Records that wait for their end."""
        ...

    def to_state(self) -> Data:
        """Plain JSON for a checkpoint."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up the state of :meth:`to_state`."""
        ...


class TextRecords:
    """A log of which every line is a record, taken apart by a pattern with named groups."""

    unfinished = 0

    def __init__(self, table: Table) -> None:
        self._regex = table.pattern
        self.dropped = 0

    def feed(self, line: Line) -> Found:
        """The groups of the pattern by their names."""
        match = self._regex.search(line.data.decode("utf-8", "replace").rstrip("\r"))
        if match is None:
            return (Refusal("no_match"),)
        return ({name: text for name, text in match.groupdict().items() if text is not None},)

    def to_state(self) -> Data:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


class _Part:
    """What is known of one file: its columns, and the lines of a record that is not finished."""

    __slots__ = ("at", "columns", "skipping", "text")

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self.text: str | None = None
        self.at = 0
        """The number of the line that was read last."""
        self.skipping = False
        """Within a record that was given up: until its quote is closed."""


class CsvRecords:
    """A table of columns; a line with the names of the columns says in which order they stand."""

    def __init__(self, table: Table, max_bytes: int, max_lines: int) -> None:
        """Of one record ``max_bytes`` bytes and ``max_lines`` lines at most."""
        self._columns = table.columns
        self._delimiter = table.delimiter
        self._max_bytes = max_bytes
        self._max_lines = max_lines
        self._parts: OrderedDict[str, _Part] = OrderedDict()
        self.dropped = 0

    def feed(self, line: Line) -> Found:
        """The record that a line finishes."""
        part = self._part(line.path)
        if line.number == 1 and (part.text is not None or part.skipping):  # another file under the same name
            self._parts[line.path] = _Part(self._columns)
            self.dropped += 1
            return (Refusal("torn_record"), *self.feed(line))
        text = line.data.decode("utf-8", "replace")
        if part.text is not None:
            # Lines of nothing but blanks are not given; in a record they are lines of it.
            text = part.text + "\n" * max(line.number - part.at, 1) + text
        elif part.skipping:
            part.skipping = text.count('"') % 2 == 0
            return (Refusal("record_too_long"),)
        part.at, part.text, closed = line.number, None, text.count('"') % 2 == 0
        if len(text) > self._max_bytes or text.count("\n") >= self._max_lines:
            part.skipping = not closed
            self.dropped += 1
            return (Refusal("record_too_long"),)
        if closed:
            return self._record(part, text.removesuffix("\r"))
        part.text = text
        return ()

    def _part(self, path: str) -> _Part:
        part = self._parts.get(path)
        if part is None:
            part = self._parts[path] = _Part(self._columns)
        self._parts.move_to_end(path)
        while len(self._parts) > MAX_PARTS:
            _, oldest = self._parts.popitem(last=False)
            self.dropped += oldest.text is not None
        return part

    def _record(self, part: _Part, text: str) -> Found:
        cells = cells_of(text, self._delimiter)
        if cells is None:
            return (Refusal("not_csv"),)
        if is_header(cells, self._columns):
            part.columns = tuple(cell.strip("\ufeff ")[:MAX_NAME] for cell in cells)
            return ()
        if len(cells) > len(part.columns) or len(cells) < 2:
            return (Refusal("wrong_columns"),)
        return ({name: cell for name, cell in zip(part.columns, cells, strict=False) if cell},)

    @property
    def unfinished(self) -> int:
        """Records that wait for the end of their quote."""
        return sum(part.text is not None for part in self._parts.values())

    def to_state(self) -> Data:
        """Plain JSON for a checkpoint."""
        return {
            "parts": [
                [path, list(part.columns), part.text, part.at, part.skipping]
                for path, part in self._parts.items()
            ],
            "dropped": self.dropped,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up the state of :meth:`to_state`."""
        self.dropped = int(state.get("dropped", 0))
        for path, columns, text, at, skipping in state.get("parts", ()):
            part = self._parts[path] = _Part(tuple(columns))
            part.text, part.at, part.skipping = text, int(at), bool(skipping)


def cells_of(text: str, delimiter: str) -> list[str] | None:
    """The cells of one record; None for text that is none."""
    try:
        rows = list(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 and len(rows[0]) <= MAX_CELLS else None


def is_header(cells: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether a record is the line with the names of the columns: it begins with the first, and has nearly all."""
    names = [cell.strip("\ufeff ") for cell in cells]
    return names[0] == columns[0] and len(set(names) & set(columns)) >= len(columns) - MAX_MISSING
