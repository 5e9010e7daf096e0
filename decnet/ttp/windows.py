"""Window and sequence rules, the pure part: when hits in order of (ts, id) complete a rule for one key.

Hits carry event time only. For one key a rule fires again only after ``within``; what has fired stays,
so a hit that comes late moves nothing. Where hits are kept is for :mod:`decnet.ttp.windows_memory`
(offline, own tests) and :mod:`decnet.ttp.windows_engine` (the database).
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from decnet.hostile import storable_text
from decnet.ttp.conditions import Condition, dig

if TYPE_CHECKING:
    from decnet.ttp.rules import CompiledRule

KEPT_HITS = 512
"""Newest hits kept for one key; older ones stay only while they can still take part in a completion."""
VALUE_CHARS = 200
MAX_NAMED = 50
WHO = ("attacker_uuid", "identity_uuid", "session_id", "decky_id")
_KEY = json.JSONEncoder(sort_keys=True, default=str)
_TIME_FIELDS = ("ts", "ended_at", "started_at", "first_seen")


class Step(NamedTuple):
    """One step of a sequence; without a source kind any of the rule's."""

    source_kind: str | None
    condition: Condition


@dataclass(frozen=True, slots=True)
class Correlation:
    """What a rule asks of several events: ``count`` hits (of distinct values), or ``steps`` in order.

    ``within_s`` is seconds of event time between the first and the last of them.
    """

    within_s: float
    by: tuple[str, ...]
    count: int = 0
    distinct: str | None = None
    steps: tuple[Step, ...] = ()


Order = tuple[float, str, int, str]


class Mark(NamedTuple):
    """One view of an event that counts: its position, the steps it fulfils (bits), its distinct value."""

    pos: int
    steps: int
    value: str


class StoredHit(NamedTuple):
    """One mark of one event as it is kept; ``who`` and ``why`` make the tag when this hit completes the rule."""

    ts: float
    source_id: str
    pos: int
    source_kind: str
    steps: int
    value: str
    who: Mapping[str, str | None]
    why: Mapping[str, Any]

    @property
    def order(self) -> Order:
        """Place in time; ids decide between events of one moment."""
        return self[:4]


class WindowHit(NamedTuple):
    """What one event adds to one key of one rule."""

    rule: CompiledRule
    slot: str
    stored: tuple[StoredHit, ...]


class Completion(NamedTuple):
    """A rule came true: the hit that completed it and all that took part, in order."""

    hit: StoredHit
    parts: tuple[StoredHit, ...]


def event_time(payload: Mapping[str, Any], default: float) -> float:
    """Epoch seconds of an event: its own time stamp, else ``default`` (the envelope's)."""
    for name in _TIME_FIELDS:
        value = payload.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15:
            return float(value)
    return default


class Subject(NamedTuple):
    """Whose event it is: what a tag needs to know, and the payload that keys may name."""

    source_kind: str
    source_id: str
    ts: float
    who: Mapping[str, str | None]
    payload: Mapping[str, Any]


def window_hit(
    rule: CompiledRule, marks: Iterable[Mark], subject: Subject, why: Mapping[str, Any]
) -> WindowHit | None:
    """What ``subject`` adds to its key; None when a part of the key is absent."""
    spec = rule.correlation
    if spec is None:
        return None
    values = [subject.who.get(name) or dig(subject.payload, name) for name in spec.by]
    slot = slot_of(rule, values)
    if slot is None:
        return None
    stored = tuple(
        StoredHit(
            subject.ts, subject.source_id, m.pos, subject.source_kind, m.steps, m.value, subject.who, why
        )
        for m in marks
    )
    return WindowHit(rule, slot, stored)


def slot_of(rule: CompiledRule, values: Sequence[Any]) -> str | None:
    """Where the hits of one rule version for one key are kept; None when a part of the key is absent."""
    if any(value is None or value == "" for value in values):
        return None
    key = _KEY.encode([rule.rule_id, rule.rule_version, *values])
    return hashlib.blake2b(storable_text(key).encode(), digest_size=16).hexdigest()


