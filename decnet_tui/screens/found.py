"""What a search of the database (``//``) found: commands, addresses, users, hashes, URLs, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from decnet.db.rows.lists import Hit
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.model.words import clock
from decnet_tui.screens.base import Place
from decnet_tui.screens.table import Column, TableView

MAX_ROWS = 500


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

    async def fetch(self, session: Session) -> Sequence[Hit]:
        """What the store finds. Raises what the store raises."""
        wanted = self.wanted
        rows = await need_store(session).find(wanted, None, MAX_ROWS, clear=session.keep_clear)
        self._answered = wanted
        return rows

    def load(self, data: Sequence[Hit]) -> None:
        """The rows, unless something else is looked for by now."""
        if self._answered == self.wanted:
            self.fill(data)

    def row_key(self, row: Hit) -> Any:
        """All of it: one text may be found in several places."""
        return row["kind"], row["session_id"], str(row["ts"]), row["value"]

    def leads_to(self) -> Place | None:
        """The session, else the attacker."""
        row = self.current
        key = row["session_id"] or row["attacker_uuid"] if row else None
        return Place("actors", key) if key else None

    def unfilled(self) -> list[str]:
        """Nothing found."""
        return [
            f"Nothing in the database holds: {self.wanted}",
            f"{2 * key('filter')} looks for something else; {key('view.last')} goes to the last view.",
        ]

    def about(self) -> str:
        """What was looked for."""
        return f"database search: {self.wanted}"
