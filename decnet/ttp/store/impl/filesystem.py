"""Rules from a directory, states in this process: for a single throw-away host and as the feed of the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from decnet.bus.base import BaseBus
from decnet.errors import RuleError
from decnet.logs import get_logger
from decnet.telemetry import child, span
from decnet.ttp.rules import DEFAULT_STATE, CompiledRule, RuleState
from decnet.ttp.store.base import Expiries, RuleChange, RuleStore
from decnet.ttp.store.impl.directory import Plan, RuleDirectory

_log = get_logger(__name__)
_MAX_LOOKS = 25
_EXPIRY_LOOK_S = 1.0


class FilesystemRuleStore(RuleStore):
    """Follows one directory; ``debounce_s`` and ``rescan_s`` are seconds."""

    def __init__(
        self,
        directory: Path,
        *,
        bus: BaseBus | None = None,
        debounce_s: float = 0.2,
        rescan_s: float = 5.0,
        max_bytes: int = 262_144,
    ) -> None:
        super().__init__(bus)
        self.directory = RuleDirectory(directory, max_bytes=max_bytes)
        self.debounce_s = debounce_s
        self.rescan_s = rescan_s
        self._states: dict[str, RuleState] = {}
        self._expiries = Expiries()

    async def load_compiled(self) -> list[CompiledRule]:
        """Scans the directory now."""
        await self.rescan()
        return list(self.rules())

    async def rescan(self, *, allow_shrink: bool = False, settle: bool = False) -> list[RuleChange]:
        """Looks at the files once and announces what changed.

        With ``settle`` a change counts only when a second look, ``debounce_s`` later, finds the same: an
        editor that moves the old file away or truncates it first is not caught in between.
        """
        plan = await asyncio.to_thread(self.directory.look)
        if settle and self.directory.news(plan):
            plan = await self._settled(plan)
        known = {str(error) for error in self.directory.errors}
        changes = await asyncio.to_thread(self.directory.swap, plan, allow_shrink=allow_shrink)
        self.version += bool(changes)
        for error in self.directory.errors:
            if str(error) not in known:
                _log.warning("rule file not loaded, its last good version stays", error=str(error))
        for change in changes:
            self._announce(change)
        await self._send_news()
        return changes

    async def _settled(self, plan: Plan) -> Plan:
        for _ in range(_MAX_LOOKS):
            await asyncio.sleep(self.debounce_s)
            again = await asyncio.to_thread(self.directory.look)
            if again.digests() == plan.digests():
                break
            plan = again
        return again

    async def get_state(self, rule_id: str) -> RuleState:
        """The state in effect."""
        return self._states.get(rule_id, DEFAULT_STATE).effective()

    async def set_state(self, rule_id: str, state: RuleState) -> None:
        """Keeps the state for the life of this process."""
        state = state if state.set_at else replace(state, set_at=datetime.now(UTC))
        with span("ttp.rule.state.change", rule_id=rule_id, state=state.state):
            with child("ttp.store.write_state", rule_id=rule_id):
                self._states = {**self._states, rule_id: state}
            self._announce(RuleChange("state", rule_id, state))
            await self._send_news()

    def rules(self) -> tuple[CompiledRule, ...]:
        """The rules of the last scan."""
        return tuple(self.directory.by_id.values())

    def states(self) -> Mapping[str, RuleState]:
        """The states of this process."""
        return self._states

    def errors(self) -> list[RuleError]:
        """Errors of the last scan."""
        return list(self.directory.errors)

    async def follow(self) -> None:
        """Follows files and expiries for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.follow_files(), name="ttp:rules:files")
            group.create_task(self._follow_expiries(), name="ttp:rules:expiries")

    async def follow_files(self) -> None:
        """Rescans after each hint for ever."""
        async for _ in self.hints():
            await self.reload()

    def hints(self) -> AsyncIterator[None]:
        """Yields when the files are worth a look."""
        return self.directory.hints(self.debounce_s, self.rescan_s)

    async def reload(self, *, allow_shrink: bool = False) -> None:
        """Scans the files now."""
        await self.rescan(settle=True, allow_shrink=allow_shrink)

    async def _follow_expiries(self) -> None:
        while True:
            await self.revert_expired()
            await asyncio.sleep(_EXPIRY_LOOK_S)

    async def revert_expired(self, now: datetime | None = None) -> list[str]:
        """Announces the default state for each state that ended; ``now`` is an aware time."""
        due = self._expiries.due(self._states, now or datetime.now(UTC))
        for rule_id in due:
            self._announce(RuleChange("state", rule_id, DEFAULT_STATE), auto_revert=True)
        await self._send_news()
        return due
