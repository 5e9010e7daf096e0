"""Sessions that share one id of the honeypot's are told apart by what the log says of their times."""

from __future__ import annotations

import pytest

from decnet.events.lives import CLOSED_KEPT_S, JITTER_S, Life, connected_at, home_of, line_of

T = 1_700_000_000.0
DAY = 86_400.0


def closed(name: str, start: float, end: float) -> Life:
    return Life(name, start, start, end)


def name(life: Life | None) -> str | None:
    return None if life is None else life.name


def test_a_line_belongs_to_the_life_that_began_last_before_it() -> None:
    lives = [Life("a", T, T), Life("b", T + DAY, T + DAY), Life("c", T + 2 * DAY, T + 2 * DAY)]
    found = [name(line_of(lives, T + days * DAY + 5)) for days in (0, 1, 2, 3)]
    assert found == ["a", "b", "c", "c"], "closes are missing, and nothing is torn"


def test_a_line_after_the_close_is_of_another_life_but_for_what_trails() -> None:
    lives = [closed("a", T, T + 10)]
    assert name(line_of(lives, T + 10 + CLOSED_KEPT_S)) == "a"
    assert line_of(lives, T + 10 + CLOSED_KEPT_S + 0.5) is None
    assert name(line_of(lives, T + DAY, trailing=True)) == "a"


def test_a_line_before_a_closed_life_is_of_an_earlier_one_that_is_not_known() -> None:
    lives = [closed("b", T + DAY, T + DAY + 10)]
    assert line_of(lives, T) is None
    assert name(line_of(lives, T + DAY - JITTER_S)) == "b"
    assert line_of(lives, T + DAY - JITTER_S - 0.5) is None


def test_a_clock_set_back_in_mid_session_tears_nothing() -> None:
    assert name(line_of([Life("a", T + 400 * DAY, T + 400 * DAY)], T)) == "a"


def test_a_connection_is_known_again_and_takes_the_lines_that_came_before_it() -> None:
    known = closed("a", T, T + 10)
    assert name(connected_at([known], T)) == "a"
    assert connected_at([known], T + 0.5) is None
    assert name(connected_at([known, Life("torn", T + 60)], T + 50)) == "torn"
    assert connected_at([known, Life("torn", T + 60)], T + 60 + JITTER_S + 0.5) is None
    between = Life("b", T + 55, T + 55)
    assert connected_at([known, between, Life("torn", T + 60)], T + 50) is None, "they are of the one between"


@pytest.mark.parametrize(("off", "same"), [(JITTER_S, True), (JITTER_S + 0.5, False)])
def test_a_start_told_by_a_duration_is_met_within_two_seconds(off: float, same: bool) -> None:
    told = Life("a", T, None, T + 10, told=True)
    assert (connected_at([told], T - off) is told) == (connected_at([told], T + off) is told) == same


def test_a_piece_finds_the_life_it_is_a_part_of() -> None:
    lives = [closed("a", T, T + 10), closed("b", T + DAY, T + DAY + 10)]
    assert name(home_of(Life("", T + DAY, T + DAY), lives)) == "b"
    assert name(home_of(Life("", T + DAY + 3, None, T + DAY + 10), lives)) == "b"
    assert home_of(Life("", T + 2 * DAY, T + 2 * DAY), lives) is None
    assert home_of(Life("", T + 3600), lives) is None


@pytest.mark.parametrize(
    "life", [Life("b", T, None, T + 9, told=True), Life("b", T, T), closed("b", T, T + 9)]
)
def test_a_line_of_another_address_is_none_from_before_a_life(life: Life) -> None:
    life.ip = "192.0.2.2"
    before = T - JITTER_S / 2
    assert line_of([life], before, ip="192.0.2.1") is None, "newest first: it is of the life before"
    assert name(line_of([life], before, ip="192.0.2.2")) == name(line_of([life], before)) == "b"
    assert name(line_of([life], T + 1, ip="192.0.2.1")) == "b", "within it a proxy may tell another one"
    life.ip = None
    assert name(line_of([life], before, ip="192.0.2.1")) == "b"
