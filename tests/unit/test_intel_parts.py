"""What providers say of an attacker is put together by provider, whatever order the answers come in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.events.attacker import IntelEnriched
from decnet.events.intel import PARTS, REST, Part, merged, newest, parts_of

Payload = dict[str, Any]
ABUSE: Payload = {"providers": ["abuseipdb"], "abuseipdb_score": 90.0, "abuseipdb_categories": [18, 22]}
NOISE: Payload = {
    "providers": ["greynoise"],
    "greynoise_classification": "malicious",
    "greynoise_tags": ["Mirai"],
}
WHO = {"attacker_ip": "203.0.113.5"}


def put(*answers: tuple[float, Payload]) -> Payload:
    """The payload that answers come to, each taken in after the one before."""
    parts: Mapping[str, Part] = {}
    for ts, payload in answers:
        parts = newest(parts, parts_of(ts, payload))
    return merged(parts).payload


def test_an_answer_of_one_provider_erases_nothing_of_another() -> None:
    both = {**ABUSE, **NOISE, "providers": ["abuseipdb", "greynoise"]}
    assert put((1.0, ABUSE), (2.0, NOISE)) == put((2.0, NOISE), (1.0, ABUSE)) == both


def test_an_older_answer_of_a_provider_does_not_replace_its_newer_one() -> None:
    old: Payload = {
        "providers": ["greynoise"],
        "greynoise_classification": "benign",
        "greynoise_name": "Once",
    }
    for answers in permutations([(2.0, NOISE), (1.0, old), (1.5, ABUSE)]):
        assert put(*answers) == {**ABUSE, **NOISE, "providers": ["abuseipdb", "greynoise"]}
    assert put((3.0, old), (2.0, NOISE)) == old, "and its newer one replaces all that it said before"


def test_one_answer_stays_as_it_came() -> None:
    for payload in (
        {**WHO, **ABUSE, "aggregate_verdict": "suspicious"},
        {**WHO, "feodo_listed": True, "feodo_malware_family": "Emotet"},
        {**WHO, "aggregate_verdict": "x"},
        {**WHO, "abuseipdb_score": 0.0, "ptr": "a.example"},
        {"n": 1},
    ):
        assert put((1.0, payload)) == payload


def test_a_provider_that_was_asked_and_knows_nothing_takes_its_word_back() -> None:
    asked: Payload = {
        "providers": ["abuseipdb", "greynoise"],
        "greynoise_classification": None,
        "abuseipdb_score": 1.0,
    }
    assert put((1.0, {**NOISE, **WHO}), (2.0, asked)) == {
        "abuseipdb_score": 1.0,
        "providers": ["abuseipdb", "greynoise"],
    }
    unlisted: Payload = {"providers": ["feodo"], "feodo_listed": False}
    assert put((1.0, {"feodo_listed": True}), (2.0, unlisted)) == unlisted


def test_a_producer_that_writes_every_field_speaks_of_those_it_names_only() -> None:
    record = IntelEnriched.parse({**WHO, **NOISE})
    every = record.said(dict.fromkeys((*PARTS, "aggregate_verdict", *record.build())))
    assert every["feodo_listed"] is False
    assert every["abuseipdb_categories"] == []
    found = put((1.0, {**ABUSE, "feodo_listed": True}), (2.0, every))
    assert (found["abuseipdb_score"], found["abuseipdb_categories"], found["feodo_listed"]) == (
        90.0,
        [18, 22],
        True,
    )
    assert found["greynoise_tags"] == ["Mirai"]


def test_a_score_alone_leaves_the_categories_of_a_look_up() -> None:
    reported: Payload = {"providers": ["abuseipdb"], "abuseipdb_score": 83.0}
    assert put((1.0, ABUSE), (2.0, reported)) == {**ABUSE, "abuseipdb_score": 83.0}


def test_a_verdict_stands_while_an_answer_that_it_was_made_of_stands() -> None:
    both = {**ABUSE, **NOISE, "providers": ["abuseipdb", "greynoise"], "aggregate_verdict": "malicious"}
    partly: Payload = {**NOISE, "aggregate_verdict": "unknown"}
    assert put((1.0, both), (2.0, partly))["aggregate_verdict"] == "malicious"
    assert put((1.0, both), (2.0, {**both, "aggregate_verdict": "benign"}))["aggregate_verdict"] == "benign"
    assert (
        put((1.0, both), (2.0, {**both, "aggregate_verdict": "odd"}), (3.0, partly))["aggregate_verdict"]
        == "odd"
    )
    alone = {"aggregate_verdict": "malicious"}
    assert put((1.0, alone), (2.0, NOISE)) == {**NOISE, **alone}


def test_of_one_time_the_answer_counts_that_says_more() -> None:
    less, more = {"greynoise_tags": ["zzz"]}, {"greynoise_tags": ["aaa", "b"]}
    assert put((1.0, more), (1.0, less)) == put((1.0, less), (1.0, more)) == more


def test_providers_that_nobody_knows_are_named_and_take_no_room_each() -> None:
    parts = reduce(newest, (parts_of(float(i), {"providers": [f"new{i}"]}) for i in range(50)))
    assert len(parts) == 2
    assert merged(parts).payload == {"providers": ["new49"]}
    assert put((1.0, {"providers": ["shodan"]}), (2.0, NOISE))["providers"] == ["greynoise", "shodan"]


def test_the_time_is_that_of_the_newest_answer() -> None:
    parts = newest(parts_of(5.0, NOISE), parts_of(9.0, ABUSE))
    assert merged(parts).ts == 9.0
    assert merged(newest(parts, parts_of(7.0, ABUSE))).ts == 9.0
    assert parts[REST]["ts"] == 9.0
    with pytest.raises(ValueError, match="empty"):
        merged({})


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "abuseipdb_score": st.sampled_from([0.0, 50.0, None]),
    "abuseipdb_categories": st.sampled_from([[], [18], [22, 18]]),
    "greynoise_classification": st.sampled_from(["malicious", "benign", None]),
    "greynoise_tags": st.sampled_from([[], ["Mirai"]]),
    "feodo_listed": st.booleans(),
    "aggregate_verdict": st.sampled_from(["unknown", "benign", "malicious", "odd"]),
    "providers": st.lists(st.sampled_from(["abuseipdb", "greynoise", "feodo", "other"]), max_size=3),
}
_ANSWERS = st.lists(
    st.tuples(st.sampled_from([-1.0, 0.0, 1.0, 1.5, 2.0]), st.fixed_dictionaries({}, optional=_VALUES)),
    min_size=1, max_size=6,
)  # fmt: skip


@given(_ANSWERS, st.randoms(use_true_random=False))
def test_any_order_number_and_grouping_of_answers_come_to_the_same(
    answers: list[tuple[float, Payload]], chance: Any
) -> None:
    told = [parts_of(ts, payload) for ts, payload in answers]
    again = [*told, *chance.choices(told, k=2)]
    chance.shuffle(again)
    cut = chance.randrange(len(again) + 1)
    halves = (reduce(newest, again[:cut], {}), reduce(newest, again[cut:], {}))
    assert newest(*halves) == reduce(newest, told)


@given(
    st.lists(
        st.tuples(st.sampled_from([1.0, 2.0, 3.0]), st.sampled_from(["a", "b", "c"])), min_size=1, max_size=6
    )
)
def test_the_newest_answer_of_a_provider_is_the_one_that_is_read(said: list[tuple[float, str]]) -> None:
    answers: list[tuple[float, Payload]] = [
        (ts, {"greynoise_name": name, "providers": ["greynoise"]}) for ts, name in said
    ]
    latest = max(ts for ts, _ in said)
    assert put((0.5, ABUSE), *answers)["greynoise_name"] in {name for ts, name in said if ts == latest}
