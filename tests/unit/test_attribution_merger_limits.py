"""Every number of the decision tables at its limit: one below, the limit itself, one above."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf, nan
from typing import Any

import pytest

from decnet.attribution import thresholds as th
from decnet.attribution.mergers import (
    Profile,
    distance,
    merge_categorical,
    merge_hash,
    merge_numeric,
    merge_primitive,
    seconds,
)
from decnet.attribution.states import rows_read

DAY = 86_400.0
SIMHASH = "motor.digraph_simhash"


def rows(values: Any, confidence: Any = 1.0, step: float = 1.0) -> list[dict[str, Any]]:
    return [
        {"value": value, "ts": n * step, "confidence": confidence, "evidence_ref": f"r{n:03}"}
        for n, value in enumerate(values)
    ]


def categories(values: str, **more: Any) -> Profile:
    return merge_categorical(rows(values, **more))


def test_the_numbers_are_those_of_the_design() -> None:
    expected = {
        "WINDOW": 5,
        "ROWS_READ": 10,
        "HASH_ROWS_READ": 64,
        "LATE_ROWS_READ": 200,
        "MIN_OBSERVATIONS": 3,
        "CLEAR_COUNT": 4,
        "MULTI_ACTOR_RETURNS": 2,
        "EWMA_ALPHA": 0.3,
        "CV_CONFLICTED": 1.0,
        "CONFLICTED_NUMERIC_CONFIDENCE": 0.5,
        "SHIFT_DRIFTING": 0.30,
        "HASH_WINDOW_SECS": 86_400.0,
        "HASH_DRIFTING_MAX": 3,
        "SIMHASH_BITS": 6,
        "MULTI_ACTOR_MAX_CONFIDENCE": 0.6,
        "MULTI_ACTOR_MIN_PRIMITIVES": 2,
        "MULTI_ACTOR_TICK_SECS": 60.0,
        "MULTI_ACTOR_SESSIONS": 64,
        "MIN_SESSIONS": 6,
        "MIN_SWITCHES": 3,
        "MAX_EXCEPTIONS": 0.1,
        "MIN_LOG10_BAYES": 3.0,
        "MIN_AGREEMENT": 0.9,
        "MIN_COVERAGE": 0.5,
        "MIN_WITNESSES": 2,
        "HALF_LIFE_SECS": 30 * DAY,
        "SMOOTHING": 0.2,
        "HOURS_MIN_SESSIONS": 20,
        "HOURS_MIN_DAYS": 5,
        "SEEDS": 4,
        "SWEEPS": 4,
    }
    assert {name: value for name, value in vars(th).items() if name.isupper()} == expected


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ("aa", "unknown"),
        ("aaa", "stable"),
        ("aab", "conflicted"),  # a window of three is clear when all three agree
        ("aaab", "conflicted"),  # and one of four when all four do
        ("aaaab", "stable"),  # four of five are enough
        ("aaabb", "conflicted"),
        ("aabba", "conflicted"),  # came back once
        ("aabab", "multi_actor"),  # came back twice
        ("ababc", "conflicted"),  # three values are no two modes
        ("bbbbaaaaa", "stable"),  # four before the window are no window
        ("bbbbbaaaaa", "drifting"),  # five are
        ("aaaaaaaaaa", "stable"),
        ("aabaaaaaaa", "stable"),  # the earlier window clear by four, with the same top value
        ("aabbaaaaaa", "drifting"),  # the earlier one unclear, with the same top value
        ("bbbbbxaaaaaaaaaa", "stable"),  # what is before the earlier window decides nothing
    ],
)
def test_states_of_categories_at_the_limits(values: str, state: str) -> None:
    found = categories(values)
    assert (found.state, found.observation_count) == (state, len(values))
    assert (found.confidence == 0.0) == (state == "unknown")


def test_two_modes_are_capped_exactly_and_less_stays_less() -> None:
    heavy = [{**row, "confidence": 0.1 if row["value"] == "b" else 1.0} for row in rows("aabab")]
    found = merge_categorical(heavy)
    assert (found.state, found.confidence) == ("multi_actor", 0.6)
    light = [{**row, "confidence": 0.2 if row["value"] == "a" else 1.0} for row in rows("aabab")]
    found = merge_categorical(light)
    assert (found.state, found.current_value) == ("multi_actor", "a")
    assert found.confidence == pytest.approx(0.6 / 2.6)


def test_of_equally_frequent_values_the_surer_counts_then_the_later() -> None:
    assert categories("aabb").current_value == "b"
    assert categories("bbaa").current_value == "a"
    surer = rows("aabb")
    surer[0]["confidence"] = 1.0
    surer[2]["confidence"] = 0.5
    assert merge_categorical(surer).current_value == "a"
    assert categories("abbaa").current_value == "a", "more often counts before all else"


@pytest.mark.parametrize(
    ("confidence", "weight"),
    [(0.5, 0.5), (1.0, 1.0), (7, 1.0), (0, 0.0), (-3, 0.0), (None, 1.0), (True, 0.0), ("1", 0.0), (nan, 0.0)],
)
def test_confidences_are_clamped_and_odd_ones_count_nothing(confidence: Any, weight: float) -> None:
    seen = rows("aaab")
    seen[3]["confidence"] = confidence
    assert categories("aaab").confidence == 0.75
    assert merge_categorical(seen).confidence == pytest.approx(3 / (3 + weight))


def test_nothing_is_sure_when_nobody_is() -> None:
    assert categories("aaa", confidence=0.0).confidence == 0.0
    assert categories("aaa").confidence == 1.0


@pytest.mark.parametrize(
    ("values", "state", "confidence"),
    [
        ([4, 4], "unknown", 0.0),
        ([4, 4, 4], "stable", 1.0),
        ([0, 2, 0, 2], "stable", 0.0),  # as much spread as mean: not more
        ([0, 2, 0, 2, 0], "conflicted", 0.5),
        ([1, -1, 1, -1], "conflicted", 0.5),  # around zero
        ([0] * 10, "stable", 1.0),
        ([10] * 5 + [13] * 5, "drifting", 1.0),  # exactly 0.30
        ([10] * 5 + [12.9] * 5, "stable", 1.0),
        ([10] * 5 + [7] * 5, "drifting", 1.0),
        ([-10] * 5 + [-13] * 5, "drifting", 1.0),
        ([10] * 4 + [13] * 5, "stable", 1.0),  # no full window before
        ([0] * 5 + [1] * 5, "drifting", 1.0),
        ([99] + [10] * 5 + [12] * 5, "stable", 1.0),  # only the window before counts
        ([0, 2, 0, 2, 0, 4, 4, 4, 4, 4], "drifting", 1.0),  # only the last window may be conflicted
    ],
)
def test_states_of_numbers_at_the_limits(values: list[float], state: str, confidence: float) -> None:
    found = merge_numeric(rows(values))
    assert (found.state, found.confidence) == (state, pytest.approx(confidence))
    assert found.observation_count == len(values)


def test_the_newest_number_weighs_three_tenths() -> None:
    assert merge_numeric(rows([10, 20])).current_value == pytest.approx(13.0)
    assert merge_numeric(rows([10, 20, 20])).current_value == pytest.approx(15.1)


def test_what_is_no_number_is_left_out_of_the_numbers() -> None:
    found = merge_numeric(rows([4, True, "4", 1e300, inf, 4, 4]))
    assert (found.state, found.current_value, found.observation_count) == ("stable", 4.0, 3)
    assert merge_numeric(rows(["x"])) == Profile(None, "unknown", 0.0, 0, None)


@pytest.mark.parametrize(
    ("distinct", "state"), [(1, "stable"), (2, "drifting"), (3, "drifting"), (4, "conflicted")]
)
def test_states_of_hashes_by_their_number(distinct: int, state: str) -> None:
    found = merge_hash(rows([f"h{n % distinct}" for n in range(8)]))
    assert (found.state, found.confidence, found.observation_count) == (state, 1 / distinct, 8)


def test_two_hashes_are_too_few_and_the_newest_is_the_value() -> None:
    assert merge_hash(rows(["x", "y"])) == Profile("y", "unknown", 0.0, 2, 1.0)
    assert merge_hash(rows(["x", "x", "y"])).current_value == "y"


@pytest.mark.parametrize(("ago", "state"), [(DAY - 1, "drifting"), (DAY, "drifting"), (DAY + 1, "stable")])
def test_hashes_are_compared_within_a_day_of_the_newest(ago: float, state: str) -> None:
    old = {"value": "old", "ts": 10 * DAY - ago, "confidence": 1.0}
    new = [{"value": "new", "ts": 10 * DAY - n, "confidence": 1.0} for n in (1, 0)]
    assert merge_hash([old, *new]).state == state


@pytest.mark.parametrize(("bits", "state"), [(5, "stable"), (6, "stable"), (7, "drifting")])
def test_simhashes_within_six_bits_are_one_typist(bits: int, state: str) -> None:
    base, other = f"{0:016x}", f"{(1 << bits) - 1:016x}"
    assert merge_primitive(SIMHASH, rows([base, other, base])).state == state
    assert merge_hash(rows([base, other, base])).state == "drifting", "other hashes are equal or not"


def test_distance_is_counted_in_bits_and_never_guessed() -> None:
    far = 1 << 30
    assert distance("0f", "00") == 4
    assert distance("a" * 64, "a" * 64) == 0
    assert distance("a" * 65, "a" * 65) == far, "longer than any hash"
    assert distance("0f", "00f") == far
    assert distance("zz", "00") == far
    assert distance(15, "0f") == far
    assert distance("0f", None) == far


def test_moments_are_numbers_or_dates_and_else_nothing() -> None:
    assert seconds(5) == 5.0
    assert seconds(datetime(1970, 1, 2, tzinfo=UTC)) == DAY
    assert seconds("5") == 0.0
    assert seconds(True) == 0.0


def test_equal_times_are_ordered_by_their_reference() -> None:
    seen = [
        {"value": v, "ts": 1.0, "confidence": 1.0, "evidence_ref": ref}
        for v, ref in zip("xab", "cab", strict=True)
    ]
    assert merge_hash(seen).current_value == "x"
    assert merge_hash(seen[::-1]).current_value == "x"


def test_as_many_rows_are_read_as_the_kind_needs() -> None:
    assert rows_read("cognitive.planning_depth") == 10
    assert rows_read("toolchain.c2.beacon_interval_ms") == 10
    assert rows_read(SIMHASH) == 64
    assert rows_read("toolchain.ssh.hassh_client") == 64
