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
from decnet.jsontext import Kept
from decnet.telemetry import child, recording
from decnet.ttp.base import KNOWN_SOURCE_KINDS, TaggerEvent, TolerantTagger, TTPTag
from decnet.ttp.context import reason_of
from decnet.ttp.evidence import MAX_TEXT, checked_evidence
from decnet.ttp.lifter_registry import Finding, Lift, adjusted
from decnet.ttp.lifting import lifts
from decnet.ttp.masking import concealed
from decnet.ttp.matcher import FILTER_SIZE, Failures, Hit, RuleIndex
from decnet.ttp.remembered import Remembered
from decnet.ttp.replacing import Better, knowing_better, standing
from decnet.ttp.rules import DEFAULT_STATE, CompiledRule, Emit, RuleState
from decnet.ttp.schema import RuleSchema
from decnet.ttp.store.base import RuleStore
from decnet.ttp.windows import WHO, Subject, WindowHit, event_time, window_hit

__all__ = ["Collected", "CompiledRule", "RuleEngine", "RuleEngineTagger", "RuleIndex", "RuleSchema"]

_FIELD_CHARS = MAX_TEXT + 1
"""One more than evidence may have: who cuts it counts it."""
_SECRET_CHARS = 8192
"""Characters of a command line that are searched for passwords; evidence shows 2,000 at most."""


class Collected:
    """The hits of window and sequence rules in one batch; ``times`` are epoch seconds of events without one."""

    def __init__(self, times: Mapping[TaggerEvent, float] | None = None) -> None:
        self.times = times or {}
        self.hits: list[WindowHit] = []
        self._who: dict[tuple[str | None, ...], Kept] = {}
        self.better: list[Better] = []
        """What rules of this batch know better than others, stored tags of theirs included."""

    def add(self, event: TaggerEvent, hit: Hit, why: Mapping[str, Any]) -> None:
        """Takes one hit; one whose key is not complete counts for nothing."""
        ts = event_time(event.payload, self.times.get(event, 0.0))
        subject = Subject(event.source_kind, event.source_id, ts, self._who_of(event), event.payload)
        found = window_hit(hit.rule, hit.marks, subject, why)
        if found is not None:
            self.hits.append(found)

    def _who_of(self, event: TaggerEvent) -> Kept:
        """Whose event it is; one object for all of one session, so that it is written out once."""
        key = tuple(getattr(event, name) for name in WHO)
        known = self._who.get(key)
        if known is None:
            known = self._who[key] = Kept(storable(dict(zip(WHO, key, strict=True))))
        return known


class Snapshot(NamedTuple):
    """What one batch is judged by; ``remembered`` asks these ``rules``."""

    rules: RuleIndex
    states: Mapping[str, RuleState]
    remembered: Remembered

    @classmethod
    def of(cls, rules: Iterable[CompiledRule], states: Mapping[str, RuleState]) -> Snapshot:
        """A snapshot of rules and states."""
        index = RuleIndex(rules, most=FILTER_SIZE)
        return cls(index, dict(states), Remembered(index))


