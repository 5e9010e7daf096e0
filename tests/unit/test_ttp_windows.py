"""Window and sequence rules, the pure part: order, lateness, floods, own tests."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.errors import RuleError
from decnet.ttp.loader import load_bytes
from decnet.ttp.matcher import Failures, RuleIndex
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.rules import CompiledRule
from decnet.ttp.selftest import run_rule_tests
from decnet.ttp.windows import KEPT_HITS, StoredHit, Subject, completions, superfluous, window_hit
from decnet.ttp.windows_memory import MemoryWindows

HEAD = """rule_id: R0001
rule_version: 1
name: demo
description: d
applies_to: [command]
emits:
  - {tactic: TA0007, technique_id: T1082, confidence: 0.8}
"""
COUNT = HEAD + "match: {pattern: '\\buname\\b', window: {count: 3, within: 60s, by: [session_id]}}\n"
DISTINCT = (
    HEAD
    + "match: {pattern: '\\b(uname|nproc|lscpu|free)\\b', window: {count: 3, within: 60s, distinct: argv0}}\n"
)
SEQUENCE = (
    HEAD
    + """match:
  sequence:
    within: 5m
    by: [session_id]
    steps:
      - {field: argv0, op: in, value: [wget, curl]}
      - {field: argv0, op: equals, value: chmod}
      - {field: command_text, op: pattern, value: '^\\./'}
"""
)


def rule(text: str) -> CompiledRule:
    made, errors = load_bytes(text.encode(), "R.yaml")
    assert not errors, [str(e) for e in errors]
    assert made
    return made


def fired(text: str, events: list[tuple[float, str]], order: list[int] | None = None) -> list[str]:
    """Ids of the completing events; events are (ts, command), fed in ``order``."""
    index, windows = RuleIndex([made := rule(text)]), MemoryWindows()
    out = []
    for i in order if order is not None else range(len(events)):
        ts, line = events[i]
        subject = Subject("command", f"e{i:02}", ts, {"session_id": "s"}, {"command_text": line})
        for hit in index.hits("command", {"command_text": line}, Failures())[0]:
            found = window_hit(made, hit.marks, subject, {})
            assert found
            out += [done.hit.source_id for _, done in windows.apply([found])]
    return out


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        ([0, 1], []),
        ([0, 1, 2], ["e02"]),
        ([0, 30, 60], ["e02"]),
        ([0, 30, 61], []),
        ([0, 1, 2, 3, 4, 5], ["e02"]),
        ([0, 1, 2, 62, 63, 64], ["e02", "e05"]),
        ([0, 1, 2, 61, 62, 62], ["e02"]),
        ([5, 5, 5], ["e02"]),
    ],
)
def test_a_window_counts_and_then_rests(times, wanted):
    assert fired(COUNT, [(t, "uname") for t in times]) == wanted


def test_other_commands_do_not_count():
    assert not fired(COUNT, [(0, "uname"), (1, "ls"), (2, "uname"), (3, "id")])


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["uname", "uname -a", "uname -r"], []),
        (["uname", "nproc", "free"], ["e02"]),
        (["uname -a; nproc; free -m"], ["e00"]),
        (["cd /tmp; uname", "cd /; uname -a"], []),
        (["sudo uname", "/usr/bin/nproc", "sh -c 'lscpu'"], ["e02"]),
    ],
)
def test_distinct_values_of_commands(lines, wanted):
    assert fired(DISTINCT, [(i, line) for i, line in enumerate(lines)]) == wanted


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ([(0, "wget http://x/a"), (1, "chmod +x a"), (2, "./a")], ["e02"]),
        ([(0, "chmod +x a"), (1, "wget http://x/a"), (2, "./a")], []),
        ([(0, "wget http://x/a; chmod +x a; ./a")], ["e00"]),
        ([(0, "./a; chmod +x a; wget http://x/a")], []),
        ([(0, "wget x"), (1, "chmod +x a"), (301, "./a")], []),
        ([(0, "wget x"), (100, "curl x"), (101, "chmod +x a"), (301, "./a")], ["e03"]),
        ([(0, "wget x"), (1, "chmod a"), (2, "./a"), (3, "./a"), (300, "./a")], ["e02"]),
    ],
)
def test_sequences(events, wanted):
    assert fired(SEQUENCE, events) == wanted


def test_events_in_any_order_complete_at_the_last_in_time():
    events = [(0, "wget x"), (1, "chmod a"), (2, "./a")]
    for seed in range(6):
        order = random.Random(seed).sample(range(3), 3)
        assert fired(SEQUENCE, events, order) == ["e02"]


def test_a_late_event_moves_nothing():
    events = [(1, "uname"), (3, "uname"), (5, "uname"), (2, "uname")]
    assert fired(COUNT, events) == ["e02"]


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([COUNT, DISTINCT, SEQUENCE]))
def test_what_arrives_together_is_judged_alike_in_any_order(data, text):
    commands = st.sampled_from(["uname", "nproc", "free", "wget x", "chmod a", "./a"])
    events = data.draw(st.lists(st.tuples(st.integers(0, 400).map(float), commands), max_size=25))
    made = rule(text)
    hits = _stored(made, events)
    again = data.draw(st.permutations(hits + hits[: len(hits) // 2]))
    assert made.correlation
    first = [c.hit.source_id for c in completions(made.correlation, hits, [])]
    unique = {h.order: h for h in again}.values()
    assert [c.hit.source_id for c in completions(made.correlation, unique, [])] == first
    times = {h.source_id: h.ts for h in hits}
    assert not completions(made.correlation, hits, [times[s] for s in first])


def _stored(made: CompiledRule, events: list[tuple[float, str]]) -> list[StoredHit]:
    index, out = RuleIndex([made]), []
    for i, (ts, line) in enumerate(events):
        subject = Subject("command", f"e{i:02}", ts, {"session_id": "s"}, {})
        for hit in index.hits("command", {"command_text": line}, Failures())[0]:
            found = window_hit(made, hit.marks, subject, {})
            out += list(found.stored) if found else []
    return out


@pytest.mark.parametrize(
    ("text", "before", "flood", "after"),
    [
        (DISTINCT, ["uname", "free"], "uname", ["lscpu"]),
        (SEQUENCE, ["wget x", "chmod a"], "curl y", ["./a"]),
        (SEQUENCE, ["wget x"], "wget y", ["chmod a", "./a"]),
    ],
)
def test_a_flood_pushes_nothing_out(text, before, flood, after):
    lines = [*before, *[flood] * (KEPT_HITS + 300), *after]
    made = rule(text)
    windows = MemoryWindows()
    done = []
    for hit in _stored(made, [(i / 1000, line) for i, line in enumerate(lines)]):
        subject = Subject("command", hit.source_id, hit.ts, {"session_id": "s"}, {})
        found = window_hit(made, (), subject, {})
        assert found
        done += windows.apply([found._replace(stored=(hit,))])
    assert len(done) == 1
    assert max(len(slot.hits) for slot in windows._slots.values()) <= KEPT_HITS + 64


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from("abcd")), max_size=60), st.integers(1, 5))
def test_what_is_dropped_was_not_needed(items, kept):
    spec = rule(DISTINCT).correlation
    assert spec
    hits = [StoredHit(float(t), f"e{i:02}", 0, "command", 0, v, {}, {}) for i, (t, v) in enumerate(items)]
    hits.sort(key=lambda h: h.order)
    gone = {h.order for h in superfluous(spec, hits, kept)}
    last = hits[-1].ts if hits else 0.0
    later = [StoredHit(last + 1, f"z{v}", 0, "command", 0, v, {}, {}) for v in "xyz"]
    for n in range(4):
        full = completions(spec, [*hits, *later[:n]], [])
        slim = completions(spec, [h for h in [*hits, *later[:n]] if h.order not in gone], [])
        late = {c.hit.source_id for c in full if c.hit.source_id.startswith("z")}
        if not [c for c in full if c.hit.source_id.startswith("e")]:
            assert late == {c.hit.source_id for c in slim}


def test_own_tests_of_windows_and_sequences():
    tests = """tests:
  match:
    - [{at: 0, command_text: wget x}, {at: 5, command_text: chmod a}, {at: 9, command_text: ./a}]
    - wget http://x/a && chmod +x a && ./a
  no_match:
    - [{at: 0, command_text: wget x}, {at: 5, command_text: chmod a}, {at: 301, command_text: ./a}]
    - [{at: 0, command_text: wget x, session_id: s1}, {at: 5, command_text: chmod a; ./a, session_id: s2}]
