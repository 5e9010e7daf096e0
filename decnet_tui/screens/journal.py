"""Journal: what operators did, whether it was verified, and what ended by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from decnet.db.rows.journal import JournalLine
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import Entry, with_expiries
from decnet_tui.model.keys import key
from decnet_tui.model.words import clock
from decnet_tui.screens.table import Column, TableView
from decnet_tui.widgets.states import change_state

MAX_ROWS = 500


class JournalView(TableView[Entry]):
    """The journal, newest first."""

    name = "journal"
    title = "Journal"
    short_title = "Log"
    key = "8"
    says = "Journal: what operators did, and what became of it"
    unit = "changes"
    stored = True
    roots = ("ttp", "decky", "attribution", "system")

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.columns = (
            Column("ts", "when", 14, text=self._time),
            Column("operator", "who", 12),
            Column("what", "what", 16, grow=True),
            Column(
                "outcome",
                "outcome",
                13,
                text=lambda r: change_state(str(r["outcome"]))[0],
                style=lambda r: change_state(str(r["outcome"]))[1],
            ),
            Column("reason", "reason", 24, wide=True),
            Column("detail", "detail", 30, wide=True),
        )

    def _time(self, row: Entry) -> str:
        moment = row["ts"].timestamp()
        return clock(moment, "age") + " ago" if self.time_format == "age" else clock(moment, "date")[5:]

    async def fetch(self, session: Session) -> Sequence[JournalLine]:
        """The newest rows. Raises what the store raises."""
        return await need_store(session).journal(None, MAX_ROWS)

    def load(self, data: Sequence[JournalLine]) -> None:
        """Rows of the table, and what ended by itself."""
        self.fill(with_expiries(data))

    def row_key(self, row: Entry) -> Any:
        """The entry's number."""
        return row["id"]

    def unfilled(self) -> list[str]:
        """Nothing changed yet."""
        return [
            "Nobody has changed anything yet.",
            f"Capitals change things, {key('write')} allows them for a while: try {key('rule.disable')} on a rule in view {key('view.rules')}.",
        ]

    def about(self) -> str:
        """What can be done here."""
        return f"{key('undo')} undoes the line"
