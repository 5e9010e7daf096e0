"""Views with their filters, sorting and columns, under names; and the columns of each table as they were last chosen.

A saved view is one line: ``actors sort=-last_seen columns=attacker_ip,severity filter=/wget|curl/ country:NL``; the filter
is all that stands behind ``filter=``. Operators' own are in a private file of the data directory, those of everybody in
the settings (``console.saved``). Knows no terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from decnet.bus.connection import write_private

FILE_NAME = "views.json"
MAX_SAVED = 200
"""Names of one operator."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_LINE = re.compile(
    r"(?P<view>[a-z]+)(?:\s+sort=(?P<sort>-?\w*))?(?:\s+columns=(?P<columns>[\w,]+))?(?:\s+filter=(?P<filter>.*))?",
    re.S,
)


class Saved(NamedTuple):
    """One view. ``sort`` is a column's id, with ``-`` in front from the greatest; no ``columns`` are the usual ones."""

    view: str
    filter: str = ""
    sort: str = ""
    columns: Sequence[str] = ()

    def line(self) -> str:
        """As it is written."""
        sort = f" sort={self.sort}" if self.sort else ""
        columns = f" columns={','.join(self.columns)}" if self.columns else ""
        return f"{self.view}{sort}{columns} filter={self.filter}"


def parse_saved(text: str) -> Saved:
    """What a line means. Raises ValueError that says the shape."""
    found = _LINE.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text.strip()[:60]!r} is no saved view: write VIEW [sort=[-]COLUMN] [columns=A,B] [filter=...]"
        )
    columns = [name for name in (found["columns"] or "").split(",") if name]
    return Saved(found["view"], (found["filter"] or "").strip(), found["sort"] or "", columns)


def check_name(name: str) -> None:
    """Raises ValueError for what can be no name."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name has up to 40 letters, digits, - _ and .")


@dataclass
class Kept:
    """What one operator keeps in one data directory. ``shared`` are the lines of the settings."""

    data_dir: Path
    operator: str
    shared: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """All names, own and shared."""
        return sorted({*self.shared, *self._part("saved")})

    def load(self, name: str) -> Saved | None:
        """The view of that name, the operator's own before a shared one. Raises ValueError for a line that is none."""
        line = self._part("saved").get(name, self.shared.get(name))
        return None if line is None else parse_saved(str(line))

    def save(self, name: str, view: Saved) -> None:
        """Keeps it, in place of another one of that name. Raises OSError, and ValueError for no name or too many."""
        check_name(name)
        own = self._part("saved")
        if name not in own and len(own) >= MAX_SAVED:
            raise ValueError(f"{MAX_SAVED} views are saved already: `forget NAME` makes room")
        self._put("saved", {**own, name: view.line()})

    def forget(self, name: str) -> bool:
        """Takes an own one away; whether there was one. Raises OSError."""
        own = self._part("saved")
        if name not in own:
            return False
        self._put("saved", {other: line for other, line in own.items() if other != name})
        return True

    def columns(self, table: str) -> list[str]:
        """The columns of a table as they were last chosen; empty when nobody chose any."""
        found = self._part("columns").get(table)
        return [str(name) for name in found] if isinstance(found, list) else []

    def keep_columns(self, table: str, names: Sequence[str]) -> None:
        """Remembers them. Raises OSError."""
        self._put("columns", {**self._part("columns"), table: list(names)})

    def _part(self, part: str) -> dict[str, Any]:
        own = _all(self.data_dir).get(self.operator)
        found = own.get(part) if isinstance(own, dict) else None
        return found if isinstance(found, dict) else {}

    def _put(self, part: str, value: dict[str, Any]) -> None:
        everything = _all(self.data_dir)
        own = everything.get(self.operator)
        everything[self.operator] = {**(own if isinstance(own, dict) else {}), part: value}
        write_private(self.data_dir / FILE_NAME, json.dumps(everything))


def _all(data_dir: Path) -> dict[str, Any]:
    try:
        found = json.loads((data_dir / FILE_NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