"""
    assert not run_rule_tests([rule(SEQUENCE + tests)])
    wrong = run_rule_tests([rule(SEQUENCE + "tests:\n  match:\n    - [{at: 1, command_text: ls}]\n")])
    assert [(e.place.line, e.place.column) for e in wrong if isinstance(e, RuleError)] == [(18, 7)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (COUNT.replace("60s", "0s"), "duration"),
        (COUNT.replace("60s", "90d"), "duration"),
        (COUNT.replace("60s", "60"), "within"),
        (COUNT.replace("count: 3", "count: 0"), "count"),
        (COUNT.replace("by: [session_id]", "by: []"), "by"),
        (COUNT.replace("window: {", "window: {every: 1, "), "unknown key 'every'"),
        (SEQUENCE.replace("op: equals", "source_kind: emial, op: equals"), "not in applies_to"),
        (SEQUENCE.replace("value: '^\\./'", "value: '(?=x)'"), "lookaround"),
        (SEQUENCE[: SEQUENCE.index("      - {field: argv0, op: equals")], "steps"),
        (SEQUENCE + "  window: {count: 3, within: 1m}\n", "window cannot stand beside"),
        (
            COUNT.replace("pattern: '\\buname\\b'", "any: [{pattern: a, window: {count: 1, within: 1s}}]"),
            "window",
        ),
    ],
)
def test_wrong_windows_do_not_load(text, words):
    made, errors = load_bytes(text.encode(), "R.yaml")
    assert made is None
    assert any(words in str(e) for e in errors), [str(e) for e in errors]
    assert all(e.place.line > 1 or "not in applies_to" in str(e) for e in errors), [str(e) for e in errors]


def test_offline_events_complete_a_sequence_and_bare_lines_do_not(tmp_path):
    (tmp_path / "a.yaml").write_text(SEQUENCE)
    tagger = OfflineTagger(tmp_path)
    assert tagger.tag_line("wget x; chmod a; ./a") == []
    lines = [(0.0, "wget x"), (1.0, "chmod a"), (2.0, "./a")]
    got = [
        tagger.tag_event(
            {"source_kind": "command", "session_id": "s", "payload": {"command_text": c, "ts": t}}
        )
        for t, c in lines
    ]
    assert [len(tags) for tags in got] == [0, 0, 1]
    assert got[2][0]["matched"] == "./"
