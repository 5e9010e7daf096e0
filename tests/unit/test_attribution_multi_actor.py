"""The test that compares sessions: found, silent and why, told in words; the figures are in tests/bench."""

from __future__ import annotations

import json
import random
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.attribution import thresholds as th
from decnet.attribution.multi_actor import CLAIM, examine, verdict_row
from decnet.attribution.readings import FAMILIES, GROUPS, readings_of
from decnet.attribution.sides import Board, agreement
from tests.simulator.operators import SINGLE_KINDS, single_history
from tests.simulator.pairs import DECIDABLE, HANDOVER, pair_history
from tests.simulator.report import first_flag, sides_agree

DAY = 86_400.0
Row = dict[str, Any]


def session(n: int, who: str, **families: Any) -> Row:
    """One session a day; both operators differ in what ``families`` do not say."""
    own: Row = {"client": {"session.client": f"ssh:{who}"}, "credentials": {"session.account": who}}
    return {"session_id": f"s{n:02}", "ended_at": n * DAY, **own, **families}


def history(pattern: str, **families: Any) -> list[Row]:
    return [session(n, who, **families) for n, who in enumerate(pattern)]


def test_two_in_turn_are_told_apart_with_everything_said() -> None:
    found = examine(history("abbabaabbabaabab"))
    assert found.suspected
    assert found.families == ("client", "credentials")
    assert found.primitives == ("session.account", "session.client")
    assert found.sides[0] == tuple(f"s{n:02}" for n, who in enumerate("abbabaabbabaabab") if who == "a")
    assert found.score >= found.threshold > th.MIN_LOG10_BAYES - 1e-9
    assert found.switches == sum(a != b for a, b in pairwise("abbabaabbabaabab"))
    assert found.confidence == pytest.approx(th.MULTI_ACTOR_MAX_CONFIDENCE)
    told = found.explanation()
    assert told["claim"] == CLAIM
    assert told["cannot_tell"]
    assert [item["family"] for item in told["support"]] == ["client", "credentials"]
    json.dumps(verdict_row("i", found))


def test_counter_evidence_is_told() -> None:
    rows = history("abbabaabbabaababab")
    rows[3]["client"] = {"session.client": "ssh:b"}
    for n, row in enumerate(rows):
        row["playbook"] = {"session.playbook": "xy"[n // 9], "session.argv0": "z"}
    found = examine(rows)
    assert found.suspected
    assert any("playbook does not follow" in text for text in found.against)
    assert any("is on the other side in 1 of 18" in text for text in found.against)
    assert found.confidence < th.MULTI_ACTOR_MAX_CONFIDENCE


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("ababa", "too_few_sessions"),
        ("aaaaaaaaaaaaaaaa", "one_family"),
        ("aaaaaaaaaabbbbbbbbbb", "changes_for_good"),
        ("aaaaaaaaaabbbbbbbbbaaaaaaaaa", "changes_for_good"),
        ("aaaaaaaaaabaaaaaaaaaabaaaaaaaa", "one_source"),
        ("aaaaaaaaaabbbbbbabbbbbbbbbbb", "changes_for_good"),
    ],
)
def test_silence_and_its_reason(pattern: str, reason: str) -> None:
    found = examine(history(pattern))
    assert (found.suspected, found.reason) == (False, reason)
    assert found.decidable == (reason not in ("too_few_sessions", "one_family"))


def test_returning_clients_alone_never_count() -> None:
    rows = [session(n, who, credentials={"session.account": "root"}) for n, who in enumerate("ab" * 30)]
    assert examine(rows).reason == "one_family"


def test_one_witness_is_heard_once() -> None:
    """Playbook, tempo and habit of one person's two routines go together: that is no second witness."""
    rows = []
    for n, who in enumerate("abbabaabbabaabababba"):
        work = {"playbook": {"session.playbook": who}, "habit": {"operational.objective": who}}
        tempo = {"session.duration_log2": 1.0 if who == "a" else 9.0 + n / 100}
        rows.append({"session_id": f"s{n:02}", "ended_at": n * DAY, **work, "tempo": tempo})
    assert examine(rows).reason == "one_family"
    assert {GROUPS[name] for name in ("playbook", "tempo", "habit", "hours")} == {"work"}
    assert set(GROUPS) == set(FAMILIES)


def test_hours_need_twenty_sessions_on_five_days() -> None:
    def with_hours(count: int, per_day: int) -> list[Row]:
        return [
            {
                "session_id": str(n),
                "ended_at": n // per_day * DAY + n,
                "hours": {"session.hour_utc": 3 if n % 2 else 15},
            }
            for n in range(count)
        ]

    assert [r.family for r in readings_of(with_hours(20, 4))] == ["hours"]
    assert readings_of(with_hours(19, 1)) == []
    assert readings_of(with_hours(40, 10)) == []