class RuleEngine:
    """Holds the current snapshot; counts what was suppressed, by rule and reason."""

    def __init__(self, *, floor: float = 0.3, max_failures: int = 5) -> None:
        self.floor = floor
        self.failures = Failures(max_failures)
        self.suppressed: Counter[tuple[str, str]] = Counter()
        self.views_capped = 0
        self.replaced: Counter[str] = Counter()
        """Tags that another rule of the same command took the place of, by the rule that lost them."""
        self._snapshot = Snapshot.of((), {})
        self._release = load_catalogue().release

    def replace(self, rules: Iterable[CompiledRule], states: Mapping[str, RuleState]) -> None:
        """Swaps rules and states in one step."""
        self._snapshot = Snapshot.of(rules, states)

    def replace_states(self, states: Mapping[str, RuleState]) -> None:
        """Swaps the states only."""
        self._snapshot = self._snapshot._replace(states=dict(states))

    def snapshot(self) -> Snapshot:
        """The rules and states in force now."""
        return self._snapshot

    def evaluate(
        self,
        event: TaggerEvent,
        snapshot: Snapshot | None = None,
        now: datetime | None = None,
        collected: Collected | None = None,
    ) -> list[TTPTag]:
        """The tags of one event; ``now`` (aware) decides which states have expired.

        Hits of window and sequence rules give no tag here: they go to ``collected``.
        """
        index, states, remembered = snapshot or self._snapshot
        said = remembered.of(event.source_kind, event.payload, self.failures)
        hits = said.hits
        self.views_capped += said.capped
        moment = now or datetime.now(UTC)
        tags: list[TTPTag] = []
        changed = self._adjusted_emits(event, hits, index, states, moment)

        def checked(hit: Hit) -> dict[str, Any]:
            return checked_evidence(event.source_kind, evidence(hit, event.payload))

        for hit in self._standing(event, hits, states, moment, collected):
            if hit.marks:
                if collected is not None and not self._disabled(hit.rule, states, moment):
                    collected.add(event, hit, said.why(hit, checked))
                continue
            emits = changed.get(hit.rule.rule_id, hit.rule.emits)
            tags += self.tags_with(event, hit.rule, emits, said.why(hit, checked), states, moment)
        return tags

    def _standing(
        self,
        event: TaggerEvent,
        hits: Sequence[Hit],
        states: Mapping[str, RuleState],
        now: datetime,
        collected: Collected | None,
    ) -> Sequence[Hit]:
        """The hits without what another rule knows better of the same text; that is counted."""

        def fires(rule: CompiledRule) -> bool:
            return states.get(rule.rule_id, DEFAULT_STATE).effective(now).state != "disabled"

        if collected is not None:
            collected.better += knowing_better(event, hits, fires)
        return standing(hits, fires, self._replaced)

    def _replaced(self, rule_id: str, tags: int) -> None:
        self.replaced[rule_id] += tags

    def _adjusted_emits(
        self,
        event: TaggerEvent,
        hits: Sequence[Hit],
        index: RuleIndex,
        states: Mapping[str, RuleState],
        now: datetime,
    ) -> Mapping[str, tuple[Emit, ...]]:
        """By rule id what lifter rules that change other rules' tags make of these hits; empty without such rules."""
        rules = index.adjusting_rules(event.source_kind) if hits else ()
        if not rules:
            return {}
        holding = [
            lift
            for lift in lifts(rules, event.payload, self.failures)
            if states.get(lift.rule.rule_id, DEFAULT_STATE).effective(now).state != "disabled"
        ]
        own = [Lift(hit.rule, Finding(hit.found.field), hit.rule.emits) for hit in hits]
        return {lift.rule.rule_id: lift.emits for lift in adjusted([*holding, *own], event.payload)}

    def _disabled(self, rule: CompiledRule, states: Mapping[str, RuleState], now: datetime) -> bool:
        """Whether the rule must not fire; counted."""
        disabled = states.get(rule.rule_id, DEFAULT_STATE).effective(now).state == "disabled"
        if disabled:
            self.suppressed[rule.rule_id, "disabled"] += 1
        return disabled

    def lift(
        self,
        event: TaggerEvent,
        lifter: str,
        snapshot: Snapshot | None = None,
        now: datetime | None = None,
    ) -> list[TTPTag]:
        """The tags of one event by the rules of one lifter; a failing predicate costs that rule only."""
        index, states, _ = snapshot or self._snapshot
        moment = now or datetime.now(UTC)
        rules = index.lifter_rules(event.source_kind, lifter)
        found = [
            lift
            for lift in lifts(rules, event.payload, self.failures)
            if not self._disabled(lift.rule, states, moment)
        ]
        tags: list[TTPTag] = []
        for rule, finding, emits in adjusted(found, event.payload) if found else ():
            why = {"field": finding.field, "matched": finding.text, **finding.evidence}
            tags += self.tags_of(event, rule, emits, _with_fields(why, rule, event.payload), states, moment)
        return tags

    def tags_of(
        self,
        event: TaggerEvent,
        rule: CompiledRule,
        emits: Iterable[Emit],
        why: Mapping[str, Any],
        states: Mapping[str, RuleState],
        now: datetime,
    ) -> list[TTPTag]:
        """The tags of one rule that holds for one event, after the rule's state and the floor; the rest is counted."""
        return self.tags_with(event, rule, emits, checked_evidence(event.source_kind, why), states, now)

    def tags_with(
        self,
        event: TaggerEvent,
        rule: CompiledRule,
        emits: Iterable[Emit],
        kept: dict[str, Any],
        states: Mapping[str, RuleState],
        now: datetime,
    ) -> list[TTPTag]:
        """As :meth:`tags_of`, with evidence that was checked before."""
        state = states.get(rule.rule_id, DEFAULT_STATE).effective(now)
        tags = (self._tag(event, rule, emit, kept, state) for emit in emits)
        fired = [tag for tag in tags if tag is not None]
        for tag in fired if recording() else ():
            _fire_span(tag)
        return fired

    def _tag(
        self, event: TaggerEvent, rule: CompiledRule, emit: Emit, why: dict[str, Any], state: RuleState
    ) -> TTPTag | None:
        confidence = state.confidence(emit.confidence)
        if confidence is None or confidence < self.floor:
            self._suppress(rule, emit, confidence)
            return None
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
            evidence=why,
            attack_release=self._release,
            mitre_url=emit.url,
        )

    def _suppress(self, rule: CompiledRule, emit: Emit, confidence: float | None) -> None:
        clipped = emit.confidence >= self.floor
        reason = "disabled" if confidence is None else "clipped_below_floor" if clipped else "floor"
        self.suppressed[rule.rule_id, reason] += 1


