"""Levels that show evidence: sessions of an actor, tags of a technique or a rule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.lists import ListedSession, TagBehind
from decnet.events.ttp import SEVERITIES
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.model.tag_text import tag_lines, technique_of
from decnet_tui.model.words import clock, lasted
from decnet_tui.screens.base import TIME_WIDTHS, View
from decnet_tui.screens.levels import TableLevel
from decnet_tui.screens.session import SessionLevel
from decnet_tui.screens.table import Column
from decnet_tui.widgets.states import severity_style

MAX_ROWS = 1000
_RANKS = {name: rank for rank, name in enumerate(SEVERITIES)}


def _when(form: str, moment: datetime | None) -> str:
    if moment is None:
        return "-"
    return clock(moment.timestamp(), "date" if form == "clock" else form)


class SessionsLevel(TableLevel[ListedSession]):
    """The sessions of one attacker, newest first."""

    unit = "sessions"
    stored = True

    def __init__(self, feed: Feed, attacker: str, label: str) -> None:
        super().__init__(feed)
        self.attacker, self.crumb = attacker, label
        self.columns = (
            Column("started_at", "started", TIME_WIDTHS["date"], text=lambda r: _when(self.time_format, r["started_at"])),
            Column("severity", "severity", 8, style=lambda r: severity_style(r["severity"] or ""),
                   sort=lambda r: -_RANKS.get(r["severity"] or "", len(_RANKS))),
            Column("decky_id", "decoy", 10, grow=True),
            Column("service", "service", 7),
            Column("duration_s", "lasted", 7, text=lambda r: lasted(r["ended_at"], r["duration_s"]), right=True),
            Column("command_count", "cmds", 5, right=True),
            Column("tag_count", "tags", 5, right=True),
            Column("session_id", "session", 9, text=lambda r: str(r["session_id"])[:8]),
            Column("end_reason", "end", 6, wide=True),
            Column("sensor_session", "its own id", 12, wide=True),
            Column("story_line", "story", 40, wide=True),
        )  # fmt: skip

    def row_key(self, row: ListedSession) -> Any:
        """The session's id."""
        return row["session_id"]

    async def fetch(self, session: Session) -> list[ListedSession]:
        """The attacker's sessions. Raises what the store raises."""
        repo = need_store(session)
        rows = await repo.list_sessions(attacker=self.attacker, limit=MAX_ROWS, ignored=True)
        self.recorded = await repo.recorded(row["session_id"] for row in rows)
        return rows

    def unfilled(self) -> list[str]:
        """No session yet."""
        return ["No session of this source is stored: it was seen, but has not logged in."]

    def below(self) -> View | None:
        """Its commands."""
        if self.current is None:
            return None
        return SessionLevel(self.feed, str(self.current["session_id"]))

    def about(self) -> str:
        """What can be opened."""
        return f"{key('open')}: commands  {key('fired')}: rules"


class TagsLevel(TableLevel[TagBehind]):
    """The tags behind a technique, newest first."""

    unit = "tags"
    stored = True

    def __init__(
        self,
        feed: Feed,
        technique: str,
        tactic: str | None,
        since: float,
        names: frozenset[str] | None,
        until: float = 0.0,
        campaign: str = "",
    ) -> None:
        super().__init__(feed)
        self.technique, self.tactic, self.names = technique, tactic, names
        self.since, self.until, self.campaign = since, until, campaign
        self.crumb = f"{technique} {load_catalogue().name(technique)}"
        self.columns = (
            Column("seen", "seen", TIME_WIDTHS["date"], text=lambda r: _when(self.time_format, r["seen"])),
            Column("attacker_ip", "source", 15),
            Column("rule_id", "rule", 6),
            Column("confidence", "conf", 4, right=True),
            Column("matched", "matched", 20, text=_matched, grow=True),
        )

    def row_key(self, row: TagBehind) -> Any:
        """The tag's id."""
        return row["uuid"]

    async def fetch(self, session: Session) -> list[TagBehind]:
        """The newest tags. Raises what the store raises."""
        repo = need_store(session)
        until, campaign = self.until or None, self.campaign or None
        asked = (self.technique, self.tactic, self.since or None, self.names, MAX_ROWS)
        rows = await repo.tags_behind(*asked, until=until, campaign=campaign)
        self.recorded = await repo.recorded(row["session_id"] for row in rows if row["session_id"])
        return rows

    def unfilled(self) -> list[str]:
        """Nothing behind the cell."""
        return [f"No tag names {self.technique} here."]

    def about(self) -> str:
        """Where the row leads."""
        return f"{key('open')}: session  {key('fired')}: rule"

    def tags(self) -> Sequence[TagBehind]:
        """The row is one."""
        return [] if self.current is None else [self.current]

    def below(self) -> View | None:
        """The session that it was seen in."""
        row = self.current
        if row is None or not row["session_id"]:
            return None
        return SessionLevel(self.feed, row["session_id"], row["source_id"])

    def row_detail(self, row: TagBehind) -> list[str]:
        """Why the tag was given, and the whole command."""
        text = row["command_text"]
        return [*([text, ""] if text else []), *tag_lines(row)]


class RuleTagsLevel(TagsLevel):
    """The tags that one rule gave, newest first; those of a followed actor alone when one is followed."""

    def __init__(self, feed: Feed, rule_id: str, name: str, names: frozenset[str] | None) -> None:
        super().__init__(feed, "", None, 0.0, names)
        self.rule_id, self.crumb = rule_id, f"tags of {rule_id} {name}".rstrip()
        technique: Column[TagBehind] = Column("technique", "technique", 10, text=technique_of)
        self.columns = tuple(technique if c.id == "rule_id" else c for c in self.columns)

    async def fetch(self, session: Session) -> list[TagBehind]:
        """The newest tags. Raises what the store raises."""
        repo = need_store(session)
        rows = await repo.tags_of_rule(self.rule_id, self.names, MAX_ROWS)
        self.recorded = await repo.recorded(row["session_id"] for row in rows if row["session_id"])
        return rows

    def unfilled(self) -> list[str]:
        """It may be new, or the past was not judged by it."""
        return [
            f"{self.rule_id} has given no tag yet.",
            f"{key('rule.backfill')} on it in view {key('view.rules')} judges the past by it.",
        ]


def _matched(row: TagBehind) -> str:
    evidence = row["evidence"] or {}
    return str(evidence.get("because") or evidence.get("matched") or row["command_text"] or "-")
