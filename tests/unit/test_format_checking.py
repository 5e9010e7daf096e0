"""A table that is wrong is refused with all that is wrong with it at once, each with its place."""

from __future__ import annotations

import pytest

from decnet.sensors.formats.checking import MAX_ROWS, check
from decnet.sensors.formats.places import MAX_PATTERN
from tests.tablekit import SMALL


def faults(text: str) -> list[str]:
    table, flaws = check(text, "t.yaml")
    assert (table is None) is bool(flaws)
    return [f"{flaw.place}: {flaw.message}" for flaw in flaws]


def small(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new, 1)


def test_the_small_table_has_no_fault() -> None:
    assert faults(SMALL) == []


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
format: Bad Name
surce: https://example.org
detect: {hass: [a]}
time: {field: when, as: epoch, zone: MEZ}
peer: [who, {from: x, as: rot13}]
id: []
rows:
  - {when: {what: cmd}, emit: comand, text: text}
  - {emit: login, user: u}
  - {emit: command, text: {from: t, pattern: '(?=x)'}, each: 7}
  - {emit: fingerprint, value: v}
sample: ''
expected: {events: [{event: sesion}], refused: 3}
"""
    assert faults(text) == [
        "t.yaml:1:1: missing key 'source'",
        "t.yaml:1:9: format is a name of small letters, digits and underscores, 40 at most",
        "t.yaml:2:1: unknown key 'surce'; known: format, title, source, lines, columns, delimiter, pattern, detect, beside, time, peer,"
        " decky, id, per, idle, service, kind, rows, leave, rest, without, sample, expected",
        "t.yaml:3:9: at least one of has and where",
        "t.yaml:3:10: unknown key 'hass'; known: has, where",
        "t.yaml:4:25: as: 'epoch' is none of iso8601, unix, unix_ms, unix_us, unix_ns",
        "t.yaml:4:38: zone is what local time is ahead of UTC: '+02:00'",
        "t.yaml:5:27: as: 'rot13' is none of hex, base64, lower, p0f_syn, http2_settings, container_signals",
        "t.yaml:6:5: id is a list that is not empty",
        "t.yaml:8:31: a row has an emit: one of fingerprint, http_request, login, command, session, connect, client, download, upload,"
        " exploit, closed",
        "t.yaml:9:5: emit: login needs username or password",
        "t.yaml:9:19: unknown key 'user'; known: when, emit, each, anonymous, secret_kind, username, password, success",
        "t.yaml:10:46: pattern: lookaround is not supported by RE2: matching must be linear in time",
        "t.yaml:10:62: each is a text",
        "t.yaml:11:5: missing key 'type'",
        "t.yaml:12:9: sample is a text",
        "t.yaml:13:29: event: 'sesion' is none of session, fingerprint, request, credential",
        "t.yaml:13:48: refused is a mapping of reasons to numbers",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("id: [sid]", "id: [sid]\nlines: csv", "t.yaml:7:8: lines: csv needs columns"),
        ("id: [sid]", "id: [sid]\nlines: text", "t.yaml:7:8: lines: text needs pattern"),
        ("id: [sid]", "id: [sid]\npattern: x", "t.yaml:7:10: 'pattern' goes with lines: text"),
        ("id: [sid]", "id: [sid]\nlines: text\npattern: '^(.*)$'", "t.yaml:8:10: a pattern with named groups: (?P<name>…)"),
        ("id: [sid]", "id: [sid]\nlines: xml", "t.yaml:7:8: lines: 'xml' is none of json, csv, text"),
        ("id: [sid]", "id: [sid]\nlines: csv\ncolumns: [a, b]\ndelimiter: '#'", "t.yaml:9:12: delimiter: '#' is none of ,, ;, \t, |"),
        ("id: [sid]", "id: [sid]\nleave: {a: why}", "t.yaml:7:8: leave is a mapping of kinds of line to why, and goes with kind"),
        ("id: [sid]", "id: [sid]\nper: 0s", "t.yaml:7:6: per is a duration longer than nothing: 90s, 5m, 1h"),
        ("id: [sid]", "id: [sid]\nidle: soon", "t.yaml:7:7: idle: 'soon' is no duration: write 90s, 5m, 1h30m, 7d or 2w"),
        ("id: [sid]", "id: [sid]\nrest: maybe", "t.yaml:7:7: rest is true or false"),
        ("id: [sid]", "id: [sid]\nbeside: [{has: [x]}]", "t.yaml:7:10: why is a text"),
        ("id: [sid]", "id: {sid: 1}", "t.yaml:6:5: id is a list that is not empty"),
        ("peer: who", "peer: {is: x, from: y}", "t.yaml:5:7: exactly one of is, first and from"),
        ("peer: who", "peer: {is: x, as: hex}", "t.yaml:5:19: 'as' goes with from"),
        ("peer: who", "peer: {from: x, map: []}", "t.yaml:5:22: map is a mapping of values to names"),
        ("peer: who", "peer: {from: x, pattern: '(a)(b)'}", "t.yaml:5:26: a pattern with one group, not 2"),
        ("peer: who", "peer:", "t.yaml:5:6: a value is a path, a number, true, false, a list or a mapping with is, first or from"),
        ("{what: cmd}", "{what: {pattern: x, has: true}}", "t.yaml:8:19: exactly one of pattern, has and not"),
        ("{what: cmd}", "{what: {near: x}}", "t.yaml:8:20: unknown key 'near'; known: pattern, has, not"),
        ("{what: cmd}", "{what: []}", "t.yaml:8:19: a word, a number, true, false, a list of them, {pattern: …}, {has: true} or {not: …}"),
        ("{what: cmd}", "{what: {pattern: '['}}", "t.yaml:8:29: pattern: bad pattern: missing ]: ["),
        ("{what: cmd}", "[]", "t.yaml:8:12: a mapping of paths to what has to stand there"),
        ("emit: command, text: text", "emit: fingerprint, type: kex, value: text", "t.yaml:8:50: type: 'kex' is no kind of fingerprint"),
        ("emit: command, text: text", "emit: fingerprint, type: http_request, value: text", "t.yaml:8:50: type: 'http_request' is no kind of fingerprint"),
        ("emit: command, text: text", "emit: session, rows: 1", "t.yaml:8:5: emit: session needs op_text or note_text or signals or …"),
        ("{when: {what: cmd}, emit: command, text: text}", "word", "t.yaml:8:5: a row has an emit"),
        ("  events:", "  not_derived: yes\n  events:", "t.yaml:14:16: not_derived is a number"),
        ("format: small", "format: &x small", "anchor '&x' is not allowed"),
        ("format: small", "format: small\nformat: small", "t.yaml:2:1: duplicate key 'format'"),
    ],
)  # fmt: skip
def test_a_fault_names_its_place_and_what_would_be_right(old: str, new: str, fault: str) -> None:
    told = faults(small(old, new))
    assert any(fault in one for one in told), told


@pytest.mark.parametrize("text", ["", "[]", "x", "- a", "a: [", "\0", "{}"])
def test_what_is_no_table_is_one_that_says_so(text: str) -> None:
    assert faults(text)


def test_bounds_are_met_exactly() -> None:
    row = "  - {when: {what: cmd}, emit: command, text: text}\n"
    assert faults(small(row, row * (MAX_ROWS - 2))) == []
    assert faults(small(row, row * (MAX_ROWS - 1))) == [f"t.yaml:8:3: more than {MAX_ROWS} rows"]
    pattern = "a" * MAX_PATTERN
    assert faults(small("what: cmd", f"what: {{pattern: {pattern}}}")) == []
    assert faults(small("what: cmd", f"what: {{pattern: {pattern}a}}")) == [
        f"t.yaml:8:29: pattern is longer than {MAX_PATTERN} characters"
    ]


def test_a_table_that_nests_without_end_is_refused() -> None:
    assert faults(f"format: {'[' * 200_000}")
