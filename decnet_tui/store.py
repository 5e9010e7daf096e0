"""Rules through the repository: what the Rules view reads and what its form writes.

The engine's rule store reports a written state on the bus; this module only writes it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

from decnet_tui.session import RuleRow

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

DAY = 86_400.0


class RepositoryRules:
    """Rule access over one repository; ``actor`` is written as ``set_by``."""

    def __init__(self, repo: BaseRepository, actor: str) -> None:
        self._repo = repo
        self._actor = actor

    async def list_rules(self) -> list[RuleRow]:
        """All rules by id, states in effect now: an expired one counts as default."""
        now = time.time()
        definitions = await self._repo.rule_definitions()
        states = await self._repo.rule_states()
        fired = await self._repo.rule_fired_counts(now - DAY)
        rows = [_row(d, states.get(str(d["rule_id"])), fired, now) for d in definitions]
        return sorted(rows, key=lambda row: row["rule_id"])

    async def set_rule_state(
        self,
        rule_id: str,
        state: str,
        confidence_max: float | None = None,
        expires_at: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Writes the state; raises what the repository raises."""
        await self._repo.rule_state_set(
            rule_id,
            state=state,
            confidence_max=confidence_max,
            expires_at=expires_at,
            reason=reason,
            set_by=self._actor,
            set_at=time.time(),
        )


def _row(
    definition: Mapping[str, Any], state: Mapping[str, Any] | None, fired: Mapping[str, int], now: float
) -> RuleRow:
    rule_id = str(definition["rule_id"])
    return RuleRow(
        rule_id=rule_id,
        rule_version=definition.get("version", definition.get("rule_version")),
        name=str(definition.get("name") or ""),
        file=definition.get("file"),
        error=definition.get("error"),
        fired_24h=int(fired.get(rule_id, 0)),
        yaml=str(definition.get("yaml") or ""),
        **(
            _NOT_LOADED
            if definition.get("error") and not definition.get("yaml")
            else effective_state(state, now)
        ),
    )


class StateFields(TypedDict):
    """The part of a row that operators set."""

    state: str
    confidence_max: float | None
    expires_at: float | None
    reason: str | None
    set_by: str | None


_NOT_LOADED = StateFields(state="failed", confidence_max=None, expires_at=None, reason=None, set_by=None)
"""Of a file that never gave a rule."""


def effective_state(state: Mapping[str, Any] | None, now: float | None = None) -> StateFields:
    """The state in effect at ``now`` (epoch seconds): an expired one counts as default."""
    expires = epoch(state.get("expires_at")) if state else None
    moment = time.time() if now is None else now
    held = {} if not state or (expires is not None and expires <= moment) else state
    return StateFields(
        state=str(held.get("state") or "enabled"),
        confidence_max=held.get("confidence_max"),
        expires_at=expires if held else None,
        reason=held.get("reason"),
        set_by=held.get("set_by"),
    )


def epoch(value: Any) -> float | None:
    """Epoch seconds of a number or an aware datetime; a naive one counts as UTC."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value) if isinstance(value, (int, float)) else None
