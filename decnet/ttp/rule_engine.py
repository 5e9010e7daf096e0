"""The rule engine: one immutable snapshot of rules and states, and the tagger that judges events with it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

from decnet.attack.catalogue import load_catalogue
from decnet.hostile import storable
from decnet.ids import tag_id
from decnet.ttp.base import KNOWN_SOURCE_KINDS, TaggerEvent, TolerantTagger, TTPTag
from decnet.ttp.matcher import Failures, Hit, RuleIndex
from decnet.ttp.rules import DEFAULT_STATE, CompiledRule, Emit, RuleState
from decnet.ttp.schema import RuleSchema
from decnet.ttp.store.base import RuleStore

__all__ = ["CompiledRule", "RuleEngine", "RuleEngineTagger", "RuleIndex", "RuleSchema"]

_NOT_EVIDENCE = frozenset({"password", "secret", "pwd_text", "passwords"})
_FIELD_CHARS = 2000


class Snapshot(NamedTuple):
    """What one batch is judged by."""

    rules: RuleIndex
    states: Mapping[str, RuleState]


class RuleEngine:
    """Holds the current snapshot; counts what was suppressed."""

    def __init__(self, *, floor: float = 0.3, max_failures: int = 5) -> None:
        self.floor = floor
        self.failures = Failures(max_failures)
        self.suppressed: Counter[str] = Counter()
        self.views_capped = 0
        self._snapshot = Snapshot(RuleIndex(), {})
        self._release = load_catalogue().release

    def replace(self, rules: Iterable[CompiledRule], states: Mapping[str, RuleState]) -> None:
        """Swaps rules and states in one step."""
        self._snapshot = Snapshot(RuleIndex(rules), dict(states))

    def replace_states(self, states: Mapping[str, RuleState]) -> None:
        """Swaps the states only."""
        self._snapshot = self._snapshot._replace(states=dict(states))

    def snapshot(self) -> Snapshot:
        """The rules and states in force now."""
        return self._snapshot

    def evaluate(
        self, event: TaggerEvent, snapshot: Snapshot | None = None, now: datetime | None = None
    ) -> list[TTPTag]:
        """The tags of one event; ``now`` (aware) decides which states have expired."""
        index, states = snapshot or self._snapshot
        hits, capped = index.hits(event.source_kind, event.payload, self.failures)
        self.views_capped += capped
        moment = now or datetime.now(UTC)
        tags: list[TTPTag] = []
        for hit in hits:
            state = states.get(hit.rule.rule_id, DEFAULT_STATE).effective(moment)
            for emit in hit.rule.emits:
                tag = self._tag(event, hit, emit, state)
                if tag is not None:
                    tags.append(tag)
        return tags

    def _tag(self, event: TaggerEvent, hit: Hit, emit: Emit, state: RuleState) -> TTPTag | None:
        confidence = state.confidence(emit.confidence)
        if confidence is None or confidence < self.floor:
            clipped = emit.confidence >= self.floor
            self.suppressed[
                "disabled" if confidence is None else "clipped_below_floor" if clipped else "floor"
            ] += 1
            return None
        rule = hit.rule
        return TTPTag(
            uuid=tag_id(
                event.source_kind,
                event.source_id,
                rule.rule_id,
                rule.rule_version,
                emit.written_technique_id,
                emit.written_sub_technique_id,
            ),
            source_kind=event.source_kind,
            source_id=event.source_id,
            attacker_uuid=event.attacker_uuid,
            identity_uuid=event.identity_uuid,
            session_id=event.session_id,
            decky_id=event.decky_id,
            tactic=emit.tactic,
            technique_id=emit.technique_id,
            sub_technique_id=emit.sub_technique_id,
            confidence=confidence,
            rule_id=rule.rule_id,
            rule_version=rule.rule_version,
            evidence=evidence(hit, event.payload),
            attack_release=self._release,
            mitre_url=emit.url,
        )


def evidence(hit: Hit, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Why the rule holds: field, text, span, view, and the fields that the rule names."""
    found = hit.found
    out: dict[str, Any] = {"field": found.field, "matched": found.text, "span": [found.start, found.end]}
    if hit.view:
        out["view"] = hit.view
    for name in hit.rule.evidence_fields:
        value = payload.get(name)
        if value is not None and name not in _NOT_EVIDENCE:
            out[name] = value[:_FIELD_CHARS] if isinstance(value, str) else value
    kept: dict[str, Any] = storable(out)
    return kept


class RuleEngineTagger(TolerantTagger):
    """Judges every kind by the rules of a store."""

    name: ClassVar[str] = "rule_engine"
    HANDLES: ClassVar[frozenset[str]] = KNOWN_SOURCE_KINDS

    def __init__(self, store: RuleStore | None = None, engine: RuleEngine | None = None) -> None:
        self.store = store
        self.engine = engine or RuleEngine()
        self.loaded = asyncio.Event()

    async def _tag_impl(self, event: TaggerEvent) -> list[TTPTag]:
        return self.engine.evaluate(event)

    async def tag_batch(self, events: Sequence[TaggerEvent]) -> list[TTPTag]:
        """The tags of a batch by one snapshot, off the event loop."""
        return await asyncio.to_thread(self._tag_all, events, self.engine.snapshot())

    def _tag_all(self, events: Sequence[TaggerEvent], snapshot: Snapshot) -> list[TTPTag]:
        now = datetime.now(UTC)
        return [tag for event in events for tag in self.engine.evaluate(event, snapshot, now)]

    async def load(self) -> None:
        """Reads rules and states from the store once."""
        if self.store is not None:
            rules = await self.store.load_compiled()
            await asyncio.to_thread(self.engine.replace, rules, self.store.states())
        self.loaded.set()

    async def watch_store(self) -> None:
        """Loads the rules and follows their changes for ever."""
        if self.store is None:
            return
        changes = self.store.subscribe_changes()
        await self.load()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.store.follow(), name="ttp:rules:follow")
            async for change in changes:
                if change.change_kind == "state":
                    self.engine.replace_states(self.store.states())
                else:
                    await asyncio.to_thread(self.engine.replace, self.store.rules(), self.store.states())
