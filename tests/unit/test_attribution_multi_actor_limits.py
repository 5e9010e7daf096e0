"""What the multi-actor test asks for before it says that word: every condition alone, at its limit."""

from __future__ import annotations

from math import log10
from typing import Any

import pytest

from decnet.attribution import multi_actor
from decnet.attribution import thresholds as th
from decnet.attribution.multi_actor import (
    CHANGES,
    NO_RETURN,
    ONE_FAMILY,
    ONE_SOURCE,
    SUSPECTED,
    TOO_FEW,
    examine,
)
from decnet.attribution.readings import Reading, readings_of
from decnet.attribution.sides import Board, agreement

DAY = 86_400.0
Row = dict[str, Any]


def session(n: int, who: str, **families: Any) -> Row:
    own: Row = {"client": {"session.client": f"ssh:{who}"}, "credentials": {"session.account": who}}
    return {"session_id": f"s{n:02}", "ended_at": n * DAY, **own, **families}


def history(pattern: str, new_each_time: str = "") -> list[Row]:
    """A letter a session is who was there; those of ``new_each_time`` bring new tools and accounts every time."""
    return [session(n, f"{who}{n}" if who in new_each_time else who) for n, who in enumerate(pattern)]


def by_code(codes: list[int | None], family: str = "client", *, rare: bool = False) -> Reading:
    return Reading(
        family, (f"session.{family}",), tuple(codes), max(c for c in codes if c is not None) + 1, rare
    )


def test_six_sessions_are_looked_at_and_five_are_not() -> None:
    assert (examine(history("ABABA")).reason, examine(history("ABABA")).sessions) == (TOO_FEW, 5)
    assert examine(history("ABABAB")).reason != TOO_FEW


def test_not_more_than_sixty_four_sessions_are_looked_at() -> None:
    assert examine(history("AB" * 33)).sessions == 64
    assert {s for side in examine(history("AB" * 33)).sides for s in side} == {
        f"s{n:02}" for n in range(2, 66)
    }


@pytest.mark.parametrize("pattern", ["ABABABABABABABAB", "BABABABABABABABA"])
@pytest.mark.parametrize("strange", ["A", "B"])
def test_a_side_with_new_tools_each_time_is_no_actor(pattern: str, strange: str) -> None:
    """Both sides have to return: a campaign that never comes twice with the same tools is nobody's other half."""
    assert examine(history(pattern)).reason == SUSPECTED
    found = examine(history(pattern, new_each_time=strange))
    assert (found.suspected, found.reason) == (False, NO_RETURN)
    assert found.score >= found.threshold, "only that keeps it from being one"


def test_values_return_when_they_come_back_after_the_other_side() -> None:
    back = multi_actor._came_back
    assert back(by_code([0, 1, 0, 1]), [0, 1, 0, 1], 0)
    assert not back(by_code([0, 0, 1, 1]), [0, 0, 1, 1], 0), "twice in one run is no return"
    assert not back(by_code([0, 1, 0, 1], rare=True), [0, 1, 0, 1], 0), "values that occur once are no value"
    assert back(by_code([0, 1, 0, 1], rare=True), [0, 1, 0, 1], 1)
    assert not back(by_code([0, 1, None, 1]), [0, 1, 0, 1], 0), "what was not measured did not return"


def test_values_of_two_witnesses_have_to_return() -> None:
    sides = [0, 1, 0, 1]
    client, account = by_code([0, 1, 0, 1]), by_code([0, 1, 0, 1], "credentials")
    work = [by_code([0, 1, 0, 1], family) for family in ("playbook", "tempo", "habit", "hours")]
    assert multi_actor._returns([client, account], sides, 0)
    assert not multi_actor._returns([client], sides, 0)
    assert not multi_actor._returns(work, sides, 0), "four families of one group are one witness"
    assert multi_actor._returns([client, work[0]], sides, 1)


@pytest.mark.parametrize(
    ("pattern", "few"),
    [
        ("A" * 20, True),
        ("A" * 10 + "B" * 10, True),  # one change for good
        ("A" * 5 + "B" + "A" * 5 + "B" + "A" * 8, True),  # two exceptions from one habit
        ("A" * 5 + "B" + "A" * 5 + "B" + "A" * 7 + "B" + "A", False),  # three of twenty
        ("A" * 4 + "B" + "A" * 5 + "B" * 5 + "A" + "B" * 4, True),  # two exceptions from one change
        ("A" * 4 + "B" + "A" * 5 + "B" * 3 + "A" + "B" + "A" + "B" * 4, False),
        ("AABABAAAAAAAAAAAAAAAAAAAABAAA", False),  # three of twenty-nine: the tenth is two
        ("AABABAAAAAAAAAAAAAAAAAAAABAAAA", True),  # three of thirty
        ("AABABABAAAAAAAAAAAAAAAAAABAAAA", False),  # four of thirty
        ("B" + "A" * 18 + "B", True),
    ],
)
def test_a_few_exceptions_are_one_operator(pattern: str, few: bool) -> None:
    sides = [int(who == "B") for who in pattern]
    assert multi_actor._exceptions(sides) is few
    assert multi_actor._exceptions([1 - side for side in sides]) is few


