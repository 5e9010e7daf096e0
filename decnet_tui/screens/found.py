"""What a search of the database found: commands, addresses, users, hashes, URLs, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from decnet.db.rows.lists import Hit
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.model.words import clock, counted
from decnet_tui.screens.base import Place
from decnet_tui.screens.table import Column, TableView

MAX_ROWS = 500
COUNTED = 10_000
"""Hits that are counted; of more it is said that there are more."""


class Answer(NamedTuple):
    """The newest hits and how many there are; more than :data:`COUNTED` are one more than that."""

    rows: Sequence[Hit]
    total: int


class FoundView(TableView[Hit]):
    """Rows that hold the text that was looked for."""

    name = "found"
    title = "Found"
    unit = "finds"
    stored = True
    roots = ("attacker", "credential")

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.wanted = self._answered = ""
        self.total = 0
        self.columns = (
            Column("ts", "when", 14, text=self._time),
            Column("kind", "kind", 8),
            Column("attacker_ip", "source", 15),
            Column(
                "value", "what", 20, text=lambda r: str(r.get("login") or r.get("value") or ""), grow=True
            ),
            Column("session_id", "session", 8, wide=True),
        )

    def look_for(self, text: str) -> None:
        """Another search."""
        self.wanted, self.loaded_at, self.cursor = text, 0.0, 0
        self.put([])

    def _time(self, row: Hit) -> str:
        moment = row["ts"]
        if moment is None:
            return "-"
        age = self.time_format == "age"
        return clock(moment.timestamp(), "age") + " ago" if age else clock(moment.timestamp(), "date")[5:]

    async def fetch(self, session: Session) -> Answer:
        """What the store finds. Raises what the store raises."""
        wanted = self.wanted
        rows = await need_store(session).find(wanted, None, COUNTED + 1, clear=session.keep_clear)
        self._answered = wanted
        return Answer(rows[:MAX_ROWS], len(rows))

    def load(self, data: Answer) -> None:
        """The rows, unless something else is looked for by now."""
        if self._answered == self.wanted:
            self.total = data.total
            self.fill(data.rows)

    def row_key(self, row: Hit) -> Any:
        """All of it: one text may be found in several places."""
        return row["kind"], row["session_id"], str(row["ts"]), row["value"]

    def copy_text(self) -> str:
        """What was found, as it stands there; several that are marked a line each."""
        rows = [row for row in self._all if self.row_key(row) in self.marked]
        if not rows and self.current is not None:
            rows = [self.current]
        return "\n".join(str(row.get("login") or row["value"]) for row in rows)

    def leads_to(self) -> Place | None:
        """The session, else the attacker."""
        row = self.current
        key = row["session_id"] or row["attacker_uuid"] if row else None
        return Place("actors", key) if key else None

    def unfilled(self) -> list[str]:
        """Nothing found."""
        return [
            f"Nothing in the database holds: {self.wanted}",
            f"{key('search')} looks for something else; {key('view.last')} goes to the last view.",
        ]

    def about(self) -> str:
        """What was looked for, and how many hits are not shown."""
        more = f"  the newest {MAX_ROWS} of {hits(self.total)}" if self.total > MAX_ROWS else ""
        return f"database search: {self.wanted}{more}"


def hits(total: int) -> str:
    """How many hits there are."""
    return f"more than {COUNTED} hits" if total > COUNTED else counted(total, "hit")
