"""Ignored: the sources that are left out everywhere, until when, why and by whom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from decnet.db.rows.ignored import IgnoredEntry
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.model.words import clock, span
from decnet_tui.screens.base import TIME_WIDTHS
from decnet_tui.screens.table import Column, TableView
from decnet_tui.widgets.states import Shown, ignored_state


class IgnoredView(TableView[IgnoredEntry]):
    """Every entry, those that end first before those that never do."""

    name = "ignored"
    title = "Ignored"
    says = "Ignored sources: until when, why, by whom"
    unit = "ignored sources"
    stored = True
    roots = ("system",)

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.columns = (
            Column("value", "source", 20, grow=True),
            Column("kind", "kind", 5, text=lambda r: "login" if r["kind"] == "user" else "net"),
            Column("state", "state", 9, text=lambda r: _state(r)[0], style=lambda r: _state(r)[1]),
            Column("expires_at", "ends in", 7, text=_left, sort=lambda r: r["expires_at"], right=True),
            Column("set_by", "by", 14),
            Column("reason", "reason", 16),
            Column("set_at", "since", TIME_WIDTHS["date"], text=lambda r: _stamp(r["set_at"]), wide=True),
            Column(
                "until",
                "until",
                TIME_WIDTHS["date"],
                text=lambda r: _stamp(r["expires_at"]),
                sort=lambda r: r["expires_at"],
                wide=True,
            ),
        )

    async def fetch(self, session: Session) -> list[IgnoredEntry]:
        """All entries. Raises what the store raises."""
        return await need_store(session).ignored_sources()

    def load(self, data: Sequence[IgnoredEntry]) -> None:
        """What ends first stands first."""
        self.fill(
            sorted(data, key=lambda row: (row["expires_at"] is None, row["expires_at"] or row["set_at"]))
        )

    def row_key(self, row: IgnoredEntry) -> Any:
        """The source: it has one entry."""
        return row["value"]

    def unfilled(self) -> list[str]:
        """Nothing is left out."""
        return [
            "No source is ignored: every list and count has all of them.",
            f"{key('source.ignore')} on a line leaves its source out for a while.",
        ]

    def about(self) -> str:
        """What can be done."""
        return f"{key('source.notice')}: ignored no longer"

    def row_detail(self, row: IgnoredEntry) -> list[str]:
        """The entry in words."""
        ends = f"until {_stamp(row['expires_at'])}Z" if row["expires_at"] else "for good"
        return [
            f"{row['value']}  {_state(row)[0]} {ends}",
            f"set by {row['set_by'] or '-'} {_stamp(row['set_at'])}Z",
            f"reason {row['reason'] or '-'}",
            f"entry {row['ignore_id']}",
            "its events are stored and tagged all the same; what it marked stays left out until it is taken away",
        ]


def _state(row: IgnoredEntry) -> Shown:
    over = row["expires_at"] is not None and row["expires_at"].timestamp() <= time.time()
    return ignored_state(expired=over)


def _left(row: IgnoredEntry) -> str:
    if row["expires_at"] is None:
        return "never"
    left = row["expires_at"].timestamp() - time.time()
    return span(left) if left > 0 else "expired"


def _stamp(moment: datetime | None) -> str:
    return clock(moment.timestamp(), "date") if moment else "-"
