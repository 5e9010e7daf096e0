"""What a rule store is: definitions, states, and one change for each edit."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from decnet.bus import topics
from decnet.bus.base import BaseBus, Event
from decnet.bus.publish import publish_failures
from decnet.errors import BusError, RuleError
from decnet.events import ttp as events
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.telemetry import child, inject
from decnet.ttp.rules import DEFAULT_STATE, CompiledRule, RuleState

__all__ = ["DEFAULT_STATE", "CompiledRule", "RuleChange", "RuleListing", "RuleState", "RuleStore"]

_log = get_logger(__name__)
ChangeKind = Literal["definition", "state", "removed"]


class RuleChange(NamedTuple):
    """One edit: the new definition or state, None for a removal."""

    change_kind: ChangeKind
    rule_id: str
    new_value: CompiledRule | RuleState | None


@dataclass(frozen=True, slots=True)
class RuleListing:
    """A rule as lists show it, with its YAML; or a file that gave none: its ``error`` says why, ``yaml`` is empty."""

    rule_id: str
    rule_version: int
    name: str
    file: str
    yaml: str
    error: str | None = None


def listing_of(rules: Iterable[CompiledRule], errors: Iterable[RuleError]) -> list[RuleListing]:
    """Rules and broken files by id; a rule whose file is broken now is the last good one, with the error beside it."""
    texts, kept = by_file(errors), list(rules)
    rows = [RuleListing(r.rule_id, r.rule_version, r.name, r.file, r.source, texts.get(r.file)) for r in kept]
    homeless = texts.keys() - {rule.file for rule in kept}
    rows += [RuleListing(file_id(file), 0, "", file, "", texts[file]) for file in homeless]
    return sorted(rows, key=lambda row: row.rule_id)


def by_file(errors: Iterable[RuleError]) -> dict[str, str]:
    """The errors of each file as lines."""
    lines: dict[str, list[str]] = {}
    for error in errors:
        lines.setdefault(error.place.file, []).append(str(error))
    return {file: "\n".join(found) for file, found in lines.items()}


def file_id(file: str) -> str:
    """What a file without a loadable rule is listed under: its name."""
    return Path(file).name


class RuleStore(ABC):
    """Definitions and states of rules. Subscribers get every change after their call, one at a time."""

    def __init__(self, bus: BaseBus | None = None) -> None:
        self.bus = bus
        self.version = 0
        """Grows whenever the rules are another set; many changes may share one."""
        self._queues: list[asyncio.Queue[RuleChange]] = []
        self._unsent: list[Event] = []

    @abstractmethod
    async def load_compiled(self) -> list[CompiledRule]:
        """Reads all definitions and states now; bad files are in :meth:`errors`."""

    @abstractmethod
    async def get_state(self, rule_id: str) -> RuleState:
        """The state in effect now; the default one for an unknown rule or an expired state. Never raises."""

    @abstractmethod
    async def set_state(self, rule_id: str, state: RuleState) -> None:
        """Stores and announces a state. Raises RuleStoreError: drift of states is dangerous."""

    @abstractmethod
    async def stored_states(self) -> Mapping[str, RuleState]:
        """All states as they are stored now, expired ones included. Raises RuleStoreError or DatabaseError."""

    @abstractmethod
    async def listing(self, *, running: bool = True) -> list[RuleListing]:
        """Every rule and every broken file, by id, as an engine on this store has them; nothing is compiled twice.

        With ``running`` False no engine has any: then it is what the next one would load.
        """

    @abstractmethod
    def where(self) -> dict[str, Any]:
        """What health tells other processes of this store: ``rule_store``, and where its files are, if it has any."""

    async def hold(self) -> None:  # noqa: B027
        """Says to the other processes of the host that an engine judges by this store; before the first load."""

    async def close(self) -> None:  # noqa: B027
        """Lets go of what other processes wait for; the store is used no more."""

    @abstractmethod
    def rules(self) -> tuple[CompiledRule, ...]:
        """The definitions of the last load."""

    @abstractmethod
    def states(self) -> Mapping[str, RuleState]:
        """The states last seen, expired ones included; compare ``expires_at`` at every use."""

    @abstractmethod
    def errors(self) -> list[RuleError]:
        """The errors of the files that did not load."""

    @abstractmethod
    async def reload(self, *, allow_shrink: bool = False) -> None:
        """Looks at the files now and announces what changed; bad ones keep their last good version.

        A set that lost half of its rules counts only with ``allow_shrink``, an empty one never.
        """

    @abstractmethod
    async def follow(self) -> None:
        """Looks for changes for ever: files, states of other processes, expiries."""

    def subscribe_changes(self) -> AsyncIterator[RuleChange]:
        """Changes from now on; registered at the call, so none is lost before the first read."""
        queue: asyncio.Queue[RuleChange] = asyncio.Queue()
        self._queues.append(queue)
        return self._drain(queue)

    async def _drain(self, queue: asyncio.Queue[RuleChange]) -> AsyncIterator[RuleChange]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.remove(queue)

    def _announce(self, change: RuleChange, *, auto_revert: bool = False, seq: int | None = None) -> None:
        """Tells subscribers now, and the bus at the next :meth:`_send_news`: a bus that is away delays no rule.

        With the ``seq`` of a change that several engines see, the news of all of them is one event.
        """
        for queue in self._queues:
            queue.put_nowait(change)
        if self.bus is None:
            return
        event = replace(_news(change, auto_revert), headers=inject())
        if seq is not None:
            event = replace(event, id=event_id("rules", f"{change.change_kind}|{change.rule_id}", seq))
        self._unsent.append(event)

    async def _send_news(self) -> None:
        """Publishes what was announced; news that cannot be are counted and lost, the change itself stands."""
        events, self._unsent = self._unsent, []
        bus = self.bus
        if bus is None:
            return
        for event in events:
            try:
                with child("ttp.rule.publish", rule_id=str(event.payload["rule_id"])):
                    await bus.publish_events([event])
            except (BusError, OSError) as error:
                publish_failures[type(error).__name__] += 1
                _log.warning("event not published", topic=event.topic, reason=str(error))


def _news(change: RuleChange, auto_revert: bool) -> Event:
    value = change.new_value
    if isinstance(value, RuleState):
        named = {"rule_id": change.rule_id, **state_payload(value), "auto_revert": auto_revert}
        told = events.RuleState.parse(named)
        return Event(topics.ttp_rule_state(change.rule_id), told.build(), "state")
    version = value.rule_version if isinstance(value, CompiledRule) else None
    news = events.RuleReloaded(rule_id=change.rule_id, rule_version=version, deleted=value is None)
    return Event(topics.ttp_rule_reloaded(change.rule_id), news.build(), change.change_kind)


def state_payload(state: RuleState) -> dict[str, object]:
    """The state as JSON values; times are ISO 8601 in UTC."""
    return {
        "state": state.state,
        "confidence_max": state.confidence_max,
        "expires_at": state.expires_at.isoformat() if state.expires_at else None,
        "reason": state.reason,
        "set_by": state.set_by,
    }
