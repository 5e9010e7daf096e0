"""Since when a state holds is the same whatever the order in which its observations are heard, and however many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.attribution import states
from decnet.attribution.mergers import merge_primitive
from decnet.attribution.since import Held, held_before, rows_read
from decnet.attribution.worker import observe
from decnet.runtime.worker import TxBus

CATEGORY, NUMBER, HASH = (
    "cognitive.planning_depth",
    "toolchain.c2.beacon_interval_ms",
    "toolchain.tls.ja4_client",
)
Row = dict[str, Any]


class Rows:
    """Stored observations of one primitive of one identity, and its state."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.state: Row | None = None
        self.most = 0

    async def told_states(self, keys: Any) -> dict[Any, Row]:
        return {key: self.state for key in keys if self.state is not None}

    async def observation_windows(self, wanted: Mapping[Any, tuple[int, float]]) -> dict[Any, Any]:
        rows = sorted(self.rows, key=lambda row: (row["ts"], row["evidence_ref"]))
        self.most = max(self.most, *(limit for limit, _ in wanted.values()))
        some = {key: [row for row in rows if row["ts"] <= until] for key, (_, until) in wanted.items()}
        return {key: (some[key][-limit:], len(some[key])) for key, (limit, _) in wanted.items()}

    async def members_of(self, identities: Iterable[str]) -> dict[str, list[str]]:
        return {identity: ["a"] for identity in identities}

    async def upsert_attribution_states(self, rows: Collection[Row]) -> None:
        for self.state in rows:
            pass


def rows_of(values: Iterable[Any], ref: str = "session:s") -> list[Row]:
    return [
        {"value": value, "ts": float(n // 2 * 2), "confidence": 1.0, "evidence_ref": f"{ref}{n:04}"}
        for n, value in enumerate(values)
    ]


def heard(primitive: str, batches: Iterable[Collection[Row]], stored: Collection[Row] = ()) -> Rows:
    """What is known after batches; some rows may be stored long before they are heard of."""
    repo = Rows()
    repo.rows += stored

    async def all_of_them() -> None:
        for batch in batches:
            repo.rows += [row for row in batch if row not in repo.rows]
            times = [row["ts"] for row in batch]
            await states.recompute(repo, TxBus(), {("i", primitive): times}, 0.0)  # type: ignore[arg-type]

    asyncio.run(all_of_them())
    return repo


def since(primitive: str, rows: list[Row]) -> float:
    """The same in the plainest way: a merge at each time, from the last one backwards."""
    read, found = rows_read(primitive), rows[-1]["ts"]
    ends = sorted({row["ts"] for row in rows}, reverse=True)
    made = [merge_primitive(primitive, [r for r in rows if r["ts"] <= at][-read:]).state for at in ends]
    for at, state in zip(ends, made, strict=True):
        if state != made[0]:
            break
        found = at
    return float(found)


VALUES = {
    CATEGORY: st.sampled_from("aab"),
    NUMBER: st.sampled_from([1.0, 1.1, 2.0, 90.0]),
    HASH: st.sampled_from(["aa" * 16, "bb" * 16]),
}


@pytest.mark.parametrize("primitive", [CATEGORY, NUMBER, HASH])
@given(data=st.data())
def test_a_state_holds_since_the_same_time_in_any_order(primitive: str, data: st.DataObject) -> None:
    rows = rows_of(data.draw(st.lists(VALUES[primitive], min_size=1, max_size=70)))
    order = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows)))) | {len(rows)})
    batches = [order[a:b] for a, b in zip([0, *cuts], cuts, strict=False) if order[a:b]]
    early = rows[: data.draw(st.integers(0, len(rows)))]
    found = heard(primitive, batches, early).state
    assert found is not None
    assert found["last_change_ts"] == since(primitive, rows)
    assert found["state"] == merge_primitive(primitive, rows[-rows_read(primitive) :]).state


@pytest.mark.parametrize("several", [1, 2, 7])
async def test_several_observations_of_one_moment_are_as_many_rows(
    several: int,
) -> None:
    """A log with whole seconds, and many sessions of one identity in one batch: the first state is dated by the first rows."""
    rows = [{**row, "ts": float(n // several)} for n, row in enumerate(rows_of([1.0] * 70))]
    repo = Rows()
    for name in ("identities_of_attackers", "lock_identities", "insert_observations"):
        setattr(repo, name, AsyncMock(return_value={"a": "i"} if name.startswith("ident") else None))
    repo.rows += rows
    found = [SimpleNamespace(attacker_uuid="a", primitive=NUMBER, ts=row["ts"], row=None) for row in rows]
    assert await observe(repo, TxBus(), found) == set()  # type: ignore[arg-type]
    assert repo.state is not None
    assert repo.state["last_change_ts"] == since(NUMBER, rows)


@pytest.mark.parametrize(("late", "most"), [(2, 51), (42, 51), (43, 200), (150, 200)])
def test_what_is_late_by_a_few_reads_a_few(late: int, most: int) -> None:
    """What comes late is this many rows from the end; nine before it are read too."""
    rows = [{**row, "ts": float(n)} for n, row in enumerate(rows_of("a" * 200))]
    place = len(rows) - late
    found = heard(CATEGORY, [[row] for n, row in enumerate(rows) if n != place] + [[rows[place]]])
    assert found.state is not None
    assert (found.state["last_change_ts"], found.most) == (2.0, most)


def test_a_summary_that_moved_takes_what_followed_from_it_along() -> None:
    """Two addresses of one identity: that of the summary that moves is not the last one."""
    before = rows_of("aaaaaaaaaabbbbbaaaaaaaaaaaa", "attacker:x#behave-1/")
    repo = heard(CATEGORY, [[row] for row in before])
    repo.rows = [row for row in before if row["value"] == "a"]
    moved = {
        "value": "a",
        "ts": before[-1]["ts"] - 1,
        "confidence": 1.0,
        "evidence_ref": "attacker:x#behave-1/9999",
    }
    after = heard(CATEGORY, [[moved]], repo.rows)
    assert after.state is not None
    repo.rows.append(moved)
    asyncio.run(states.recompute(repo, TxBus(), {("i", CATEGORY): [moved["ts"]]}, 0.0))  # type: ignore[arg-type]
    assert repo.state is not None
    assert (
        repo.state["last_change_ts"] == since(CATEGORY, sorted(repo.rows, key=lambda row: row["ts"])) == 2.0
    )


@pytest.mark.parametrize(
    ("held_since", "found"), [(None, None), (5.0, None), (4.9, Held(5.0, "stable", 4.9))]
)
def test_what_held_is_taken_over_only_when_it_held_before_the_earliest_late_observation(
    held_since: float | None, found: Held | None
) -> None:
    old: Any = {"state": "stable", "last_change_ts": held_since}
    assert held_before([7.0, 5.0, 6.0], old) == found
