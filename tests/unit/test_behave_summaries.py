"""Running summaries of one attacker: histograms, quiet hours, returns."""

from __future__ import annotations

import random
from typing import Any

import pytest
from behave_shell.spec import PRIMITIVE_REGISTRY
from hypothesis import given
from hypothesis import strategies as st

from decnet.behave import thresholds as t
from decnet.behave.summaries import DAY_S, Visit, days_to_do, quiet_span, summarise

MONDAY = 1_699_833_600.0  # 2023-11-13 00:00 UTC


def visit(start: float, events: int = 1, n: int = 0) -> Visit:
    hour = (int(start // 3600) + 72) % 168
    return Visit(f"s{n:05d}", start, start + 60.0, {str(hour): events})


def values(visits: list[Visit]) -> dict[str, Any]:
    return {o.primitive: o.value for o in summarise("a", visits, max(v.day for v in visits))}


def test_histograms_in_utc_hours_monday_first() -> None:
    found = values([visit(MONDAY + 3 * 3600, 6), visit(MONDAY + DAY_S + 5 * 3600, 2)])
    hours, days, joint = (found[f"temporal.circadian.{n}_histogram"] for n in ("hour", "dow", "hour_dow"))
    assert (len(hours), len(days), len(joint)) == (24, 7, 168)
    assert (hours[3], hours[5]) == (0.75, 0.25)
    assert (days[0], days[1]) == (0.75, 0.25)
    assert (joint[3], joint[24 + 5]) == (0.75, 0.25)
    assert "temporal.circadian.quiet_span_utc" not in found


def test_one_visit_is_no_summary() -> None:
    assert values([visit(MONDAY, 50)]) == {}


def test_every_value_fits_the_registry_and_grows_surer() -> None:
    few = summarise("a", [visit(MONDAY + i * DAY_S, 3) for i in range(3)], int(MONDAY // DAY_S) + 2)
    many = summarise("a", [visit(MONDAY + i * DAY_S, 30) for i in range(9)], int(MONDAY // DAY_S) + 8)
    for one in few + many:
        PRIMITIVE_REGISTRY[one.primitive].validate_value(one.value)
        assert one.evidence_ref is not None
        assert one.evidence_ref in ("attacker:a#behave-1/2023-11-15", "attacker:a#behave-1/2023-11-21")
        assert one.ts == one.window.end_ts
    assert many[0].confidence > few[0].confidence


@pytest.mark.parametrize(
    ("active", "span"),
    [
        (range(9, 18), [18, 9]),
        (range(6, 22), [22, 6]),
        ([22, 23, 0, 1, 2], [3, 22]),
        (range(24), None),
    ],
)
def test_quiet_span_crosses_midnight(active: Any, span: list[int] | None) -> None:
    hours = [10 if hour in active else 0 for hour in range(24)]
    found = quiet_span(hours)
    assert all(0 <= hour < 24 for hour in found)
    if span is not None:
        assert found == span


def test_quiet_is_low_not_zero_and_ties_go_to_the_least_active_side() -> None:
    hours = [
        100,
        9,
        9,
        9,
        100,
        100,
        100,
        100,
        100,
        100,
        100,
        100,
        100,
        100,
        100,
        100,
        30,
        20,
        5,
        1,
        5,
        20,
        30,
        100,
    ]
    hours = [100 if 10 < n < 90 else n for n in hours]
    assert quiet_span(hours) == [18, 21]


@given(st.lists(st.integers(0, 50), min_size=24, max_size=24).filter(any))
def test_quiet_span_is_always_two_hours_of_the_day(hours: list[int]) -> None:
    start, end = quiet_span(hours)
    assert 0 <= start < 24
    assert 0 <= end < 24
    assert hours[start] < t.QUIET_SHARE * max(hours) or all(n >= t.QUIET_SHARE * max(hours) for n in hours)


@pytest.mark.parametrize(("hour", "label"), [(11, "diurnal"), (2, "nocturnal"), (20, "irregular")])
def test_session_timing(hour: int, label: str) -> None:
    assert (
        values([visit(MONDAY + i * DAY_S + hour * 3600, 5) for i in range(4)])["temporal.session_timing"]
        == label
    )


def test_persistence_is_returns_on_other_days() -> None:
    assert "temporal.persistence" not in values([visit(MONDAY + i * 600, 5) for i in range(4)])
    assert values([visit(MONDAY), visit(MONDAY + 9 * DAY_S)])["temporal.persistence"] == "return_visitor"
    dense = [visit(MONDAY + i * 7200.0, 1, i) for i in range(120)]
    assert values(dense)["temporal.persistence"] == "resident"


@pytest.mark.parametrize(("off", "label"), [((4, 5), "fri_sat"), ((5, 6), "sat_sun"), ((), "no_weekend")])
def test_weekend(off: tuple[int, ...], label: str) -> None:
    visits = [visit(MONDAY + d * DAY_S + 36_000, 4) for d in range(35) if d % 7 not in off]
    assert values(visits)["cultural.weekend_cadence"] == label
    assert "cultural.weekend_cadence" not in values(visits[:8])


def returns(jitter: float, number: int = 30, kind: str = "gauss", seed: int = 5) -> list[Visit]:
    rng = random.Random(seed)
    now, out = MONDAY, []
    for n in range(number):
        out.append(visit(now, 1, n))
        now += (
            rng.gauss(3600, jitter * 3600)
            if kind == "gauss"
            else rng.uniform(3600 * (1 - jitter), 3600 * (1 + jitter))
        )
    return out


def test_a_beacon_without_jitter() -> None:
    found = values(returns(0.0))
    assert found["toolchain.c2.beacon_interval_ms"] == pytest.approx(3_600_000.0)
    assert found["toolchain.c2.beacon_jitter_cv"] == 0.0
    assert found["toolchain.c2.sleep_skew"] == "none"


def test_kinds_of_jitter() -> None:
    assert values(returns(0.1, 64))["toolchain.c2.sleep_skew"] == "gaussian"
    assert values(returns(0.4, 64, "uniform"))["toolchain.c2.sleep_skew"] == "uniform"
    assert "toolchain.c2.sleep_skew" not in values(returns(0.1, 10))
    assert values(returns(0.2))["toolchain.c2.beacon_jitter_cv"] == pytest.approx(0.2, abs=0.06)


def test_a_walk_drifts() -> None:
    rng = random.Random(9)
    now, gap, visits = MONDAY, 3600.0, []
    for n in range(64):
        visits.append(visit(now, 1, n))
        gap += rng.gauss(0, 120.0)
        now += gap
    assert values(visits)["toolchain.c2.sleep_skew"] == "walk"


def test_connections_in_one_breath_are_one_return() -> None:
    double = [v for v in returns(0.0, 12) for v in (v, visit(v.started_at + 1.0, 1))]
    assert values(double)["toolchain.c2.beacon_interval_ms"] == pytest.approx(3_600_000.0)


@pytest.mark.parametrize("number", [3, 6, 30])
def test_irregular_returns_are_no_beacon(number: int) -> None:
    rng = random.Random(1)
    now, visits = MONDAY, []
    for n in range(number):
        visits.append(visit(now, 1, n))
        now += rng.expovariate(1 / 3600)
    assert not [p for p in values(visits) if p.startswith("toolchain.c2")]


def test_a_summary_reads_a_bounded_number_of_visits() -> None:
    visits = [visit(MONDAY + i * 600.0, 1, i) for i in range(3000)]
    day = visits[-1].day
    assert summarise("a", visits, day) == summarise("a", visits[-t.SUMMARY_SESSIONS :], day)


def test_an_attacker_too_busy_for_the_bound_has_no_rhythm() -> None:
    """The newest 512 of 5,000 sessions a day are the last hours of it, whatever the attacker's habits are."""
    busy = [visit(MONDAY + i * 17.0, 1, i) for i in range(15_000)]
    assert set(values(busy)) == {
        "toolchain.c2.beacon_interval_ms",
        "toolchain.c2.beacon_jitter_cv",
        "toolchain.c2.sleep_skew",
    }
    steady = [visit(MONDAY + i * 3600.0, 1, i) for i in range(600)]
    assert "temporal.circadian.hour_histogram" in values(steady)


def test_the_days_that_a_late_visit_changes() -> None:
    before = [visit(MONDAY + i * DAY_S, 1, i) for i in range(3)]
    after = [visit(MONDAY + (3 + i) * DAY_S, 1, 10 + i) for i in range(4)]
    first = before[-1].day
    assert days_to_do(before, after) == [first, *(first + 1 + i for i in range(4))]
    full = [visit(MONDAY + 3 * DAY_S + i * 600, 1, i) for i in range(t.SUMMARY_SESSIONS)]
    assert max(days_to_do(before, full)) < full[-1].day
