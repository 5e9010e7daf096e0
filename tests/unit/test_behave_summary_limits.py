"""Running summaries at their limits: how much has to be seen before something is said, and what is said at a bound."""

from __future__ import annotations

from typing import Any

import pytest

from decnet.behave import thresholds as t
from decnet.behave.summaries import (
    DAY_S,
    Visit,
    beacon,
    circadian,
    days_to_do,
    persistence,
    quiet_span,
    summarise,
    summary_ref,
)

MONDAY = 1_699_833_600.0  # 2023-11-13 00:00 UTC
DAY = int(MONDAY // DAY_S)


def visit(day: int = 0, hour: int = 0, events: int = 1, **hours: int) -> Visit:
    start = MONDAY + day * DAY_S + hour * 3600.0
    of_week = str((day % 7) * 24 + hour)
    return Visit(f"s{day}-{hour}", start, start + 60.0, {of_week: events} if events else dict(hours))


def told(findings: Any) -> dict[str, Any]:
    out = {}
    for name, value, confidence in findings:
        assert 0.0 <= confidence <= 1.0
        out[name.removeprefix("temporal.").removeprefix("circadian.").removeprefix("toolchain.c2.")] = value
    return out


@pytest.mark.parametrize(
    ("visits", "histograms"),
    [
        ([visit(0, events=2), visit(1, events=2)], False),
        ([visit(0, events=2), visit(1, events=3)], True),
        ([visit(0, events=50)], False),
    ],
)
def test_a_histogram_is_of_five_events_in_two_visits(visits: list[Visit], histograms: bool) -> None:
    assert bool(told(circadian(visits))) is histograms


@pytest.mark.parametrize(
    ("visits", "quiet"),
    [
        ([visit(0, events=15), visit(1, events=14)], False),
        ([visit(0, events=15), visit(1, events=15)], True),
        ([visit(0, 1, events=15), visit(0, 2, events=15)], False),  # one day
    ],
)
def test_quiet_hours_need_thirty_events_on_two_days(visits: list[Visit], quiet: bool) -> None:
    assert ("quiet_span_utc" in told(circadian(visits))) is quiet


@pytest.mark.parametrize(
    ("visits", "timing"),
    [
        ([visit(0, 9, 4), visit(1, 9, 3), visit(2, 9, 2)], None),  # nine events
        ([visit(0, 9, 4), visit(1, 9, 3), visit(2, 9, 3)], "diurnal"),
        ([visit(0, 9, 5), visit(1, 9, 5)], None),  # two days
        ([visit(0, 9, 6), visit(1, 20, 2), visit(2, 20, 2)], "diurnal"),  # six of ten
        ([visit(0, 9, 5), visit(1, 20, 3), visit(2, 20, 2)], "irregular"),
        ([visit(0, 8, 6), visit(1, 20, 2), visit(2, 20, 2)], "irregular"),
        ([visit(0, 18, 6), visit(1, 20, 2), visit(2, 20, 2)], "irregular"),
        ([visit(0, 17, 6), visit(1, 20, 2), visit(2, 20, 2)], "diurnal"),
        ([visit(0, 22, 6), visit(1, 20, 2), visit(2, 20, 2)], "nocturnal"),
        ([visit(0, 5, 6), visit(1, 20, 2), visit(2, 20, 2)], "nocturnal"),
        ([visit(0, 6, 6), visit(1, 20, 2), visit(2, 20, 2)], "irregular"),
        ([visit(0, 21, 6), visit(1, 20, 2), visit(2, 20, 2)], "irregular"),
    ],
)
def test_the_time_of_day_at_its_bounds(visits: list[Visit], timing: str | None) -> None:
    assert told(circadian(visits)).get("session_timing") == timing


def test_a_tenth_of_the_peak_is_not_quiet() -> None:
    hours = [10] * 24
    hours[3] = hours[4] = 1
    assert quiet_span(hours) == [3, 4], "no hour is quiet: the least one stands for itself"
    hours[0] = 11
    assert quiet_span(hours) == [3, 5]


@pytest.mark.parametrize(
    ("days", "label"),
    [
        ([0], None),
        ([0, 1], "return_visitor"),
        ([0, 1, 2, 3, 4, 5], "return_visitor"),  # a span of six
        ([0, 1, 2, 3, 4, 5, 6], "resident"),
        ([0, 1, 2, 3, 6], "return_visitor"),
        ([0, 1, 2, 3, 4, 5, 6, 9], "resident"),  # eight of ten
        ([0, 1, 2, 3, 4, 5, 9], "return_visitor"),
    ],
)
def test_residents_are_there_nearly_every_day(days: list[int], label: str | None) -> None:
    def stays(hours: int) -> Any:
        visits = [Visit(f"s{d}", MONDAY + d * DAY_S, MONDAY + d * DAY_S + 1, {str(h + 24 * (h % 2)): 1 for h in range(hours)}) for d in days]  # fmt: skip
        return told(persistence(visits)).get("persistence")

    assert stays(8) == label
    assert stays(7) == ("return_visitor" if label else None), "eight hours of the day"


@pytest.mark.parametrize(
    ("gaps", "interval"),
    [
        ([60.0] * 4, None),
        ([60.0] * 5, 60_000.0),
        ([10.0] * 5, 10_000.0),
        ([9.9] * 5, None),
        ([50.0, 150.0] * 3, 100_000.0),  # exactly half
        ([49.0, 151.0] * 3, None),
    ],
)
def test_a_beacon_needs_five_regular_intervals_of_ten_seconds(
    gaps: list[float], interval: float | None
) -> None:
    now, visits = 1000.0, [Visit("s", 1000.0, 1000.0, {})]
    for gap in gaps:
        now += gap
        visits.append(Visit("s", now, now, {}))
    assert told(beacon(visits)).get("beacon_interval_ms") == interval


def test_connections_within_five_seconds_are_one_return() -> None:
    def interval(apart: float) -> Any:
        starts = [n * 60.0 + extra for n in range(6) for extra in (0.0, apart)]
        return told(beacon([Visit("s", at, at, {}) for at in starts])).get("beacon_interval_ms")

    assert interval(5.0) == 60_000.0
    assert interval(5.001) is None


def test_only_the_last_sixty_four_returns_make_a_beacon() -> None:
    old = [Visit("s", n * 1000.0, n * 1000.0, {}) for n in range(9)]
    new = [Visit("s", 50_000.0 + n * 60.0, 0.0, {}) for n in range(64)]
    assert told(beacon([*old, *new]))["beacon_jitter_cv"] == 0.0
    assert told(beacon([*old, *new[1:]])).get("beacon_jitter_cv") != 0.0


@pytest.mark.parametrize(
    ("gaps", "skew"),
    [
        ([98.0, 102.0] * 10, "uniform"),  # exactly two in a hundred is jitter
        ([98.1, 101.9] * 10, "none"),
        ([90.0, 110.0] * 9 + [90.0], None),  # nineteen intervals
        ([90.0, 110.0] * 10, "uniform"),
        ([90.0] * 10 + [110.0] * 10, "walk"),
    ],
)
def test_the_kind_of_jitter_needs_twenty_intervals(gaps: list[float], skew: str | None) -> None:
    now, visits = 0.0, [Visit("s", 0.0, 0.0, {})]
    for gap in gaps:
        now += gap
        visits.append(Visit("s", now, now, {}))
    assert told(beacon(visits)).get("sleep_skew") == skew


@pytest.mark.parametrize(
    ("days", "events", "label"),
    [
        (range(0, 22, 1), {}, "no_weekend"),
        (range(0, 21, 1), {}, None),  # a span of twenty days
        ([*range(8), 21], {}, None),  # nine days
        ([*range(9), 21], {}, "no_weekend"),
        ([d for d in range(22) if d % 7 < 5], {}, "sat_sun"),
    ],
)
def test_a_weekend_needs_ten_days_over_three_weeks(
    days: Any, events: dict[int, int], label: str | None
) -> None:
    found = told(circadian([visit(d, 12, events.get(d, 3)) for d in days]))
    assert found.get("cultural.weekend_cadence") == label


def test_the_weekend_is_below_a_tenth_and_its_absence_above_a_fifth() -> None:
    def label(work: int, rest: int) -> Any:
        """21 full days and one more Monday: ``work`` events a weekday, ``rest`` a day of the weekend."""
        visits = [visit(d, 12, rest if d % 7 >= 5 else work) for d in range(21)] + [visit(21, 12, work)]
        return told(circadian(visits))["cultural.weekend_cadence"]

    assert label(100, 26) == "sat_sun"  # 156 of 1756
    assert label(27, 8) == "irregular"  # 48 of 480: exactly a tenth
    assert label(10, 6) == "irregular"  # 36 of 196
    assert label(24, 16) == "no_weekend"  # 96 of 480: exactly a fifth
    assert label(25, 16) == "irregular"


# --- which visits, which days ---------------------------------------------------------------------


def test_a_summary_is_of_the_newest_visits_up_to_the_end_of_its_day(monkeypatch: pytest.MonkeyPatch) -> None:
    assert t.SUMMARY_SESSIONS == 512
    monkeypatch.setattr(t, "SUMMARY_SESSIONS", 4)
    visits = [visit(day, 1, 5) for day in (0, 2, 5, 7, 9, 10)]
    found = {o.primitive: o for o in summarise("a", visits, DAY + 9)}
    hours = found["temporal.circadian.hour_dow_histogram"]
    assert [i for i, share in enumerate(hours.value) if share] == [1, 2 * 24 + 1, 5 * 24 + 1]
    assert [hours.value[i] for i in (1, 49, 121)] == [0.25, 0.5, 0.25], "days 2 and 9 are both Wednesdays"
    assert (hours.window.start_ts, hours.window.end_ts) == (visits[1].started_at, visits[4].ended_at)
    assert hours.ts == hours.window.end_ts
    assert hours.evidence_ref == summary_ref("a", DAY + 9) == "attacker:a#behave-1/2023-11-22"
    assert summarise("a", visits, DAY - 1) == []


@pytest.mark.parametrize(("span", "rhythm"), [(6, False), (7, True)])
def test_a_full_bound_needs_a_week_to_say_a_rhythm(
    monkeypatch: pytest.MonkeyPatch, span: int, rhythm: bool
) -> None:
    monkeypatch.setattr(t, "SUMMARY_SESSIONS", 2)
    visits = [visit(0, 0, 5), Visit("z", MONDAY + span * DAY_S - 60, MONDAY + span * DAY_S, {"1": 5})]
    assert bool(summarise("a", visits, DAY + span)) is rhythm
    monkeypatch.setattr(t, "SUMMARY_SESSIONS", 3)
    assert summarise("a", visits, DAY + span), "below the bound nothing is hidden"


def test_the_days_that_a_visit_takes_part_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(t, "SUMMARY_SESSIONS", 3)
    before, later = [visit(0), visit(1)], [visit(2), visit(3), visit(3, 5)]
    assert days_to_do(before, later[:2]) == [DAY + 1, DAY + 2, DAY + 3]
    assert days_to_do(before, later) == [DAY + 1, DAY + 2], (
        "a day that may go on beyond the bound holds it no more"
    )
    assert sorted(days_to_do([], later[:1])) == [DAY + 2]


def test_the_order_of_hours_of_one_visit_does_not_matter() -> None:
    one = Visit("a", MONDAY, MONDAY, {"1": 3, "170": 3})
    other = Visit("a", MONDAY, MONDAY, {"170": 3, "1": 3})
    assert list(circadian([one, visit(1)])) == list(circadian([other, visit(1)]))
    assert told(circadian([one, visit(1)]))["dow_histogram"][0] == round(6 / 7, 6), "hours go round the week"
