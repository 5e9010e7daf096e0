"""Which stored tags of a session stand no more: what rules in force say of it as a whole, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest

from decnet.db.rows.ttp import TTPTag
from decnet.ttp.loader import load_bytes
from decnet.ttp.replacing import Better
from decnet.ttp.rule_engine import RuleEngine
from decnet.ttp.rules import CompiledRule, RuleState
from decnet.ttp.settling import InForce, Judgement, reads_session, settle

RULE = """rule_id: {id}
rule_version: 2
name: demo
description: d
applies_to: [{kind}]
match: {match}
emits: [{{tactic: TA0002, technique_id: T1059, confidence: 0.8}}]
{more}
"""
FACT = "{field: exec.origin, op: in, value: [chmodded]}"


def rule(name: str, match: str = FACT, kind: str = "command", more: str = "") -> CompiledRule:
    text = RULE.format(id=name, match=match, kind=kind, more=more)
    found, errors = load_bytes(text.encode(), f"{name}.yaml")
    assert found is not None, errors
    return found


def tag(name: str, **more: Any) -> TTPTag:
    said: dict[str, Any] = {
        "source_kind": "command", "source_id": "c", "tactic": "TA0002", "technique_id": "T1059", "confidence": 0.8,
        "rule_id": name, "rule_version": 2, "attacker_uuid": "a", "session_id": "s", "evidence": {"matched": "./x"},
    }  # fmt: skip
    return TTPTag(**(said | more))


class Stored:
    """Tags that are stored, and what became of them."""

    def __init__(self, *tags: TTPTag, replaced: str | None = None) -> None:
        self.tags, self.replaced = tags, replaced
        self.gone: dict[str, str] = {}
        self.back: list[str] = []
        self.renewed: dict[str, Any] = {}

    async def tags_of_sessions(self, sessions: Sequence[str]) -> list[dict[str, Any]]:
        return [{**asdict(t), "replaced_by": self.replaced} for t in self.tags if t.session_id in sessions]

    async def replace_tags(self, tags: dict[str, str]) -> None:
        self.gone |= tags

    async def restore_tags(self, uuids: Sequence[str]) -> None:
        self.back += uuids

    async def renew_evidence(self, evidence: dict[str, Any]) -> None:
        self.renewed |= evidence


def in_force(*rules: CompiledRule, all_of_them: bool = True, **states: RuleState) -> InForce:
    engine = RuleEngine()
    engine.replace(rules, states)
    return InForce.of([engine], all_of_them)


def said(*tags: TTPTag, whole: bool = True, better: Sequence[Better] = ()) -> Judgement:
    return Judgement(tags, better, frozenset({"s"} if whole else ()), {("command", "c")})


async def settled(stored: Stored, judgement: Judgement, rules: InForce) -> int:
    return await settle(judgement, rules, stored)  # type: ignore[arg-type]


async def test_what_the_whole_session_does_not_say_is_replaced_by_it() -> None:
    stored = Stored(tag("R1"))
    assert await settled(stored, said(), in_force(rule("R1"))) == 1
    assert stored.gone == {stored.tags[0].uuid: "s"}


@pytest.mark.parametrize(
    ("stored", "judgement", "rules"),
    [
        (tag("R1"), said(whole=False), in_force(rule("R1"))),
        (tag("R1", session_id="t"), said(), in_force(rule("R1"))),
        (tag("R1", source_id="d"), said(), in_force(rule("R1"))),
        (tag("R1", rule_version=1), said(), in_force(rule("R1"))),
        (tag("R2"), said(), in_force(rule("R1"))),
        (tag("R1"), said(), in_force(rule("R1", "{pattern: x}"))),
        (tag("R1"), said(), in_force(rule("R1"), R1=RuleState("disabled"))),
        (tag("R1"), said(), in_force(rule("R1"), R1=RuleState("clipped", 0.2))),
    ],
    ids=["part", "session", "source", "version", "removed", "line", "disabled", "clipped"],
)
async def test_everything_else_stays(stored: TTPTag, judgement: Judgement, rules: InForce) -> None:
    kept = Stored(stored)
    assert await settled(kept, judgement, rules) == 0
    assert kept.gone == {}


async def test_a_rule_that_fails_takes_none_of_its_tags_away() -> None:
    engine, failing = RuleEngine(), rule("R1")
    engine.replace([failing], {})
    engine.failures.failed(failing)
    stored = Stored(tag("R1"))
    assert await settled(stored, said(), InForce.of([engine], True)) == 0
    engine.failures.passed(failing)
    assert await settled(stored, said(), InForce.of([engine], True)) == 1


async def test_what_is_said_again_stands_again_with_what_is_known_now() -> None:
    now = tag("R1", evidence={"matched": "./x", "because": "line 7"})
    stored = Stored(tag("R1"), replaced="other")
    assert await settled(stored, said(now), in_force(rule("R1"))) == 0
    assert (stored.back, stored.renewed) == ([now.uuid], {now.uuid: now.evidence})
    part = Stored(tag("R1"), replaced="other")
    await settled(
        part, said(now, whole=False, better=[Better("x", "s", "", frozenset(), "")]), in_force(rule("R1"))
    )
    assert (part.back, part.renewed) == ([], {}), "a part knows nothing better"


@pytest.mark.parametrize(
    ("stored", "gone"),
    [
        (tag("L1"), True),
        (tag("L1", rule_version=1), True),
        (tag("L1", technique_id="T1070", sub_technique_id="T1070.004"), False),
        (tag("L1", source_id="d"), False),
        (tag("L1", evidence={"matched": "elsewhere"}), False),
        (tag("R9"), False),
        (tag("OLD"), True),
    ],
    ids=["line", "version", "technique", "source", "text", "replaces itself", "removed"],
)
async def test_a_rule_replaces_what_is_stored_of_the_same_text(stored: TTPTag, gone: bool) -> None:
    better = Better("c", "s", "chmod 7 x; ./x", frozenset({"T1059"}), "the tag")
    rules = rule("L1", "{pattern: x}"), rule("R9", more="replaces: [T1059]")
    kept = Stored(stored)
    assert await settled(kept, said(whole=False, better=[better]), in_force(*rules)) == gone
    assert kept.gone == ({stored.uuid: "the tag"} if gone else {})
    some = Stored(tag("OLD"))
    assert await settled(some, said(whole=False, better=[better]), in_force(*rules, all_of_them=False)) == 0


def test_rules_that_read_the_session_are_those_of_its_facts_wherever_they_stand_in_a_condition() -> None:
    deep = "{all: [{pattern: x}, {not: {any: [{pattern: y}, {field: session.worked, op: equals, value: true}]}}]}"
    window = "{field: exec.origin, op: in, value: [fetched], window: {count: 2, within: 60s}}"
    assert [
        reads_session(rule("R1", match, kind))
        for match, kind in (
            (deep, "command"), ("{pattern: x}", "command"), (window, "command"), ("{field: n, op: gt, value: 1}", "session"),
        )
    ] == [True, False, False, True]  # fmt: skip
