"""Loading is strict and complete: every limit at its edge, every error with its place, no file costs another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from decnet.errors import MalformedEvent, SourcePosition
from decnet.events.record import Fault
from decnet.events.topics import record_of
from decnet.ttp.compiling import MAX_ERRORS
from decnet.ttp.loader import FILE_NAME, MAX_FILE_BYTES, load_bytes, load_dir, load_file, rule_files
from decnet.ttp.rules import CompiledRule
from decnet.ttp.schema import MAX_WITHIN_S, WindowSchema
from decnet.ttp.selftest import run_rule_tests
from decnet.yaml_places import MAX_DEPTH, parse_strict
from tests.rulelint import LEAST_TEXTS, SHORT, doubles, lint, shadows, without_literal

HEAD = {
    "rule_id": "R1",
    "rule_version": "1",
    "name": "demo",
    "description": "d",
    "applies_to": "[command]",
    "match": "{pattern: wget}",
    "emits": "[{tactic: TA0011, technique_id: T1105, confidence: 0.8}]",
}


def text(**changes: str) -> str:
    return "".join(f"{key}: {value}\n" for key, value in {**HEAD, **changes}.items())


def load(**changes: str) -> tuple[CompiledRule | None, list[str]]:
    rule, errors = load_bytes(text(**changes).encode(), "R.yaml")
    assert (rule is None) is bool(errors)
    return rule, [f"{e.place.line}:{e.place.column} {e.message}" for e in errors]


def made(**changes: str) -> CompiledRule:
    rule, errors = load(**changes)
    assert rule is not None, errors
    return rule


def emits(*confidences: Any) -> str:
    names = ("T1105", "T1082", "T1059")
    tactics = ("TA0011", "TA0007", "TA0002")
    items = (
        f"{{tactic: {t}, technique_id: {n}, confidence: {c}}}"
        for t, n, c in zip(tactics, names, confidences, strict=False)
    )
    return f"[{', '.join(items)}]"


def window(**changes: str) -> dict[str, str]:
    spec = {"count": "2", "within": "60s", **changes}
    return {"match": "{pattern: x, window: {" + ", ".join(f"{k}: {v}" for k, v in spec.items()) + "}}"}


def sequence(steps: int, within: str = "5m", by: str = "[session_id]") -> dict[str, str]:
    items = ", ".join(["{pattern: x}"] * steps)
    return {"match": f"{{sequence: {{within: {within}, by: {by}, steps: [{items}]}}}}"}


def parts(count: int, form: str) -> dict[str, str]:
    return {"match": f"{{{form}: [{', '.join(['{pattern: x}'] * count)}]}}"}


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"rule_id": "a" * 64}, {"rule_id": "a" * 65}),
        ({"rule_id": "R-1_x"}, {"rule_id": "1R"}),
        ({"rule_version": "1"}, {"rule_version": "0"}),
        ({"rule_version": str(2**31 - 1)}, {"rule_version": str(2**31)}),
        ({"name": "a" * 80}, {"name": "a" * 81}),
        ({"name": "0_a"}, {"name": "_a"}),
        ({"description": "d" * 4000}, {"description": "d" * 4001}),
        ({"description": "d"}, {"description": "''"}),
        ({"applies_to": "[session, payload]", "match": "{field: x, pattern: y}"}, {"applies_to": "[]"}),
        ({}, {"applies_to": "[command, command]"}),
        ({}, {"applies_to": "[session]"}),
        ({}, {"applies_to": "[command, payload]"}),
        ({"evidence_fields": f"[{', '.join(['a'] * 32)}]"}, {"evidence_fields": f"[{', '.join(['a'] * 33)}]"}),
        ({"references": f"[{', '.join(['a'] * 64)}]"}, {"references": f"[{', '.join(['a'] * 65)}]"}),
        ({"emits": emits(0)}, {"emits": emits(-0.01)}),
        ({"emits": emits(1)}, {"emits": emits(1.01)}),
        ({"emits": emits(0.5, 0.5)}, {"emits": "[]"}),
        ({}, {"emits": emits(".nan")}),
        ({}, {"emits": emits("true")}),
        ({}, {"emits": "[{tactic: TA0011, technique_id: T1105, confidence: 0.8}, {tactic: TA0011, technique_id: T1105, confidence: 0.1}]"}),
        ({"emits": "[{tactic: TA0002, technique_id: T1059, sub_technique_id: T1059.004, confidence: 1}]"},
         {"emits": "[{tactic: TA0002, technique_id: T1059, sub_technique_id: T1105.004, confidence: 1}]"}),
        ({"match": f"{{pattern: {'a' * 8192}}}"}, {"match": f"{{pattern: {'a' * 8193}}}"}),
        ({"match": "{pattern: a}"}, {"match": "{pattern: ''}"}),
        ({"match": f"{{field: {'a' * 120}, pattern: x}}"}, {"match": f"{{field: {'a' * 121}, pattern: x}}"}),
        (parts(64, "any"), parts(65, "any")),
        (parts(64, "all"), parts(65, "all")),
        (parts(1, "any"), parts(0, "any")),
        (parts(1, "all"), parts(0, "all")),
        (window(count="1"), window(count="0")),
        (window(count="10000"), window(count="10001")),
        (window(within="30d"), window(within="30.001d")),
        (window(within="0.1s"), window(within="0s")),
        (window(within="720h"), window(within="721h")),
        (window(within="60s"), window(within="60")),
        (window(within="4w"), window(within="5w")),
        (window(by="[a, b, c, d]"), window(by="[a, b, c, d, e]")),
        (window(by="[a]"), window(by="[]")),
        (sequence(2), sequence(1)),
        (sequence(16), sequence(17)),
        (sequence(2, by="[a, b, c, d]"), sequence(2, by="[]")),
        ({"match": "{field: f, op: equals, value: x}"}, {"match": "{op: equals, value: x}"}),
        ({"match": "{field: f, op: exists}"}, {"match": "{field: f, op: exists, value: x}"}),
        ({"match": "{field: f, op: exists, value: false}"}, {"match": "{field: f, op: equals}"}),
        ({"match": "{field: f, op: in, value: [a]}"}, {"match": "{field: f, op: in, value: []}"}),
        ({"match": "{field: f, op: in, value: [a, 1]}"}, {"match": "{field: f, op: in, value: a}"}),
        ({"match": "{field: f, op: gt, value: 1}"}, {"match": "{field: f, op: gt, value: '1'}"}),
        ({"match": "{field: f, op: lte, value: 1.5}"}, {"match": "{field: f, op: lte, value: true}"}),
        ({"match": "{field: f, op: contains, value: a}"}, {"match": "{field: f, op: contains, value: 1}"}),
        ({"match": "{field: f, op: equals, value: 1}"}, {"match": "{field: f, op: equals, value: [1]}"}),
        ({"match": "{field: f, op: cidr, value: 10.0.0.0/8}"}, {"match": "{field: f, op: cidr, value: 10.0.0.0/33}"}),
        ({"match": "{field: f, op: cidr, value: ['::/0']}"}, {"match": "{field: f, op: cidr, value: 5}"}),
        ({"match": "{field: f, op: pattern, value: a}"}, {"match": "{field: f, op: pattern, value: '(?=a)'}"}),
        ({"match": "{not: {pattern: x}}"}, {"match": "{not: {}}"}),
        ({}, {"match": "{}"}),
        ({}, {"match": "{pattern: x, op: equals, field: f, value: y}"}),
        ({}, {"match": "{field: f, any: [{pattern: x}]}"}),
        ({}, {"match": "{pattern: x, value: y}"}),
        ({"match": "{pattern: x, scope: line}"}, {"match": "{pattern: x, scope: word}"}),
        ({"match": "{any: [{pattern: x}], window: {count: 2, within: 1s}}"}, {"match": "{any: [{pattern: x, window: {count: 2, within: 1s}}]}"}),
        ({}, {"match": "{pattern: x, knobs: {}}"}),
        ({"applies_to": "[credential]", "match": "{kind: 'lifter:credential_reuse', knobs: {reuse_count: 2}}"},
         {"applies_to": "[credential]", "match": "{kind: 'lifter:credential_reuse', knobs: {reuse_count: 0}}"}),
        ({}, {"applies_to": "[credential]", "match": "{kind: 'lifter:credential_reuse', scope: line}"}),
        ({}, {"applies_to": "[credential]", "match": "{kind: 'lifter:credential_reuse', window: {count: 2, within: 1s}}"}),
        ({}, {"applies_to": "[credential]", "match": "{kind: 'lifter:credential_reuse'}", "emits": "[]"}),
        ({"applies_to": "[intel]", "match": "{kind: 'lifter:intel_feodo'}", "emits": "[]"},
         {"applies_to": "[intel]", "match": "{field: x, pattern: y}", "emits": "[]"}),
        ({}, {**sequence(2), "applies_to": "[command, session]"}),
        ({"applies_to": "[command, session]", "match": "{sequence: {within: 5m, steps: [{source_kind: command, pattern: x}, {source_kind: session, field: f, pattern: y}]}}"},
         {"match": "{sequence: {within: 5m, steps: [{pattern: x}, {source_kind: session, field: f, pattern: y}]}}"}),
        ({}, {"tests": "{match: [5]}"}),
        ({"tests": "{match: [a, {x: 1}, [{at: 1}]]}"}, {"tests": "{match: [a], wrong: []}"}),
    ],
)  # fmt: skip
def test_what_a_rule_may_say_ends_exactly_at_its_limit(good: dict[str, str], bad: dict[str, str]) -> None:
    assert load(**good)[1] == []
    rule, errors = load(**bad)
    assert rule is None
    assert errors
    assert all(error[0].isdigit() for error in errors)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"extra": "1"}, "8:1 unknown key 'extra'"),
        ({"match": "{pattern: x, window: {count: 2, within: 1s, wihtin: 2}}"}, "6:52 unknown key 'wihtin'"),
        ({"match": "{any: [{pattern: x}, {pattern: '(a'}]}"}, "6:39 bad pattern"),
        ({"match": "{any: [{pattern: x}, {field: f, op: cidr, value: zz}]}"}, "bad address range"),
        ({"match": "{not: {pattern: '(?!x)'}}"}, "6:24 lookaround"),
        ({"match": "{sequence: {within: 5m, steps: [{pattern: x}, {pattern: '(a'}]}}"}, "6:64 bad pattern"),
        ({"emits": "[{tactic: TA0007, technique_id: T1105, confidence: 0.8}]"}, "7:18 T1105 does not belong to TA0007"),
        ({"emits": "[{tactic: TA0007, technique_id: T0000, confidence: 0.8}]"}, "7:40 T0000 is unknown in ATT&CK"),
        ({"emits": "[{tactic: TA0002, technique_id: T1059, sub_technique_id: T1059.999, confidence: 0.8}]"}, "7:65 T1059.999 is unknown"),
        ({"emits": "[]"}, "7:8 a rule emits at least one tag"),
        ({"applies_to": "[command, payload]"}, "6:8 pattern needs a field: no one default for command, payload"),
        ({"applies_to": "[command, nothing]"}, "unknown source kind 'nothing'; known: auth_attempt"),
        ({"match": "{kind: 'lifter:nothing'}"}, "6:15 unknown lifter 'lifter:nothing'"),
        ({"applies_to": "[session, command]", "match": "{kind: 'lifter:credential_reuse'}"}, "5:23 lifter:credential_reuse does not look at command, only at credential"),
        ({"applies_to": "[credential]", "match": "{kind: 'lifter:credential_reuse', knobs: {reuse: 2}}"}, "6:50 unknown knob 'reuse'"),
        ({"match": "{sequence: {within: 5m, steps: [{pattern: x}, {source_kind: session, field: f, pattern: y}]}}"}, "6:39 a step's source_kind 'session' is not in applies_to"),
    ],
)  # fmt: skip
def test_errors_say_where_and_what(changes: dict[str, str], wanted: str) -> None:
    errors = load(**changes)[1]
    assert any(wanted in error for error in errors), errors


def test_all_errors_of_a_file_are_told_together_and_each_once() -> None:
    errors = load(
        emits="[{tactic: TA0007, technique_id: T1105, confidence: 0.8}, {tactic: TA0007, technique_id: T0000, confidence: 1}]",
        match="{any: [{pattern: '(a'}, {pattern: '(?=a)'}]}",
    )[1]
    assert len(errors) == 4
    assert len(load(rule_version="zero", name="UPPER", extra="1")[1]) == 3


def test_a_session_key_is_the_default_and_windows_and_steps_are_what_was_written() -> None:
    spec = made(**window(count="7", within="2m", distinct="argv0")).correlation
    assert spec is not None
    assert (spec.within_s, spec.by, spec.count, spec.distinct, spec.steps) == (
        120.0,
        ("session_id",),
        7,
        "argv0",
        (),
    )
    steps = made(
        match="{sequence: {within: 1h, steps: [{pattern: x}, {field: argv0, op: equals, value: y}]}}"
    ).correlation
    assert steps is not None
    assert (steps.within_s, steps.by, steps.count, len(steps.steps)) == (3600.0, ("session_id",), 0, 2)


@pytest.mark.parametrize(
    ("within", "fits"), [("30d", True), ("29d24h", True), ("30d1s", False), ("0s", False), ("never", False)]
)
def test_a_window_is_30_days_long_at_most(within: str, fits: bool) -> None:
    assert MAX_WITHIN_S == 30 * 86_400
    window = {"count": 2, "within": within, "by": ["session_id"]}
    if fits:
        assert WindowSchema.model_validate(window).within == within
    else:
        with pytest.raises(ValueError, match="duration"):
            WindowSchema.model_validate(window)


# -- files


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_file_may_have_so_many_bytes_and_not_one_more(tmp_path: Path, over: int) -> None:
    path = tmp_path / "R.yaml"
    path.write_text(text() + "#" * (MAX_FILE_BYTES + over - len(text())))
    rule, errors = load_file(path)
    assert (rule is None) is (over > 0)
    assert [e.message for e in errors] == (["the file is over 256 KiB"] if over > 0 else [])
    assert (load_dir(tmp_path, max_bytes=2048).errors[0].message) == "the file is over 2 KiB"


def test_the_second_file_with_an_id_is_an_error_at_its_id_and_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text())
    (tmp_path / "b.yaml").write_text("# first\n" + text(name="other"))
    (tmp_path / "c.yaml").write_text(text(rule_id="R2"))
    (tmp_path / "d.yaml").write_bytes(b"name: demo\nx: \xc3\xa4\xff")
    result = load_dir(tmp_path)
    assert [(r.rule_id, r.name) for r in result.rules] == [("R1", "demo"), ("R2", "demo")]
    twice, broken = sorted(result.errors, key=lambda e: e.place.file)
    assert twice.message == f"duplicate rule_id R1, already in {tmp_path / 'a.yaml'}"
    assert (twice.place, twice.rule_id) == (SourcePosition(str(tmp_path / "b.yaml"), 2, 10), "R1")
    assert (broken.message, broken.place) == ("not UTF-8", SourcePosition(str(tmp_path / "d.yaml"), 2, 5))
    assert [e.message for e in load_dir(tmp_path / "c.yaml").errors] == ["no such rule directory"]


def test_rule_files_are_files_with_plain_names_in_order(tmp_path: Path) -> None:
    for name in ("b.yaml", "A1.yml", ".c.yaml", "d.yaml~", "e-1.yaml", "f.yaml.bak", "g.txt", "h.YAML"):
        (tmp_path / name).write_text("")
    (tmp_path / "dir.yaml").mkdir()
    assert [p.name for p in rule_files(tmp_path)] == ["A1.yml", "b.yaml"]
    assert rule_files(tmp_path / "none") == []
    assert not FILE_NAME.match("x.yaml\n")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    rule, (error,) = load_file(tmp_path)
    assert rule is None
    assert error.message == "cannot be read: Is a directory"


def test_a_rule_keeps_its_text_its_hash_and_the_places_of_its_tests() -> None:
    rule = made(tests="{match: [wget x, a], no_match: [ls]}")
    other = made(tests="{match: [wget x, a], no_match: [ls ]}")
    assert rule.source == text(tests="{match: [wget x, a], no_match: [ls]}")
    assert rule.content_hash != other.content_hash
    assert rule.test_places == {
        ("match", 0): SourcePosition("R.yaml", 8, 17), ("match", 1): SourcePosition("R.yaml", 8, 25), ("no_match", 0): SourcePosition("R.yaml", 8, 40)
    }  # fmt: skip
    errors = run_rule_tests([rule])
    assert [(e.place, e.message) for e in errors] == [
        (SourcePosition("R.yaml", 8, 25), "own test fails: the rule does not match 'a'")
    ]
    assert [e.message for e in run_rule_tests([made(tests="{no_match: [wget]}")])] == [
        "own test fails: the rule matches 'wget'"
    ]


def test_own_tests_judge_lists_by_their_times_and_show_a_bounded_part() -> None:
    tests = "{match: [[{command_text: x, at: 0}, {command_text: x, at: 60}]], no_match: [[{command_text: x}, {command_text: x, at: 61}], [x]]}"
    bad = window() | {"tests": tests.replace("[x]", "[{command_text: x}]")}
    assert run_rule_tests([made(**bad)]) == []
    (error,) = run_rule_tests([made(tests=f"{{match: [{'a' * 300}]}}")])
    assert error.message.endswith("a…")
    assert len(error.message) < 260


def test_a_rule_that_cannot_judge_its_own_example_says_so() -> None:
    class Broken:
        def find(self, fields: Any) -> None:
            raise ZeroDivisionError("x")

        def prefilters(self, kind: str) -> None:
            return None

        def reads(self) -> frozenset[str]:
            return frozenset()

    plain = replace(made(tests="{match: [wget]}"), condition=Broken())
    (error,) = run_rule_tests([plain])
    assert (
        error.message == "own test fails: the rule fails on 'wget': ValueError: a condition cannot be judged"
    )
    lifted = made(
        applies_to="[credential]",
        match="{kind: 'lifter:credential_reuse'}",
        tests="{match: [{reuse_count: 1}, text], no_match: [{reuse_count: 0}]}",
    )
    assert [e.message for e in run_rule_tests([lifted])] == ["own test fails: the rule does not match 'text'"]


# -- YAML


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_nesting_ends_at_fifty() -> None:
    assert parse_strict(nested(MAX_DEPTH), "f")[1] == []
    document, flaws = parse_strict(nested(MAX_DEPTH + 1), "f")
    assert document is None
    assert flaws == [("nesting over 50", SourcePosition("f", 1, 51))]
    side_by_side = "[" + ", ".join([nested(MAX_DEPTH - 1)] * 3) + "]"
    assert parse_strict(side_by_side, "f")[1] == []


@pytest.mark.parametrize(
    ("yaml", "flaw"),
    [
        ("a: &x [1]\nb: *x\n", ("anchor '&x' is not allowed", SourcePosition("f", 1, 4))),
        ("a: &x [1]\nb: *x\n", ("alias '*x' is not allowed", SourcePosition("f", 2, 4))),
        ("&x a: 1\n", ("anchor '&x' is not allowed", SourcePosition("f", 1, 1))),
        ("a: 1\na: 2\n", ("duplicate key 'a'", SourcePosition("f", 2, 1))),
        ("a: {b: 1, b: 2}\n", ("duplicate key 'b'", SourcePosition("f", 1, 11))),
        ("? [a]\n: 1\n", ("a key must be plain text", SourcePosition("f", 1, 3))),
        ("a: !!python/object/apply:os.system [x]\n", None),
        ("a: !!python/name:os.system x\n", ("tag 'tag:yaml.org,2002:python/name:os.system' is not allowed", SourcePosition("f", 1, 4))),
        ("a: !x y\n", ("tag '!x' is not allowed", SourcePosition("f", 1, 4))),
        ("a: !!binary aGk=\n", ("tag 'tag:yaml.org,2002:binary' is not allowed", SourcePosition("f", 1, 4))),
        ("a: 1\n---\nb: 2\n", ("only one document a file", SourcePosition("f", 2, 1))),
        ("a: [1\n", None),
        ("a: \x01\n", None),
        ("", ("the file is empty", SourcePosition("f", 1, 1))),
        ("a: !!int x\n", None),
    ],
)  # fmt: skip
def test_yaml_that_hides_something_is_refused_at_its_place(
    yaml: str, flaw: tuple[str, SourcePosition] | None
) -> None:
    document, flaws = parse_strict(yaml, "f")
    if flaw is not None:
        assert flaw in flaws
    elif "python" in yaml:
        assert flaws or document is None or document.value == {"a": ["x"]}, "never an object"
    else:
        assert flaws


def test_a_control_character_is_named_with_its_place() -> None:
    document, (flaw,) = parse_strict("a: 1\nb: x\x01\n", "f")
    assert document is None
    assert flaw.place == SourcePosition("f", 2, 5)


def test_dates_are_texts_and_places_of_absent_keys_are_those_around_them() -> None:
    document, flaws = parse_strict("a: 2026-01-01\nb: {c: =}\n", "f")
    assert document is not None
    assert flaws == []
    assert document.value == {"a": "2026-01-01", "b": {"c": "="}}
    assert document.key_place(("b", "c")) == SourcePosition("f", 2, 5)
    assert document.value_place(("b", "c", "d")) == SourcePosition("f", 2, 8)
    assert document.key_place(("b", "x")) == SourcePosition("f", 2, 4)


# -- lint


def named(
    rule_id: str, pattern: str, technique: str = "T1105", tactic: str = "TA0011", tests: str = "[]"
) -> CompiledRule:
    return made(
        rule_id=rule_id,
        match=f"{{pattern: '{pattern}'}}",
        emits=f"[{{tactic: {tactic}, technique_id: {technique}, confidence: 0.8}}]",
        tests=f"{{match: {tests}}}",
    )


def fires(**found: set[int]) -> dict[str, frozenset[int]]:
    return {rule_id: frozenset(numbers) for rule_id, numbers in found.items()}


def test_lint_names_doubles_from_three_texts_on_with_the_file() -> None:
    assert LEAST_TEXTS == 3
    rules = [named("A", "aaa"), named("B", "bbb"), named("C", "ccc")]
    (error,) = doubles(rules, fires(A={1, 2, 3}, B={1, 2, 3}, C={1, 2}))
    assert (error.rule_id, error.place) == ("B", SourcePosition("R.yaml", 1, 1))
    assert error.message.startswith("fires exactly when A fires")
    assert doubles(rules, fires(A={1, 2}, B={1, 2})) == []
    assert doubles(rules, fires(A={1, 2, 3}, B={1, 2, 4})) == []


def test_lint_names_a_rule_that_another_covers_and_says_the_same() -> None:
    rules = [named("A", "aaa"), named("B", "bbb"), named("C", "ccc", "T1082", "TA0007")]
    (error,) = shadows(rules, fires(A={1, 2, 3}, B={1, 2, 3, 4}, C={1, 2, 3, 4}))
    assert (error.rule_id, error.message) == (
        "A",
        "covered by B, which fires wherever it does and says the same",
    )
    assert shadows(rules, fires(A={1, 2, 3}, B={1, 2, 4, 5})) == []
    assert shadows(rules, fires(A={1, 2}, B={1, 2, 3})) == []


def test_lint_names_rules_without_a_literal_but_for_those_with_a_reason() -> None:
    known = next(iter(SHORT))
    rules = [named("A", r"\w+"), named("B", "wget"), named(known, r"\w+"), named("D", r"wget|\d+")]
    assert [e.rule_id for e in without_literal(rules)] == ["A", "D"]
    assert [e.rule_id for e in lint([*rules, made(rule_id="W", **window())], ["wget a"])] == ["A", "D"]


# -- payloads of others


@pytest.mark.parametrize(
    ("topic", "good", "bad"),
    [
        ("email.received", {"rcpt_count": 0}, {"rcpt_count": -1}),
        ("email.received", {"rcpt_count": 1}, {"rcpt_count": "1"}),
        ("email.received", {"from_domain": "a" * 253}, {"from_domain": "a" * 254}),
        ("email.received", {"from_domain": "a.example"}, {"from_domain": "u@a.example"}),
        ("email.received", {"urls": ["h.example"]}, {"urls": ["http://h.example/x"]}),
        ("email.received", {"body_sha256": "a" * 64}, {"body_sha256": "a" * 63}),
        ("email.received", {"body_sha256": ""}, {"body_sha256": "A" * 64}),
        ("email.received", {"attachment_sha256s": ["0" * 64]}, {"attachment_sha256s": [""]}),
        ("email.received", {"body_simhash": "a" * 8}, {"body_simhash": "a" * 7}),
        ("email.received", {"body_simhash": "a" * 64}, {"body_simhash": "a" * 65}),
        ("email.received", {"body_markers": ["ransom"]}, {"body_markers": ["any text"]}),
        ("email.received", {"dkim_pass": None}, {"dkim_pass": "no"}),
        ("attacker.intel.enriched", {"abuseipdb_score": 0}, {"abuseipdb_score": -0.1}),
        ("attacker.intel.enriched", {"abuseipdb_score": 100}, {"abuseipdb_score": 100.1}),
        ("attacker.session.ended", {"rows_read": 0}, {"rows_read": -1}),
        ("attacker.session.ended", {"signals": ["x"]}, {"signals": "x"}),
        ("canary.t.triggered", {"tz_mismatch_zones": 0}, {"tz_mismatch_zones": -1}),
        ("attacker.fingerprinted", {"bytes_out": 0}, {"bytes_out": -1}),
    ],
)
def test_payloads_of_others_are_checked_at_the_edge(
    topic: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    base: dict[str, Any] = {"attacker_ip": "203.0.113.1", "more": 1}
    base |= {
        "email.received": {"source_id": "m", "decky_id": "d", "service": "smtp"},
        "attacker.session.ended": {"session_id": "s", "ended_at": 1},
        "canary.t.triggered": {"token_id": "t", "trigger_id": "x"},
        "attacker.fingerprinted": {"type": "ja4"},
    }.get(topic, {})
    assert payload_errors(topic, base | good) == []
    (error,) = {
        e.partition(":")[0].partition(".")[0].partition("[")[0] for e in payload_errors(topic, base | bad)
    }
    assert error in bad
    without = {k: v for k, v in (base | good).items() if k != "attacker_ip"}
    (nobody,) = payload_errors(topic, without)
    assert "neither attacker_uuid nor attacker_ip" in nobody
    assert payload_errors(topic, without | {"attacker_uuid": "a"}) == []


def payload_errors(topic: str, payload: dict[str, Any]) -> list[str]:
    """What the record of a topic says of a payload."""
    record, faults = record_of(topic), list[Fault]()
    assert record is not None
    try:
        record.parse(payload, faults)
    except MalformedEvent as error:
        return [str(error)]
    return [str(fault) for fault in faults]


def test_an_event_about_two_identities_names_both() -> None:
    assert payload_errors("identity.merged", {"winner_uuid": "a"}) == [
        "payload: object missing required field `loser_uuid`"
    ]


@pytest.mark.parametrize("unknown", [MAX_ERRORS, MAX_ERRORS + 1, 20_000])
def test_errors_of_one_file_are_bounded_and_the_rest_is_counted(unknown: int) -> None:
    rule, found = load_bytes((text() + "".join(f"k{n}: 1\n" for n in range(unknown))).encode(), "R.yaml")
    assert rule is None
    assert len(found) == MAX_ERRORS
    assert found[0].message == "unknown key 'k0'"
    last = f"unknown key 'k{MAX_ERRORS - 1}'"
    more = unknown - MAX_ERRORS + 1
    assert found[-1].message == (last if more == 1 else f"{more} more errors, the first one: {last}")
