"""The last observations of identities: what a merge reads, of many primitives and attackers at once.

Two statements: where the rows of each attacker end, and the rows since the earliest that may be among the last. Each
looks at no more than the wished number of rows of an attacker; what is asked goes along as one parameter, since
statements with a read for each attacker take longer to prepare than to carry out.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import TextClause, column, text

from decnet.db.rows.attribution import ObservedValue
from decnet.db.types import SafeFloat, SafeJson

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

Key = tuple[str, str]
"""(identity_uuid, primitive)."""
COUNTED = 1000
"""Observations of an attacker are counted up to here: beyond, the count says "this many or more"."""
AT_ONCE = 1000
"""Attackers of keys that are read with one statement."""
SIZES = (16, 64, 256, 1024)
"""Windows of about one size are read together: how far back to look is one number for all of them."""
_GIVEN = {
    "sqlite": """SELECT json_extract(value, '$[0]') AS part, json_extract(value, '$[1]') AS attacker,
 json_extract(value, '$[2]') AS primitive, json_extract(value, '$[3]') AS until, json_extract(value, '$[4]') AS wanted,
 json_extract(value, '$[5]') AS low FROM json_each(:given)""",
    "postgresql": """SELECT CAST(value ->> 0 AS integer) AS part, value ->> 1 AS attacker, value ->> 2 AS primitive,
 CAST(value ->> 3 AS float8) AS until, CAST(value ->> 4 AS integer) AS wanted, CAST(value ->> 5 AS float8) AS low
 FROM jsonb_array_elements(CAST(:given AS jsonb)) AS given(value)""",
}
"""What is asked, as a table."""
_THEIRS = "FROM observation AS o WHERE o.attacker_uuid = g.attacker AND o.primitive = g.primitive AND o.ts <= g.until"
_STEPS = (0, 3, 15, 63)
"""How many rows stand behind the time that is looked at, of those that are not beyond what is wanted."""
_TIME = "(SELECT o.ts {theirs} ORDER BY o.ts DESC LIMIT 1 OFFSET {step})"
_ENDS = """WITH g AS MATERIALIZED ({given}) SELECT part, attacker,
 (SELECT count(*) FROM (SELECT 1 {theirs} LIMIT {counted}) AS c) AS total, {times} FROM g"""
_ROWS = """WITH g AS MATERIALIZED ({given}) SELECT part, value, ts, confidence, evidence_ref FROM (
 SELECT g.part, o.value, o.ts, o.confidence, o.evidence_ref, g.wanted,
 row_number() OVER (PARTITION BY g.part ORDER BY o.ts DESC, o.evidence_ref DESC) AS place
 FROM g CROSS JOIN observation AS o WHERE o.attacker_uuid = g.attacker AND o.primitive = g.primitive AND o.ts BETWEEN g.low AND g.until
) AS placed WHERE place <= wanted ORDER BY ts, evidence_ref"""


class Asked(NamedTuple):
    """The last ``wanted`` observations of one primitive of some attackers, up to a moment (epoch seconds)."""

    key: Key
    primitive: str
    attackers: Sequence[str]
    wanted: int
    until: float


async def read_windows(
    session: AsyncSession, dialect: str, asked: Sequence[Asked]
) -> dict[Key, tuple[list[ObservedValue], int]]:
    """Rows in order of (ts, evidence_ref), and how many there are (up to 1,000 of each attacker)."""
    rows: dict[Key, list[ObservedValue]] = {one.key: [] for one in asked}
    totals = dict.fromkeys(rows, 0)
    for some in _portions(asked):
        ends: dict[int, list[tuple[str, list[float | None]]]] = defaultdict(list)
        given = [
            (part, attacker, one.primitive, one.until, one.wanted)
            for part, one in enumerate(some)
            for attacker in one.attackers
        ]
        beyond = max(one.wanted for one in some) - 1
        statement = _ends_statement(dialect, sum(step < beyond for step in _STEPS))
        for part, attacker, total, *times in await session.execute(
            statement, {"given": json.dumps(given), "beyond": beyond}
        ):
            totals[some[part].key] += total
            if total:
                ends[part].append((attacker, times))
        near = [
            (part, attacker, some[part].primitive, some[part].until, some[part].wanted, low)
            for part, theirs in ends.items()
            for low in (_lowest([times for _, times in theirs], some[part].wanted, beyond),)
            for attacker, (newest, *_) in theirs
            if newest is not None and newest >= low
        ]
        for part, value, ts, confidence, ref in await session.execute(
            _rows_statement(dialect), {"given": json.dumps(near)}
        ):
            row: ObservedValue = {"value": value, "ts": ts, "confidence": confidence, "evidence_ref": ref}
            rows[some[part].key].append(row)
    return {key: (rows[key], totals[key]) for key in rows}


def _lowest(ends: Sequence[Sequence[float | None]], wanted: int, beyond: int) -> float:
    """A time since which at least the wanted rows are there, if there are so many; the latest that the ends show.

    An end is when an attacker's newest row was, its fourth, and so on: from each that many rows follow.
    """
    lows = [-1e300]
    for step, times in zip(
        [*(step for step in _STEPS if step < beyond), beyond], zip(*ends, strict=True), strict=True
    ):
        enough = -(-wanted // (step + 1))
        latest = sorted((at for at in times if at is not None), reverse=True)
        lows += latest[enough - 1 : enough]
    return max(lows)


def _portions(asked: Sequence[Asked]) -> Iterator[list[Asked]]:
    """What is read together; an identity of many attackers stands alone."""
    sized: dict[int, list[Asked]] = defaultdict(list)
    for one in asked:
        sized[bisect_left(SIZES, one.wanted)].append(one)
    for alike in sized.values():
        some, attackers = list[Asked](), 0
        for one in alike:
            if some and attackers + len(one.attackers) > AT_ONCE:
                yield some
                some, attackers = [], 0
            some.append(one)
            attackers += len(one.attackers)
        yield some


@cache
def _ends_statement(dialect: str, steps: int) -> TextClause:
    """Count and times of each attacker: those of so many steps, and of the last row that is wanted."""
    times = ", ".join(_TIME.format(theirs=_THEIRS, step=step) for step in [*_STEPS[:steps], ":beyond"])
    return text(_ENDS.format(given=_GIVEN[dialect], theirs=_THEIRS, counted=COUNTED, times=times))


@cache
def _rows_statement(dialect: str) -> Any:
    return text(_ROWS.format(given=_GIVEN[dialect])).columns(
        column("part"),
        column("value", SafeJson),
        column("ts", SafeFloat),
        column("confidence", SafeFloat),
        column("evidence_ref"),
    )
