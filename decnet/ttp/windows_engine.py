"""Window and sequence rules over the database: hits in, tags of the completing events out.

All of it happens in the transaction of the batch. Rows are keyed by the event, so redelivery adds
nothing; a key is worked on by one transaction at a time, so any number of engines agree.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from decnet.ttp.base import TaggerEvent, TTPTag
from decnet.ttp.evidence import checked_evidence
from decnet.ttp.rule_engine import RuleEngine
from decnet.ttp.rules import CompiledRule
from decnet.ttp.seen import stamp_one
from decnet.ttp.windows import (
    Completion,
    StoredHit,
    WindowHit,
    completions,
    facts,
    superfluous,
)
from decnet.turns import in_turns

if TYPE_CHECKING:
    from decnet.bus.base import BaseBus
    from decnet.db.repository import BaseRepository
    from decnet.db.repository.ttp.windows import HitKey
    from decnet.db.rows.ttp import WindowFireFacts, WindowHitFacts, WindowMark

_UNTOLD: Mapping[str, Any] = {}
"""What only hits that complete a rule are asked for."""


class WindowEngine:
    """``retention_s`` is how long (seconds, wall clock) a hit waits for others that come late."""

    def __init__(self, engine: RuleEngine, *, retention_s: float = 7 * 86_400.0) -> None:
        self.engine = engine
        self.retention_s = retention_s
        self.hits = 0
        self.fired = 0
        self.dropped = 0

    async def apply(self, repo: BaseRepository, hits: Sequence[WindowHit]) -> list[TTPTag]:
        """Stores the hits of a batch and gives the tags of what they complete; ``repo`` is the transaction's."""
        rules = {hit.slot: hit.rule for hit in hits}
        if not rules:
            return []
        slots = sorted(rules)
        await repo.lock_slots(slots)
        await repo.add_window_hits(self._rows(hits))
        stored, fires = await _stored(repo, slots)
        done: list[tuple[str, Completion]] = []
        drop: list[HitKey] = []
        for slot in slots:
            spec = rules[slot].correlation
            if spec is None:
                continue
            known = stored.get(slot, [])
            done += ((slot, c) for c in completions(spec, known, fires.get(slot, ())))
            drop += (_key(slot, hit) for hit in superfluous(spec, known))
        done = await _with_reasons(repo, done, {slot for slot, _ in done if _in_steps(rules[slot])})
        await repo.drop_window_hits(drop)
        await repo.add_window_fires([_fire(slot, completion.hit) for slot, completion in done])
        self.hits += len(hits)
        self.fired += len(done)
        self.dropped += len(drop)
        return self._tags([(rules[slot], completion) for slot, completion in done])

    async def purge(self, repo: BaseRepository, _bus: BaseBus | None = None) -> None:
        """Forgets the hits whose time is over; a job for one engine at a time."""
        await repo.purge_window_hits(time.time())

    def health(self) -> dict[str, int]:
        """Counters for the worker's health."""
        return {"window_hits": self.hits, "windows_fired": self.fired, "window_hits_dropped": self.dropped}

    def _rows(self, hits: Sequence[WindowHit]) -> list[WindowHitFacts]:
        now = time.time()
        rows: dict[tuple[str, str, str, int], WindowHitFacts] = {}
        for rule, slot, stored in hits:
            within = rule.correlation.within_s if rule.correlation else 0.0
            until = now + max(self.retention_s, 2 * within)
            for hit in stored:
                rows[slot, hit.source_kind, hit.source_id, hit.pos] = _hit_row(slot, hit, until)
        return [rows[key] for key in sorted(rows)]

    def _tags(self, done: Sequence[tuple[CompiledRule, Completion]]) -> list[TTPTag]:
        states, now = self.engine.snapshot().states, datetime.now(UTC)
        tags: list[TTPTag] = []
        for rule, completion in done:
            hit, spec = completion.hit, rule.correlation
            if spec is None:
                continue
            who = hit.who
            event = TaggerEvent(
                hit.source_kind,
                hit.source_id,
                who.get("attacker_uuid"),
                who.get("identity_uuid"),
                who.get("session_id"),
                who.get("decky_id"),
            )
            # What was stored is checked already; its own words win over the counts.
            why = {**checked_evidence(hit.source_kind, facts(spec, completion)), **hit.why}
            made = self.engine.tags_with(event, rule, rule.emits, why, states, now)
            for tag in made:
                stamp_one(tag, hit.ts)
            tags += made
        return tags


async def _stored(
    repo: BaseRepository, slots: Sequence[str]
) -> tuple[Mapping[str, list[StoredHit]], Mapping[str, list[float]]]:
    hits: dict[str, list[StoredHit]] = {}
    for slot, hit in await in_turns(_stored_hit, await repo.window_marks(slots)):
        hits.setdefault(slot, []).append(hit)
    fires: dict[str, list[float]] = {}
    for row in await repo.window_fires(slots):
        fires.setdefault(row["slot"], []).append(row["ts"])
    return hits, fires


async def _with_reasons(
    repo: BaseRepository, done: Sequence[tuple[str, Completion]], in_steps: Set[str]
) -> list[tuple[str, Completion]]:
    """What came true, with whose its last hit was and why it held; of the slots ``in_steps`` that of every part."""
    keys = {
        _key(slot, hit)
        for slot, completion in done
        for hit in (completion.hit, *(completion.parts if slot in in_steps else ()))
    }
    found = {
        (row["slot"], row["source_kind"], row["source_id"], row["pos"]): row
        for row in await repo.window_reasons(sorted(keys))
    }

    def told(slot: str, hit: StoredHit) -> StoredHit:
        row = found.get(_key(slot, hit))
        return hit if row is None else hit._replace(who=row["who"], why=row["why"])

    return [
        (slot, Completion(told(slot, c.hit), tuple(told(slot, hit) for hit in c.parts))) for slot, c in done
    ]


def _in_steps(rule: CompiledRule) -> bool:
    return rule.correlation is not None and bool(rule.correlation.steps)


def _key(slot: str, hit: StoredHit) -> HitKey:
    return slot, hit.source_kind, hit.source_id, hit.pos


def _hit_row(slot: str, hit: StoredHit, keep_until: float) -> WindowHitFacts:
    return {
        "slot": slot,
        "source_kind": hit.source_kind,
        "source_id": hit.source_id,
        "pos": hit.pos,
        "ts": hit.ts,
        "steps": hit.steps,
        "value": hit.value,
        "who": hit.who,
        "why": hit.why,
        "keep_until": keep_until,
    }


def _stored_hit(row: WindowMark) -> tuple[str, StoredHit]:
    hit = StoredHit(
        ts=row["ts"],
        source_id=row["source_id"],
        pos=row["pos"],
        source_kind=row["source_kind"],
        steps=row["steps"],
        value=row["value"],
        who=_UNTOLD,
        why=_UNTOLD,
    )
    return row["slot"], hit


def _fire(slot: str, hit: StoredHit) -> WindowFireFacts:
    return {"slot": slot, "source_kind": hit.source_kind, "source_id": hit.source_id, "ts": hit.ts}