def value_of(value: Any) -> str | None:
    """A distinct value as text of bounded length; None when the field is absent."""
    if value is None:
        return None
    text = storable_text(value if isinstance(value, str) else json.dumps(value, default=str))
    if len(text) <= VALUE_CHARS:
        return text
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def completions(spec: Correlation, hits: Iterable[StoredHit], fired: Iterable[float]) -> list[Completion]:
    """What comes true for one key; ``fired`` are the times at which the rule fired for it before."""
    ordered = sorted(hits, key=lambda hit: hit.order)
    found = _sequences(spec, ordered) if spec.steps else _windows(spec, ordered)
    times = sorted(fired)
    out = []
    for completion in found:
        ts = completion.hit.ts
        at = bisect_left(times, ts - spec.within_s)
        if at < len(times) and times[at] <= ts + spec.within_s:
            continue
        times.insert(bisect_left(times, ts), ts)
        out.append(completion)
    return out


def _windows(spec: Correlation, ordered: Sequence[StoredHit]) -> Iterable[Completion]:
    recent: deque[StoredHit] = deque()
    values: Counter[str] = Counter()
    for hit in ordered:
        recent.append(hit)
        values[hit.value] += 1
        while hit.ts - recent[0].ts > spec.within_s:
            old = recent.popleft()
            values[old.value] -= 1
            if not values[old.value]:
                del values[old.value]
        if (len(values) if spec.distinct else len(recent)) >= spec.count:
            yield Completion(hit, tuple(recent))


Chain = tuple[StoredHit, ...]


def _sequences(spec: Correlation, ordered: Sequence[StoredHit]) -> Iterable[Completion]:
    best: list[Chain] = [()] * len(spec.steps)
    for hit in ordered:
        done = _advance(spec, best, hit)
        if done:
            yield Completion(hit, done)


def _advance(spec: Correlation, best: list[Chain], hit: StoredHit) -> Chain:
    """Takes one hit into the chains with the latest start; the whole sequence when it is complete."""
    done: Chain = ()
    for i in range(len(best) - 1, -1, -1):
        if not hit.steps >> i & 1:
            continue
        before = best[i - 1] if i else ()
        if i and (not before or hit.ts - before[0].ts > spec.within_s):
            continue
        chain = (*before, hit)
        if not best[i] or chain[0].order >= best[i][0].order:
            best[i] = chain
        if i == len(best) - 1:
            done = chain
    return done


def superfluous(spec: Correlation, hits: Sequence[StoredHit], kept: int = KEPT_HITS) -> list[StoredHit]:
    """Hits that need not be kept: beyond the ``kept`` newest, those without a part in what may still come true.

    A flood of one step or one value therefore pushes no other out.
    """
    if len(hits) <= max(kept, spec.count):
        return []
    ordered = sorted(hits, key=lambda hit: hit.order)
    cut = len(ordered) - max(kept, spec.count)
    old, horizon = ordered[:cut], ordered[cut].ts
    needed = _needed_chains(spec, old) if spec.steps else _needed_values(spec, old)
    return [hit for hit in old if horizon - hit.ts > 2 * spec.within_s or hit.order not in needed]


def _needed_chains(spec: Correlation, old: Sequence[StoredHit]) -> set[Order]:
    best: list[Chain] = [()] * len(spec.steps)
    for hit in old:
        _advance(spec, best, hit)
    return {hit.order for chain in best for hit in chain}


def _needed_values(spec: Correlation, old: Sequence[StoredHit]) -> set[Order]:
    newest = {hit.value: hit.order for hit in old} if spec.distinct else {}
    return set(sorted(newest.values())[-spec.count :])


def events_of(completion: Completion) -> list[str]:
    """The ids of the events that took part, in order, each once; of very many the last ones."""
    return list(dict.fromkeys(hit.source_id for hit in completion.parts))[-MAX_NAMED:]


def facts(spec: Correlation, completion: Completion) -> dict[str, Any]:
    """Evidence of a completion beside why its last hit holds: the events and what was counted."""
    parts = completion.parts
    out: dict[str, Any] = {"sources": events_of(completion), "within_s": spec.within_s}
    if spec.steps:
        return {**out, "steps": [str(hit.why.get("matched") or "")[:VALUE_CHARS] for hit in parts]}
    if spec.distinct:
        return {**out, "count": len({hit.value for hit in parts}), "metric": spec.distinct}
    return {**out, "count": len(parts)}
