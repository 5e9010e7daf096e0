"""Levels of lists that are made to be taken along: indicators (IOCs) of whatever page asked, and what is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.iocs import Indicators, Ioc, copied
from decnet_tui.model.keys import key
from decnet_tui.model.scope import Of
from decnet_tui.model.words import counted, stamp
from decnet_tui.screens.base import View
from decnet_tui.screens.levels import TableLevel
from decnet_tui.screens.session import SessionLevel
from decnet_tui.screens.table import Column
from decnet_tui.widgets.strips import BOLD, PLAIN, Line

MAX_SESSIONS = 5_000
"""Sessions that are looked through for a list on the screen; `iocs` on the command line looks through all."""
ALL = "all"


class IndicatorsLevel(TableLevel[Ioc]):
    """The indicators of something. Its first line is all of them: copied there, they are copied at once."""

    unit = "indicators"
    stored = True

    def __init__(self, feed: Feed, of: Of) -> None:
        super().__init__(feed)
        self.of, self.crumb = of, f"indicators of {of.label}"
        self.more = False
        """Whether there are sessions that were not looked through."""
        self.columns = (
            Column("kind", "kind", 7),
            Column("value", "indicator", 30, grow=True),
            Column("name", "came as", 16, wide=True),
            Column("sessions", "sess", 5, right=True),
            Column("sources", "sources", 15, text=_sources, wide=True),
            Column("first", "first seen", 19, text=lambda r: stamp(r["first"]), wide=True),
            Column("session_id", "session", 8, text=lambda r: r["session_id"][:8], wide=True),
        )

    def row_key(self, row: Ioc) -> Any:
        """Kind and value."""
        return row["kind"], row["value"]

    async def fetch(self, session: Session) -> list[Ioc]:
        """Reads the sessions. Raises what the store raises."""
        from decnet.db.repository.conditions import (
            Whose,
        )  # here: the console starts without the database library

        of, found = self.of, Indicators()
        asked = need_store(session).evidence(
            of.begin, of.attacker, [of.session] if of.session else None, ignored=True,
            whose=Whose(campaign=of.campaign), until=of.end, clear=session.keep_clear, at_once=MAX_SESSIONS,
        )  # fmt: skip
        async for rows in asked:
            for one in rows:
                found.add(one)
            self.more = len(rows) >= MAX_SESSIONS
            break
        await asked.aclose()
        return found.rows()

    def load(self, data: Sequence[Ioc]) -> None:
        """The rows, below one that stands for all."""
        self.fill([_all(data), *data] if data else [])

    def shown(self) -> list[Ioc]:
        """The rows without the one that stands for all."""
        return [row for row in self.rows if row["kind"] != ALL]

    def line(self, index: int, width: int) -> Line:
        """The first one says how many there are."""
        row = self.rows[index]
        if row["kind"] != ALL:
            return super().line(index, width)
        return [
            (f"all {counted(len(self.shown()), 'indicator')}: {key('copy')} copies them", BOLD),
            ("", PLAIN),
        ]

    def copy_text(self) -> str:
        """Kind and value, a line each: of the marked rows, of all, or of the one under the cursor."""
        marked = [row for row in self.shown() if self.row_key(row) in self.marked]
        if marked or (self.current is not None and self.current["kind"] == ALL):
            return copied(marked or self.shown())
        return self.current["value"] if self.current is not None else ""

    def records(self) -> list[Any]:
        """The marked rows, or all that are shown."""
        marked = [row for row in self.shown() if self.row_key(row) in self.marked]
        return [dict(row) for row in marked or self.shown()]

    def record(self) -> dict[str, Any]:
        """Of the row under the cursor what leads on: its session."""
        row = self.current
        return dict(row) if row is not None and row["kind"] != ALL else {}

    def below(self) -> View | None:
        """The first session that had it."""
        row = self.current
        return SessionLevel(self.feed, row["session_id"]) if row is not None and row["session_id"] else None

    def row_detail(self, row: Ioc) -> list[str]:
        """The whole value, and who had it."""
        if row["kind"] == ALL:
            return copied(self.shown()).split("\n")
        lines = [f"{row['kind']} {row['value']}", *([f"came as {row['name']}"] if row["name"] else []), ""]
        lines += [
            f"{counted(row['sessions'], 'session')}, first {stamp(row['first'])}Z, last {stamp(row['last'])}Z"
        ]
        return [*lines, *row["sources"]]

    def unfilled(self) -> list[str]:
        """Nothing that others could look for."""
        return ["No indicator: nothing was brought, fetched or named, and no address is known."]

    def about(self) -> str:
        """What can be done."""
        more = f"the first {MAX_SESSIONS} sessions  " if self.more else ""
        return f"{more}{key('copy')}: copy  {key('export')}: file  {key('open')}: session"


class NewThingsLevel(IndicatorsLevel):
    """What is new in the history: of one kind, as the first view found it."""

    def __init__(self, feed: Feed, kind: str, things: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(feed, Of(""))
        self.crumb = f"new {kind}s"
        self._given = [_ioc(kind, one) for one in things]

    async def fetch(self, session: Session) -> list[Ioc]:
        """Nothing more."""
        return self._given


def _ioc(kind: str, one: Mapping[str, Any]) -> Ioc:
    named = {"file": "sha256"}.get(kind, kind)
    return {
        "kind": named,
        "value": str(one["value"]),
        "name": one["name"],
        "sessions": one["times"],
        "sources": [],
        "first": one["first_seen"],
        "last": None,
        "session_id": one["session_id"] or "",
    }


def _all(rows: Sequence[Ioc]) -> Ioc:
    return {
        "kind": ALL, "value": "", "name": None, "sessions": len({row["session_id"] for row in rows}), "sources": [],
        "first": None, "last": None, "session_id": "",
    }  # fmt: skip


def _sources(row: Ioc) -> str:
    return " ".join(row["sources"][:2]) + (f" +{len(row['sources']) - 2}" if len(row["sources"]) > 2 else "")
