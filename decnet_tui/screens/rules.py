"""Rules by use: what each tags, how often lately and when last, state and expiry, bad files too; detail = YAML and errors."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Any

from decnet.db.rows.lists import RuleUse
from decnet_tui.model.access import RuleRow, Session
from decnet_tui.model.feed import Feed
from decnet_tui.model.words import clock, count_short, span
from decnet_tui.screens.table import Column, TableView
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.states import Shown, rule_state

FIRED_SECONDS = 300.0
_EMITS = re.compile(r"\b(sub_)?technique(?:_id)?:\s*['\"]?(T\d{4}(?:\.\d{3})?)")


class RuleLine(RuleRow, total=False):
    """A rule with the tags that it gave in the last five minutes, what it tags, and when it last matched."""

    fired_5m: int
    technique: str
    last_seen: datetime | None


class RulesView(TableView[RuleLine]):
    """The rules as the store last gave them."""

    name = "rules"
    title = "Rules"
    key = "4"
    says = "Rules and their states"
    unit = "rules"
    stored = True
    roots = ("ttp",)

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.columns = (
            Column("rule_id", "id", 8),
            Column("technique", "technique", 9, text=lambda r: r.get("technique") or "-"),
            Column("name", "name", 12, text=lambda r: r.get("name") or r.get("file") or "", grow=True),
            Column("fired_24h", "24h", 5, text=lambda r: count_short(r.get("fired_24h", 0)), right=True),
            Column("fired_5m", "5m", 4, text=lambda r: count_short(r.get("fired_5m", 0)), right=True),
            Column("last_seen", "last", 6, text=_last, right=True),
            Column("state", "state", 14, text=lambda r: state_of(r)[0], style=lambda r: state_of(r)[1]),
            Column("expires_at", "expires", 7, text=_expires, right=True),
            Column("confidence_max", "max", 4, right=True, wide=True),
            Column("set_by", "by", 14, wide=True),
        )

    async def fetch(self, session: Session) -> list[RuleLine]:
        """All rules with the tags that each gave in five minutes and a day. Raises what the store raises.

        Both are asked of the store, of the same tags and by the time of tagging, the shorter span first:
        so it never holds more than the longer one.
        """
        uses = {}
        if session.repo is not None:
            uses = await session.repo.rule_uses(time.time() - FIRED_SECONDS)
        return by_use([_line(row, uses.get(row["rule_id"])) for row in await session.list_rules()])

    def row_key(self, row: RuleLine) -> Any:
        """A bad file of a rule that is loaded in an older version has the rule's id: one row."""
        return row["rule_id"]

    def known(self) -> list[RuleLine]:
        """All rules, shown or not."""
        return list(self._all)

    def rule(self, rule_id: str) -> RuleRow | None:
        """A rule by its id, shown or not."""
        return self.find(rule_id)

    def fired_recently(self, rule_id: str) -> int:
        """Tags that the rule gave in the last five minutes."""
        row = self.find(rule_id)
        return row.get("fired_5m", 0) if row is not None else 0

    def go_to(self, key: Any) -> bool:
        """A rule that is asked for by its id, in capitals or not, is shown whatever the filter hides."""
        key = key if self.find(key) is not None else str(key).upper()
        if not super().go_to(key) and self.find(key) is not None:
            self.set_filter("")
        return super().go_to(key)

    def gutter(self, index: int) -> str:
        """A bad file is marked."""
        return glyphs.current().failed if self.rows[index].get("error") else super().gutter(index)

    def unfilled(self) -> list[str]:
        """No rule at all."""
        return [
            "No rules are loaded.",
            "--rules DIR names a directory; decnet-tui rules check reports what is wrong.",
        ]

    def about(self) -> str:
        """How many rules are not plainly on."""
        off = sum(row["state"] not in ("enabled", "failed") for row in self._all)
        failed = sum(bool(row.get("error")) for row in self._all)
        return f"{off} changed  {failed} failed"

    def row_detail(self, row: RuleLine) -> list[str]:
        """Errors with their place, the state, then the YAML."""
        lines = [f"x {line}" for line in (row.get("error") or "").splitlines()]
        file = PurePath(row.get("file") or "no file").name
        lines.append(f"# {file}  version {row.get('rule_version') or '-'}")
        if row["state"] != "enabled" or row.get("reason"):
            until = row.get("expires_at")
            when = f"until {clock(until, 'date')}Z" if until else "for good"
            by = row.get("set_by") or "-"
            lines.append(f"# {state_of(row)[0]} {when} by {by}: {row.get('reason') or '-'}")
        return [*lines, *(row.get("yaml") or "").splitlines()]


def _line(row: RuleRow, use: RuleUse | None) -> RuleLine:
    return {
        **row,
        "fired_5m": use["recent"] if use else 0,
        "last_seen": use["last_seen"] if use else None,
        "technique": techniques_text(row.get("yaml") or ""),
    }


def by_use(rows: Sequence[RuleLine]) -> list[RuleLine]:
    """What fired most in 24 h first, then what fired at all, the latest first; then bad files; then what never fired."""

    def place(row: RuleLine) -> tuple[int, bool, float, bool, str]:
        last = row["last_seen"]
        return (
            -row.get("fired_24h", 0),
            last is None,
            -last.timestamp() if last else 0.0,
            not row.get("error"),
            row["rule_id"],
        )

    return sorted(rows, key=place)


def techniques_text(text: str) -> str:
    """The techniques that a rule emits, by its YAML: the first, and how many more. Read for each rule, so not parsed."""
    found: list[str] = []
    for name, technique in _EMITS.findall(text):
        if name == "sub_" and found and technique.startswith(found[-1]):
            found[-1] = technique
        else:
            found.append(technique)
    several = list(dict.fromkeys(found))
    if not several:
        return ""
    return several[0] + (f" +{len(several) - 1}" if len(several) > 1 else "")


def _last(row: RuleLine) -> str:
    last = row.get("last_seen")
    return span(time.time() - last.timestamp()) if last else "-"


def state_of(row: RuleRow) -> Shown:
    """State as glyph and word, with its style."""
    broken, fires = bool(row.get("error")), bool(row.get("fired_24h"))
    return rule_state(row["state"], ceiling=row.get("confidence_max"), broken=broken, fires=fires)


def _expires(row: RuleRow) -> str:
    until = row.get("expires_at")
    return "-" if until is None else span(until - time.time())
