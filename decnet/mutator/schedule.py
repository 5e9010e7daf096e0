"""Choosing and timing: which services next, when, and how long to wait after a failure; pure.

Randomness and the clock are arguments. Carrying a choice out is left to :mod:`decnet.mutator.service`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from random import Random

from decnet.durations import parse_duration
from decnet.errors import FleetError

MIN_INTERVAL_S = 10.0
"""A shorter interval would keep a decoy from ever being up."""
MAX_INTERVAL_S = 366 * 86400.0
_MAX_CHOICES = 20_000


def parse_interval(text: str) -> float | None:
    """Seconds of ``30m``, ``1h30m``, ``7d``; None for ``never``. Raises FleetError for anything else."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds is not None and not MIN_INTERVAL_S <= seconds <= MAX_INTERVAL_S:
        raise FleetError(
            f"'{text[:40]}' is no interval: write numbers with units (s, m, h, d, w) from 10s to 366d, or never"
        )
    return seconds


def legal(
    services: Sequence[str],
    pool: Sequence[str],
    pinned: Sequence[str],
    conflicts: Mapping[str, frozenset[str]],
) -> str:
    """Why a set of services must not run; empty when it may."""
    if not services:
        return "a decky runs at least one service"
    for name in services:
        if name not in pool:
            return f"'{name}' is not in the pool ({', '.join(pool)})"
        for other in services:
            if other in conflicts.get(name, frozenset()):
                return f"'{name}' and '{other}' want the same port"
    missing = [name for name in pinned if name not in services]
    return f"pinned '{missing[0]}' is missing" if missing else ""


def choose(
    pool: Sequence[str],
    now: Sequence[str],
    pinned: Sequence[str],
    conflicts: Mapping[str, frozenset[str]],
    rng: Random,
    *,
    max_services: int = 3,
    blocked: Collection[str] = (),
) -> list[str]:
    """One to ``max_services`` services of the pool, different from ``now``, with all pinned ones.

    Keeps as little of ``now`` as the pool allows, so that a rotation really changes the decoy. Of
    ``blocked`` (ports that others have) it takes none that is not pinned. In the order of the pool.
    Raises FleetError when there is no other choice.
    """
    free = [name for name in pool if name not in pinned and name not in blocked]
    best: list[tuple[str, ...]] = []
    least = len(pool) + 1
    for extra in _sets(free, max(max_services, len(pinned)) - len(pinned)):
        picked = {*pinned, *extra}
        if not picked or picked == set(now) or _clash(picked, conflicts):
            continue
        kept = len((picked & set(now)) - set(pinned))
        if kept < least:
            best, least = [], kept
        if kept == least:
            best.append(extra)
    if not best:
        raise FleetError(
            f"nothing else to choose: pool {', '.join(pool) or 'empty'}; pinned {', '.join(pinned) or 'none'}; "
            f"running {', '.join(now) or 'nothing'}"
            + (f"; ports taken by others: {', '.join(sorted(blocked))}" if blocked else "")
        )
    picked = {*pinned, *rng.choice(best)}
    return [name for name in pool if name in picked]


def _sets(free: Sequence[str], most: int) -> Iterator[tuple[str, ...]]:
    """All subsets of up to ``most`` members, bounded."""
    count = 0
    for size in range(min(most, len(free)) + 1):
        for extra in combinations(free, size):
            yield extra
            count += 1
            if count >= _MAX_CHOICES:
                return


def _clash(names: Collection[str], conflicts: Mapping[str, frozenset[str]]) -> bool:
    return any(not conflicts.get(name, frozenset()).isdisjoint(names) for name in names)


def next_due(since: float, interval_s: float | None, jitter: float, rng: Random) -> float | None:
    """Epoch seconds of the next rotation: the interval, earlier or later by up to ``jitter`` of it."""
    if interval_s is None:
        return None
    return since + interval_s * (1.0 + rng.uniform(-jitter, jitter))


def backoff(failures: int, first_s: float, most_s: float, rng: Random) -> float:
    """Seconds until the next try after that many failures in a row: doubling, with a tenth of jitter."""
    return float(min(first_s * 2.0 ** min(max(failures - 1, 0), 60), most_s) * rng.uniform(0.9, 1.1))
