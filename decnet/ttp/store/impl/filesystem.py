"""Rules from a directory, states from a file: for a single throw-away host and as the feed of the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from decnet.bus.base import BaseBus
from decnet.errors import RuleError, RuleStoreError, SourcePosition
from decnet.logs import get_logger
from decnet.telemetry import child, span
from decnet.ttp.rules import DEFAULT_STATE, CompiledRule, RuleState
from decnet.ttp.store.base import RuleChange, RuleListing, RuleStore, listing_of
from decnet.ttp.store.impl.directory import Plan, RuleDirectory
from decnet.ttp.store.impl.ruleset import RuleSetFile
from decnet.ttp.store.impl.states import StateFile

_log = get_logger(__name__)
_MAX_LOOKS = 25


class FilesystemRuleStore(RuleStore):
    """Follows one directory; ``debounce_s``, ``rescan_s`` and ``states_s`` (looks at states) are seconds.

    States live in the file ``states``, in this process without one. Beside it an engine's store says what it
    judges by, so that other processes list just this. ``kept`` is the folder of compiled rules.
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
        kept: Path | None = None,
    ) -> None:
        super().__init__(bus)
        self.directory = RuleDirectory(directory, max_bytes=max_bytes, kept=kept)
        self.debounce_s = debounce_s
        self.rescan_s = rescan_s
        self.states_s = min(states_s, 1.0)
        self._file = StateFile(states)
        self._states: dict[str, RuleState] = {}
        self._states_error: RuleError | None = None
        self._taking = asyncio.Lock()
        self._set = RuleSetFile(states.parent) if states is not None else None
        self._loaded = False

    async def load_compiled(self) -> list[CompiledRule]:
        """Scans the directory and reads the states now."""
        self._loaded = True
        try:
            self._states = await self._read_states()
        except RuleStoreError as error:
            _log.warning("rule states not readable", reason=str(error))
        await self.rescan()
        await self._publish_set()
        return list(self.rules())

    async def _read_states(self) -> dict[str, RuleState]:
        """All states; a file that cannot be read is an error of the store until it can."""
        try:
            found = await asyncio.to_thread(self._file.read)
        except RuleStoreError as error:
            self._states_error = RuleError(str(error), SourcePosition(str(self._file.path)))
            raise
        self._states_error = None
        return found

    async def _publish_set(self) -> None:
        if self._set is not None:
            await asyncio.to_thread(self._set.publish, listing_of(self.rules(), self.errors()))

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
        told = {str(error): error for error in self.directory.errors}
        for text in told.keys() - known:
            _log.warning("rule file not loaded, its last good version stays", error=text)
        if changes or told.keys() != known:
            await self._publish_set()
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
            before, self._states = self._states, await self._read_states()
            for rule_id in sorted(before.keys() | self._states.keys()):
                state, known = self._states.get(rule_id, DEFAULT_STATE), before.get(rule_id, DEFAULT_STATE)
                if state != known:
                    over = rule_id not in self._states and (rule_id in ended or known.expired())
                    self._announce(RuleChange("state", rule_id, state), auto_revert=over)
        await self._send_news()

    async def stored_states(self) -> Mapping[str, RuleState]:
        """What the file of states holds now."""
        return await asyncio.to_thread(self._file.read)

    async def listing(self, *, running: bool = True) -> list[RuleListing]:
        """This store's own rules; in another process those of the engine that runs, else those of the files."""
        if self._loaded:
            return listing_of(self.rules(), self.errors())
        found = await asyncio.to_thread(self._set.read) if running and self._set is not None else None
        if found is not None:
            return found
        plan = await asyncio.to_thread(self.directory.look)
        return listing_of(plan.rules.values(), plan.errors)

    def where(self) -> dict[str, Any]:
        """The file of states, which other processes have to reach."""
        return {"rule_store": "filesystem", "rule_states": str(self._file.path) if self._file.path else None}

    async def hold(self) -> None:
        """Other processes list what this store loads from now on."""
        if self._set is not None:
            await asyncio.to_thread(self._set.hold)

    async def close(self) -> None:
        """Nobody judges by its rules any more."""
        if self._set is not None:
            await asyncio.to_thread(self._set.release)

    def rules(self) -> tuple[CompiledRule, ...]:
        """The rules of the last scan."""
        return tuple(self.directory.by_id.values())

    def states(self) -> Mapping[str, RuleState]:
        """The states last read."""
        return self._states

    def errors(self) -> list[RuleError]:
        """Errors of the last scan, and of a file of states that cannot be read."""
        return [*self.directory.errors, *([self._states_error] if self._states_error else [])]

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
