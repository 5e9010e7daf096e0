"""Since when a state holds: the way back through its observations, as far as it takes.

The answer is that of observations that had come one after the other, in whatever order they came.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from decnet.attribution import thresholds as th
from decnet.attribution.kinds import HASH, value_kind
from decnet.attribution.mergers import Seen, evidence, merge_primitive
from decnet.db.repository import BaseRepository
from decnet.db.repository.attribution.windows import Key
from decnet.db.rows.attribution import ObservedValue, PrimitiveState
from decnet.turns import in_turns

FEW = 2
"""Ways back between two turns of others: each may go through 200 rows."""
NEAR_ROWS_READ = 40
"""Observations read beside those of a merge: what is late is mostly late by a few, and what changes mostly did lately."""
SUMMARY = "attacker:"
"""How references to summaries of a day begin; those to sessions begin otherwise."""


def rows_read(primitive: str) -> int:
    """Observations of one merge."""
    return th.HASH_ROWS_READ if value_kind(primitive) == HASH else th.ROWS_READ


class Held(NamedTuple):
    """What held up to the observations that came late."""

    first: float
    """The earliest of them."""
    state: str
    since: float


def held_before(times: Collection[float], old: PrimitiveState) -> Held | None:
    """What held before late observations, when it had held for longer than since them; None where that is not known."""
    first, since = min(times), old["last_change_ts"]
    return Held(first, old["state"], since) if since is not None and since < first else None


class Look(NamedTuple):
    """A state, and the last observations that it follows from."""

    state: str
    rows: Sequence[ObservedValue]
    """In order; what was asked for is ``wanted`` rows ``until`` a time (epoch seconds)."""
    wanted: int
    until: float
    held: Held | None = None

    def sure(self) -> Held | None:
        """What held before, unless it may have followed from what is there no more.

        The summary of a day moves with the day's last session; what became of those of before is not told.
        """
        return None if any(row["evidence_ref"].startswith(SUMMARY) for row in self.rows) else self.held


class Since(NamedTuple):
    """When a state became what it is."""

    at: float
    older: bool
    """Whether it is so since before all that was read."""


async def dated(repo: BaseRepository, looks: Mapping[Key, Look]) -> dict[Key, Since]:
    """Since when states hold. Reads more observations of those that it takes more of, up to 200 of each."""
    found = await _dated(looks)
    far = [key for key in looks if looks[key].wanted < th.LATE_ROWS_READ and found[key].older]
    if far:
        wanted = {key: (th.LATE_ROWS_READ, looks[key].until) for key in far}
        windows = await repo.observation_windows(wanted)
        found |= await _dated(
            {key: looks[key]._replace(rows=windows[key][0], wanted=th.LATE_ROWS_READ) for key in far}
        )
    return found


async def _dated(looks: Mapping[Key, Look]) -> dict[Key, Since]:
    return dict(await in_turns(lambda key: (key, _since(key[1], looks[key])), sorted(looks), FEW))


def _since(primitive: str, look: Look) -> Since:
    """The time of the last change among the rows.

    With what held before late observations nothing before them is looked at. Habits repeat: what was merged once is
    not again.
    """
    read, rows, held = rows_read(primitive), look.rows, look.sure()
    cut, lowest = len(rows) >= look.wanted, len(rows)
    times = [row["ts"] for row in rows]
    found = float("inf")
    seen: list[Seen | None] = [None] * lowest
    told: list[object] = [None] * lowest
    known: dict[tuple[object, ...], str] = {}
    for at in sorted(set(times), reverse=True):
        if held is not None and at < held.first:
            return Since(held.since if held.state == look.state else found, older=False)
        end = bisect_right(times, at)
        if end < read and cut:
            return Since(found, older=True)
        some = slice(max(end - read, 0), end)
        while lowest > some.start:
            lowest -= 1
            seen[lowest] = evidence(rows[lowest])
            told[lowest] = _told(seen[lowest], primitive)
        window = tuple(told[some])
        if window not in known:
            known[window] = merge_primitive(primitive, [one for one in seen[some] if one is not None]).state
        if known[window] != look.state:
            break
        found = float(at)
    else:
        return Since(found, older=cut)
    return Since(found, older=found == float("inf"))


def _told(one: Seen | None, primitive: str) -> object:
    """All of an observation that a state is decided by: how sure it is decides among values, not among states."""
    if one is None or value_kind(primitive) != HASH:
        return one and one.key
    return one.key, one.ts
