"""When a service may be asked: cache, budget, pauses, restarts and clocks that jump; nothing here waits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.intel.services import governor as rules
from decnet.intel.services.base import Answer, Value
from decnet.intel.services.governor import Ask, Governor, Known, Not, Row, Rows

START = 20_000 * rules.DAY_S
A, B, C = (Value("address", f"91.92.93.{last}") for last in (1, 2, 3))
FILE = Value("sha256", "a1" * 32)
GOOD, UNKNOWN = Answer(True, {"x": 1}), Answer(False, {})


class World:
    """A governor with a clock; ``restart`` gives it a new process."""

    def __init__(self, budget: int = 100) -> None:
        self.now, self.budget, self.kept = START, budget, Rows((), ())
        self.governor = self.fresh()

    def fresh(self) -> Governor:
        return Governor({"vt": self.budget, "gn": self.budget}, lambda: self.now, self.kept)

    def decide(self, value: Value = A, service: str = "vt") -> Ask | Known | Not:
        return self.governor.decide(service, value)

    def go(self, value: Value = A, service: str = "vt") -> Ask:
        found = self.decide(value, service)
        assert isinstance(found, Ask), found
        return found

    def fail(self, reason: str = "server_error", retry_after: float | None = None, value: Value = A) -> None:
        self.governor.failed(self.go(value), reason, retry_after)

    def rests(self, value: Value = B) -> float:
        """Seconds until another value may be asked."""
        found = self.decide(value)
        assert isinstance(found, Not), found
        assert found.why == "backed_off"
        assert found.until is not None
        return found.until - self.now

    def keep(self) -> Rows:
        """What changed, taken into what is kept."""
        rows = self.governor.changed()
        services = {row.service: row for row in (*self.kept.services, *rows.services)}
        answers = {(row.service, row.value): row for row in (*self.kept.answers, *rows.answers)}
        self.kept = Rows(tuple(services.values()), tuple(answers.values()))
        self.governor.kept(rows)
        return rows

    def restart(self) -> None:
        self.keep()
        self.governor = self.fresh()

    def health(self, service: str = "vt") -> dict[str, Any]:
        return self.governor.health()[service]


@pytest.mark.parametrize(("value", "kept"), [(A, 86_400), (FILE, 7 * 86_400)])
def test_an_answer_counts_for_a_day_and_one_about_a_file_for_a_week(value: Value, kept: int) -> None:
    world = World()
    world.governor.answered(world.go(value), GOOD)
    world.now += kept - 1
    assert world.decide(value) == Known(GOOD, START)
    world.now += 1
    assert isinstance(world.decide(value), Ask)


def test_that_nothing_is_known_is_an_answer_that_is_kept_too() -> None:
    world = World()
    world.governor.answered(world.go(), UNKNOWN)
    assert world.decide() == Known(UNKNOWN, START)
    assert (world.health()["unknown"], world.health()["answered"], world.health()["cached"]) == (1, 0, 1)


def test_one_question_is_in_flight_for_a_value_until_it_ends() -> None:
    world = World()
    ask = world.go()
    assert world.decide() == Not("in_flight")
    assert isinstance(world.decide(A, "gn"), Ask), "another service is another question"
    assert isinstance(world.decide(B), Ask), "another value too"
    world.governor.given_up(ask)
    world.governor.answered(world.go(), GOOD)
    assert isinstance(world.decide(), Known)


def test_the_budget_is_spent_to_its_last_question_and_comes_again_with_the_utc_day() -> None:
    world = World(budget=2)
    world.go(A)
    world.go(B)
    assert world.decide(C) == Not("over_budget", START + rules.DAY_S)
    assert world.health()["left_today"] == 0
    world.now = START + rules.DAY_S - 0.001
    assert isinstance(world.decide(C), Not)
    world.now = START + rules.DAY_S
    assert isinstance(world.decide(C), Ask)
    assert (world.health()["asked"], world.health()["over_budget"], world.health()["left_today"]) == (3, 2, 1)


def test_a_question_counts_when_it_goes_out_whatever_comes_back() -> None:
    world = World(budget=2)
    world.governor.given_up(world.go())
    world.fail()
    world.now += rules.FIRST_REST_S
    assert world.decide(B) == Not("over_budget", START + rules.DAY_S)


def test_the_budget_of_one_service_is_not_that_of_another() -> None:
    world = World(budget=1)
    world.go(A)
    world.go(A, "gn")
    assert isinstance(world.decide(B), Not)


def test_a_restart_gives_no_second_budget_and_asks_nothing_twice() -> None:
    world = World(budget=2)
    world.governor.answered(world.go(A), GOOD)
    world.go(B)
    world.restart()
    assert world.decide(A) == Known(GOOD, START)
    assert isinstance(world.decide(B), Not), "it may have gone out"


def test_a_restart_ends_no_pause_and_the_next_failure_is_not_the_first() -> None:
    world = World()
    world.fail()
    world.restart()
    assert world.rests() == 60
    world.now += 60
    world.fail()
    assert world.rests() == 120


def test_only_what_changed_is_given_out_and_once() -> None:
    world = World()
    world.governor.answered(world.go(A), GOOD)
    rows = world.keep()
    assert [row.service for row in rows.services] == ["vt"]
    assert [(row.service, row.value, row.at, row.answer) for row in rows.answers] == [("vt", A, START, GOOD)]
    assert world.governor.changed() == Rows((), ())
    world.decide(A)
    assert world.governor.changed() == Rows((), ()), "what was cached changes nothing"


def test_what_changes_while_rows_are_kept_is_given_out_again() -> None:
    world = World()
    ask = world.go(A)
    rows = world.governor.changed()
    world.go(B)
    world.governor.kept(rows)
    assert [row.used for row in world.governor.changed().services] == [2]
    world.governor.answered(ask, GOOD)
    rows = world.governor.changed()
    world.now += rules.DAY_S
    world.governor.answered(world.go(A), UNKNOWN)
    world.governor.kept(rows)
    assert [row.answer for row in world.governor.changed().answers] == [UNKNOWN]


def test_rows_of_a_service_that_is_off_now_are_passed_over() -> None:
    world = World()
    world.kept = Rows((Row("off", 20_000, 5, 0, 0.0),), (rules.CacheRow("off", A, START, GOOD),))
    world.governor = world.fresh()
    assert set(world.governor.health()) == {"vt", "gn"}
    with pytest.raises(KeyError):
        world.decide(A, "off")


def test_failures_in_a_row_double_the_pause_up_to_an_hour_and_an_answer_ends_that() -> None:
    world = World()
    pauses = []
    for _ in range(9):
        world.fail()
        pauses.append(world.rests())
        world.now += pauses[-1]
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    world.governor.answered(world.go(), GOOD)
    world.fail(value=B)
    assert world.rests(C) == 60
    assert (world.health()["faults"], world.health()["backed_off"]) == ({"server_error": 10}, 10)


def test_a_thousand_failures_make_no_number_too_large() -> None:
    world = World(budget=10_000)
    for _ in range(1_000):
        world.fail()
        world.now += rules.MAX_REST_S
    world.fail()
    assert world.rests() == rules.MAX_REST_S


def test_questions_that_fail_together_are_one_failure() -> None:
    world = World()
    asks = [world.go(value) for value in (A, B, C)]
    for ask in asks:
        world.governor.failed(ask, "timeout")
    assert world.rests() == 60
    assert world.health()["faults"] == {"timeout": 3}


@pytest.mark.parametrize(
    ("asked", "pause"),
    [(0, 60), (59, 60), (61, 61), (7_200, 7_200), (86_400, 86_400), (86_401, 86_400), (1e12, 86_400)],
)
def test_a_service_gets_the_pause_that_it_asks_for_within_a_minute_and_a_day(
    asked: float, pause: float
) -> None:
    world = World()
    world.fail("rate_limited", asked)
    assert world.governor.changed().services[0].rest_until == world.now + pause
    assert world.rests() == pause


def test_a_pause_that_a_service_asks_for_counts_though_it_rests_already() -> None:
    world = World()
    first, second = world.go(A), world.go(B)
    world.governor.failed(first, "timeout")
    world.governor.failed(second, "rate_limited", 1_800)
    assert world.rests(C) == 1_800


def test_a_key_that_is_not_taken_rests_an_hour_at_once() -> None:
    world = World()
    world.fail("refused")
    assert world.rests() == 3600


@pytest.mark.parametrize("reason", ["too_large", "no_json", "wrong_shape", "hostile_text", "about_another"])
def test_a_value_whose_answer_cannot_be_read_waits_longer_than_its_service(reason: str) -> None:
    world = World()
    world.fail(reason)
    world.now += 60
    assert isinstance(world.decide(B), Ask)
    assert world.decide(A) == Not("backed_off", START + rules.VALUE_REST_S)
    world.now = START + rules.VALUE_REST_S
    assert isinstance(world.decide(A), Ask)


def test_a_clock_that_is_set_back_gives_no_budget_and_no_pause_without_end() -> None:
    world = World(budget=1)
    world.fail("rate_limited", 86_400)
    world.now -= 365 * rules.DAY_S
    assert world.rests() == 86_400
    world.now += 2 * rules.DAY_S
    later = World(budget=1)
    later.governor.answered(later.go(), GOOD)
    later.now -= 2 * rules.DAY_S
    assert later.decide(A) == Not("over_budget", START - rules.DAY_S), (
        "and its answer is too far away to count"
    )
    assert later.decide(B) == Not("over_budget", START - rules.DAY_S)


def test_a_pause_from_another_clock_comes_to_an_end() -> None:
    world = World()
    world.kept = Rows((Row("vt", 99_999, 3, 5, START * 10),), ())
    world.governor = world.fresh()
    assert world.rests() == rules.MAX_RETRY_AFTER_S
    health = world.health()
    assert (health["left_today"], health["rests_until"]) == (97, START + rules.MAX_RETRY_AFTER_S)
    world.now += rules.MAX_RETRY_AFTER_S - 1
    assert world.rests() == 1
    world.now += 1
    assert isinstance(world.decide(), Ask)


def test_a_pause_of_a_value_from_another_clock_comes_to_an_end() -> None:
    world = World()
    world.fail("no_json")
    world.now -= 365 * rules.DAY_S
    world.governor.answered(Ask("vt", B), GOOD)
    assert world.rests(A) == rules.VALUE_REST_S
    world.now += rules.VALUE_REST_S
    assert isinstance(world.decide(A), Ask)


def test_of_too_many_answers_those_that_nobody_needed_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_CACHED", 2)
    world = World()
    for value in (A, B):
        world.governor.answered(world.go(value), GOOD)
    assert isinstance(world.decide(A), Known)
    world.governor.answered(world.go(C), GOOD)
    assert [type(world.decide(value)) for value in (A, C, B)] == [Known, Known, Ask]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 200_000), st.booleans()), max_size=60))
def test_whatever_happens_no_day_has_more_questions_than_its_budget(
    steps: list[tuple[int, int, bool]],
) -> None:
    world = World(budget=3)
    asked: dict[int, int] = {}
    for what, seconds, restart in steps:
        world.now += seconds / 10
        if restart:
            world.restart()
        value = (A, B, C)[what % 3]
        found = world.decide(value)
        if not isinstance(found, Ask):
            continue
        day = int(world.now // rules.DAY_S)
        asked[day] = asked.get(day, 0) + 1
        if what % 2:
            world.governor.answered(found, GOOD)
        else:
            world.governor.failed(found, "timeout")
    assert max(asked.values(), default=0) <= 3
