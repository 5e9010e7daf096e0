"""From observations of one primitive to what it looks like now; pure functions of their rows.

Rows are mappings with ``value``, ``ts`` (epoch seconds) and ``confidence`` (0..1), of any number; only
the last ones decide. What a row of the decision tables says is in ``thresholds.py`` by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any, cast

from decnet.attribution import thresholds as th
from decnet.attribution.kinds import CATEGORICAL, HASH, KINDS, NUMERIC, SIMHASHES, value_kind

UNKNOWN, STABLE, DRIFTING, CONFLICTED, MULTI_ACTOR = (
    "unknown",
    "stable",
    "drifting",
    "conflicted",
    "multi_actor",
)
STATES = frozenset({UNKNOWN, STABLE, DRIFTING, CONFLICTED, MULTI_ACTOR})
"""All there are; frozen."""
NO_EVIDENCE = "unknown"
"""A label that says nothing."""
Observation = Mapping[str, Any]
_LARGEST = 1e300
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode


@dataclass(frozen=True, slots=True)
class Profile:
    """One primitive as it looks now; ``last_observation_ts`` is epoch seconds, ``confidence`` 0..1."""

    current_value: Any
    state: str
    confidence: float
    observation_count: int
    last_observation_ts: float | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A row, checked: ``key`` is what values are compared by."""

    value: Any
    key: str
    ts: float
    weight: float


def aggregate_observations(
    observations: Iterable[Observation | Seen], *, value_kind: str | None = None
) -> Profile:
    """What the observations of one primitive amount to.

    ``value_kind`` is None or "categorical", "numeric", "hash"; raises ValueError for another text.
    """
    kind = CATEGORICAL if value_kind is None else value_kind
    if kind not in KINDS:
        raise ValueError(f"unknown value kind {value_kind!r}; known: {', '.join(KINDS)}")
    return _MERGERS[kind](observations)


def merge_primitive(primitive: str, observations: Iterable[Observation | Seen]) -> Profile:
    """The same, with the kind that the registry gives ``primitive``; simhashes by distance."""
    if primitive in SIMHASHES:
        return merge_hash(observations, bits=th.SIMHASH_BITS)
    return aggregate_observations(observations, value_kind=value_kind(primitive))


def merge_categorical(observations: Iterable[Observation | Seen]) -> Profile:
    """Categories, and everything that is compared as JSON: the top value of the last window decides."""
    seen = checked(observations)
    window, earlier = seen[-th.WINDOW :], seen[-2 * th.WINDOW : -th.WINDOW]
    if not window:
        return _nothing(len(seen))
    top = _top(window)
    state = UNKNOWN if len(seen) < th.MIN_OBSERVATIONS else _categorical_state(window, earlier, top.key)
    share = _share(window, top.key)
    if state == UNKNOWN:
        share = 0.0
    elif state == MULTI_ACTOR:
        share = min(share, th.MULTI_ACTOR_MAX_CONFIDENCE)
    return Profile(top.value, state, share, len(seen), seen[-1].ts)


def _categorical_state(window: Sequence[Seen], earlier: Sequence[Seen], top: str) -> str:
    if not _is_clear(window, top):
        return MULTI_ACTOR if _two_modes_return(window) else CONFLICTED
    if len(earlier) < th.WINDOW:
        return STABLE
    before = _top(earlier).key
    return STABLE if before == top and _is_clear(earlier, before) else DRIFTING


def _is_clear(window: Sequence[Seen], top: str) -> bool:
    return sum(row.key == top for row in window) >= min(th.CLEAR_COUNT, len(window))


def _two_modes_return(window: Sequence[Seen]) -> bool:
    """Two values, and one of them came back, after the other, at least twice."""
    changes = sum(a.key != b.key for a, b in pairwise(window))
    return len({row.key for row in window}) == 2 and changes - 1 >= th.MULTI_ACTOR_RETURNS


def _top(window: Sequence[Seen]) -> Seen:
    """The most frequent value; of several the surer, then the later one, as its newest row."""
    rank: dict[str, tuple[int, float, int]] = {}
    for place, row in enumerate(window):
        count, weight, _ = rank.get(row.key, (0, 0.0, 0))
        rank[row.key] = (count + 1, weight + row.weight, place)
    return window[max(rank.values())[2]]


def _share(window: Sequence[Seen], top: str) -> float:
    total = sum(row.weight for row in window)
    return min(1.0, sum(row.weight for row in window if row.key == top) / total) if total else 0.0


