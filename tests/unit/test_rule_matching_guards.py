"""Matching at its bounds: what a condition holds at the edge, what one failure costs, what evidence may show."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import re2
from structlog.testing import capture_logs

from decnet.attack.catalogue import load_catalogue
from decnet.config import load_settings
from decnet.db.rows.ttp import TTPTag
from decnet.ids import tag_id
from decnet.patterns import Finder, PatternError, compile_pattern
from decnet.ttp import factory, matcher, rule_engine
from decnet.ttp.base import KNOWN_SOURCE_KINDS, Tagger, TaggerEvent, TolerantTagger, WatchableTagger
from decnet.ttp.conditions import (
    Compare,
    Either,
    Every,
    Found,
    Negation,
    Pattern,
    compare,
    dig,
)
from decnet.ttp.evidence import checked_evidence, sha256_of
from decnet.ttp.factory import CompositeTagger, get_tagger
from decnet.ttp.lifting import lifts
from decnet.ttp.loader import load_bytes
from decnet.ttp.masking import concealed, masked, secrets_in, without
from decnet.ttp.matcher import Failures, Hit, KindIndex, RuleIndex, clean
from decnet.ttp.rule_engine import Collected, RuleEngine, RuleEngineTagger, evidence
from decnet.ttp.rules import DEFAULT_STATE, CompiledRule, RuleState, make_emit

HEAD = """rule_id: {id}
rule_version: 1
name: demo
description: d
applies_to: {kinds}
emits: {emits}
{more}match: {match}
"""
PADDED = "".join(f"a{i};" for i in range(400))
"""More commands than a line has views."""
EMITS = "[{tactic: TA0011, technique_id: T1105, confidence: 0.8}]"


def made(
    match: str, rule_id: str = "R1", kinds: str = "[command]", emits: str = EMITS, more: str = ""
) -> CompiledRule:
    text = HEAD.format(id=rule_id, kinds=kinds, match=match, emits=emits, more=more)
    rule, errors = load_bytes(text.encode(), f"{rule_id}.yaml")
    assert rule is not None, [str(e) for e in errors]
    return rule


def command(line: str, source: str = "c1", **more: Any) -> TaggerEvent:
    return TaggerEvent("command", source, "a", payload={"command_text": line, **more})


def engine_of(*rules: CompiledRule, floor: float = 0.3, **states: RuleState) -> RuleEngine:
    engine = RuleEngine(floor=floor)
    engine.replace(rules, states)
    return engine


# -- conditions


@pytest.mark.parametrize(
    ("op", "value", "holds", "fails"),
    [
        ("gt", 5, [5.1, 6], [5, 4.9, "6", True, None]),
        ("gte", 5, [5, 6], [4.999, "5", True]),
        ("lt", 5, [4.9, 0], [5, 5.1, "4", False]),
        ("lte", 5, [5, 4], [5.001, "5", False]),
        ("gte", 1, [1], [True]),
        ("lte", 0, [0], [False]),
        ("equals", 1, [1, 1.0], [True, "1", 2]),
        ("equals", True, [True], [1, "true", False]),
        ("in", ["a", 1], ["a", 1], ["b", True, "1"]),
        ("contains", "et", ["wget"], ["we", 5]),
        ("startswith", "wg", ["wget"], ["a wget", 5]),
        ("endswith", "et", ["wget"], ["wget ", 5]),
        ("exists", None, ["", 0, False, "x"], [None]),
        ("exists", True, ["", 0], [None]),
        ("exists", False, [None], ["", 0]),
        ("cidr", "192.0.2.0/30", ["192.0.2.0", "192.0.2.3", "192.0.2.1%eth0"], ["192.0.2.4", "192.0.1.255", "x", 5]),
        ("cidr", ["198.51.100.0/24", "fe80::/10"], ["fe80::1%2", "febf::1", "198.51.100.9"], ["fec0::1"]),
    ],
)  # fmt: skip
def test_an_op_holds_at_its_edge_and_not_beside_it(
    op: str, value: Any, holds: list[Any], fails: list[Any]
) -> None:
    condition = compare("f", op, value)
    for item in holds:
        assert condition.find({"f": item}.get) is not None, item
    for item in fails:
        assert condition.find({"f": item}.get) is None, item


def test_over_an_absent_field_only_negations_hold() -> None:
    nothing: Mapping[str, Any] = {}
    for op, value in (
        ("equals", "x"),
        ("gt", 1),
        ("lt", 1),
        ("in", ["x"]),
        ("contains", "x"),
        ("cidr", "::/0"),
    ):
        assert compare("f", op, value).find(nothing.get) is None
    assert Pattern("f", "", Finder("")).find(nothing.get) is None
    found = Negation(compare("f", "equals", "x")).find(nothing.get)
    assert found == Found("", "", 0, 0)
    assert Negation(compare("f", "equals", "x")).find({"f": "x"}.get) is None


def test_a_list_holds_if_one_element_does_and_shows_that_one() -> None:
    fields = {"f": [None, "a", 7, "wget x", "wget y"]}.get
    assert compare("f", "startswith", "wget").find(fields) == Found("f", "wget x", 0, 6)
    assert Pattern("f", "x$", Finder("x$")).find(fields) == Found("f", "x", 5, 6)
    assert Pattern("f", "7", Finder("7")).find({"f": 7}.get) == Found("f", "7", 0, 1)
    assert Pattern("f", "True", Finder("True")).find({"f": True}.get) is None


@pytest.mark.parametrize(("size", "shown"), [(299, 299), (300, 300), (301, 300)])
def test_matched_text_is_shown_up_to_300_characters_and_its_span_whole(size: int, shown: int) -> None:
    found = Pattern("f", "a+", Finder("a+")).find({"f": "x" + "a" * size}.get)
    assert found == Found("f", "a" * shown, 1, 1 + size)
    text = compare("f", "startswith", "a").find({"f": "a" * size}.get)
    assert text == Found("f", "a" * shown, 0, size)


def test_spans_count_characters_in_any_script() -> None:
    assert Pattern("f", "wget", Finder("wget")).find({"f": "äö wget"}.get) == Found("f", "wget", 3, 7)


def test_all_needs_every_part_and_shows_the_first_with_evidence_and_any_shows_the_first_that_holds() -> None:
    a, b = compare("a", "equals", 1), compare("b", "equals", 2)
    not_c = Negation(compare("c", "exists", None))
    both = {"a": 1, "b": 2}
    assert Every((not_c, b, a)).find(both.get) == Found("b", "2", 0, 1)
    assert Every((a, b)).find({"a": 1}.get) is None
    assert Either((a, b)).find({"b": 2}.get) == Found("b", "2", 0, 1)
    assert Either((b, a)).find(both.get) == Found("b", "2", 0, 1)
    assert Either((a, b)).find({}.get) is None


def test_prefilters_promise_nothing_that_is_not_sure() -> None:
    a, b = compare("a", "contains", "wget"), compare("a", "in", ["xx", "yyy"])
    assert a.prefilters("session") == ["wget"]
    assert compare("a", "contains", "two words").prefilters("session") is None
    assert compare("a", "in", ["x", 5]).prefilters("session") is None
    assert compare("a", "gt", 5).prefilters("session") is None
    assert compare("a", "exists", None).prefilters("session") is None
    assert Every((b, a, compare("a", "gt", 1))).prefilters("session") == ["wget"]
    assert Either((a, b)).prefilters("session") == ["wget", "xx", "yyy"]
    assert Either((a, compare("a", "gt", 1))).prefilters("session") is None
    assert Negation(a).prefilters("session") is None
    assert Every((Negation(a),)).prefilters("session") is None
    assert compare("views_capped", "equals", True).prefilters("session") == ["\\x00views_capped"]
    assert compare("views_capped", "equals", False).prefilters("session") is None
    for beside in (compare("user", "equals", "root"), Pattern("pwd", "^/root", Finder("^/root"))):
        assert beside.prefilters("session") is not None
        assert beside.prefilters("command") is None, (
            "the text of a command does not tell who runs it and where"
        )
    for own in ("command_text", "argv0", "argv"):
        assert compare(own, "contains", "wget").prefilters("command") == ["wget"]
    for unsound in (r"\Aa", r"a\z", r"\Ca", "(?-m)^a", "(?s-m:^a)"):
        assert Pattern("f", unsound, Finder(unsound)).prefilters("session") is None


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)", "lookaround"), ("(?!a)", "lookaround"), ("(?<=a)b", "lookaround"), ("(?<!a)b", "lookaround"),
        (r"(a)\1", "back-references"), (r"(?P<x>a)(?P=x)", "back-references"), (r"\\\1", "back-references"),
        ("(a", "bad pattern"), ("\ud800", "bad pattern"), ("(?:a{1000}){1000}", "bad pattern"),
    ],
)  # fmt: skip
def test_patterns_that_cannot_be_linear_are_refused_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        compile_pattern(pattern)


def test_a_backslash_before_a_digit_may_be_text() -> None:
    assert compile_pattern(r"a\\1").search("a\\1")


def test_a_bad_address_range_is_refused() -> None:
    for value in ("192.0.2.0/33", ["192.0.2.1/24"], 5.5, ["x"]):
        with pytest.raises(PatternError, match="bad address range"):
            compare("f", "cidr", value)


def test_dots_lead_into_objects_and_a_name_with_a_dot_comes_first() -> None:
    assert dig({"a": {"b": {"c": 5}}}, "a.b.c") == 5
    assert dig({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert dig({"a": 5}, "a.b") is None
    assert dig({"a": None}, "a.b.c") is None
    assert dig({"a": [1]}, "a") == [1]


def test_fields_are_made_valid_text() -> None:
    assert clean("a\ud800\0") == "a\ufffd\ufffd"
    assert clean(["\0", 5, ["\0"]]) == ["\ufffd", 5, ["\0"]]
    assert clean(5) == 5


# -- the index


def hits(rule: CompiledRule, kind: str, payload: dict[str, Any]) -> list[Hit]:
    return RuleIndex([rule]).hits(kind, payload, Failures())[0]


def test_only_rules_of_the_kind_look_at_an_event() -> None:
    rule = made("{field: path, pattern: x}", kinds="[session, http_request]")
    assert hits(rule, "session", {"path": "x"})
    assert hits(rule, "http_request", {"path": "x"})
    assert not hits(rule, "payload", {"path": "x"})
    assert not hits(rule, "command", {"command_text": "x", "path": "x"})


def test_a_rule_fires_once_an_event_and_at_the_first_view_that_holds() -> None:
    (hit,) = hits(made("{pattern: wget}"), "command", {"command_text": "wget a; wget b"})
    assert (hit.view, hit.found.text, hit.marks) == ("line", "wget", ())
    (inner,) = hits(made("{pattern: '^wget b'}"), "command", {"command_text": "cd /; wget b"})
    assert (inner.view, inner.found.start) == ("command", 0)
    assert not hits(made("{pattern: '^wget b', scope: line}"), "command", {"command_text": "cd /; wget b"})
    (plain,) = hits(made("{field: path, pattern: x}", kinds="[session]"), "session", {"path": "x"})
    assert plain.view == ""


def test_nested_facts_are_found_by_the_prefilter_down_to_its_depth() -> None:
    rule = made("{field: a.b.c, pattern: wget}", kinds="[session]")
    assert hits(rule, "session", {"a": {"b": {"c": "wget x"}}})
    assert hits(made("{field: l, pattern: wget}", kinds="[session]"), "session", {"l": ["a", "wget"]})
    deep: Any = "wget"
    for _ in range(20):
        deep = {"k": deep}
    assert "wget" in matcher._flat_text({"k": deep})


def test_padding_beyond_the_bounds_is_a_field_that_no_text_can_fake() -> None:
    rule = made("{field: views_capped, op: equals, value: true}")
    index = RuleIndex([rule])
    found, capped = index.command_hits(PADDED, {}, Failures())
    assert capped
    assert [hit.rule.rule_id for hit in found] == ["R1"]
    assert index.command_hits("a; \0views_capped", {"views_capped": True}, Failures()) == ([], False)
    other = RuleIndex([made("{pattern: nothing}")])
    assert other.command_hits(PADDED, {}, Failures()) == ([], True), "told without a candidate too"


def test_a_small_set_that_cannot_tell_lets_every_rule_be_looked_at() -> None:
    rules = [made(f"{{pattern: '^{c}$'}}", f"R{i}") for i, c in enumerate("abc")]
    index = KindIndex("command", rules)
    assert [r.rule_id for r in index.candidates("b")] == ["R1"]
    assert index.candidates("zz") == ()
    (small,) = index._sets

    class Silent:
        def Match(self, _: str) -> list[int]:
            return []

    small._set = Silent()
    assert [r.rule_id for r in index.candidates("zz")] == ["R0", "R1", "R2"]
    small._set = None
    assert [r.rule_id for r in index.candidates("zz")] == ["R0", "R1", "R2"]


def test_sets_are_small_and_one_that_is_too_large_costs_no_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    loose = [made(f"{{pattern: '^{chr(97 + i)}$'}}", f"R{i:02}") for i in range(17)]
    index = KindIndex("command", loose)
    assert [len(small.owners) for small in index._sets] == [16, 1]
    assert [r.rule_id for r in index.candidates("q")] == ["R16"]

    def too_large(_: Any) -> Any:
        class Full:
            def Add(self, _: str) -> int:
                raise re2.error("too large")

        return Full()

    monkeypatch.setattr(matcher.re2.Set, "SearchSet", too_large)
    assert len(KindIndex("command", loose).candidates("q")) == 17


def test_rules_without_a_prefilter_are_always_looked_at_in_rule_order() -> None:
    rules = [
        made("{pattern: wget}", "R3"),
        made("{not: {pattern: curl}}", "R1"),
        made("{pattern: wget}", "R2"),
    ]
    found, _ = RuleIndex(rules).command_hits("wget", {}, Failures())
    assert [hit.rule.rule_id for hit in found] == ["R1", "R2", "R3"]


# -- failures cost one rule


class Broken:
    """A condition that cannot be judged while ``on``."""

    on = True

    def find(self, fields: Any) -> Found | None:
        if self.on:
            raise ZeroDivisionError
        return Found("command_text", "x", 0, 1)

    def prefilters(self, kind: str) -> list[str] | None:
        return None

    def reads(self) -> frozenset[str]:
        return frozenset({"command_text"})


def broken(rule_id: str = "R0") -> tuple[CompiledRule, Broken]:
    condition = Broken()
    return replace(made("{pattern: x}", rule_id), condition=condition), condition


def test_a_rule_that_raises_is_counted_and_trips_after_so_many_in_a_row_and_others_go_on() -> None:
    bad, condition = broken()
    engine = RuleEngine(max_failures=3)
    engine.replace([bad, made("{pattern: x}", "R1")], {})
    with capture_logs() as logs:
        for i in range(2):
            assert [t.rule_id for t in engine.evaluate(command("x", f"c{i}"))] == ["R1"]
        assert (engine.failures.total, engine.failures.out_of_action()) == (2, 0)
        condition.on = False
        assert [t.rule_id for t in engine.evaluate(command("x", "ok"))] == ["R0", "R1"]
        condition.on = True
        for i in range(5):
            assert [t.rule_id for t in engine.evaluate(command("x", f"d{i}"))] == ["R1"]
    assert (engine.failures.total, engine.failures.out_of_action()) == (5, 1)
    assert [(log["log_level"], log["rule_id"]) for log in logs] == [("warning", "R0")] * 5
    assert all(log["exc_info"] for log in logs)
    condition.on = False
    assert [t.rule_id for t in engine.evaluate(command("x", "e"))] == ["R1"], "a tripped rule stays out"


def test_another_version_of_a_tripped_rule_has_a_clean_record() -> None:
    failures = Failures(2)
    first, second = made("{pattern: x}"), made("{pattern: y}")
    assert not failures.tripped(first)
    failures.failed(first)
    assert not failures.tripped(first)
    failures.failed(first)
    assert failures.tripped(first)
    assert not failures.tripped(second)
    failures.failed(second)
    failures.passed(second)
    assert not failures.tripped(second)
    assert (failures.total, failures.out_of_action()) == (3, 1)


def test_a_tripped_lifter_rule_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = made("{kind: 'lifter:credential_reuse'}", kinds="[credential]")
    failures = Failures(1)
    assert [lift.rule for lift in lifts([rule], {"reuse_count": 1}, failures)] == [rule]
    failures.failed(rule)
    assert lifts([rule], {"reuse_count": 1}, failures) == []


class Fails(TolerantTagger):
    name = "fails"
    HANDLES = frozenset({"command"})
    error: BaseException = ValueError("x")

    async def _tag_impl(self, event: TaggerEvent) -> list[TTPTag]:
        raise self.error


async def test_a_tagger_that_fails_gives_nothing_and_one_warning_that_names_it() -> None:
    with capture_logs() as logs:
        assert await Fails().tag(command("x")) == []
    assert [(log["log_level"], log["tagger"], log["source_kind"], log["exc_info"]) for log in logs] == [
        ("warning", "fails", "command", True)
    ]
    for error in (KeyboardInterrupt(), SystemExit(), asyncio.CancelledError()):
        tagger = Fails()
        tagger.error = error
        with pytest.raises(type(error)):
            await tagger.tag(command("x"))


# -- states, floor, tag ids


def test_the_floor_is_kept_at_its_edge_and_what_is_left_out_is_counted_by_reason() -> None:
    emits = (
        "[{tactic: TA0011, technique_id: T1105, confidence: 0.3}, {tactic: TA0007, technique_id: T1082, confidence: 0.29},"
        " {tactic: TA0002, technique_id: T1059, confidence: 0.9}]"
    )
    rule = made("{pattern: x}", emits=emits)
    engine = engine_of(rule)
    assert [t.technique_id for t in engine.evaluate(command("x"))] == ["T1105", "T1059"]
    assert engine.suppressed == {("R1", "floor"): 1}
    for ceiling, kept, counted in (
        (0.31, [0.3, 0.31], {("R1", "floor"): 1}),
        (0.3, [0.3, 0.3], {("R1", "floor"): 1}),
        (0.29, [], {("R1", "floor"): 1, ("R1", "clipped_below_floor"): 2}),
    ):
        engine = engine_of(rule, R1=RuleState("clipped", ceiling))
        assert [t.confidence for t in engine.evaluate(command("x"))] == kept
        assert engine.suppressed == counted
    engine = engine_of(rule, R1=RuleState("disabled"))
    assert engine.evaluate(command("x")) == []
    assert engine.suppressed == {("R1", "disabled"): 3}
    assert engine_of(rule, R1=RuleState("enabled")).evaluate(command("x"))


def test_a_clip_never_raises_and_a_state_is_the_default_from_its_end_on() -> None:
    end = datetime(2026, 1, 1, tzinfo=UTC)
    assert RuleState("clipped", 0.9).confidence(0.5) == 0.5
    assert RuleState("clipped", 0.5).confidence(0.5) == 0.5
    assert RuleState("clipped", 0.4).confidence(0.5) == 0.4
    assert RuleState("disabled", 0.4).confidence(0.5) is None
    assert RuleState("enabled", 0.4).confidence(0.5) == 0.5
    state = RuleState("disabled", expires_at=end)
    assert state.effective(end - timedelta(microseconds=1)) is state
    assert state.effective(end) is DEFAULT_STATE
    assert not RuleState("disabled").expired(datetime.max.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "bad",
    [
        {"state": "off"}, {"state": "clipped"}, {"confidence_max": 1.01}, {"confidence_max": -0.01},
        {"expires_at": datetime(2026, 1, 1)},
    ],
)  # fmt: skip
def test_states_that_say_nothing_sensible_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"state must|needs confidence_max|within 0\.\.1|timezone-aware"):
        RuleState(**bad)
    for good in (0, 1):
        assert RuleState("clipped", good).confidence_max == good


def test_a_tag_says_who_what_and_why_and_its_id_is_made_of_its_source_and_rule_only() -> None:
    rule = made("{pattern: wget}")
    event = TaggerEvent("command", "c1", "a", "i", "s", "d", {"command_text": "wget x"})
    (tag,) = engine_of(rule).evaluate(event)
    assert (tag.attacker_uuid, tag.identity_uuid, tag.session_id, tag.decky_id) == ("a", "i", "s", "d")
    assert tag.uuid == tag_id("command", "c1", "R1", 1, "T1105", None)
    assert (tag.tactic, tag.technique_id, tag.sub_technique_id) == ("TA0011", "T1105", None)
    assert (tag.rule_version, tag.attack_release) == (1, load_catalogue().release)
    assert tag.mitre_url
    assert tag.evidence == {"field": "command_text", "matched": "wget", "span": [0, 4], "view": "line"}
    (same,) = engine_of(rule).evaluate(event._replace(attacker_uuid="b", session_id="t", decky_id=None))
    assert same.uuid == tag.uuid
    (other,) = engine_of(rule).evaluate(event._replace(source_id="c2"))
    assert other.uuid != tag.uuid


def test_a_revoked_technique_tags_its_successor_under_the_id_that_the_rule_wrote() -> None:
    class Release:
        release = "99"

        def resolve(self, written: str) -> Any:
            return None if written == "T1000" else known

        def get(self, written: str) -> Any:
            return known if written == "T1000" else None

    known = load_catalogue().resolve("T1059.004")
    assert known is not None
    emit = make_emit(Release(), "TA0002", "T1066", None, 0.5)  # type: ignore[arg-type]
    assert (emit.technique_id, emit.sub_technique_id) == ("T1059", "T1059.004")
    assert (emit.written_technique_id, emit.written_sub_technique_id) == ("T1066", None)
    with pytest.raises(ValueError, match="T1000 was revoked in ATT&CK 99"):
        make_emit(Release(), "TA0002", "T1000", None, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="T1066 does not belong to TA0011, only to TA0002"):
        make_emit(Release(), "TA0011", "T1066", None, 0.5)  # type: ignore[arg-type]
    assert emit.scaled(1.0) is emit
    assert emit.scaled(0.5).confidence == 0.25
    assert emit.scaled(3).confidence == 1.0
    assert emit.scaled(-1).confidence == 0.0


def test_hits_of_window_rules_fire_nothing_by_themselves_and_disabled_ones_count_nothing() -> None:
    rule = made("{pattern: x, window: {count: 2, within: 60s}}")
    event = command("x", session_id="s")._replace(session_id="s")
    collected = Collected({event: 5.0})
    engine = engine_of(rule)
    assert engine.evaluate(event, collected=collected) == []
    (hit,) = collected.hits
    assert (hit.stored[0].ts, hit.stored[0].who["session_id"]) == (5.0, "s")
    assert engine.evaluate(event) == []
    off, none = engine_of(rule, R1=RuleState("disabled")), Collected()
    assert off.evaluate(event, collected=none) == []
    assert none.hits == []
    assert off.suppressed == {("R1", "disabled"): 1}
    keyless = Collected()
    engine.evaluate(command("x"), collected=keyless)
    assert keyless.hits == [], "without its key a hit counts for nothing"


def test_capped_lines_are_counted_and_states_are_swapped_alone() -> None:
    engine = engine_of(made("{pattern: wget}"))
    engine.evaluate(command(PADDED))
    engine.evaluate(command("a"))
    assert engine.views_capped == 1
    index = engine.snapshot().rules
    engine.replace_states({"R1": RuleState("disabled")})
    assert engine.snapshot().rules is index
    assert engine.evaluate(command("wget")) == []


async def test_a_batch_is_judged_by_the_snapshot_that_it_was_given() -> None:
    """Rules that are swapped meanwhile judge the next batch."""
    lifted = made("{kind: 'lifter:credential_reuse'}", "L1", "[credential]")
    engine = engine_of(made("{pattern: wget}"), lifted)
    before, event = engine.snapshot(), command("wget")
    reuse = TaggerEvent("credential", "c", "a", payload={"reuse_count": 1})
    tagger = RuleEngineTagger(None, engine)
    assert [t.rule_id for t in await tagger.tag_batch([event])] == ["R1"]
    assert [t.rule_id for t in engine.lift(reuse, "credential")] == ["L1"]
    engine.replace([], {})
    assert engine.evaluate(event) == engine.lift(reuse, "credential") == await tagger.tag_batch([event]) == []
    assert [t.rule_id for t in engine.evaluate(event, before)] == ["R1"]
    assert [t.rule_id for t in engine.lift(reuse, "credential", before)] == ["L1"]
    assert [t.rule_id for t in await tagger.tag_batch([event, event], None, before)] == ["R1", "R1"]


# -- evidence


def whole(line: str, match: str = "{pattern: '.*'}") -> dict[str, Any]:
    rule = made(match, more="evidence_fields: [command_text, user]\n")
    (tag,) = engine_of(rule).evaluate(command(line, user="root"))
    return dict(tag.evidence or {})


@pytest.mark.parametrize("at", [0, 400, 511, 512, 1000, 4000, 8000])
def test_a_password_is_concealed_wherever_it_stands_in_the_line(at: int) -> None:
    """The part that matched ends before what makes the word a password."""
    line = "x" * at + " echo root:hunter2hunter | chpasswd"
    rule = made(r"{pattern: 'root:\w+'}", more="evidence_fields: [command_text]\n")
    (tag,) = engine_of(rule).evaluate(command(line))
    assert (tag.evidence or {})["matched"] == "root:***"
    assert "hunter2" not in str(tag.evidence)


@pytest.mark.parametrize(("size", "shown"), [(1999, 1999), (2000, 2000), (2001, 2000)])
def test_evidence_texts_are_cut_at_2000_characters(size: int, shown: int) -> None:
    assert len(whole("a" * size, "{pattern: a}")["command_text"]) == shown
    assert len(checked_evidence("command", {"command_text": "a" * size})["command_text"]) == shown


@pytest.mark.parametrize(("count", "kept"), [(99, 99), (100, 100), (101, 100)])
def test_evidence_lists_are_cut_at_100_items(count: int, kept: int) -> None:
    assert len(checked_evidence("command", {"argv": ["a"] * count})["argv"]) == kept
    assert len(checked_evidence("session", {"forward_ports": [1] * count})["forward_ports"]) == kept
    assert len(checked_evidence("email", {"signals": ["a"] * count})["signals"]) == kept


def test_evidence_fields_are_those_of_the_rule_and_never_overrule_the_match() -> None:
    assert whole("id", "{pattern: id}") == {
        "field": "command_text", "matched": "id", "span": [0, 2], "view": "line", "command_text": "id", "user": "root"
    }  # fmt: skip
    rule = made("{pattern: id}", more="evidence_fields: [field, absent]\n")
    hit = Hit(rule, Found("command_text", "id", 0, 2), "")
    assert evidence(hit, {"field": "theirs"}) == {"field": "command_text", "matched": "id", "span": [0, 2]}


@pytest.mark.parametrize(
    ("kind", "name", "good", "bad"),
    [
        ("session", "end_reason", "a" * 80, "a" * 81),
        ("session", "end_reason", "closed.x-1_", "1closed"),
        ("session", "hassh", "ab" * 4, "ab" * 3 + "a"),
        ("session", "hassh", "a" * 128, "a" * 129),
        ("session", "hassh", "0123456789abcdef", "ABCDEF01"),
        ("email", "from_domain", "a" * 253, "a" * 254),
        ("email", "from_domain", "a.example", "a@b.example"),
        ("email", "from_domain", "a-b.example", "-a.example"),
        ("session", "bytes_out", 5, "5"),
        ("session", "bytes_out", 5.5, True),
        ("command", "success", True, 1),
        ("canary_fingerprint", "signature", None, None),
    ],
)
def test_evidence_of_the_wrong_shape_is_left_out(kind: str, name: str, good: Any, bad: Any) -> None:
    if good is not None:
        assert checked_evidence(kind, {name: good}) == {name: good}
    assert name not in checked_evidence(kind, {name: bad}) or kind == "canary_fingerprint"


def test_canary_evidence_is_metric_and_signature_and_email_evidence_a_hash() -> None:
    assert checked_evidence("canary_fingerprint", {"field": "f", "matched": "m", "user_agent": "x"}) == {
        "metric": "f",
        "signature": "m",
    }
    assert checked_evidence("canary_fingerprint", {"field": None, "matched": 5}) == {
        "metric": "",
        "signature": "",
    }
    told = checked_evidence("email", {"field": "subject", "matched": "pay now", "span": [0, 3]})
    assert told == {"field": "subject", "matched_sha256": sha256_of("pay now"), "span": [0, 3]}
    assert "matched_sha256" not in checked_evidence("email", {"matched": ""})


def test_secrets_are_hidden_everywhere_but_in_the_engines_own_words() -> None:
    line = "curl -u bob:fieldx http://h/; echo fieldx"
    assert secrets_in(line) == ("fieldx",)
    shown = concealed(
        {"field": "fieldx", "view": "fieldx", "span": ["fieldx"], "matched": "a fieldx", "l": ("fieldx", 5)},
        line,
    )
    assert shown == {
        "field": "fieldx",
        "view": "fieldx",
        "span": ["fieldx"],
        "matched": "a ***",
        "l": ["***", 5],
    }


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("abcd", "xabcdx abcd", "x***x ***"),
        ("abc", "xabcx abc", "xabcx ***"),
        ("a.c", "abc a.c", "abc ***"),
    ],
)
def test_short_secrets_are_hidden_as_words_only(secret: str, text: str, shown: str) -> None:
    assert without([secret], text) == shown


def test_the_longest_secret_goes_first_so_that_no_end_of_it_stays() -> None:
    line = "curl -u a:hunter http://x; curl -u a:hunter22 http://y"
    assert secrets_in(line) == ("hunter22", "hunter")
    assert concealed({"matched": "hunter22 hunter"}, line) == {"matched": "*** ***"}
    assert secrets_in("echo ***") == ()
    assert masked(masked("mysql --password=hunter2")) == "mysql --password=***"


# -- fan-out


class Says(Tagger):
    HANDLES = frozenset({"command"})

    def __init__(self, name: str) -> None:
        self.said = name

    async def tag(self, event: TaggerEvent) -> list[Any]:
        return [self.said]


async def test_results_stand_in_the_order_of_the_lifters_and_an_unclaimed_kind_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(factory, "_told", set())
    tagger = CompositeTagger([Says("one"), Says("two")])
    event = command("x")
    assert await tagger.tag(event) == ["one", "two"]
    assert await tagger.tag_batch([event, event]) == ["one", "one", "two", "two"]
    with capture_logs() as logs:
        for _ in range(2):
            assert await tagger.tag(event._replace(source_kind="email")) == []
            assert await tagger.tag(event._replace(source_kind="unheard")) == []
            await tagger.tag_batch([event._replace(source_kind="intel"), event._replace(source_kind="email")])
    assert sorted((log["log_level"], log["source_kind"]) for log in logs) == [
        ("info", "unheard"), ("warning", "email"), ("warning", "intel")
    ]  # fmt: skip
    assert await CompositeTagger([]).tag(event) == []
    assert CompositeTagger.HANDLES == KNOWN_SOURCE_KINDS


def test_watchables_are_those_with_rules_behind_them_and_unknown_taggers_are_refused() -> None:
    settings = load_settings(ttp={"floor": 0.45, "max_rule_failures": 2})
    tagger = get_tagger(settings)
    (watchable,) = tagger.iter_watchables()
    assert isinstance(watchable, WatchableTagger)
    assert isinstance(watchable, RuleEngineTagger)
    assert (watchable.engine.floor, watchable.engine.failures.limit) == (0.45, 2)
    with pytest.raises(ValueError, match=r"'other'; known: composite"):
        get_tagger(load_settings(ttp={"tagger_type": "other"}))


def test_events_hash_over_their_six_fields() -> None:
    one, two = command("x"), command("y")
    assert hash(one) == hash(two)
    assert len({one, two, one._replace(payload=dict(one.payload))}) == 2
    assert isinstance(compare("f", "gt", 1), Compare)


def test_a_rule_can_ask_who_ran_a_command_and_where() -> None:
    rule = made(
        "{all: [{field: user, op: equals, value: backup}, {field: pwd, op: startswith, value: /srv}]}"
    )
    assert len(hits(rule, "command", {"command_text": "id", "user": "backup", "pwd": "/srv/x"})) == 1
    assert hits(rule, "command", {"command_text": "id backup /srv", "user": "root", "pwd": "/srv/x"}) == []


def test_no_more_patterns_than_the_bound_are_compiled_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call keeps the event loop from running; what matches does not depend on how many there are."""
    rules = [made(f"{{pattern: 'word{n}x'}}", f"R{n}") for n in range(10)]
    texts = ["word3x", "word0x and word9x", "word10x", " ".join(f"word{n}x" for n in range(10)), "nothing"]
    added: list[int] = []

    class Counted(re2.Filter):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            added.append(0)

        def Add(self, *arguments: Any) -> Any:
            added[-1] += 1
            return super().Add(*arguments)

    answers = []
    for size in (1000, 10, 9, 4, 1):
        monkeypatch.setattr(matcher, "FILTER_SIZE", size)  # of those of which something is to be learnt
        monkeypatch.setattr(matcher.re2, "Filter", Counted)
        matcher._HAS_LITERAL.clear()
        matcher._FILTERS.clear()
        added.clear()
        index = KindIndex("command", rules, size)
        assert max(added) <= size
        assert sum(added) == 2 * len(rules), "once to learn about them, once to match"
        answers.append([[rule.rule_id for rule in index.candidates(text)] for text in texts])
    assert answers[0] == [["R3"], ["R0", "R9"], [], [f"R{n}" for n in range(10)], []]
    assert all(one == answers[0] for one in answers)


