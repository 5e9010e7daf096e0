"""A page about one thing: what it is above, short lists under headings below; each key acts on the thing itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from decnet.hostile import visible
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.model.scope import Scope
from decnet_tui.screens.base import View
from decnet_tui.screens.levels import Level
from decnet_tui.screens.sections import Entry, SectionsView, heading
from decnet_tui.widgets.strips import BOLD, FAINT, PLAIN, Line

Below = Callable[[], View]
MAX_LINES = 200
"""Lines of one list; how many more there are is said."""


class PageLevel(SectionsView, Level):
    """The base. A subclass reads its thing (:meth:`fetch`) and says its head and its lists (:meth:`load`)."""

    stored = True
    is_page = True
    first_section = ""
    """The list that the cursor begins in."""

    def __init__(self, feed: Feed, crumb: str) -> None:
        super().__init__(feed)
        self.crumb = crumb
        self.row: dict[str, Any] = {}
        """The thing, as ``y`` copies it."""
        self.gone = ""
        """Why there is no such thing."""
        self._head: list[str] = []
        self._below: dict[tuple[str, Any], Below] = {}

    # --- for subclasses

    def say(self, head: Sequence[str], entries: Sequence[Entry]) -> None:
        """What stands above, and the lists."""
        self.problem, self.loaded_at, self.gone = "", time.monotonic(), ""
        self._head = list(head)
        first = not self._all
        self.put(entries)
        if first:
            at = [
                n for n, e in enumerate(self.entries) if e.key is not None and e.section == self.first_section
            ]
            self.cursor = at[0] if at else self.cursor
            self._moved = bool(at)

    def lose(self, why: str) -> None:
        """There is no such thing (any more)."""
        self.problem, self.loaded_at, self.gone, self._head, self.row = "", time.monotonic(), why, [], {}
        self.put([])

    def listed(
        self,
        section: str,
        title: str,
        rows: Sequence[Any],
        line: Callable[[Any], str],
        data: Callable[[Any], Mapping[str, Any]] | None = None,
        below: Callable[[Any], View | None] | None = None,
    ) -> list[Entry]:
        """A heading and a line for each row, at most :data:`MAX_LINES`; nothing for no rows."""
        if not rows:
            return []
        found = [heading(section, "", [(f"{title} ", BOLD), (str(len(rows)), FAINT)])]
        for number, row in enumerate(rows[:MAX_LINES]):
            behind = dict(data(row)) if data is not None else {section: row}
            key = behind.get("key", number)
            found.append(Entry(section, key, [("  " + visible(line(row), 400), PLAIN)], behind))
            if below is not None and (level := below(row)) is not None:
                self._below[section, key] = lambda level=level: level  # type: ignore[misc]
        if len(rows) > MAX_LINES:
            found.append(heading(section, "", [(f"  and {len(rows) - MAX_LINES} more", FAINT)]))
        return found

    # --- as a level

    def covers(self, data: Mapping[str, Any]) -> bool:
        """A page is about its thing, whoever is followed."""
        return True

    def below(self) -> View | None:
        """What the line under the cursor opens."""
        entry = self.current
        made = self._below.get((entry.section, entry.key)) if entry is not None else None
        return made() if made is not None else None

    def intro(self, width: int) -> list[Line]:
        """The thing."""
        return [
            [(f" {visible(text, max(width - 2, 1))}", PLAIN if number else BOLD)]
            for number, text in enumerate(self._head)
        ]

    def empty(self, width: int) -> list[str]:
        """Why nothing stands below the head."""
        if self.problem:
            return [f"This cannot be read: {self.problem}", "It is tried again every few seconds."]
        if self.gone:
            return [self.gone]
        if self.filter_text:
            return [f"No line holds: {self.filter_text}", f"{key('filter.clear')} clears the filter"]
        return ["Nothing more is stored of it."] if self.loaded_at else ["Reading ..."]

    def actor(self) -> Scope | None:
        """Whom the page is about; no other level's."""
        return None

    def record(self) -> dict[str, Any]:
        """The thing, and the session under the cursor, which can be watched."""
        entry = self.current
        session = entry.data.get("session_id") if entry is not None else None
        return {**self.row, **({"session_id": session} if session else {})}

    def status(self) -> tuple[str, str]:
        """The filter, what can be done, and how many lines."""
        return f"{self.filter_part()}  {self.about()}".strip(), self.shown_counts()

    def about(self) -> str:
        """What can be done here."""
        return f"{key('open')}: opens the line"