def merge_numeric(observations: Iterable[Observation | Seen]) -> Profile:
    """Numbers: smoothed value, spread of the last window, shift against the one before."""
    seen = [row for row in checked(observations) if _is_number(row.value)]
    if not seen:
        return _nothing(0)
    numbers = [float(row.value) for row in seen]
    value = numbers[0]
    for number in numbers[1:]:
        value = th.EWMA_ALPHA * number + (1 - th.EWMA_ALPHA) * value
    profile = Profile(value, UNKNOWN, 0.0, len(seen), seen[-1].ts)
    if len(seen) < th.MIN_OBSERVATIONS:
        return profile
    spread = _variation(numbers[-th.WINDOW :])
    if spread > th.CV_CONFLICTED:
        return replace(profile, state=CONFLICTED, confidence=th.CONFLICTED_NUMERIC_CONFIDENCE)
    state = DRIFTING if _shift(numbers) >= th.SHIFT_DRIFTING else STABLE
    return replace(profile, state=state, confidence=1.0 - spread)


def _variation(numbers: Sequence[float]) -> float:
    """Standard deviation over mean; infinite for numbers that differ around zero."""
    spread, mean = pstdev(numbers), abs(fmean(numbers))
    if spread == 0:
        return 0.0
    return spread / mean if mean > 0 else math.inf


def _shift(numbers: Sequence[float]) -> float:
    """Relative change of the mean against the earlier window; 0 without a full one."""
    earlier = numbers[-2 * th.WINDOW : -th.WINDOW]
    if len(earlier) < th.WINDOW:
        return 0.0
    before, now = fmean(earlier), fmean(numbers[-th.WINDOW :])
    if before == now:
        return 0.0
    return abs(now - before) / abs(before) if before else math.inf


def merge_hash(observations: Iterable[Observation | Seen], *, bits: int = 0) -> Profile:
    """Hashes within a day of the newest one; with ``bits`` those that near each other count as one."""
    seen = checked(observations)
    if not seen:
        return _nothing(0)
    newest = seen[-1]
    recent = {row.key: row.value for row in seen if row.ts >= newest.ts - th.HASH_WINDOW_SECS}
    distinct = _groups(list(recent.values()), bits)
    if len(seen) < th.MIN_OBSERVATIONS:
        return Profile(newest.value, UNKNOWN, 0.0, len(seen), newest.ts)
    state = STABLE if distinct == 1 else DRIFTING if distinct <= th.HASH_DRIFTING_MAX else CONFLICTED
    return Profile(newest.value, state, 1.0 / distinct, len(seen), newest.ts)


def _groups(values: Sequence[Any], bits: int) -> int:
    """How many values are left when those within ``bits`` of one that counts already are left out."""
    leaders: list[Any] = []
    for value in values:
        if not any(value == leader or distance(value, leader) <= bits for leader in leaders):
            leaders.append(value)
    return len(leaders)


def distance(one: Any, other: Any) -> int:
    """Differing bits of two hashes in hex; more than any hash has when they cannot be compared."""
    if not (isinstance(one, str) and isinstance(other, str)) or len(one) != len(other) or len(one) > 64:
        return 1 << 30
    try:
        return (int(one, 16) ^ int(other, 16)).bit_count()
    except ValueError:
        return 1 << 30


def checked(observations: Iterable[Observation | Seen]) -> list[Seen]:
    """Rows that are evidence, in order of (ts, evidence_ref); those that were checked already stay as they come."""
    rows = list(observations)
    if rows and isinstance(rows[0], Seen):
        return cast("list[Seen]", rows)
    found = cast("list[Observation]", rows)
    found.sort(key=lambda row: (seconds(row.get("ts")), str(row.get("evidence_ref") or "")))
    return [one for row in found if (one := evidence(row)) is not None]


def evidence(row: Observation) -> Seen | None:
    """A row, checked; None when it says nothing."""
    value = row.get("value")
    if value is None or value == NO_EVIDENCE:
        return None
    return Seen(value, canonical(value), seconds(row.get("ts")), _weight(row))


def canonical(value: Any) -> str:
    """The JSON text that values are compared by; the order of an object's keys means nothing."""
    return _CANONICAL(value)


def seconds(moment: Any) -> float:
    """Epoch seconds of a number or an aware datetime; 0 for anything else."""
    if _is_number(moment):
        return float(moment)
    stamp: Callable[[], float] | None = getattr(moment, "timestamp", None)
    return stamp() if stamp else 0.0


def _weight(row: Observation) -> float:
    confidence = row.get("confidence")
    if confidence is None:
        return 1.0
    return max(0.0, min(1.0, float(confidence))) if _is_number(confidence) else 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST


def _nothing(count: int) -> Profile:
    return Profile(None, UNKNOWN, 0.0, count, None)


_MERGERS: dict[str, Callable[[Iterable[Observation | Seen]], Profile]] = {
    CATEGORICAL: merge_categorical,
    NUMERIC: merge_numeric,
    HASH: merge_hash,
}