def test_an_engine_compiles_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_engine, "FILTER_SIZE", 3)
    engine = RuleEngine()
    engine.replace([made(f"{{pattern: 'word{n}x'}}", f"R{n}") for n in range(7)], {})
    sizes = [len(owners) for _, owners in engine.snapshot().rules._kinds["command"]._filters]
    assert sum(sizes) == 7
    assert max(sizes) <= 3
    assert len(sizes) >= 3


def test_a_changed_rule_has_only_its_own_piece_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling keeps the event loop from running; of hundreds of rules one is saved at a time."""
    made_of: list[int] = []

    class Counted(matcher._Filter):
        __slots__ = ()

        def __init__(self, patterns: Iterable[str]) -> None:
            made_of.append(len(given := list(patterns)))
            super().__init__(given)

    monkeypatch.setattr(matcher, "_Filter", Counted)
    rules = [made(f"{{pattern: 'held{n}x'}}", f"R{n:03}") for n in range(100)]
    index = RuleIndex(rules, most=20)
    assert sum(made_of) == 100
    made_of.clear()
    other = made("{pattern: 'held7y'}", "R007")
    first = made("{pattern: 'held0z'}", "R0000")
    again = RuleIndex([first, *(other if rule.rule_id == "R007" else rule for rule in rules)], most=20)
    assert 1 <= len(made_of) <= 3, "the piece that it left, the one that it came to, and that of the new one"
    found = [
        [r.rule_id for r in one._kinds["command"].candidates("held7y held7x held9x")]
        for one in (index, again)
    ]
    assert found == [["R007", "R009"], ["R007", "R009"]]
    assert [r.rule_id for r in again._kinds["command"].candidates("held7x")] == []
    made_of.clear()
    RuleIndex(rules, most=20)
    assert made_of == [], "what an index in use has is taken over"


def test_a_set_of_rules_that_another_took_the_place_of_is_freed_at_once() -> None:
    """It has all lines that it was asked about: freed by the collector, some of them would be kept beside each other."""
    engine = engine_of(made("{pattern: wget}"), made("{pattern: curl}", rule_id="R2"))
    assert [tag.rule_id for tag in engine.evaluate(command("wget x"))] == ["R1"]
    gone = weakref.ref(engine.snapshot().rules)
    gc.disable()
    try:
        engine.replace([made("{pattern: curl}")], {})
        assert gone() is None
    finally:
        gc.enable()
