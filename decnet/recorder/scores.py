"""The score of an attacker: how much it did and how widely, as one number from 0 to 100. Pure.

Four counts, each on a logarithm that is full at a stated number, since the first steps tell most: ten
commands instead of one mean a person or a script at work, a thousand and ten instead of a thousand mean
nothing. Volume (35) weighs most because it is what an analyst reads; deckies (25) count as much as
credentials (25), because an attacker that was seen on many decoys scans this network and not an address;
services (15) weigh least, since one scanner touches them all without any interest. Every count only
grows, so the score does, and a threshold is crossed upwards once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log1p

PARTS: dict[str, tuple[float, int]] = {
    "event_count": (35.0, 1000),
    "decky_count": (25.0, 10),
    "credential_count": (25.0, 200),
    "service_count": (15.0, 5),
}
"""Count → (points, number at which they are all given)."""


def score(counts: Mapping[str, object]) -> float:
    """The score (0..100, one decimal) of the counts that PARTS names; a missing one is 0."""
    total = sum(
        points * min(1.0, log1p(max(0, _count(counts.get(name)))) / log1p(full))
        for name, (points, full) in PARTS.items()
    )
    return round(total, 1)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def crossed(value: float, thresholds: Sequence[float]) -> list[float]:
    """The thresholds that a score has reached, rising."""
    return [threshold for threshold in sorted(thresholds) if value >= threshold]