def _fire_span(tag: TTPTag) -> None:
    """The rule fired: a span without duration, with nothing of what it matched."""
    names = {"rule_id": tag.rule_id, "rule_version": tag.rule_version, "technique_id": tag.technique_id}
    with child("ttp.rule.fire", **names):
        pass


def evidence(hit: Hit, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Why the rule holds: field, text, span, view, and the fields that the rule names."""
    found = hit.found
    out: dict[str, Any] = {"field": found.field, "matched": found.text, "span": [found.start, found.end]}
    if (because := reason_of(payload, hit.text, found.field, found.text)) is not None:
        out["because"] = because
    if hit.view:
        out["view"] = hit.view
    out = _with_fields(out, hit.rule, payload)
    line = payload.get("command_text")
    return concealed(out, line[:_SECRET_CHARS]) if isinstance(line, str) else out


def _with_fields(why: dict[str, Any], rule: CompiledRule, payload: Mapping[str, Any]) -> dict[str, Any]:
    for name in rule.evidence_fields:
        value = payload.get(name)
        if value is not None and name not in why:
            why[name] = value[:_FIELD_CHARS] if isinstance(value, str) else value
    return why


class RuleEngineTagger(TolerantTagger):
    """Judges every kind by the rules of a store."""

    name: ClassVar[str] = "rule_engine"
    HANDLES: ClassVar[frozenset[str]] = KNOWN_SOURCE_KINDS

    def __init__(self, store: RuleStore | None = None, engine: RuleEngine | None = None) -> None:
        self.store = store
        self.engine = engine or RuleEngine()
        self.loaded = asyncio.Event()
        self._version = -1

    async def _tag_impl(self, event: TaggerEvent) -> list[TTPTag]:
        return self.engine.evaluate(event)

    async def tag_batch(
        self,
        events: Sequence[TaggerEvent],
        collected: Collected | None = None,
        snapshot: Snapshot | None = None,
    ) -> list[TTPTag]:
        """The tags of a batch by one snapshot, off the event loop; hits of window rules go to ``collected``."""
        return await asyncio.to_thread(self._tag_all, events, snapshot or self.engine.snapshot(), collected)

    def _tag_all(
        self, events: Sequence[TaggerEvent], snapshot: Snapshot, collected: Collected | None
    ) -> list[TTPTag]:
        now = datetime.now(UTC)
        out: list[TTPTag] = []
        for event in events:
            with child("ttp.eval", source_kind=event.source_kind):
                out += self.engine.evaluate(event, snapshot, now, collected)
        return out

    async def load(self) -> None:
        """Reads rules and states from the store once; rules that are in force already stay as they are."""
        if self.store is not None:
            await self.store.load_compiled()
            if self._version == self.store.version:
                self.engine.replace_states(self.store.states())
            else:
                await self._take(self.store)
        self.loaded.set()

    async def _take(self, store: RuleStore) -> None:
        """Puts the store's rules in force; many changes of one reload are taken in one step."""
        version = store.version
        await asyncio.to_thread(self.engine.replace, store.rules(), store.states())
        self._version = version

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
                elif self._version != self.store.version:
                    await self._take(self.store)
