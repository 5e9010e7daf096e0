"""What sessions say about who was there: families of evidence, each read as a few classes of sessions.

A family may have several readings (a playbook as commands or as tools only); only one of them ever
counts. Numbers are cut into two classes where they part best, vectors of labels into two clusters;
both are done without looking at any other family, so that chance agreement stays chance.

Families belong to groups, and a group is one witness: only its best reading counts. What somebody does
in a session decides its tempo, its habits and often its hour, so these four are one witness together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decnet.attribution import thresholds as th
from decnet.attribution.mergers import NO_EVIDENCE, canonical, distance

FAMILIES = ("client", "playbook", "tempo", "credentials", "typing", "habit", "hours")
"""Columns of the table ``session_feature``."""
GROUPS: Mapping[str, str] = {
    "client": "client",
    "credentials": "account",
    "typing": "hand",
    "playbook": "work",
    "tempo": "work",
    "habit": "work",
    "hours": "work",
}
"""Families that are one witness together."""
HOUR = "session.hour_utc"
SIMHASH = "motor.digraph_simhash"
MODALITY = "motor.input_modality"
_DAY_S = 86_400.0
Session = Mapping[str, Any]
"""A row of ``session_feature``: session_id, ended_at (epoch seconds), and a dict or None for each family."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to class sessions by one family; ``codes`` has a class for each session, None when unmeasured.

    Class 0 holds the values that occur once (``rare``) where there are such.
    """

    family: str
    features: tuple[str, ...]
    codes: tuple[int | None, ...]
    classes: int
    rare: bool = False

    @property
    def coverage(self) -> float:
        """Share of sessions in which the family was measured."""
        return sum(code is not None for code in self.codes) / len(self.codes)


def readings_of(sessions: Sequence[Session]) -> list[Reading]:
    """All readings that class the sessions into at least two classes, in a fixed order."""
    found = [
        _by_value(sessions, "client", "session.client"),
        _by_value(sessions, "playbook", "session.playbook"),
        _by_value(sessions, "playbook", "session.argv0"),
        _by_number(sessions, "tempo", "session.duration_log2"),
        _by_number(sessions, "tempo", "session.latency_log2"),
        _by_value(sessions, "credentials", "session.account"),
        _typing(sessions, "session.key_gap_log2"),
        _rhythm(sessions),
        _habit(sessions),
        _hours(sessions),
    ]
    return [reading for reading in found if reading is not None]


def _column(sessions: Sequence[Session], family: str, feature: str) -> list[Any]:
    out = []
    for session in sessions:
        values = session.get(family)
        value = values.get(feature) if isinstance(values, Mapping) else None
        out.append(None if value == NO_EVIDENCE else value)
    return out


def _numbers(values: Sequence[Any]) -> list[float | None]:
    return [
        float(v) if isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 1e9 else None
        for v in values
    ]


def _reading(family: str, features: tuple[str, ...], values: Sequence[Hashable | None]) -> Reading | None:
    """Classes by equal value; what occurs once is one class. None when that leaves a single class."""
    counts = Counter(value for value in values if value is not None)
    common = sorted((v for v, n in counts.items() if n > 1), key=lambda v: (-counts[v], str(v)))
    rare = any(n == 1 for n in counts.values())
    code = {value: place + rare for place, value in enumerate(common)}
    if len(code) + rare < 2:
        return None
    codes = tuple(None if value is None else code.get(value, 0) for value in values)
    return Reading(family, features, codes, len(code) + rare, rare)


def _by_value(sessions: Sequence[Session], family: str, feature: str) -> Reading | None:
    values = [None if v is None else canonical(v) for v in _column(sessions, family, feature)]
    return _reading(family, (feature,), values)


def _by_number(sessions: Sequence[Session], family: str, feature: str) -> Reading | None:
    return _reading(family, (feature,), _parted(_numbers(_column(sessions, family, feature))))


def _parted(numbers: Sequence[float | None]) -> list[int | None]:
    """Two classes, cut where the variance between them is greatest (Otsu); the lower one is 1."""
    known = sorted(number for number in numbers if number is not None)
    cut = _best_cut(known)
    return [None if number is None else 1 + (number > cut) for number in numbers]


def _best_cut(known: Sequence[float]) -> float:
    best, cut, low, total = 0.0, math.inf, 0.0, sum(known)
    for i in range(1, len(known)):
        low += known[i - 1]
        if known[i] > known[i - 1] and 2 <= i <= len(known) - 2:
            apart = low / i - (total - low) / (len(known) - i)
            between = i * (len(known) - i) * apart * apart
            if between > best:
                best, cut = between, (known[i - 1] + known[i]) / 2
    return cut


def _typing(sessions: Sequence[Session], feature: str) -> Reading | None:
    """Only what was typed: whether somebody types or pastes follows from the work at hand."""
    numbers = _numbers(_column(sessions, "typing", feature))
    pasted = _column(sessions, "typing", MODALITY)
    typed = [None if how == "pasted" else number for number, how in zip(numbers, pasted, strict=True)]
    return _reading("typing", (feature,), _parted(typed))


def _rhythm(sessions: Sequence[Session]) -> Reading | None:
    """Typists by the distance of their key rhythm, each session with the first one it is near to."""
    leaders: list[Any] = []
    codes: list[int | None] = []
    for value in _column(sessions, "typing", SIMHASH):
        if value is None:
            codes.append(None)
            continue
        near = (i for i, leader in enumerate(leaders) if distance(value, leader) <= th.SIMHASH_BITS)
        place = next(near, len(leaders))
        if place == len(leaders):
            leaders.append(value)
        codes.append(place)
    return _reading("typing", (SIMHASH,), codes)


def _hours(sessions: Sequence[Session]) -> Reading | None:
    """Two parts of the day, cut at the widest gap first because a day is round."""
    days = {int(session["ended_at"] // _DAY_S) for session in sessions}
    if len(sessions) < th.HOURS_MIN_SESSIONS or len(days) < th.HOURS_MIN_DAYS:
        return None
    hours = _numbers(_column(sessions, "hours", HOUR))
    known = sorted({hour % 24 for hour in hours if hour is not None})
    if len(known) < 2:
        return None
    gaps = [((known[i] - known[i - 1]) % 24, known[i]) for i in range(len(known))]
    start = max(gaps)[1]
    turned = [None if hour is None else (hour - start) % 24 for hour in hours]
    return _reading("hours", (HOUR,), _parted(turned))


def _habit(sessions: Sequence[Session]) -> Reading | None:
    """Two clusters of sessions by the labels they share (k-modes)."""
    vectors = [_labels(session.get("habit")) for session in sessions]
    names = sorted({name for vector in vectors for name in vector})
    varied = tuple(n for n in names if len({v[n] for v in vectors if n in v}) > 1)
    vectors = [{name: vector[name] for name in varied if name in vector} for vector in vectors]
    known = [vector for vector in vectors if vector]
    if len(known) < 2:
        return None
    near = _two_modes(known)
    return _reading("habit", varied, [1 + near(vector) if vector else None for vector in vectors])


def _labels(values: Any) -> dict[str, str]:
    if not isinstance(values, Mapping):
        return {}
    return {
        str(name): value for name, value in values.items() if isinstance(value, str) and value != NO_EVIDENCE
    }


def _differ(one: Mapping[str, str], other: Mapping[str, str]) -> float:
    """Share of common names with another label; 0.5 when nothing is common."""
    common = one.keys() & other.keys()
    return sum(one[n] != other[n] for n in common) / len(common) if common else 0.5


def _mode(vectors: Sequence[Mapping[str, str]]) -> dict[str, str]:
    counts: dict[str, Counter[str]] = {}
    for vector in vectors:
        for name, value in vector.items():
            counts.setdefault(name, Counter())[value] += 1
    return {name: min(c, key=lambda value: (-c[value], value)) for name, c in counts.items()}


def _two_modes(vectors: Sequence[dict[str, str]]) -> Callable[[Mapping[str, str]], bool]:
    """Whether a vector belongs to the second cluster; starts at two vectors far apart."""
    first = max(vectors, key=lambda v: (_differ(v, _mode(vectors)), sorted(v.items())))
    second = max(vectors, key=lambda v: (_differ(v, first), sorted(v.items())))
    for _ in range(th.SWEEPS):
        parts: tuple[list[dict[str, str]], list[dict[str, str]]] = ([], [])
        for vector in vectors:
            parts[_differ(vector, second) < _differ(vector, first)].append(vector)
        if not parts[0] or not parts[1]:
            break
        first, second = _mode(parts[0]), _mode(parts[1])
    return lambda vector: _differ(vector, second) < _differ(vector, first)
