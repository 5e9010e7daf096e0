"""Changing the state of a rule: what is written, what agrees with it, and how it is undone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decnet.errors import DecnetError
from decnet_tui.actions.changes import Change, Outcome
from decnet_tui.model.access import RuleRow, Session
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import RULE_STATE, End

_FIELDS = ("state", "confidence_max", "expires_at", "reason")


@dataclass
class RuleChange(Change):
    """A state for one rule. ``expires_at`` is epoch seconds or None for good."""

    rule_id: str
    state: str
    confidence_max: float | None = None
    expires_at: float | None = None
    reason: str | None = None
    undoes: int | None = None
    expected: RuleRow | None = None
    """The row that the operator decided on; when the store holds another state, nothing is written."""
    kind = RULE_STATE

    @property
    def target(self) -> str:  # type: ignore[override]
        """The rule."""
        return self.rule_id

    @property
    def what(self) -> str:
        """The rule and its state to be."""
        ceiling = f" to {self.confidence_max:.2f}" if self.confidence_max is not None else ""
        return f"{self.rule_id} {self.state}{ceiling}"

    async def before(self, session: Session) -> dict[str, Any] | None:
        """The state in effect now."""
        row = await _row(session, self.rule_id)
        return None if row is None else {name: row.get(name) for name in _FIELDS}

    def after(self) -> dict[str, Any]:
        """The state asked for."""
        return {name: getattr(self, name) for name in _FIELDS}

    async def send(self, session: Session) -> None:
        """Writes the state. Raises what the store raises, and DecnetError when somebody else was faster."""
        if self.expected is not None and (why := meanwhile(self.expected, await _row(session, self.rule_id))):
            raise DecnetError(why)
        await session.set_rule_state(
            self.rule_id, self.state, self.confidence_max, self.expires_at, self.reason
        )

    async def held(self, session: Session) -> str:
        """Empty when the store holds just this."""
        row = await _row(session, self.rule_id)
        if self.agrees(row):
            return ""
        return f"the store reads back {row['state'] if row else 'no such rule'}"

    def agrees(self, row: RuleRow | None) -> bool:
        """Whether a row holds just this."""
        if row is None or row["state"] != self.state:
            return False
        return _near(row.get("confidence_max"), self.confidence_max, 1e-6) and _near(
            row.get("expires_at"), self.expires_at, 1.0
        )

    def reported(self, feed: Feed, sent_at: float) -> Outcome | None:
        """Verified once ``ttp.rule.state.<rule>`` told of it."""
        at, payload = feed.rule_news.get(self.rule_id, (0.0, {}))
        if at >= sent_at and payload.get("state") == self.state:
            return Outcome(End.VERIFIED, f"store and ttp.rule.state.{self.rule_id} agree")
        return None


async def _row(session: Session, rule_id: str) -> RuleRow | None:
    return next((row for row in await session.list_rules() if row["rule_id"] == rule_id), None)


def meanwhile(seen: RuleRow, row: RuleRow | None) -> str:
    """What became of a rule since ``seen``; empty when it still has that state."""
    if row is None:
        return "this rule is gone"
    same = (
        row["state"] == seen["state"]
        and _near(row.get("confidence_max"), seen.get("confidence_max"), 1e-6)
        and _near(row.get("expires_at"), seen.get("expires_at"), 1.0)
    )
    return "" if same else f"changed meanwhile by {row.get('set_by') or 'somebody else'}: now {row['state']}"


def _near(a: float | None, b: float | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= tolerance


def undo(entry: Mapping[str, Any]) -> Change:
    """Back to the state before; one that would have ended meanwhile is the rule's own."""
    before = entry["before"]
    expires = before.get("expires_at")
    over = isinstance(expires, (int, float)) and expires <= time.time()
    state: dict[str, Any] = {"state": "enabled"} if over else before
    return RuleChange(
        str(entry["target"]),
        str(state.get("state") or "enabled"),
        state.get("confidence_max"),
        state.get("expires_at"),
        state.get("reason"),
        undoes=entry["id"],
    )
