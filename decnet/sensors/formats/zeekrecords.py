"""Zeek's own logs: columns whose names stand at the head of each file; pure.

A file begins with lines that start with ``#``: the separator, what stands for nothing, the names of the columns. They
may come again (Zeek was restarted) and then count from there on. Source: Zeek, Log Formats, "Zeek TSV Format Logs";
bytes that are not printed are written ``\\xHH``.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping

from decnet.sensors.files.tailer import Line
from decnet.sensors.formats.records import MAX_CELLS, Found
from decnet.sensors.values import MAX_NAME, Data, Refusal

MAX_PARTS = 256
"""Files whose heads are kept at a time; the one that was read longest ago goes first."""
_BYTE = re.compile(r"\\x([0-9a-fA-F]{2})")
_UNSET, _EMPTY = "-", "(empty)"


class _Head:
    """What the head of one file says."""

    __slots__ = ("columns", "empty", "separator", "unset")

    def __init__(self) -> None:
        self.separator, self.unset, self.empty = "\t", _UNSET, _EMPTY
        self.columns: tuple[str, ...] = ()


class ZeekRecords:
    """Records by the names of their columns; a value that is unset or empty is not there."""

    unfinished = 0

    def __init__(self) -> None:
        self._heads: OrderedDict[str, _Head] = OrderedDict()
        self.dropped = 0

    def feed(self, line: Line) -> Found:
        """The record of a line; none for a line of the head."""
        text = line.data.decode("utf-8", "replace").rstrip("\r")
        if text.startswith("#"):
            self._take(line.path, text)
            return ()
        head = self._heads.get(line.path)
        if head is None or not head.columns:
            return (Refusal("no_head"),)
        self._heads.move_to_end(line.path)
        cells = text.split(head.separator, MAX_CELLS)
        if len(cells) != len(head.columns):
            return (Refusal("wrong_columns"),)
        nothing = (head.unset, head.empty, "")
        pairs = zip(head.columns, cells, strict=True)
        return ({name: _plain(cell) for name, cell in pairs if cell not in nothing},)

    def _take(self, path: str, text: str) -> None:
        """One line of a head; a new one begins with the separator."""
        if text.startswith("#separator"):
            head = self._heads[path] = _Head()
            self._heads.move_to_end(path)
            if len(self._heads) > MAX_PARTS:
                self._heads.popitem(last=False)
            head.separator = _plain(text.partition(" ")[2].strip())[:1] or "\t"
            return
        known = self._heads.get(path)
        if known is None:
            return
        name, _, rest = text.partition(known.separator)
        if name == "#fields":
            columns = rest.split(known.separator)
            known.columns = (
                tuple(column[:MAX_NAME] for column in columns) if len(columns) <= MAX_CELLS else ()
            )
        elif name == "#unset_field":
            known.unset = rest
        elif name == "#empty_field":
            known.empty = rest

    def to_state(self) -> Data:
        """Plain JSON for a checkpoint."""
        heads = [
            [path, head.separator, head.unset, head.empty, list(head.columns)]
            for path, head in self._heads.items()
        ]
        return {"heads": heads}

    def restore(self, state: Mapping[str, object]) -> None:
        """Takes up the state of :meth:`to_state`."""
        heads = state.get("heads", ())
        for path, separator, unset, empty, columns in heads if isinstance(heads, list) else ():
            head = self._heads[path] = _Head()
            head.separator, head.unset, head.empty, head.columns = separator, unset, empty, tuple(columns)


def _plain(text: str) -> str:
    """A cell with the bytes that were written out; what is no UTF-8 then becomes marks."""
    if "\\x" not in text:
        return text
    raw = _BYTE.sub(lambda match: chr(int(match[1], 16)), text) if text.isascii() else text
    return raw.encode("latin-1").decode("utf-8", "replace") if raw is not text else text
