"""Aggregates over rows: guessing, success after it, regular returns; the same whatever came first."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.ttp.aggregates import RETURNS, WINDOW_S, auth_events, beacon_event, regular_returns
from decnet.ttp.base import TaggerEvent

A = "attacker-1"


def attempt(ts: float, n: int = 0, *, ok: bool = False, user: str = "root", **more: Any) -> dict[str, Any]:
    row = {"credential_id": f"c{ts}-{n}", "attacker_uuid": A, "decky_id": "web-01", "service": "ssh"}
    row |= {"session_id": f"s{n}", "username": user, "secret_kind": "password", "secret_hmac": f"h{n}"}
    return row | {"success": ok, "first_seen": ts} | more


def guesses(rows: list[dict[str, Any]]) -> list[TaggerEvent]:
    ordered = sorted(rows, key=lambda row: (row["first_seen"], row["credential_id"]))
    return auth_events(A, ordered, 0.0, 1e9)


def test_failures_over_sessions_within_five_minutes() -> None:
    (event,) = guesses([attempt(1000 + 10 * n, n) for n in range(6)])
    assert (event.source_kind, event.source_id) == ("auth_attempt", f"{A}#auth#3")
    assert event.payload["fail_count"] == 6
    assert event.payload["secret_count"] == 6
    assert event.payload["username"] == "root"
    assert event.payload["session_count"] == 6


def test_failures_of_one_session_are_that_sessions_own_fact() -> None:
    (event,) = guesses([attempt(1000 + n, n, session_id="one") for n in range(6)])
    assert "fail_count" not in event.payload
    assert event.payload["secret_count"] == 6


def test_slow_guessing_never_fills_a_window() -> None:
    assert guesses([attempt(1000 + WINDOW_S * n, n) for n in range(20)]) == []


def test_a_window_over_the_edge_of_a_bucket_counts_whole() -> None:
    rows = [attempt(1190 + 4 * n, n) for n in range(6)]
    counts = {e.source_id.rsplit("#")[-1]: e.payload["fail_count"] for e in guesses(rows)}
    assert counts == {"3": 3, "4": 6}


def test_success_after_guessing_names_its_session() -> None:
    rows = [attempt(1000 + n, n) for n in range(7)] + [attempt(1500, 9, ok=True)]
    found = [event for event in guesses(rows) if event.payload.get("success")]
    assert [(e.source_id, e.session_id, e.payload["prior_fail_count"]) for e in found] == [
        ("c1500-9", "s9", 7)
    ]


@pytest.mark.parametrize("after", [0.0, 3601.0])
def test_success_before_or_long_after_guessing_is_none(after: float) -> None:
    rows = [attempt(10_000 + n, n) for n in range(7)] + [
        attempt(9_999 if not after else 10_006 + after, 9, ok=True)
    ]
    assert not any(event.payload.get("success") for event in guesses(rows))


def test_no_event_holds_more_than_a_keyed_hash() -> None:
    rows = [attempt(1000 + n, n) for n in range(7)] + [attempt(1500, 9, ok=True)]
    keys = {key for event in guesses(rows) for key in event.payload}
    assert not keys & {"secret", "password", "passwords"}


@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 5), st.booleans()), max_size=60),
    st.floats(0, 4000),
)
def test_a_part_gives_the_same_events_as_the_whole(spec: list[tuple[int, int, bool]], since: float) -> None:
    """Recomputing from ``since`` on, with the hour before it, changes no event of that time."""
    rows = [attempt(10_000.0 + ts, n, ok=ok, credential_id=f"{i}") for i, (ts, n, ok) in enumerate(spec)]
    rows.sort(key=lambda row: (row["first_seen"], row["credential_id"]))
    start = 10_000.0 + since
    whole = {e.source_id: e for e in auth_events(A, rows, 0.0, 1e9)}
    near = [row for row in rows if row["first_seen"] >= start - 3600.0 - WINDOW_S]
    for event in auth_events(A, near, start, 1e9):
        if event.payload.get("window_start", start + WINDOW_S) >= start:
            assert whole[event.source_id].payload == event.payload


def test_regular_returns() -> None:
    dice = random.Random(5)
    exact = [600.0 * n + dice.uniform(-20, 20) for n in range(RETURNS + 3)]
    (event,) = beacon_event(A, exact)
    assert (event.source_kind, event.source_id) == ("session", f"{A}#beacon")
    assert event.payload["beacon_interval_s"] == pytest.approx(600, rel=0.1)
    assert event.payload["beacon_jitter_pct"] < 0.15
    assert beacon_event(A, exact[: RETURNS - 1]) == []
    assert beacon_event(A, [10.0 * 3**n for n in range(12)]) == []


def test_parallel_sessions_are_one_return() -> None:
    starts = sorted(60.0 * n + shift for n in range(RETURNS) for shift in (0.0, 0.2, 0.9))
    found = regular_returns(starts)
    assert found is not None
    assert found.interval_s == pytest.approx(60)


@given(st.lists(st.floats(0, 1e9), max_size=40))
def test_any_starts_are_taken(starts: list[float]) -> None:
    beacon_event(A, sorted(starts))
