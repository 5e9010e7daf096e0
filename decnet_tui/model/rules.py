"""Rules through the engine's own store: what the Rules view and ``rules`` read and what their changes write.

Which store that is, the engine says (:func:`decnet.ttp.store.factory.reach_rule_store`), not this process's
settings: so both always speak of the same rules. The engine reports a written state on the bus.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

from decnet.config import Settings
from decnet.errors import DecnetError
from decnet_tui.model.access import RuleRow

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.ttp.rules import RuleState
    from decnet.ttp.store.base import RuleListing, RuleStore

DAY = 86_400.0
LOADING = (
    "the engine has no rules loaded yet: ask again in a moment; `decnet-tui workers` and "
    "`decnet-tui rules check` tell why it has none"
)


class StoredRules:
    """Rule access beside an engine, or without one; ``actor`` is written as ``set_by``.

    ``engine``: one is known to run; ``local``: the data directory is that engine's.
    """

    def __init__(
        self,
        settings: Settings,
        repo: BaseRepository | None,
        actor: str,
        *,
        engine: bool = False,
        local: bool = True,
    ) -> None:
        self._settings, self._repo, self._actor = settings, repo, actor
        self._engine, self._local = engine, local
        self._stores: dict[str, RuleStore] = {}

    async def _store(self) -> tuple[RuleStore, bool]:
        """The store in force now, and whether an engine runs on it: engines come and go, and others follow."""
        from decnet.ttp.store.factory import reach_rule_store  # here: the first screen does not wait for it

        kind, running = await reach_rule_store(
            self._settings, self._repo, engine=self._engine, local=self._local
        )
        if kind not in self._stores:
            self._stores[kind] = self._made(kind)
        return self._stores[kind], running

    def _made(self, kind: str) -> RuleStore:
        from decnet.ttp.store.factory import get_rule_store
        from decnet.ttp.store.impl.filesystem import FilesystemRuleStore

        if kind == "filesystem":
            return get_rule_store(self._settings, kind="filesystem")
        if self._repo is None:  # nothing was ever stored: the files are all there is
            return FilesystemRuleStore(self._settings.rules)
        return get_rule_store(self._settings, repo=self._repo, kind="database")

    async def list_rules(self) -> list[RuleRow]:
        """All rules and broken files by id, states in effect now. Raises DecnetError while an engine has none."""
        store, running = await self._store()
        rows = await listed(store, self._repo, running=running)
        if running and not rows:
            raise DecnetError(LOADING)
        return rows

    async def set_rule_state(
        self,
        rule_id: str,
        state: str,
        confidence_max: float | None = None,
        expires_at: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Writes the state; raises what the store raises."""
        store, _ = await self._store()
        await store.set_state(rule_id, made_state(state, confidence_max, expires_at, reason, self._actor))


class EngineRules:
    """Rule access of a console with the engine inside: its store is at hand."""

    def __init__(self, store: RuleStore, repo: BaseRepository, actor: str) -> None:
        self._rules, self._repo, self._actor = store, repo, actor

    async def list_rules(self) -> list[RuleRow]:
        """All rules and broken files by id, states in effect now."""
        return await listed(self._rules, self._repo)

    async def set_rule_state(
        self,
        rule_id: str,
        state: str,
        confidence_max: float | None = None,
        expires_at: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Writes the state; raises what the store raises."""
        await self._rules.set_state(
            rule_id, made_state(state, confidence_max, expires_at, reason, self._actor)
        )


async def listed(store: RuleStore, repo: BaseRepository | None, *, running: bool = True) -> list[RuleRow]:
    """The rows of a store, with what fired in the last day as ``repo`` holds it."""
    now = time.time()
    rules, states = await store.listing(running=running), await store.stored_states()
    fired = await repo.rule_fired_counts(now - DAY) if repo is not None else {}
    rows = [_row(rule, states.get(rule.rule_id), fired, now) for rule in rules]
    return sorted(rows, key=lambda row: row["rule_id"])


def made_state(
    state: str, confidence_max: float | None, expires_at: float | None, reason: str | None, actor: str
) -> RuleState:
    """The state as a store takes it; ``expires_at`` is epoch seconds. Raises DecnetError for one that is none."""
    from decnet.ttp.rules import RuleState

    ends = None if expires_at is None else datetime.fromtimestamp(expires_at, UTC)
    try:
        return RuleState(state, confidence_max, ends, reason, actor, datetime.now(UTC))  # type: ignore[arg-type]
    except ValueError as error:
        raise DecnetError(str(error)) from error


def _row(rule: RuleListing, state: RuleState | None, fired: Mapping[str, int], now: float) -> RuleRow:
    return RuleRow(
        rule_id=rule.rule_id,
        rule_version=rule.rule_version,
        name=rule.name,
        file=rule.file,
        error=rule.error,
        fired_24h=int(fired.get(rule.rule_id, 0)),
        yaml=rule.yaml,
        **(_NOT_LOADED if rule.error and not rule.yaml else effective_state(state, now)),
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
_DEFAULT = StateFields(state="enabled", confidence_max=None, expires_at=None, reason=None, set_by=None)


def effective_state(state: RuleState | None, now: float) -> StateFields:
    """The state in effect at ``now`` (epoch seconds): an expired one counts as default."""
    if state is None or state.expired(datetime.fromtimestamp(now, UTC)):
        return _DEFAULT
    return StateFields(
        state=state.state,
        confidence_max=state.confidence_max,
        expires_at=state.expires_at.timestamp() if state.expires_at else None,
        reason=state.reason,
        set_by=state.set_by,
    )
