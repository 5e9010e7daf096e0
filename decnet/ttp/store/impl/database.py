"""Rules in the database: fed from the files by the one engine that holds the lease, followed by all.

Every engine, the feeding one too, takes definitions, states and removals from the rows, in the order of
the change sequence. So all of them agree, a restart changes nothing, and two rule directories cannot fight.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from decnet.bus.base import BaseBus
from decnet.errors import DecnetError, RuleError, RuleStoreError, SourcePosition
from decnet.logs import get_logger
from decnet.runtime.leases import OWNER, is_dead
from decnet.telemetry import child, span
from decnet.ttp.loader import load_bytes
from decnet.ttp.rules import DEFAULT_STATE, CompiledRule, RuleState
from decnet.ttp.store.base import RuleChange, RuleListing, RuleStore, by_file, file_id
from decnet.ttp.store.impl.directory import shrunk
from decnet.ttp.store.impl.filesystem import FilesystemRuleStore

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.ttp import RuleDefinition, RuleText, StoredRuleChange

_log = get_logger(__name__)
_STATE = ("state", "confidence_max", "expires_at", "reason", "set_by")
LEASE = "ttp-rules"


class DatabaseRuleStore(RuleStore):
    """Needs its repository; ``tail_s`` and ``lease_s`` are seconds between looks and of the lease."""

    def __init__(
        self,
        repo: BaseRepository | None,
        fs: FilesystemRuleStore,
        *,
        bus: BaseBus | None = None,
        tail_s: float = 1.0,
        lease_s: float = 15.0,
    ) -> None:
        if repo is None:
            raise TypeError("DatabaseRuleStore needs a repository")
        super().__init__(bus)
        self.repo = repo
        self.fs = fs
        self.tail_s = min(tail_s, 1.0)
        self.lease_s = lease_s
        self.owner = f"{OWNER}:{uuid4().hex[:6]}"
        self.feeding = False
        self._rules: dict[str, CompiledRule] = {}
        self._states: dict[str, RuleState] = {}
        self._row_errors: list[RuleError] = []
        self._refused: RuleError | None = None
        self._compiled: dict[tuple[str, str], tuple[CompiledRule | None, list[RuleError]]] = {}
        self._compiling = threading.Lock()
        self._feeding = asyncio.Lock()
        self._tailing = asyncio.Lock()
        self._fed: tuple[tuple[dict[str, str], tuple[str, ...]], int] | None = None
        """Files and sequence number of the rows when they were last made equal."""
        self._seq = 0
        self._defined = 0
        """Sequence number of the last change of a definition that was read."""
        self._defined_at = 0.0
        self._loaded = False

    async def load_compiled(self) -> list[CompiledRule]:
        """Feeds the files when nobody else does, then reads all definitions and states."""
        if await self._hold_lease():
            await self.feed(at_start=True)
        async with self._tailing:
            self._loaded = True
            self._seq = await self.repo.rule_change_seq()
            await self._read_definitions()
            self._states = await self._read_states()
        return list(self.rules())

    async def get_state(self, rule_id: str) -> RuleState:
        """The stored state in effect; the last one seen when the database is away."""
        try:
            row = await self.repo.rule_state_get(rule_id)
        except (DecnetError, OSError):
            _log.warning("rule state not readable", rule_id=rule_id, exc_info=True)
            return self._states.get(rule_id, DEFAULT_STATE).effective()
        return ((row and state_of(row)) or DEFAULT_STATE).effective()

    async def set_state(self, rule_id: str, state: RuleState) -> None:
        """Writes the state through; other engines see it within a second, and a store that loaded its rules at once."""
        with span("ttp.rule.state.change", rule_id=rule_id, state=state.state):
            await self._write_state(rule_id, state)
            if self._loaded:
                await self.tail()

    async def _write_state(self, rule_id: str, state: RuleState) -> None:
        values = {name: getattr(state, name) for name in _STATE}
        try:
            with child("ttp.store.write_state", rule_id=rule_id):
                await self.repo.rule_state_set(rule_id, **values, set_at=state.set_at or datetime.now(UTC))
        except Exception as error:
            raise RuleStoreError(f"state of {rule_id} not stored: {error}") from error

    async def stored_states(self) -> Mapping[str, RuleState]:
        """The rows of states, as they are now."""
        return await self._read_states()

    async def listing(self, *, running: bool = True) -> list[RuleListing]:
        """The rows of definitions; without an engine the files, which win at its start."""
        if not running:
            return await self.fs.listing(running=False)
        rows = await self.repo.rule_definitions()
        return [
            RuleListing(r["rule_id"], r["version"], r["name"], r["file"], r["yaml"], r["error"]) for r in rows
        ]

    def where(self) -> dict[str, Any]:
        """Whoever reaches the database reaches the store."""
        return {"rule_store": "database"}

    def rules(self) -> tuple[CompiledRule, ...]:
        """The definitions last read."""
        return tuple(self._rules.values())

    def states(self) -> Mapping[str, RuleState]:
        """The states last read."""
        return self._states

    def errors(self) -> list[RuleError]:
        """Errors of the files, where this engine reads them, else as they are stored; and of bad rows."""
        refused = [self._refused] if self._refused else []
        return [*(self.fs.errors() if self.feeding else ()), *refused, *self._row_errors]

    async def follow(self) -> None:
        """Feeds the files while holding the lease, and follows the rows, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sync_from_filesystem(), name="ttp:rules:files")
            group.create_task(self.tail_db(self.tail_s), name="ttp:rules:rows")

    async def sync_from_filesystem(self, fs: FilesystemRuleStore | None = None) -> None:
        """Holds the lease if nobody else does and feeds every change of the files, for ever."""
        self.fs = fs or self.fs
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._renew(), name="ttp:rules:lease")
                group.create_task(self._follow_files(), name="ttp:rules:hints")
        finally:
            await self.give_up()

    async def tail_db(self, interval: float) -> None:
        """Takes over what others changed and ends states whose time is over, every ``interval`` seconds, for ever.

        Nothing is read while nothing is written. States end by the wall clock, which may be set: it is looked at each time.
        """
        written, seen = self.repo.written, -1
        while True:
            mark = written.mark
            try:
                if mark != seen:
                    await self.tail()
                    seen = mark
                await self._feed_again()
                await self.revert_expired()
            except DecnetError as error:
                _log.warning("rules in the database not readable", reason=str(error))
            await asyncio.sleep(interval / 2)  # a busy engine commits all the time
            await written.after(mark, interval / 2, interval / 2)

    async def _feed_again(self) -> None:
        """Makes the rows those of the files again where another hand changed them some time ago."""
        changed = self.feeding and self._fed is not None and self._defined > self._fed[1]
        if changed and time.monotonic() - self._defined_at >= self.fs.rescan_s:
            await self.feed()
            await self.tail()

    async def reload(self, *, allow_shrink: bool = False) -> None:
        """Looks at the files now, where this engine feeds them, and takes over what changed."""
        if self.feeding:
            await self.feed(allow_shrink=allow_shrink)
        await self.tail()

    # -- files → rows

    async def _renew(self) -> None:
        while True:
            try:
                had = self.feeding
                if await self._hold_lease() and not had:
                    await self.feed()
                    await self.tail()
            except DecnetError as error:
                _log.warning("lease of the rule files not renewed", reason=str(error))
            await asyncio.sleep(self.lease_s / 3)

    async def _hold_lease(self) -> bool:
        held = await self.repo.lease_acquire(LEASE, self.owner, self.lease_s)
        if not held:
            owner = await self.repo.lease_owner(LEASE)
            if owner is not None and is_dead(owner):
                await self.repo.lease_release(LEASE, owner)
                held = await self.repo.lease_acquire(LEASE, self.owner, self.lease_s)
        self.feeding = held
        return held

    async def give_up(self) -> None:
        """Gives the lease back, so that another engine can feed at once."""
        self.feeding = False
        try:
            await self.repo.lease_release(LEASE, self.owner)
        except DecnetError as error:
            _log.info("lease of the rule files not given back", reason=str(error))

    async def _follow_files(self) -> None:
        async for _ in self.fs.hints():
            while self.feeding and not await self._taken_over():  # noqa: ASYNC110  a database that is away tells nobody
                await asyncio.sleep(self.fs.rescan_s)

    async def _taken_over(self) -> bool:
        """Whether the files are in the rows now; a database that is away is tried again."""
        try:
            await self.feed()
            await self.tail()
        except DecnetError as error:
            _log.warning("rule files not stored", reason=str(error))
            return False
        return True

    async def feed(self, *, at_start: bool = False, allow_shrink: bool = False) -> None:
        """Makes the stored definitions those of the files, broken files included, in one transaction.

        The lease is renewed in it: whoever stalled and lost it writes nothing over what its successor stored.
        """
        async with self._feeding:
            await self.fs.rescan(settle=not at_start, allow_shrink=allow_shrink)
            if not (at_start or allow_shrink) and await self._fed_already():
                return
            wanted = {rule.rule_id: _row_of(rule) for rule in self.fs.rules()}
            async with self.repo.transaction() as tx:
                if not await tx.lease_acquire(LEASE, self.owner, self.lease_s):
                    self.feeding = False
                    return
                known = {row["rule_id"]: row for row in await tx.rule_definitions()}
                _add_broken(wanted, by_file(self.fs.errors()), known)
                refused = self._shrunk(known, at_start, allow_shrink)
                self._refused = (
                    RuleError(refused, SourcePosition(str(self.fs.directory.path))) if refused else None
                )
                await tx.upsert_rule_definitions(wanted)
                for rule_id in known.keys() - wanted.keys() if not refused else ():
                    await tx.remove_rule_definition(rule_id)
                self._fed = self._files(), await tx.rule_change_seq()

    def _files(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """What the rows were made from."""
        return self.fs.directory.digests(), tuple(map(str, self.fs.errors()))

    async def _fed_already(self) -> bool:
        """Whether neither files nor rows changed since the last time: reading every row costs the loop too much."""
        return self._fed == (self._files(), await self.repo.rule_change_seq())

    def _shrunk(self, known: Mapping[str, RuleDefinition], at_start: bool, allow_shrink: bool) -> str | None:
        """Why stored rules may not go; a start with another directory may have fewer rules, but not none."""
        fresh, before = len(self.fs.rules()), sum(1 for row in known.values() if row["yaml"])
        return None if at_start and fresh else shrunk(before, fresh, asked_for=allow_shrink)

    # -- rows → rules and states

    async def tail(self, now: datetime | None = None) -> None:
        """Reads what changed since the last look, in the order of the sequence; a bad row holds up no other.

        ``now`` (aware) tells a state that has ended from one that was taken away.
        """
        async with self._tailing:
            await self._take_changes(now)
        await self._send_news()

    async def _take_changes(self, now: datetime | None) -> None:
        changes = await self.repo.rule_changes_since(self._seq)
        if not changes:
            return
        if defined := _last(changes, ("definition", "removed")):
            before = dict(self._rules)
            await self._read_definitions()
            for rule_id, seq in defined.items():
                self._publish_definition(rule_id, before.get(rule_id), seq)
            self._defined, self._defined_at = max(defined.values()), time.monotonic()
        for rule_id, seq in _last(changes, ("state",)).items():
            await self._take_state(rule_id, seq, now)
        self._seq = max(int(row["seq"]) for row in changes)

    def _publish_definition(self, rule_id: str, before: CompiledRule | None, seq: int) -> None:
        rule = self._rules.get(rule_id)
        if rule is None and before is not None:
            self._announce(RuleChange("removed", rule_id, None), seq=seq)
        elif rule is not None and (before is None or before.content_hash != rule.content_hash):
            self._announce(RuleChange("definition", rule_id, rule), seq=seq)

    async def _take_state(self, rule_id: str, seq: int, now: datetime | None) -> None:
        row = await self.repo.rule_state_get(rule_id)
        state, known = state_of(row) if row else DEFAULT_STATE, self._states.get(rule_id, DEFAULT_STATE)
        if state is None or state == known:
            return
        self._states = {**self._states, rule_id: state}
        ended = row is None and known.expired(now)
        self._announce(RuleChange("state", rule_id, state), auto_revert=ended, seq=seq)

    async def _read_states(self) -> dict[str, RuleState]:
        rows = await self.repo.rule_states()
        return {rule_id: state for rule_id, row in rows.items() if (state := state_of(row))}

    async def _read_definitions(self) -> None:
        rows = await self.repo.rule_definitions()
        rules, errors = await asyncio.to_thread(self._compile, rows, self.fs.rules())
        self.version += rules != self._rules
        self._rules, self._row_errors = rules, errors

    def _compile(
        self, rows: Iterable[RuleDefinition], known: Iterable[CompiledRule]
    ) -> tuple[dict[str, CompiledRule], list[RuleError]]:
        with self._compiling:
            for rule in known:
                self._compiled[rule.file, rule.content_hash] = (rule, [])
            rules: dict[str, CompiledRule] = {}
            errors: list[RuleError] = []
            used = {}
            for row in rows:
                if row["error"] and not self.feeding:
                    errors += _stored_errors(row)
                if not row["yaml"]:
                    continue
                key = row["file"], hashlib.sha256(row["yaml"].encode("utf-8", "replace")).hexdigest()
                found = self._compiled.get(key) or load_bytes(
                    row["yaml"].encode("utf-8", "replace"), row["file"]
                )
                used[key] = found
                self._keep(row, found, rules, errors)
            self._compiled = used
            return rules, errors

    def _keep(
        self,
        row: RuleDefinition,
        found: tuple[CompiledRule | None, list[RuleError]],
        rules: dict[str, CompiledRule],
        errors: list[RuleError],
    ) -> None:
        """Takes a row's rule; of a bad row the rule that is in force stays."""
        rule, wrong = found
        rule_id = row["rule_id"]
        if rule is not None and rule.rule_id != rule_id:
            wrong = [RuleError(f"the row of {rule_id} holds {rule.rule_id}", SourcePosition(row["file"]))]
            rule = None
        errors += wrong
        last = rule or self._rules.get(rule_id)
        if last is not None:
            rules[rule_id] = last

    async def revert_expired(self, now: datetime | None = None) -> list[str]:
        """Ends each state whose time is over, once for all engines; ``now`` is an aware time."""
        moment = now or datetime.now(UTC)
        due = [(r, s.expires_at) for r, s in self._states.items() if s.expired(moment)]
        ended = [r for r, at in due if at is not None and await self.repo.expire_rule_state(r, at)]
        if due:
            await self.tail(moment)
        return ended


def _last(changes: Iterable[StoredRuleChange], kinds: tuple[str, ...]) -> dict[str, int]:
    """The last sequence number of each rule, in order of it."""
    out: dict[str, int] = {}
    for row in changes:
        if row["kind"] in kinds:
            out.pop(row["rule_id"], None)
            out[row["rule_id"]] = int(row["seq"])
    return out


def _row_of(rule: CompiledRule) -> RuleText:
    return {
        "version": rule.rule_version,
        "name": rule.name,
        "yaml": rule.source,
        "file": rule.file,
        "error": None,
    }


def _add_broken(
    wanted: dict[str, RuleText], errors: Mapping[str, str], known: Mapping[str, RuleDefinition]
) -> None:
    """The errors, with the last good version of their files, which may be known from an earlier run only."""
    for file, error in errors.items():
        mine = [row for row in wanted.values() if row["file"] == file]
        stored = [r for r, row in known.items() if row["file"] == file and row["yaml"] and r not in wanted]
        for rule_id in stored if not mine else ():
            last = known[rule_id]
            wanted[rule_id] = {
                "version": last["version"], "name": last["name"], "yaml": last["yaml"], "file": file, "error": error,
            }  # fmt: skip
            mine.append(wanted[rule_id])
        for row in mine:
            row["error"] = error
        if not mine:
            wanted[file_id(file)] = {"version": 0, "name": "", "yaml": "", "file": file, "error": error}


def _stored_errors(row: RuleDefinition) -> list[RuleError]:
    """The errors in a row, with the file as their place: the text names line and column."""
    prefix = f"{row['file']}:"
    lines = str(row["error"]).splitlines()
    return [
        RuleError(line.removeprefix(prefix).strip(), SourcePosition(row["file"]), row["rule_id"])
        for line in lines
    ]


def state_of(row: Mapping[str, Any]) -> RuleState | None:
    """The state in a row; None, with one warning, for a row that makes none."""
    names = ("state", "confidence_max", "expires_at", "reason", "set_by", "set_at")
    try:
        return RuleState(**{name: row[name] for name in names})
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("bad rule state row", rule_id=row.get("rule_id"), reason=str(error))
        return None
