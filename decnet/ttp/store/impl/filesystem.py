"""Rules from a directory, states from a file: for a single throw-away host and as the feed of the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from decnet.bus.base import BaseBus
from decnet.errors import RuleError, RuleStoreError
from decnet.logs import get_logger
from decnet.telemetry import child, span
from decnet.ttp.rules import DEFAULT_STATE, CompiledRule, RuleState
from decnet.ttp.store.base import RuleChange, RuleStore
from decnet.ttp.store.impl.directory import Plan, RuleDirectory
from decnet.ttp.store.impl.states import StateFile

_log = get_logger(__name__)
_MAX_LOOKS = 25


class FilesystemRuleStore(RuleStore):
    """Follows one directory; ``debounce_s``, ``rescan_s`` and ``states_s`` (looks at states) are seconds.

    States live in the file ``states``, in this process without one.
    """

    def __init__(
        self,
        directory: Path,
        *,
        bus: BaseBus | None = None,
        debounce_s: float = 0.2,
        rescan_s: float = 5.0,
        states_s: float = 1.0,
        max_bytes: int = 262_144,
        states: Path | None = None,
    ) -> None:
        super().__init__(bus)
        self.directory = RuleDirectory(directory, max_bytes=max_bytes)
        self.debounce_s = debounce_s
        self.rescan_s = rescan_s
        self.states_s = min(states_s, 1.0)
        self._file = StateFile(states)
        self._states: dict[str, RuleState] = {}
        self._taking = asyncio.Lock()

    async def load_compiled(self) -> list[CompiledRule]:
        """Scans the directory and reads the states now."""
        await self.rescan()
        try:
            self._states = await asyncio.to_thread(self._file.read)
        except RuleStoreError as error:
            _log.warning("rule states not readable", reason=str(error))
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
        """The state in effect; the last one seen when the file is not readable."""
        try:
            states = await asyncio.to_thread(self._file.read)
        except RuleStoreError as error:
            _log.warning("rule state not readable", rule_id=rule_id, reason=str(error))
            states = self._states
        return states.get(rule_id, DEFAULT_STATE).effective()

    async def set_state(self, rule_id: str, state: RuleState) -> None:
        """Stores the state; other processes see it within a second."""
        state = state if state.set_at else replace(state, set_at=datetime.now(UTC))
        with span("ttp.rule.state.change", rule_id=rule_id, state=state.state):
            with child("ttp.store.write_state", rule_id=rule_id):
                await asyncio.to_thread(self._file.put, rule_id, state)
            await self.take_states()

    async def take_states(self, ended: Collection[str] = ()) -> None:
        """Takes over what this or another process stored, and announces what is another state now.

        ``ended`` are the rules whose state this process has just ended.
        """
        async with self._taking:
            before, self._states = self._states, await asyncio.to_thread(self._file.read)
            for rule_id in sorted(before.keys() | self._states.keys()):
                state, known = self._states.get(rule_id, DEFAULT_STATE), before.get(rule_id, DEFAULT_STATE)
                if state != known:
                    over = rule_id not in self._states and (rule_id in ended or known.expired())
                    self._announce(RuleChange("state", rule_id, state), auto_revert=over)
        await self._send_news()

    def rules(self) -> tuple[CompiledRule, ...]:
        """The rules of the last scan."""
        return tuple(self.directory.by_id.values())

    def states(self) -> Mapping[str, RuleState]:
        """The states last read."""
        return self._states

    def errors(self) -> list[RuleError]:
        """Errors of the last scan."""
        return list(self.directory.errors)

    async def follow(self) -> None:
        """Follows files and states for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.follow_files(), name="ttp:rules:files")
            group.create_task(self._follow_states(), name="ttp:rules:states")

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

    async def _follow_states(self) -> None:
        while True:
            try:
                await self.take_states()
                await self.revert_expired()
            except RuleStoreError as error:
                _log.warning("rule states not readable", reason=str(error))
            await asyncio.sleep(self.states_s)

    async def revert_expired(self, now: datetime | None = None) -> list[str]:
        """Ends each state whose time is over, once for all processes; ``now`` is an aware time."""
        moment = now or datetime.now(UTC)
        due = [(r, s.expires_at) for r, s in self._states.items() if s.expired(moment)]
        ended = [r for r, at in due if at is not None and await asyncio.to_thread(self._file.end, r, at)]
        if due:
            await self.take_states(ended)
        return ended