def test_hours_are_cut_on_the_round_clock() -> None:
    hours = [23, 0, 1, 12, 13, 11] * 4
    rows = [
        {"session_id": str(n), "ended_at": n * DAY, "hours": {"session.hour_utc": hour}}
        for n, hour in enumerate(hours)
    ]
    (reading,) = readings_of(rows)
    assert len({reading.codes[0], reading.codes[1], reading.codes[2]}) == 1
    assert reading.codes[3] == reading.codes[4] == reading.codes[5] != reading.codes[0]


def test_pasted_sessions_say_nothing_about_the_typist() -> None:
    rows = history("ab" * 8)
    for n, row in enumerate(rows):
        row["typing"] = {
            "motor.input_modality": "pasted" if n % 2 else "typed",
            "session.key_gap_log2": -5.0 if n % 2 else -2.0 + n / 100,
        }
    assert all(r.coverage <= 0.5 for r in readings_of(rows) if r.family == "typing")


def test_old_evidence_decays_in_event_time() -> None:
    rows = history("abbabaabbabaabab")
    assert examine(rows).suspected
    later = [{**session(n, "a"), "ended_at": 16 * DAY + 400 * DAY + n} for n in range(16, 40)]
    assert not examine(rows + later).suspected
    moved = [{**row, "ended_at": row["ended_at"] - 4000 * DAY} for row in rows]
    assert examine(moved).sides == examine(rows).sides


def test_only_the_last_sessions_are_looked_at() -> None:
    rows = history("ab" * 20 + "a" * th.MULTI_ACTOR_SESSIONS)
    assert examine(rows).sessions == th.MULTI_ACTOR_SESSIONS
    assert not examine(rows).suspected


def test_a_full_window_is_examined_in_little_time() -> None:
    rows = pair_history(("client", "account", "work"), "random", 5, count=64).rows
    started = time.process_time()
    for _ in range(5):
        assert examine(rows).suspected
    assert (time.process_time() - started) / 5 < 0.5


def test_agreement_is_counted_where_the_family_was_measured() -> None:
    (reading,) = readings_of(
        [
            session(
                n,
                "aabb"[n % 4],
                client=None if n == 3 else {"session.client": "xxyy"[n % 4]},
                credentials=None,
            )
            for n in range(8)
        ]
    )
    assert agreement(reading, [0, 0, 1, 0, 0, 0, 1, 1]) == 1.0
    assert agreement(reading, [0, 0, 1, 1, 0, 1, 1, 1]) == pytest.approx(6 / 7)


def test_an_improved_assignment_is_never_worse_than_its_start() -> None:
    rows = single_history("varied", 3)
    readings = readings_of(rows)
    board = Board(readings, [1.0] * len(rows))
    best = board.explained(board.gains(board.best_sides()))
    assert all(best >= board.explained(board.gains(start)) - 1e-9 for start in board._seeds())


def test_a_sample_of_single_operators_stays_unflagged() -> None:
    flagged = [
        kind for kind in SINGLE_KINDS for seed in (1, 2) if examine(single_history(kind, seed)).suspected
    ]
    assert flagged == []


def test_a_sample_of_pairs_is_found_with_the_right_sides() -> None:
    found = good = total = 0
    for kind in DECIDABLE:
        for pattern in ("random", "in turn"):
            past = pair_history(kind, pattern, 77)
            _, verdict = first_flag(past.rows, 20)
            total += 1
            found += verdict.suspected
            good += verdict.suspected and sides_agree(past, verdict) >= 0.9
    assert found >= 0.8 * total
    assert good == found


def test_a_handover_is_not_called_sharing() -> None:
    assert not any(examine(pair_history(kind, HANDOVER, 3).rows).suspected for kind in DECIDABLE)


JUNK = st.sampled_from(
    [None, True, 0, -1, 10**30, float("nan"), float("inf"), 3.5, "", "a", "ff" * 8, [], [1], {}, {"a": "b"}]
)
NAMES = st.sampled_from(
    [
        "session.client",
        "session.argv0",
        "session.duration_log2",
        "session.account",
        "motor.digraph_simhash",
        "session.hour_utc",
        "x",
    ]
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {family: JUNK | st.dictionaries(NAMES, JUNK, max_size=3) for family in FAMILIES}
        ),
        min_size=6,
        max_size=12,
    )
)
def test_no_features_upset_the_test(rows: list[Row]) -> None:
    numbered = [{**row, "session_id": str(n), "ended_at": float(n)} for n, row in enumerate(rows)]
    json.dumps(examine(numbered).explanation())


def test_the_same_sessions_give_the_same_verdict() -> None:
    past = pair_history(("client", "account", "work", "hours"), "runs", 9).rows
    shuffled = random.Random(1).sample(past, len(past))
    again = sorted(shuffled, key=lambda row: (row["ended_at"], row["session_id"]))
    assert examine(again) == examine(past)
