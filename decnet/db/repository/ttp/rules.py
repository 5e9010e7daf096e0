"""Repository, part rules: definitions, states and the change sequence that other engines follow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from sqlalchemy import delete, func, insert, select

from decnet.db.repository.base import WRITTEN_AT_ONCE, Row, SqlRepository, chunks, replace
from decnet.db.repository.locks import LOCK_RULES
from decnet.db.rows.ttp import RuleDefinition, RuleText, StoredRuleChange, StoredRuleState
from decnet.db.tables import table
from decnet.db.types import utcnow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_RULE, _STATE, _CHANGE = table("ttp_rule"), table("ttp_rule_state"), table("rule_change")
COMPARED: tuple[Literal["version", "name", "yaml", "file", "error"], ...] = (
    "version",
    "name",
    "yaml",
    "file",
    "error",
)
"""What a definition is apart from its id and time."""
_STATE_COLUMNS = ("state", "confidence_max", "expires_at", "reason", "set_by", "set_at")


class RulesMixin(SqlRepository):
    """``ttp_rule``, ``ttp_rule_state``, ``rule_change``."""

    async def rule_definitions(self) -> list[RuleDefinition]:
        """Rows rule_id, version, name, yaml, file, error, updated_at, by rule id."""
        async with self._read() as session:
            return await self._rows(session, select(_RULE).order_by(_RULE.c.rule_id), RuleDefinition)

    async def rules_external(self) -> list[RuleDefinition]:
        """Those in whose files the word stands that says that nobody here makes their events."""
        async with self._read() as session:
            marked = select(_RULE).where(_RULE.c.yaml.contains("\nexternal:"))
            return await self._rows(session, marked.order_by(_RULE.c.rule_id), RuleDefinition)

    async def upsert_rule_definitions(self, wanted: Mapping[str, RuleText]) -> list[str]:
        """Stores definitions, by rule id; those that were not stored just so before, and are announced."""
        async with self._write() as session:
            await self._serialise(session, LOCK_RULES)
            known: dict[str, Row] = {}
            for part in chunks(sorted(wanted)):
                rows = await self._rows(session, select(_RULE).where(_RULE.c.rule_id.in_(part)))
                known |= {row["rule_id"]: row for row in rows}
            changed = {
                ident: row
                for ident, row in sorted(wanted.items())
                if ident not in known or any(known[ident][key] != row[key] for key in COMPARED)
            }
            now = utcnow()
            rows = [{"rule_id": ident, **row, "updated_at": now} for ident, row in changed.items()]
            await self._upsert(session, _RULE, rows, dict.fromkeys((*COMPARED, "updated_at"), replace))
            await self._changed(session, "definition", *changed)
        return list(changed)

    async def remove_rule_definition(self, rule_id: str) -> bool:
        """Deletes a definition, its state stays; False when there was none."""
        async with self._write() as session:
            await self._serialise(session, LOCK_RULES)
            gone = delete(_RULE).where(_RULE.c.rule_id == rule_id).returning(_RULE.c.rule_id)
            if (await session.execute(gone)).first() is None:
                return False
            await self._changed(session, "removed", rule_id)
        return True

    async def rule_state_get(self, rule_id: str) -> StoredRuleState | None:
        """The stored state with its times aware, expired or not; None when none was ever set."""
        async with self._read() as session:
            rows = await self._rows(
                session, select(_STATE).where(_STATE.c.rule_id == rule_id), StoredRuleState
            )
        return rows[0] if rows else None

    async def rule_states(self) -> dict[str, StoredRuleState]:
        """All stored states by rule id."""
        async with self._read() as session:
            rows = await self._rows(session, select(_STATE), StoredRuleState)
        return {row["rule_id"]: row for row in rows}

    async def rule_state_set(
        self,
        rule_id: str,
        *,
        state: str,
        confidence_max: float | None = None,
        expires_at: datetime | float | None = None,
        reason: str | None = None,
        set_by: str | None = None,
        set_at: datetime | float | None = None,
    ) -> None:
        """Stores a state and announces it, in one transaction; ``set_at`` is now when not given."""
        row = {
            "rule_id": rule_id,
            "state": state,
            "confidence_max": confidence_max,
            "expires_at": expires_at,
            "reason": reason,
            "set_by": set_by,
            "set_at": utcnow() if set_at is None else set_at,
        }
        async with self._write() as session:
            await self._serialise(session, LOCK_RULES)
            await self._upsert(session, _STATE, [row], dict.fromkeys(_STATE_COLUMNS, replace))
            await self._changed(session, "state", rule_id)

    async def expire_rule_state(self, rule_id: str, expires_at: datetime) -> bool:
        """Ends a state whose time is over; False when another engine was first or the state is another one now."""
        async with self._write() as session:
            await self._serialise(session, LOCK_RULES)
            gone = delete(_STATE).where(_STATE.c.rule_id == rule_id, _STATE.c.expires_at == expires_at)
            if (await session.execute(gone.returning(_STATE.c.rule_id))).first() is None:
                return False
            await self._changed(session, "state", rule_id)
        return True

    async def rule_changes_since(self, seq: int, limit: int = 10_000) -> list[StoredRuleChange]:
        """Rows seq, rule_id, kind (definition, state, removed) after ``seq``, in order."""
        query = select(_CHANGE.c.seq, _CHANGE.c.rule_id, _CHANGE.c.kind).where(_CHANGE.c.seq > seq)
        async with self._read() as session:
            return await self._rows(session, query.order_by(_CHANGE.c.seq).limit(limit), StoredRuleChange)

    async def rule_change_seq(self) -> int:
        """The last sequence number, 0 when nothing has changed yet."""
        async with self._read() as session:
            return int(
                (await session.execute(select(func.coalesce(func.max(_CHANGE.c.seq), 0)))).scalar_one()
            )

    async def _changed(self, session: AsyncSession, kind: str, *rule_ids: str) -> None:
        now = utcnow()
        for part in chunks(rule_ids, WRITTEN_AT_ONCE):
            await session.execute(
                insert(_CHANGE), [{"rule_id": ident, "kind": kind, "ts": now} for ident in part]
            )
