"""Definitions from the files, states in the database: survives restarts and serves many engines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decnet.bus.base import BaseBus
from decnet.errors import DecnetError, RuleError, RuleStoreError
from decnet.logs import get_logger
from decnet.ttp.rules import DEFAULT_STATE, CompiledRule, RuleState
from decnet.ttp.store.base import Expiries, RuleChange, RuleStore
from decnet.ttp.store.impl.filesystem import FilesystemRuleStore

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

_log = get_logger(__name__)


class DatabaseRuleStore(RuleStore):
    """Needs its repository; ``tail_s`` is the pause in seconds between looks for changes by others."""

    def __init__(
        self,
        repo: BaseRepository | None,
        fs: FilesystemRuleStore,
        *,
        bus: BaseBus | None = None,
        tail_s: float = 1.0,
    ) -> None:
        if repo is None:
            raise TypeError("DatabaseRuleStore needs a repository")
        super().__init__(bus)
        self.repo = repo
        self.fs = fs
        self.tail_s = min(tail_s, 1.0)
        self._states: dict[str, RuleState] = {}
        self._seq = 0
        self._expiries = Expiries()

    async def load_compiled(self) -> list[CompiledRule]:
        """Scans the files, stores their definitions, and reads all states."""
        rules = await self.fs.load_compiled()
        self._seq = await self.repo.rule_change_seq()
        rows = await self.repo.rule_states()
        self._states = {rule_id: state for rule_id, row in rows.items() if (state := state_of(row))}
        await self._sync()
        return rules

    async def _sync(self) -> None:
        """Makes the stored definitions those of the files, broken files included, in one transaction."""
        rows = {rule.rule_id: rule for rule in self.fs.rules()}
        errors = _by_file(self.fs.errors())
        async with self.repo.transaction() as tx:
            for rule in rows.values():
                error = errors.pop(rule.file, None)
                await tx.upsert_rule_definition(
                    rule.rule_id, rule.rule_version, rule.name, rule.source, rule.file, error
                )
            for file, error in errors.items():
                await tx.upsert_rule_definition(file_id(file), 0, "", "", file, error)
            keep = rows.keys() | {file_id(file) for file in errors}
            for row in await tx.rule_definitions():
                if rows and row["rule_id"] not in keep:
                    await tx.remove_rule_definition(row["rule_id"])

    async def get_state(self, rule_id: str) -> RuleState:
        """The stored state in effect; the last one seen when the database is away."""
        try:
            row = await self.repo.rule_state_get(rule_id)
        except DecnetError:
            _log.warning("rule state not readable", rule_id=rule_id, exc_info=True)
            return self._states.get(rule_id, DEFAULT_STATE).effective()
        return ((row and state_of(row)) or DEFAULT_STATE).effective()

    async def set_state(self, rule_id: str, state: RuleState) -> None:
        """Writes the state through; other engines see it within a second."""
        try:
            await self.repo.rule_state_set(
                rule_id,
                state=state.state,
                confidence_max=state.confidence_max,
                expires_at=state.expires_at,
                reason=state.reason,
                set_by=state.set_by,
                set_at=state.set_at or datetime.now(UTC),
            )
        except Exception as error:
            raise RuleStoreError(f"state of {rule_id} not stored: {error}") from error
        await self._took(rule_id, state)

    async def _took(self, rule_id: str, state: RuleState) -> None:
        if self._states.get(rule_id) != state:
            self._states = {**self._states, rule_id: state}
            await self._announce(RuleChange("state", rule_id, state))

    def rules(self) -> tuple[CompiledRule, ...]:
        """The rules of the files."""
        return self.fs.rules()

    def states(self) -> Mapping[str, RuleState]:
        """The states last read."""
        return self._states

    def errors(self) -> list[RuleError]:
        """Errors of the files."""
        return self.fs.errors()

    async def follow(self) -> None:
        """Follows files, states of other processes and expiries for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_files(), name="ttp:rules:files")
            group.create_task(self._follow_states(), name="ttp:rules:states")

    async def _follow_files(self) -> None:
        async for _ in self.fs.hints():
            await self.reload()

    async def reload(self) -> None:
        """Scans the files now, stores and announces what changed."""
        known = self.fs.errors()
        changes = await self.fs.rescan()
        if changes or self.fs.errors() != known:
            await self._sync()
        for change in changes:
            await self._announce(change)

    async def _follow_states(self) -> None:
        while True:
            await self.tail()
            await self.revert_expired()
            await asyncio.sleep(self.tail_s)

    async def tail(self) -> None:
        """Reads the states that changed since the last look; a bad row holds up no other."""
        for row in await self.repo.rule_changes_since(self._seq):
            self._seq = max(self._seq, int(row["seq"]))
            if row["kind"] == "state":
                stored = await self.repo.rule_state_get(row["rule_id"])
                state = state_of(stored) if stored else None
                if state is not None:
                    await self._took(row["rule_id"], state)

    async def revert_expired(self, now: datetime | None = None) -> list[str]:
        """Announces the default state for each state that ended; ``now`` is an aware time."""
        due = self._expiries.due(self._states, now)
        for rule_id in due:
            await self._announce(RuleChange("state", rule_id, DEFAULT_STATE), auto_revert=True)
        return due


def file_id(file: str) -> str:
    """What a file without a loadable rule is listed under: its name."""
    return Path(file).name


def _by_file(errors: Iterable[RuleError]) -> dict[str, str]:
    """The errors of each file as lines."""
    lines: dict[str, list[str]] = {}
    for error in errors:
        lines.setdefault(error.place.file, []).append(str(error))
    return {file: "\n".join(found) for file, found in lines.items()}


def state_of(row: Mapping[str, Any]) -> RuleState | None:
    """The state in a row; None, with one warning, for a row that makes none."""
    names = ("state", "confidence_max", "expires_at", "reason", "set_by", "set_at")
    try:
        return RuleState(**{name: row[name] for name in names})
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("bad rule state row", rule_id=row.get("rule_id"), reason=str(error))
        return None
