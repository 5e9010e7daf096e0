"""Sigma rules as rules of ours: what they say stays, what cannot be said is told, nothing is carried over that cannot fire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from decnet.attack.catalogue import load_catalogue
from decnet.ttp.loader import load_bytes
from decnet.ttp.matcher import Failures, RuleIndex
from decnet.ttp.rules import CompiledRule
from decnet.ttp.selftest import run_rule_tests
from decnet.ttp.sigma.importing import licence_beside
from decnet.ttp.sigma.library import MAX_NESTING, MAX_VALUES, MAX_WORDS
from decnet.ttp.sigma.techniques import EARLIER
from tests.sigmakit import correlation, imported, one, reference, sigma


def rule_of(told: Any) -> CompiledRule:
    assert told.files, told.reason
    ((name, text),) = told.files.items()
    rule, errors = load_bytes(text.encode(), name)
    assert rule is not None, errors
    assert run_rule_tests([rule]) == []
    return rule


def fires(rule: CompiledRule, line: str) -> bool:
    return bool(RuleIndex([rule]).hits("command", {"command_text": line}, Failures())[0])


def carried(place: Path, **detection: Any) -> CompiledRule:
    return rule_of(one(place, detection=detection))


# --- what is carried over


def test_what_others_must_be_named_for_stays_with_the_rule(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("# Terms\nreleased under the Detection Rule License (DRL) 1.1\n")
    told = one(
        tmp_path / "in",
        title="Netcat: Reverse",
        description="Somebody listens.",
        references=["https://example.org/a"],
    )
    said = yaml.safe_load(next(iter(told.files.values())))
    assert told.rule_ids == (said["rule_id"],) == ("SG-0a1b2c3d",)
    assert said["origin"] == {
        "format": "sigma", "id": "0a1b2c3d-0000-4000-8000-000000000001", "author": "A. Author",
        "licence": "Detection Rule License (DRL) 1.1", "level": "high", "status": "test",
    }  # fmt: skip
    assert (
        said["description"]
        == "Somebody listens.\nBy A. Author, after Sigma (Detection Rule License (DRL) 1.1)."
    )
    assert (said["name"], said["references"]) == ("netcat_reverse", ["https://example.org/a"])
    assert said["emits"] == [
        {"tactic": "TA0002", "technique_id": "T1059", "sub_technique_id": "T1059.004", "confidence": 0.7}
    ]
    assert next(iter(told.files.values())).startswith("# yaml-language-server: $schema=rule.schema.json\n")


@pytest.mark.parametrize(("level", "confidence"), [("informational", 0.3), ("low", 0.4), ("medium", 0.55), ("high", 0.7), ("critical", 0.85), ("", 0.55)])  # fmt: skip
def test_a_level_is_worth_a_confidence_and_none_is_too_low_to_be_stored(
    tmp_path: Path, level: str, confidence: float
) -> None:
    rule = rule_of(one(tmp_path, level=level or None))
    assert [emit.confidence for emit in rule.emits] == [confidence]
    assert confidence >= 0.3


PROGRAMS = [
    (
        {"Image|endswith": "/nc"},
        ["nc -l", "/usr/bin/nc", "sudo nc x", "cd /; nc a"],
        ["ncat", "echo nc", "sync"],
    ),
    ({"Image": "/usr/bin/dd"}, ["dd if=a", "/bin/dd"], ["add x", "echo dd"]),
    ({"Image|endswith": "/sudo"}, ["sudo id", "/usr/bin/sudo -i"], ["id", "pseudo"]),
    ({"Image|startswith": "/tmp/"}, ["/tmp/x", "/tmp/a/b -c"], ["ls /tmp/x", "tmp/x"]),
    ({"Image|contains": "/python"}, ["python3 -c a", "/usr/bin/python2.7"], ["ipython", "echo /python"]),
    ({"Image|endswith": "bpftrace"}, ["bpftrace -e", "my-bpftrace x"], ["bpftraced", "echo bpftrace"]),
    ({"Image|endswith": "/opt/x/agent"}, ["/opt/x/agent -r"], ["agent -r", "/opt/y/agent"]),
    ({"Image": "*/nc"}, ["nc -l"], ["ncat"]),
]


@pytest.mark.parametrize(("selection", "yes", "no"), PROGRAMS)
def test_a_program_is_known_by_what_is_typed(
    tmp_path: Path, selection: Any, yes: list[str], no: list[str]
) -> None:
    rule = carried(tmp_path, selection=selection, condition="selection")
    assert [line for line in yes if not fires(rule, line)] == []
    assert [line for line in no if fires(rule, line)] == []


TEXTS = [
    ({"CommandLine|contains": "a.b"}, ["x A.B y"], ["axb"]),
    ({"CommandLine|contains": "a*b"}, ["xaZZby", "ab"], ["ba"]),
    ({"CommandLine|contains": "a\\*b"}, ["a*b"], ["aXb"]),
    ({"CommandLine|contains": "a?c"}, ["abc"], ["ac"]),
    ({"CommandLine": "w*"}, ["who", "w"], ["sudo"]),
    ({"CommandLine|startswith": "sh -"}, ["sh -c x"], ["echo sh -c"]),
    ({"CommandLine|endswith": ".service"}, ["touch a.service"], ["touch a.service b"]),
    ({"CommandLine|contains|all": ["-a", "-b"]}, ["x -b -a"], ["x -a"]),
    ({"CommandLine|contains|cased": "Abc"}, ["Abc"], ["abc"]),
    ({"CommandLine|re": "-(W|R)\\s"}, ["x -W y"], ["x -w y"]),
    ({"CommandLine|re|i": "-(W|R)\\s"}, ["x -w y"], ["x w y"]),
    ({"CommandLine|contains|windash": " -e "}, ["x -e y", "x /e y"], ["xe"]),
    ({"CommandLine|base64|contains": "/bin/sh"}, ["echo L2Jpbi9zaA== x"], ["echo /bin/sh"]),
    (
        {"CommandLine|base64offset|contains": "/bin/sh"},
        ["x L2Jpbi9za", "x 9iaW4vc2", "x vYmluL3No"],
        ["echo /bin/sh"],
    ),
    (["wget", "curl"], ["a WGET b", "curl"], ["get"]),
]


@pytest.mark.parametrize(("selection", "yes", "no"), TEXTS)
def test_a_text_is_looked_for_as_its_modifiers_say(
    tmp_path: Path, selection: Any, yes: list[str], no: list[str]
) -> None:
    rule = carried(tmp_path, selection=selection, condition="selection")
    assert [line for line in yes if not fires(rule, line)] == []
    assert [line for line in no if fires(rule, line)] == []


CONDITIONS = [
    ("a and b", ["aa bb"], ["aa", "bb"]),
    ("a or b", ["aa", "bb"], ["cc"]),
    ("a and not b", ["aa"], ["aa bb"]),
    ("not (a or b) and c", ["cc"], ["aa cc", "bb cc"]),
    ("1 of *", ["cc"], ["dd"]),
    ("all of them", ["aa bb cc"], ["aa bb"]),
    ("a or b and c", ["aa", "bb cc"], ["bb"]),
    (["a", "b"], ["aa", "bb"], ["cc"]),
]


@pytest.mark.parametrize(("condition", "yes", "no"), CONDITIONS)
def test_a_condition_joins_its_detections(
    tmp_path: Path, condition: Any, yes: list[str], no: list[str]
) -> None:
    detection = {n: {"CommandLine|contains": n * 2} for n in "abc"} | {"condition": condition}
    rule = carried(tmp_path, **detection)
    assert [line for line in yes if not fires(rule, line)] == []
    assert [line for line in no if fires(rule, line)] == []
    for line in (*yes, *no, "aa bb cc", "x"):
        assert fires(rule, line) == reference({"detection": detection}, line), line


@pytest.mark.parametrize(
    "text",
    ["", "a and", "(a", "a b", "a | count() > 5", "2 of a*", "1 of x*", "z", "not", 5, ["a", "z"]],
)
def test_a_condition_that_cannot_be_read_is_refused_with_its_reason(tmp_path: Path, text: Any) -> None:
    detection = {"a": {"CommandLine|contains": "a"}, "ab": {"CommandLine|contains": "b"}, "condition": text}
    told = one(tmp_path, detection=detection)
    assert not told.files
    assert "condition" in told.reason


def _long(words: int) -> dict[str, Any]:
    return {"a": {"CommandLine|contains": "a"}, "condition": "a or " * (words // 2) + "a"}


def _deep(brackets: int) -> dict[str, Any]:
    return {"a": {"CommandLine|contains": "a"}, "condition": "(" * brackets + "a" + ")" * brackets}


def _negated(times: int) -> dict[str, Any]:
    return {"a": {"CommandLine|contains": "a"}, "condition": "not " * times + "a"}


def _lists(depth: int) -> dict[str, Any]:
    inner: Any = {"CommandLine|contains": "a"}
    for _ in range(depth - 2):
        inner = [inner]
    return {"a": inner, "condition": "a"}


def _many(values: int) -> dict[str, Any]:
    return {"a": {"CommandLine|contains": [f"a{n % 7}" for n in range(values - 1)]}, "condition": "a"}


@pytest.mark.parametrize(
    ("made", "most", "reason"),
    [
        (_long, MAX_WORDS - 1, "its condition has over 500 words"),
        (_deep, MAX_NESTING, "its condition nests over 30 deep"),
        (_negated, MAX_NESTING, "its condition nests over 30 deep"),
        (_lists, MAX_NESTING, "a detection nests over 30 deep"),
        (_many, MAX_VALUES, "its detections have over 2000 values"),
    ],
)
def test_what_would_take_the_library_long_is_bounded_before_it_reads(
    tmp_path: Path, made: Any, most: int, reason: str
) -> None:
    assert carried(tmp_path / "most", **made(most))
    over = one(tmp_path / "over", detection=made(most + 2 if made is _long else most + 1))
    assert (over.files, over.reason) == ({}, reason)


# --- what is not


def test_what_a_command_does_not_say_falls_away_and_is_told(tmp_path: Path) -> None:
    told = one(tmp_path, detection={
        "selection": {"Image|endswith": "/rm"},
        "filter_a": {"ParentImage|endswith": "/dpkg"},
        "filter_b": {"CommandLine|contains": "/sysstat/"},
        "condition": "selection and not 1 of filter_*",
    })  # fmt: skip
    assert told.notes == ("filter_a asks for ParentImage, which a typed command does not say: left out",)
    rule = rule_of(told)
    assert fires(rule, "rm -rf /var/log")
    assert not fires(rule, "rm /var/log/sysstat/x")


REFUSED = [
    ({"detection": {"s": {"ParentImage": "/a"}, "condition": "s"}}, "it asks for ParentImage, which a typed command does not say"),
    ({"detection": {"s": {"CommandLine|re": "a(?=b)"}, "condition": "s"}}, "invalid perl operator: (?="),
    ({"detection": {"s": {"CommandLine|re": "(a)\\1"}, "condition": "s"}}, "invalid escape sequence: "),
    ({"detection": {"s": {"CommandLine|fieldref": "Image"}, "condition": "s"}}, "another field (fieldref) is no text"),
    ({"detection": {"s": {"CommandLine|shoes": "a"}, "condition": "s"}}, "pySigma does not take it: Unknown modifier 'shoes'"),
    ({"detection": {"s": {"CommandLine|expand": "%mine%"}, "condition": "s"}}, "a list of its user's own (expand)"),
    ({"detection": {"s": {"CommandLine|re|expand": "a%mine%"}, "condition": "s"}}, "a list of its user's own (expand)"),
    ({"detection": {"s": {"CommandLine|hour": 5}, "condition": "s"}}, "a part of a time is no text"),
    ({"detection": {"s": {"CommandLine": True}, "condition": "s"}}, "yes or no is no text"),
    ({"detection": {"s": {"CommandLine|re": 5}, "condition": "s"}}, "an expression that is no text"),
    ({"detection": {"s": {"CommandLine|contains": [[1]]}, "condition": "s"}}, "pySigma does not take it"),
    ({"detection": {"s": [], "condition": "s"}}, "it never holds"),
    ({"level": "loud"}, "'loud' is not a valid Sigma rule level"),
    ({"author": ["one", "two"]}, "pySigma does not take it"),
    ({"detection": {"s": {"CommandLine|gt": 5}, "condition": "s"}}, "gt says nothing of a text"),
    ({"detection": {"s": {"Image|re": ".*/x"}, "condition": "s"}}, "whole path of a program"),
    ({"detection": {"s": {"User": "root"}, "condition": "not s"}}, "it asks for User"),
    ({"detection": {"s": {"CommandLine": None}, "condition": "s"}}, "it asks for an empty command"),
    ({"detection": {"s": {"CommandLine|contains": "a"}}}, "it has no condition"),
    ({"detection": {"s": {"Image|endswith": "/nc"}, "f": {"CommandLine|contains": "nc"}, "condition": "s and not f"}}, "nothing that a typed command says makes it hold"),
    ({"tags": ["attack.execution"]}, "it names no ATT&CK technique of release 18.1 (only execution)"),
    ({"tags": ["attack.t9999"]}, "it names no ATT&CK technique"),
    ({"logsource": {"category": "process_creation", "product": "windows"}}, "what is not read here (category process_creation, product windows)"),
    ({"logsource": {"category": "proxy"}}, "a decoy sees what comes"),
    ({"logsource": {"service": "nginx"}}, "a web server's own errors"),
    ({"title": ""}, "it has no title"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "reason"), REFUSED)
def test_what_is_not_carried_over_says_why(tmp_path: Path, rule: Any, reason: str) -> None:
    told = one(tmp_path, **rule)
    assert not told.files
    assert reason in told.reason


def test_files_that_are_no_rules_cost_only_themselves(tmp_path: Path) -> None:
    (tmp_path / "twice.yml").write_text("title: a\ntitle: b\n")
    (tmp_path / "bytes.yml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "list.yml").write_text("- a\n")
    (tmp_path / "old.yml").write_text("action: global\ntitle: a\n")
    (tmp_path / "long.yml").write_text("a: " + "x" * 262_145)
    (tmp_path / "anchor.yml").write_text("title: &a b\nid: *a\n")
    (tmp_path / "notes.txt").write_text("not looked at")
    told = imported(tmp_path, sigma())
    reasons = {Path(one.where.split(":")[0]).stem: one.reason for one in told}
    assert reasons.pop("rule_0") == ""
    assert reasons.keys() == {"twice", "bytes", "list", "old", "long", "anchor"}
    assert all(reasons.values())
    assert reasons["long"] == "the file is over 256 KiB"


def test_two_rules_with_one_id_are_not_both_carried_over(tmp_path: Path) -> None:
    first, second = imported(tmp_path, sigma(), sigma("Another"))
    assert first.files
    assert "its id begins like that of" in second.reason


def test_a_technique_can_be_given_to_rules_that_name_none(tmp_path: Path) -> None:
    (told,) = imported(tmp_path, sigma(tags=["attack.execution"]), technique="T1059")
    assert [emit.technique_id for emit in rule_of(told).emits] == ["T1059"]
    assert "it names no technique: T1059 was given to it" in told.notes


def test_techniques_of_a_later_release_are_told_by_their_earlier_names(tmp_path: Path) -> None:
    told = one(tmp_path, tags=["attack.defense-impairment", "attack.t1685.006"])
    (emit,) = rule_of(told).emits
    assert (emit.tactic, emit.sub_technique_id) == ("TA0005", "T1070.002")
    assert told.notes == ("T1685.006 is called T1070.002 in ATT&CK 18.1",)
    for later, earlier in EARLIER.items():
        assert load_catalogue().resolve(earlier) is not None
        assert load_catalogue().get(later) is None, "it is known under its own name"


def test_hostile_text_of_a_rule_loads_as_text(tmp_path: Path) -> None:
    told = one(tmp_path, title="a\x1b[2J", author="x\x07\x9b", description="d" * 9000)
    rule = rule_of(told)
    assert len(rule.description) <= 4000
    assert not set("\x1b\x07\x9b") & {*rule.description, *next(iter(told.files.values()))}


def test_the_licence_is_the_one_beside_the_rules_or_above_them(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert licence_beside(below) == ""
    (tmp_path / "LICENSE").write_text("\n# My Licence 2\nmore\n")
    assert licence_beside(below) == "My Licence 2"


# --- web servers


def test_rules_of_a_web_server_look_at_requests(tmp_path: Path) -> None:
    rule = rule_of(one(tmp_path, tags=["attack.t1190"], logsource={"category": "webserver"}, detection={
        "selection": {"cs-method": "GET"}, "keywords": ["=<script>", "sqlmap"], "filter": {"sc-status": 404},
        "condition": "selection and keywords and not filter",
    }))  # fmt: skip
    index = RuleIndex([rule])

    def holds(**payload: Any) -> bool:
        return bool(index.hits("http_request", payload, Failures())[0])

    assert holds(method="GET", raw_url="/?a=<script>")
    assert holds(method="GET", raw_url="/", user_agent="SQLmap/1", status=200)
    assert not holds(method="GET", raw_url="/?a=<script>", status=404)
    assert not holds(method="POST", raw_url="/?a=<script>")


def test_a_stem_ends_at_the_question_mark(tmp_path: Path) -> None:
    rule = rule_of(one(tmp_path, tags=["attack.t1190"], logsource={"category": "webserver"}, detection={
        "selection": {"cs-uri-stem|endswith": "/bash"}, "condition": "selection"}))  # fmt: skip
    index = RuleIndex([rule])
    held = {
        url: bool(index.hits("http_request", {"raw_url": url}, Failures())[0])
        for url in ("/util/bash", "/util/bash?a=1", "/x?/bash")
    }
    assert held == {"/util/bash": True, "/util/bash?a=1": True, "/x?/bash": False}


# --- correlations

BASE = sigma("Base", "bbbbbbbb-0000-4000-8000-000000000001", name="base_nc")
OTHER = sigma("Other", "cccccccc-0000-4000-8000-000000000001", name="base_id",
              detection={"selection": {"Image|endswith": "/id"}, "condition": "selection"})  # fmt: skip


def test_so_many_events_are_a_window(tmp_path: Path) -> None:
    told = imported(tmp_path, BASE, correlation("event_count", ["base_nc"], condition={"gt": 2}))
    assert told[0].reason == "it is only part of a correlation rule, which has it"
    rule = rule_of(told[1])
    assert rule.correlation is not None
    assert (rule.correlation.count, rule.correlation.within_s, rule.correlation.by) == (
        3,
        300.0,
        ("attacker_uuid",),
    )
    assert [emit.sub_technique_id for emit in rule.emits] == ["T1059.004"], "those of its rules"
    assert len(rule.tests_match[0]) == 3
    assert told[1].notes == ("src_ip is attacker_uuid here",)


def test_so_many_values_are_a_window_of_distinct_ones(tmp_path: Path) -> None:
    told = imported(
        tmp_path, BASE, correlation("value_count", ["base_nc"], condition={"gte": 4, "field": "CommandLine"})
    )
    rule = rule_of(told[1])
    assert rule.correlation is not None
    assert (rule.correlation.count, rule.correlation.distinct) == (4, "command_text")


def test_rules_in_order_are_a_sequence_and_in_any_order_several(tmp_path: Path) -> None:
    told = imported(tmp_path / "a", BASE, OTHER, correlation("temporal_ordered", ["base_nc", "base_id"]))
    rule = rule_of(told[2])
    assert rule.correlation is not None
    assert [len(rule.correlation.steps), rule.correlation.within_s] == [2, 300.0]
    either = imported(tmp_path / "b", BASE, OTHER, correlation("temporal", ["base_nc", "base_id"]))[2]
    assert either.rule_ids == ("SG-dddddddd-1", "SG-dddddddd-2")
    assert "any order: each of 2 orders is a rule" in either.notes
    for name, text in either.files.items():
        loaded, errors = load_bytes(text.encode(), name)
        assert loaded is not None, errors
        assert loaded.tests_match
        assert run_rule_tests([loaded]) == []


def test_rules_that_are_to_fire_by_themselves_too_are_carried_over_as_well(tmp_path: Path) -> None:
    told = imported(
        tmp_path, BASE, correlation("event_count", ["base_nc"], condition={"gte": 2}, generate=True)
    )
    assert [bool(one.files) for one in told] == [True, True]


NOT_SAID = [
    (correlation("event_count", ["base_nc"], condition={"lt": 2}), "only gte and gt can be said"),
    (correlation("event_count", ["base_nc"], condition={"gte": 10_001}), "only gte and gt can be said"),
    (
        correlation("event_count", ["nobody"], condition={"gte": 2}),
        "it speaks of nobody, which is no rule here",
    ),
    (
        correlation("value_count", ["base_nc"], condition={"gte": 2, "field": "User"}),
        "it counts values of User",
    ),
    (correlation("temporal", ["base_nc"]), "it names one rule only"),
    (correlation("temporal", []), "it names no rules"),
    (correlation("median", ["base_nc"]), "'median' is no valid Sigma correlation type"),
    (
        correlation("value_median", ["base_nc"], condition={"gte": 2, "field": "Image"}),
        "correlations of type value_median cannot be said",
    ),
    (correlation("temporal", ["base_nc", "base_id"], condition="base_nc or base_id"), "only all can be said"),
    (
        correlation("temporal", ["base_nc", "base_id"], condition="base_nc and not base_id"),
        "only all can be said",
    ),
    (
        correlation("temporal", ["base_nc", "base_id"], condition="not " * 31 + "base_nc"),
        "nests over 30 deep",
    ),
    (correlation("temporal", ["base_nc", "base_id"], condition={"gte": 1}), "only all can be said"),
    (correlation("event_count", ["base_nc"], condition="base_nc"), "pySigma does not take it"),
    (correlation("event_count", ["base_nc"], condition={"gte": 2.5}), "only gte and gt can be said"),
    (correlation("event_count", ["base_nc"], condition={"gte": 2}, timespan="31d"), "over 30d"),
    (
        correlation("event_count", ["base_nc"], condition={"gte": 2}, timespan="soon"),
        "Timespan 'soon' is invalid",
    ),
    (
        correlation("event_count", ["base_nc"], condition={"gte": 2}, **{"group-by": ["Shoe"]}),
        "it groups by Shoe",
    ),
    (correlation("event_count", ["base_nc"], condition={"gte": 2}, aliases={"a": {}}), "aliases"),
]


@pytest.mark.parametrize(("rule", "reason"), NOT_SAID)
def test_a_correlation_that_cannot_be_said_says_why(tmp_path: Path, rule: Any, reason: str) -> None:
    told = imported(tmp_path, BASE, OTHER, rule)[-1]
    assert not told.files
    assert reason in told.reason