def judged(
    pattern: str, *, threshold: float = -100.0, cut: float = 0.0, exceptions: bool = False, patch: Any
) -> Any:
    """The verdict when nothing but the number of switches and the score decides."""
    sides = [int(who == "B") for who in pattern]
    sessions = history(pattern)
    board = Board(readings_of(sessions), [1.0] * len(sides))
    patch.setattr(Board, "changed_for_good", lambda *_: cut)
    patch.setattr(multi_actor, "_exceptions", lambda _: exceptions)
    patch.setattr(multi_actor, "_returns", lambda *_: True)
    return multi_actor._judged(sessions, board, sides, threshold)


def test_three_switches_are_enough_and_two_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged("AABBAABB", patch=monkeypatch).reason == SUSPECTED
    found = judged("AABBBBAA", patch=monkeypatch)
    assert (found.reason, found.switches, found.suspected) == (CHANGES, 2, False)


def test_the_score_pays_the_threshold_with_and_without_the_rival_story(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    score = judged("ABABABAB", patch=monkeypatch).score
    assert judged("ABABABAB", threshold=score, patch=monkeypatch).reason == SUSPECTED
    below = judged("ABABABAB", threshold=score + 1e-6, patch=monkeypatch)
    assert (below.reason, below.score) == (ONE_SOURCE, score)
    rival = judged("ABABABAB", threshold=score - 1.0, cut=1.5, patch=monkeypatch)
    assert (rival.reason, rival.score) == (CHANGES, pytest.approx(score - 1.5))
    assert judged("ABABABAB", threshold=score - 2.0, cut=1.5, patch=monkeypatch).score == pytest.approx(
        score - 1.5
    )
    assert judged("ABABABAB", exceptions=True, patch=monkeypatch).reason == CHANGES


def test_one_witness_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(th, "MIN_WITNESSES", 3)
    assert judged("ABABABAB", patch=monkeypatch).reason == ONE_SOURCE


def test_the_pairs_that_were_tried_are_paid_for() -> None:
    assert examine(history("AB" * 6)).threshold == pytest.approx(3.0)
    more = [
        {**row, "playbook": {"session.playbook": row["client"]["session.client"]}}
        for row in history("AB" * 6)
    ]
    assert examine(more).threshold == pytest.approx(3.0 + log10(3))
    assert multi_actor._pairs([by_code([0, 1], f) for f in ("playbook", "tempo", "habit", "hours")]) == 0
    assert (
        multi_actor._pairs([by_code([0, 1], f) for f in ("client", "client", "credentials", "typing")]) == 3
    )
    alone = [{**row, "credentials": None} for row in history("AB" * 6)]
    assert (examine(alone).reason, examine(alone).decidable) == (ONE_FAMILY, False)


def test_a_family_counts_when_it_was_measured_in_half_of_the_sessions() -> None:
    rows = history("AB" * 8)
    half = [{**row, "credentials": row["credentials"] if n < 8 else None} for n, row in enumerate(rows)]
    less = [{**row, "credentials": row["credentials"] if n < 7 else None} for n, row in enumerate(rows)]
    assert examine(half).reason != ONE_FAMILY
    assert examine(less).reason == ONE_FAMILY


def test_a_family_agrees_from_nine_sessions_in_ten() -> None:
    sides = [0, 1] * 10
    nine = by_code([*sides[:18], 1, 0])
    less = by_code([*sides[:17], 0, 1, 0])
    assert agreement(nine, sides) == 0.9
    assert [r for r, _ in multi_actor._agreeing(Board([nine, less], [1.0] * 20), sides)] == [nine]
    assert multi_actor._agreeing(Board([less], [1.0] * 20), sides) == []


def test_of_a_family_and_of_a_group_the_best_reading_is_heard_once() -> None:
    sides = [0, 1] * 10
    good = by_code(list(sides), "playbook")
    fair = by_code([*sides[:18], 1, 0], "playbook")
    tempo = by_code([*sides[:18], 1, 0], "tempo")
    for order in ([good, fair, tempo], [fair, tempo, good], [tempo, fair, good]):
        chosen = multi_actor._agreeing(Board(order, [1.0] * 20), sides)
        assert {reading for reading, _ in chosen} == {good, tempo}
        assert [reading for reading, _ in multi_actor._witnesses(chosen)] == [good]


def test_a_session_weighs_half_after_thirty_days_of_event_time() -> None:
    rows = [{"ended_at": n * 30 * DAY} for n in range(3)]
    assert multi_actor._weights(rows) == [0.25, 0.5, 1.0]
    assert multi_actor._weights(rows[::-1]) == [1.0, 0.5, 0.25]


def test_the_choice_of_sides_costs_a_bit_a_session_and_naming_them_is_free() -> None:
    assert Board([], [1.0] * 7).cost() == pytest.approx(6 * log10(2))
    assert Board([], [0.5]).cost() == 0.0


def test_confidence_is_the_cap_times_the_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged("ABABABAB", patch=monkeypatch).confidence == pytest.approx(0.6)
    rows = history("AB" * 10)
    rows[-1]["client"] = {"session.client": "ssh:A"}
    found = examine(rows)
    assert found.suspected
    assert found.confidence == pytest.approx(0.6 * (0.95 + 1.0) / 2)
    assert "client is on the other side in 1 of 20 sessions" in found.against
    assert [s["agreement"] for s in found.support if s["family"] == "client"] == [0.95]


def test_a_family_that_does_not_follow_is_told_against() -> None:
    rows = [
        {**row, "playbook": {"session.playbook": "pq"[n // 2 % 2]}} for n, row in enumerate(history("AB" * 8))
    ]
    found = examine(rows)
    assert found.families == ("client", "credentials")
    assert any(line.startswith("playbook does not follow the sides") for line in found.against)
    assert set(found.primitives) == {"session.client", "session.account"}


def test_values_that_occur_once_are_one_class_and_one_class_tells_nothing() -> None:
    (client,) = readings_of(
        [{"ended_at": n, "client": {"session.client": v}} for n, v in enumerate("aabbxy")]
    )
    assert (client.codes, client.classes, client.rare) == ((1, 1, 2, 2, 0, 0), 3, True)
    (both,) = readings_of([{"ended_at": n, "client": {"session.client": v}} for n, v in enumerate("aabb")])
    assert (both.codes, both.classes, both.rare) == ((0, 0, 1, 1), 2, False)
    assert readings_of([{"ended_at": n, "client": {"session.client": v}} for n, v in enumerate("wxyz")]) == []
    assert readings_of([{"ended_at": n, "client": {"session.client": "a"}} for n in range(4)]) == []
    unsaid = [
        {"ended_at": n, "client": {"session.client": v}}
        for n, v in enumerate(["unknown", "a", "b", "a", "b"])
    ]
    assert readings_of(unsaid)[0].codes[0] is None, "the label unknown is no evidence"


@pytest.mark.parametrize(
    ("numbers", "codes"),
    [
        ([1.0, 1.0, 9.0, 9.0], (0, 0, 1, 1)),
        ([1.0, 1.0, 1.0, 9.0], None),  # one session alone is no class
        ([1.0, 9.0, 9.0, 9.0], None),
        ([5.0] * 6, None),
        ([1.0, 1.0, 9.0, 9.0, True, "9", 1e9], (0, 0, 1, 1, None, None, None)),
    ],
)
def test_numbers_are_parted_only_when_two_sessions_are_on_either_side(
    numbers: list[Any], codes: tuple[int | None, ...] | None
) -> None:
    rows = [{"ended_at": n, "tempo": {"session.duration_log2": v}} for n, v in enumerate(numbers)]
    found = readings_of(rows)
    assert ([reading.codes for reading in found] == [codes]) if codes else found == []


@pytest.mark.parametrize(
    ("sessions", "days", "counts"), [(19, 10, False), (20, 5, True), (20, 4, False), (21, 21, True)]
)
def test_hours_count_from_twenty_sessions_on_five_days(sessions: int, days: int, counts: bool) -> None:
    rows = [
        {"ended_at": (n % days) * DAY + n, "hours": {"session.hour_utc": (2, 14)[n % 2]}}
        for n in range(sessions)
    ]
    assert bool(readings_of(rows)) is counts


@pytest.mark.parametrize(("bits", "hands"), [(6, 1), (7, 2)])
def test_rhythms_within_six_bits_are_one_hand(bits: int, hands: int) -> None:
    one, other = f"{0:016x}", f"{(1 << bits) - 1:016x}"
    rows = [{"ended_at": n, "typing": {"motor.digraph_simhash": (one, other)[n % 2]}} for n in range(6)]
    assert len({code for reading in readings_of(rows) for code in reading.codes}) == (
        hands if hands > 1 else 0
    )


def test_moving_a_session_counts_what_a_fresh_count_would() -> None:
    from decnet.attribution.sides import _Tally

    reading, weights = by_code([0, 1, None, 1, 0, 1]), [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    sides = [0, 1, 0, 1, 0, 0]
    tally = _Tally(reading, weights, sides)
    for i in (5, 2, 0, 5):
        after = tally.flipped(i, sides[i])
        tally.flip(i, sides[i], after)
        sides[i] = 1 - sides[i]
        fresh = _Tally(reading, weights, sides)
        assert tally.gain == pytest.approx(fresh.gain)
        assert tally.totals == pytest.approx(fresh.totals)
        for mine, theirs in zip(tally.counts, fresh.counts, strict=True):
            assert mine == pytest.approx(theirs)


def test_only_gains_count_and_only_the_best_of_a_group() -> None:
    board = Board([by_code([0, 1], f) for f in ("client", "playbook", "tempo", "credentials")], [1.0, 1.0])
    assert board.explained([2.0, 1.0, 3.0, -5.0]) == 5.0
    assert board.explained([-2.0, -1.0, -3.0, -5.0]) == 0.0


def test_the_first_session_is_on_side_zero() -> None:
    for pattern in ("ABABABAB", "BABABABA"):
        board = Board(readings_of(history(pattern)), [1.0] * 8)
        assert board.best_sides() == [0, 1] * 4
