"""Days and moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from decnet_tui.model.days import LONGEST, parse_day, parse_moment

NOW = datetime(2026, 11, 30, 0, 30, tzinfo=timezone(timedelta(hours=-5)))
"""Half past five in the morning of that day in UTC."""


@pytest.mark.parametrize(
    ("text", "label"),
    [("today", "2026-11-30"), ("Yesterday", "2026-11-29"), ("2026-11-08", "2026-11-08"), ("11-08", "2026-11-08"),
     ("12-01", "2025-12-01"), ("11-30", "2026-11-30"), ("2-29", "2024-02-29"), (" 1-2 ", "2026-01-02")],
)  # fmt: skip
def test_a_day_has_its_first_moment_and_that_of_the_next(text: str, label: str) -> None:
    day = parse_day(text, NOW)
    assert day.label == label
    assert day.start == datetime.fromisoformat(label).replace(tzinfo=UTC)
    assert day.end - day.start == timedelta(days=1)


@pytest.mark.parametrize("text", ["", "tomorrow", "24h", "2026-02-30", "02-30", "13-01", "2026-11-08 10:00"])
def test_what_is_no_day_says_the_shape(text: str) -> None:
    with pytest.raises(ValueError, match="day"):
        parse_day(text, NOW)


@pytest.mark.parametrize(
    ("text", "moment"),
    [("24h", "2026-11-29 05:30"), ("1h30m", "2026-11-30 04:00"), ("today", "2026-11-30 00:00"), ("yesterday", "2026-11-29 00:00"),
     ("2026-11-08", "2026-11-08 00:00"), ("2026-11-08T10:00+02:00", "2026-11-08 08:00"), ("2026-11-08 10:00", "2026-11-08 10:00"),
     ("11-08", "2026-11-08 00:00")],
)  # fmt: skip
def test_a_moment_is_a_day_a_time_or_an_age(text: str, moment: str) -> None:
    assert f"{parse_moment(text, NOW):%Y-%m-%d %H:%M}" == moment


def test_a_moment_lies_within_a_century() -> None:
    assert parse_moment(f"{LONGEST.days}d", NOW) == NOW - LONGEST
    with pytest.raises(ValueError, match="too long"):
        parse_moment(f"{LONGEST.days + 1}d", NOW)
    with pytest.raises(ValueError, match="is no time: write 24h"):
        parse_moment("noon", NOW)
