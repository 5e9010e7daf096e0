"""A view of several short lists under headings: Workers, and what happened since.

A subclass gives :class:`Entry` rows; headings are entries too. The cursor stays on its entry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from decnet.hostile import visible
from decnet_tui.model.export import Sheet, plain_value
from decnet_tui.model.feed import Feed
from decnet_tui.model.filters import Filter, parse_filter
from decnet_tui.model.scope import Scope
from decnet_tui.screens.base import View
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.strips import BOLD, PLAIN, Line


@dataclass(frozen=True)
class Entry:
    """One line. ``line`` is what is painted, ``data`` what is behind it; a heading has no ``key``.

    ``opens`` names the view that Enter goes to, and the row there.
    """

    section: str
    key: Any
    line: Line = field(compare=False)
    data: Mapping[str, Any] = field(default_factory=dict, compare=False)
    opens: tuple[str, Any] | None = None
    bad: bool = False
    text: str = ""
    """What a filter looks at; the line where it is empty."""
    below: bool = False
    """Whether it belongs to the entry above it, and goes with that: it has no key and no cursor."""


def heading(section: str, text: str, line: Line | None = None) -> Entry:
    """A heading."""
    return Entry(section, None, line or [(text, BOLD)])


class SectionsView(View):
    """Entries under headings."""

    filtered = True

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.entries: list[Entry] = []
        self._all: list[Entry] = []
        self._filter = Filter()
        self._moved = False
        """Whether the operator chose a line; until then the cursor stands on the first one."""

    def put(self, entries: Sequence[Entry]) -> None:
        """New entries; the cursor stays on its own."""
        self._all = list(entries)
        self.select()

    def select(self) -> None:
        """Filter and scope anew; a heading stays while its section does."""
        at = self.current if self._moved else None
        self.entries = [e for e in self._all if (e.key is None and not e.below) or self.shows(e)]
        places = [i for i, e in enumerate(self.entries) if at is not None and _same(e, at)]
        if places:
            self.cursor = places[0]
        elif not self._moved or self.current is None or self.current.key is None:
            self.cursor = next((i for i, e in enumerate(self.entries) if e.key is not None), 0)

    def shows(self, entry: Entry) -> bool:
        """Whether filter and scope let an entry through."""
        if not self.covers(entry.data):
            return False
        return not self._filter.tests or self._filter.shows_row(
            {"section": entry.section, "text": entry.text or " ".join(text for text, _ in entry.line)}
        )

    def covers(self, data: Mapping[str, Any]) -> bool:
        """Whether the scope lets something through; what names no actor is everybody's."""
        names = ("attacker_ip", "attacker_uuid", "identity_uuid", "attacker_uuids")
        values = [data[n] for n in names if data.get(n)]
        return self.scope is None or not values or self.scope.covers(values)

    def set_filter(self, text: str) -> None:
        """Entries that hold all parts of it. Raises FilterError."""
        self._filter = parse_filter(text, ("section", "text"))
        self.filter_text = text
        self.select()

    def set_scope(self, scope: Scope | None) -> None:
        """Entries about one actor, and those about none."""
        self.scope = scope
        self.select()

    @property
    def current(self) -> Entry | None:
        """The entry under the cursor."""
        return self.entries[self.cursor] if 0 <= self.cursor < len(self.entries) else None

    @property
    def on_row(self) -> bool:
        """Whether the cursor is on an entry; a heading is none."""
        return self.current is not None and self.current.key is not None

    def sync(self, now: float) -> bool:
        """Nothing comes by itself."""
        return False

    def count(self) -> int:
        """Lines, headings included."""
        return len(self.entries)

    def line(self, index: int, width: int) -> Line:
        """One entry."""
        return self.entries[index].line

    def gutter(self, index: int) -> str:
        """What needs attention is marked."""
        return glyphs.current().stale if self.entries[index].bad else " "

    def move(self, by: int, rows: int) -> None:
        """Moves over headings."""
        self._moved = True
        super().move(by, rows)
        step = 1 if by > 0 else -1
        while (
            self.current is not None and self.current.key is None and 0 <= self.cursor + step < self.count()
        ):
            self.cursor += step
        if self.current is not None and self.current.key is None:  # what ends with a heading ends before it
            places = [i for i, e in enumerate(self.entries) if e.key is not None]
            self.cursor = (places[-1] if by > 0 else places[0]) if places else self.cursor
        self.settle(rows)
        first = next((i for i, e in enumerate(self.entries) if e.key is not None), 0)
        if self.cursor <= rows // 2 or (self.cursor == first and first < rows):
            self.top = 0  # what stands above the first line is read with it
        elif self.cursor + 1 == self.top + rows and self.cursor + 1 < self.count():
            self.top += self.entries[self.cursor + 1].below  # what belongs to the last line is seen with it

    def detail_key(self) -> object:
        """The entry."""
        entry = self.current
        return None if entry is None else (entry.section, entry.key, hash(repr(entry.data)))

    def detail(self) -> list[str]:
        """What is behind the entry, as JSON."""
        if self.current is None or not self.current.data:
            return []
        body = json.dumps(dict(self.current.data), indent=1, ensure_ascii=False, default=plain_value)
        return body.split("\n")

    def record(self) -> dict[str, Any]:
        """What is behind the entry."""
        return dict(self.current.data) if self.current is not None else {}

    def records(self) -> list[Any]:
        """All entries that are shown."""
        return [{"section": e.section, **e.data} for e in self.entries if e.key is not None]

    def sheet(self) -> Sheet:
        """The lines as they stand, each with the heading above it."""
        rows = [
            (e.section, "".join(text for text, _ in e.line).strip())
            for e in self.entries
            if e.key is not None
        ]
        return Sheet(("section", "line"), rows)

    def copy_text(self) -> str:
        """The entry as one line of JSON."""
        return json.dumps(self.record(), default=plain_value) if self.on_row else ""

    def shown_counts(self) -> str:
        """For line 3."""
        all_, shown = (sum(e.key is not None for e in entries) for entries in (self._all, self.entries))
        return f"{all_ - shown} hidden  {shown} shown"

    def filter_part(self) -> str:
        """For line 3."""
        follow = f"  follow {self.scope.title}" if self.scope is not None else ""
        return f"filter {visible(self.filter_text) or '-'}{follow}"


def _same(a: Entry, b: Entry) -> bool:
    return a.section == b.section and a.key == b.key and a.key is not None


def none_line(text: str) -> Line:
    """A line that says that a section is empty."""
    return [(f"  {text}", PLAIN)]
