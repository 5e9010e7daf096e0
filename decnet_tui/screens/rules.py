"""Rules: state, ceiling, expiry and firings of every rule, bad files included; detail = YAML and errors."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import PurePath

from rich.style import Style

from decnet_tui.feed import Feed
from decnet_tui.screens.base import View, clock, span
from decnet_tui.session import RuleRow
from decnet_tui.widgets.strips import BAD, FAINT, GOOD, PLAIN, WARN, Line, fit

_WIDE = 100


class RulesView(View):
    """The rules as the store last gave them."""

    name = "rules"
    title = "Rules"

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.rows: list[RuleRow] = []
        self.problem = ""
        self.loaded_at = 0.0
        self._all: list[RuleRow] = []
        self._fired: Counter[str] = Counter()
        self._words: list[str] = []

    def load(self, rows: list[RuleRow]) -> None:
        """New rows from the store; the cursor stays on its rule."""
        at = self.current
        self._all, self.problem, self.loaded_at = rows, "", time.monotonic()
        self._select(at["rule_id"] if at else None)

    def fail(self, problem: str) -> None:
        """The store could not be read."""
        self.problem, self.loaded_at = problem, time.monotonic()

    def set_filter(self, text: str) -> None:
        """Rules that hold every word in id, name, state or author."""
        at = self.current
        self.filter_text = text
        self._words = text.lower().split()
        self._select(at["rule_id"] if at else None)

    def _select(self, rule_id: str | None) -> None:
        self.rows = [row for row in self._all if all(w in _hay(row) for w in self._words)]
        ids = [row["rule_id"] for row in self.rows]
        self.cursor = ids.index(rule_id) if rule_id in ids else min(self.cursor, max(len(ids) - 1, 0))

    @property
    def current(self) -> RuleRow | None:
        """The rule under the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def find(self, rule_id: str) -> RuleRow | None:
        """A rule by its id."""
        return next((row for row in self._all if row["rule_id"] == rule_id), None)

    def fired_recently(self, rule_id: str) -> int:
        """Firings in the last five minutes."""
        return self._fired[rule_id]

    def sync(self, now: float) -> bool:
        """Counts firings; expiries count down."""
        self._fired = self.feed.fired_recently(now)
        return False

    def count(self) -> int:
        """Rules shown."""
        return len(self.rows)

    def titles(self, width: int) -> Line | None:
        """Column titles."""
        name = self._name_width(width)
        text = f" {'id':<8} {'name':<{name}} {'state':<14} {'max':>4} {'expires':>8} {'5m':>4} {'24h':>5}"
        return [(text + ("  by" if width >= _WIDE else ""), FAINT)]

    @staticmethod
    def _name_width(width: int) -> int:
        return max(width - (66 if width >= _WIDE else 52), 12)

    def line(self, index: int, width: int) -> Line:
        """One rule."""
        row = self.rows[index]
        state, style = state_text(row)
        ceiling = row.get("confidence_max")
        tail = (
            f" {'-' if ceiling is None else format(ceiling, '.2f'):>4} {_expires(row):>8}"
            f" {self._fired[row['rule_id']]:>4} {row.get('fired_24h', 0):>5}"
        )
        by = f"  {fit(row.get('set_by') or '-', 12)}" if width + 1 >= _WIDE else ""
        name = fit(row.get("name") or row.get("file") or "", self._name_width(width + 1))
        return [(f"{fit(row['rule_id'], 8)} {name} ", PLAIN), (f"{state:<14}", style), (tail + by, PLAIN)]

    def gutter(self, index: int) -> str:
        """A bad file is marked."""
        return "x" if self.rows[index].get("error") else " "

    def empty(self, width: int) -> list[str]:
        """Unread, unreadable, filtered away or none there."""
        if self.problem:
            return [f"The rules cannot be read: {self.problem}", "It is tried again every few seconds."]
        if self._all:
            return [f"No rule holds: {self.filter_text}", "\\ clears the filter"]
        if not self.loaded_at:
            return ["Reading the rules …"]
        return [
            "No rules are loaded.",
            "--rules DIR names a directory; decnet-tui rules check reports what is wrong.",
        ]

    def status(self) -> tuple[str, str]:
        """The filter, how many rules are not plainly on, and how many are hidden."""
        off = sum(row["state"] != "enabled" for row in self._all)
        failed = sum(bool(row.get("error")) for row in self._all)
        problem = f"  ! {self.problem}" if self.problem and self._all else ""
        left = f"text {self.filter_text or '-'}  {off} changed  {failed} failed{problem}"
        return left, f"{len(self._all) - len(self.rows)} hidden  {len(self.rows)}/{len(self._all)}"

    def detail_key(self) -> object:
        """The rule, and what stands in it."""
        row = self.current
        return None if row is None else tuple(str(v) for v in row.values())

    def detail(self) -> list[str]:
        """Errors with their place, the state, then the YAML."""
        row = self.current
        if row is None:
            return []
        lines = [f"x {line}" for line in (row.get("error") or "").splitlines()]
        file = PurePath(row.get("file") or "no file").name
        lines.append(f"# {file}  version {row.get('rule_version') or '-'}")
        if row["state"] != "enabled" or row.get("reason"):
            until = row.get("expires_at")
            when = f"until {clock(until, 'date')}Z" if until else "for good"
            lines.append(
                f"# {state_text(row)[0]} {when} by {row.get('set_by') or '-'}: {row.get('reason') or '-'}"
            )
        return [*lines, *(row.get("yaml") or "").splitlines()]


def state_text(row: RuleRow) -> tuple[str, Style]:
    """State as glyph and word."""
    if row.get("error"):
        return "x failed", BAD
    if row["state"] == "disabled":
        return "- OFF", WARN
    if row["state"] == "clipped":
        return f"~ clipped {row.get('confidence_max') or 0.0:.2f}", WARN
    return ("+ on", GOOD) if row["state"] == "enabled" else ("? unknown", BAD)


def _expires(row: RuleRow) -> str:
    until = row.get("expires_at")
    return "-" if until is None else span(until - time.time())


def _hay(row: RuleRow) -> str:
    return f"{row['rule_id']} {row.get('name')} {state_text(row)[0]} {row.get('set_by')}".lower()
