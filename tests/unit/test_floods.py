"""Which lines are like requests; what a flood's tags become. Pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from decnet.db.rows.ttp import StoredTag, TTPTag
from decnet.ttp import backfill
from decnet.ttp.base import TaggerEvent
from decnet.ttp.floods import FEWEST, Flood, address_asked, alike, folded, tells_floods
from decnet.ttp.store.base import listing_of
from tests.ruledrive import shipped

HOST = "https://victim.example.net"


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        (f"curl -s {HOST}/?q=0", f"{HOST}/"),
        (f'curl -s -A "Mozilla/5.0 (X11; Linux)" {HOST}/?q=77', f"{HOST}/"),
        (f"curl -sk {HOST}", f"{HOST}/"),
        (f"busybox wget -q -O /dev/null {HOST}/#a", f"{HOST}/"),
        (f"nohup timeout 5 ./x {HOST}/ > /dev/null", f"{HOST}/"),
        ("wget http://Victim.example.net:8080/a/b?c", "http://victim.example.net:8080/a/b"),
        (f"curl -e http://elsewhere.example/ {HOST}/a", f"{HOST}/a"),
        (f"curl -x http://203.0.113.7:3128 {HOST}/", f"{HOST}/"),
    ],
)
def test_a_request_is_a_line_that_asks_one_address_whatever_the_program(line: str, asked: str) -> None:
    assert address_asked(line) == asked


@pytest.mark.parametrize(
    "line",
    [
        f"curl {HOST}/x | sh",
        f"curl {HOST}/x; id",
        f"curl {HOST}/$(id)",
        f"curl {HOST}/ https://other.example/",
        f"echo {HOST}/",
        f"sh -c 'curl {HOST}/'",
        f"{HOST}/",
        f"U={HOST}/",
        "curl victim",
        "curl http://[x/",
        "curl " + "x" * 9000 + f" {HOST}/",
    ],
)
def test_a_line_that_does_anything_else_is_no_request_of_a_flood(line: str) -> None:
    assert address_asked(line) is None


@pytest.mark.parametrize(
    "line",
    [
        f"curl -s {HOST}/a?1; curl -s {HOST}/a?2",
        f"wget -qO- {HOST}/a && sleep 1",
        f"python3 -c \"import requests; requests.get('{HOST}/a?q=1')\"",
    ],
)
def test_a_line_that_asks_again_or_waits_or_has_an_interpreter_ask_is_a_request(line: str) -> None:
    assert address_asked(line) == f"{HOST}/a"


def test_addresses_that_only_numbers_tell_apart_are_alike() -> None:
    one = {f"{HOST}/p/{n}": {f"c{n}": float(n)} for n in range(FEWEST)}
    (together,) = alike(one).items()
    assert together == (f"{HOST}/p/#", {f"c{n}": float(n) for n in range(FEWEST)})
    assert alike(dict(list(one.items())[1:])) == {}


def test_an_address_that_enough_ask_for_stays_by_itself() -> None:
    many = {f"c{n}": float(n) for n in range(FEWEST)}
    found = {f"{HOST}/v1": many} | {f"{HOST}/v{n}": {f"d{n}": 0.0} for n in range(2, FEWEST)}
    assert alike(found) == {f"{HOST}/v1": many}


def test_other_words_and_other_hosts_are_not_alike() -> None:
    pages = {f"{HOST}/{'x' * n}": {f"c{n}": 0.0} for n in range(1, 2 * FEWEST)}
    hosts = {f"https://h{n}.example.net/1": {f"c{n}": 0.0} for n in range(2 * FEWEST)}
    assert alike(pages) == alike(hosts) == {}


def test_one_shipped_rule_tells_floods_and_it_reads_more_than_is_asked_of_it() -> None:
    (rule,) = (rule for rule in shipped() if tells_floods(rule))
    assert rule.rule_id == "R0870"
    assert rule.condition is not None
    limit = 1000
    assert limit > FEWEST
    assert rule.condition.find({"flood_count": limit - 1}.get) is None
    assert rule.condition.find({"flood_count": limit}.get) is not None


TOLD = TTPTag(
    source_kind="session", source_id="s#flood#u", tactic="TA0040", technique_id="T1499", sub_technique_id="T1499.002",
    confidence=0.9, rule_id="R0870", rule_version=1, attacker_uuid="a", session_id="s",
)  # fmt: skip
FLOOD = Flood(TaggerEvent("session", "s#flood#u"), {"a": (1.0, "a"), "b": (1.0, "b"), "c": (2.0, "c")})


def said(source: str, rule: str = "R0145", kind: str = "command") -> TTPTag:
    return TTPTag(
        source_kind=kind, source_id=source, tactic="TA0011", technique_id="T1105", confidence=0.5, rule_id=rule,
        rule_version=1, attacker_uuid="a", session_id="s",
    )  # fmt: skip


def standing(tag: TTPTag) -> StoredTag:
    return {
        "uuid": tag.uuid, "session_id": "s", "source_kind": "command", "evidence": None, "replaced_by": None, "source_id": tag.source_id, "rule_id": tag.rule_id, "rule_version": tag.rule_version,
        "technique_id": tag.technique_id, "sub_technique_id": tag.sub_technique_id, "tactic": tag.tactic,
        "confidence": tag.confidence,
    }  # fmt: skip


def test_the_earliest_stands_and_of_one_moment_the_first_id_whether_stored_or_new() -> None:
    a, b, c = (said(source) for source in "abc")
    both = folded([TOLD, c, b], [standing(a)], [FLOOD], shipped())
    assert both == ([TOLD], {}, {})
    later = folded([TOLD, a], [standing(b), standing(c)], [FLOOD], shipped())
    assert later == ([TOLD, a], {b.uuid: a.uuid, c.uuid: a.uuid}, {})


def test_what_a_rule_says_of_several_events_and_what_is_no_request_stands() -> None:
    rule_id = next(rule.rule_id for rule in shipped() if rule.correlation is not None)
    over_many = [standing(said(source, rule_id)) for source in "ac"]
    others = [said("d"), said("e")]
    assert folded([TOLD, *others], over_many, [FLOOD], shipped()) == ([TOLD, *others], {}, {})


def test_without_a_tag_of_its_flood_every_request_speaks_for_itself() -> None:
    tags = [said("a"), said("b"), said("s#flood#u", "R0101", "session")]
    assert folded(tags, [standing(said("c"))], [FLOOD], shipped()) == (tags, {}, {})


def test_back_fill_of_some_rules_takes_along_what_tells_floods_whether_it_replaces_or_not() -> None:
    rules = [rule for rule in shipped() if rule.rule_id in ("R0870", "R0101", "R0033")]
    rows = listing_of(rules, ())
    plain = [replace(row, yaml=row.yaml.replace("replaces: [T1071.001]", "replaces: []")) for row in rows]
    for listing in (rows, plain):
        assert [rule.rule_id for rule in backfill._rules(listing, ["R0101"])] == ["R0101", "R0870"]
    assert [bool(rule.replaces) for rule in backfill._rules(plain, ["R0870"])] == [False]
