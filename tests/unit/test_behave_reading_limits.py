"""How recordings and sessions are read: bounds of work, limits in time, and what hostile bytes cannot do."""

from __future__ import annotations

from typing import Any

import pytest

from decnet.behave import editor as editing
from decnet.behave import evidence as evidences
from decnet.behave import keys as striking
from decnet.behave import thresholds as t
from decnet.behave import ttylog
from decnet.behave.editor import LineEditor
from decnet.behave.extract import ending_of
from decnet.behave.keys import KeyFacts, read_keys
from decnet.behave.parts import joined
from decnet.behave.prompts import mode_after
from decnet.behave.ttylog import (
    HEADER,
    INPUT,
    INTERACT,
    OP_CLOSE,
    OP_EXEC,
    OP_OPEN,
    OP_WRITE,
    OUTPUT,
    ReadState,
    chunks,
)
from decnet.errors import MalformedEvent
from decnet.events.session import MAX_PARTS, SessionEnded
from decnet.ids import attacker_id
from tests.behavekit import START, Tape, evidence_of, extract, session

PROMPT = b"$ "
Row = dict[str, Any]


def record(at: float, data: bytes, way: int = INPUT, operation: int = OP_WRITE, lie: int = 0) -> bytes:
    micros = round((at - int(at)) * 1e6)
    return HEADER.pack(operation, 0, len(data) + lie, way, int(at), micros) + data


def struck(*keys: tuple[float, bytes], prompt: bytes = PROMPT) -> KeyFacts:
    """The facts of input at exact times since the epoch, where seconds have no rounding."""
    return read_keys(record(0.0, prompt, OUTPUT) + b"".join(record(at, data) for at, data in keys))


# --- recordings -----------------------------------------------------------------------------------


def test_a_recording_is_read_up_to_its_bound_and_no_record_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ttylog.MAX_RECORDS == 500_000
    monkeypatch.setattr(ttylog, "MAX_RECORDS", 3)
    for number, capped in ((2, False), (3, False), (4, True)):
        state = ReadState()
        assert len(list(chunks(record(1.0, b"a") * number, state))) == min(number, 3)
        assert (state.capped, state.truncated) == (capped, False)


@pytest.mark.parametrize(
    ("content", "data", "truncated"),
    [
        (b"", [], False),
        (record(1.0, b"a"), [b"a"], False),
        (record(1.0, b""), [b""], False),
        (record(1.0, b"a") + b"\x00", [b"a"], True),  # one byte of a header
        (record(1.0, b"a") + record(1.0, b"b")[:23], [b"a"], True),
        (record(1.0, b"a") + record(1.0, b"", lie=0)[:24], [b"a", b""], False),
        (record(1.0, b"a", lie=1), [], True),  # says one byte more than there is
        (record(1.0, b"a", lie=-2), [], True),  # a negative size
        (record(1.0, b"", lie=-1), [], True),
        (record(1.0, b"a", lie=2**31 - 2), [], True),
        (record(1.0, b"a", operation=0), [], True),
        (record(1.0, b"a", operation=5), [], True),
        (record(1.0, b"a", operation=OP_EXEC) + record(2.0, b"b"), [b"b"], False),
        (record(1.0, b"a", INTERACT) + record(2.0, b"b"), [b"b"], False),
        (record(1.0, b"a", 0) + record(2.0, b"b", OUTPUT), [b"b"], False),
    ],
)
def test_what_is_whole_is_read_and_what_is_not_is_said(
    content: bytes, data: list[bytes], truncated: bool
) -> None:
    state = ReadState()
    assert [said for *_, said in chunks(content, state)] == data
    assert (state.truncated, state.capped) == (truncated, False)


def test_opening_closing_and_exec_are_noted() -> None:
    state = ReadState()
    content = record(1.5, b"", 0, OP_OPEN) + record(2.0, b"", 0, OP_OPEN) + record(3.0, b"", 0, OP_CLOSE)
    assert list(chunks(content, state)) == []
    assert (state.opened_at, state.closed_at, state.exec_channel) == (1.5, 3.0, False)
    assert list(chunks(record(1.0, b"id", INTERACT), state)) == []
    assert state.exec_channel
    other = ReadState()
    assert list(chunks(record(1.0, b"id", OUTPUT, OP_EXEC), other)) == []
    assert other.exec_channel


def test_microseconds_beyond_a_second_stay_within_it() -> None:
    content = b"".join(
        HEADER.pack(OP_WRITE, 0, 1, INPUT, 7, micros) + b"a" for micros in (999_999, 1_000_000, 2**32 - 1)
    )
    assert [now for now, *_ in chunks(content)] == [7.999999, 7.999999, 7.999999]
    assert [now for now, *_ in chunks(record(5.0, b"a") + record(4.0, b"b") + record(6.0, b"c"))] == [
        5.0,
        5.0,
        6.0,
    ]


def test_input_is_read_up_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (t.MAX_INPUT_BYTES, t.MAX_LINES) == (1_048_576, 20_000)
    monkeypatch.setattr(t, "MAX_INPUT_BYTES", 6)
    for number, capped in ((5, False), (6, False), (7, True)):
        facts = struck(*((1.0 + n, b"a") for n in range(number)))
        assert (facts.capped, facts.events, facts.live) == (capped, number, min(number, 6))


def test_lines_are_read_up_to_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(t, "MAX_LINES", 2)
    content = Tape().line("a").line("b").done()
    assert (read_keys(content).capped, len(read_keys(content).lines)) == (False, 2)
    more = read_keys(Tape().line("a").line("b").line("c").done())
    assert (more.capped, len(more.lines)) == (True, 2)


def test_a_thread_breathes_every_few_hundred_records() -> None:
    breaths: list[int] = []
    read_keys(record(1.0, b"") * 1025, lambda: breaths.append(1))
    assert (striking.BREATHE_EVERY, len(breaths)) == (512, 3)


def test_a_cut_session_says_so() -> None:
    tape = Tape().line("id").done()
    assert not extract(session(["id"]), tape).capped
    assert extract(session(["id"]), tape[:-1]).capped, "a torn recording"
    assert extract(session(["id"], command_count=5001)).capped
    assert not extract(session(["id"], command_count=5000)).capped


# --- keys in time ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "pasted"), [(1, False), (11, False), (12, True), (13, True)])
def test_twelve_characters_at_once_are_a_paste(number: int, pasted: bool) -> None:
    facts = struck((1.0, b"x" * number), (3.0, b"y"))
    assert (facts.pastes, facts.pasted, facts.live) == ((1, number, 1) if pasted else (0, 0, number + 1))


def test_bytes_closer_than_ten_milliseconds_are_one_burst() -> None:
    apart = struck((0.0, b"x" * 6), (0.010, b"y" * 6))
    assert (apart.pastes, apart.live) == (0, 12)
    close = struck((0.0, b"x" * 6), (0.009999, b"y" * 6))
    assert (close.pastes, close.pasted) == (1, 12)


def test_a_gap_of_a_second_is_still_striking_and_more_is_a_pause() -> None:
    facts = struck((1.0, b"a"), (2.0, b"b"), (3.5, b"c"), (3.75, b"d"))
    assert (facts.rhythm.count, facts.rhythm.pauses) == (2, 1)
    assert (facts.rhythm.total, facts.rhythm.squares) == (1.25, 1.0625)
    assert facts.rhythm.lag_count == 0, "a pause parts what is compared"


def test_a_single_key_has_no_rhythm() -> None:
    facts = struck((5.0, b"a"))
    assert (facts.live, facts.rhythm.count, facts.rhythm.pauses) == (1, 0, 0)


@pytest.mark.parametrize(("wait", "immediate"), [(0.5, 1), (1.0, 1), (1.000001, 0)])
def test_a_slip_is_noticed_at_once_within_a_second(wait: float, immediate: int) -> None:
    facts = struck((1.0, b"a"), (1.0 + wait, b"\x7f"))
    assert (facts.immediate, facts.deferred) == (immediate, 1 - immediate)


def test_a_run_of_deletions_is_one_slip() -> None:
    facts = struck(
        (1.0, b"abc"), (2.0, b"\x7f"), (3.5, b"\x7f"), (5.0, b"d"), (7.0, b"\x08"), (7.5, b"\x1b[3~")
    )
    assert (facts.immediate, facts.deferred) == (1, 1)


@pytest.mark.parametrize(("gap", "vi"), [(0.05, True), (0.049, False)])
def test_a_lone_escape_is_followed_later_than_fifty_milliseconds(gap: float, vi: bool) -> None:
    facts = struck((0.0, b"ab"), (0.0, b"\x1b"), (gap, b"x"), (1.0, b"h"))
    assert bool(facts.vi_keys) is vi


@pytest.mark.parametrize(
    ("failures", "deletions", "step", "vents"),
    [(2, 6, 0.2, 1), (1, 6, 0.2, 0), (2, 5, 0.2, 0), (2, 6, 0.21, 0), (2, 7, 0.1, 1), (3, 6, 0.1, 1)],
)
def test_venting_is_six_deletions_within_a_second_after_two_failures(
    failures: int, deletions: int, step: float, vents: int
) -> None:
    parts = [record(0.0, PROMPT, OUTPUT)]
    for n in range(failures):
        parts += [record(1.0 + n, b"zz\r"), record(1.5 + n, b"zz: command not found\r\n$ ", OUTPUT)]
    parts.append(record(8.0, b"abcdefgh"))
    parts += [record(8.5 + n * step, b"\x7f") for n in range(deletions)]
    assert read_keys(b"".join(parts)).vents == vents


def test_a_success_ends_the_row_of_failures() -> None:
    parts = [record(0.0, PROMPT, OUTPUT)]
    for n, said in enumerate([b"zz: command not found", b"fine", b"zz: command not found"]):
        parts += [record(1.0 + n, b"zz\r"), record(1.5 + n, said + b"\r\n$ ", OUTPUT)]
    parts.append(record(8.0, b"abcdefgh"))
    parts += [record(8.5 + n * 0.1, b"\x7f") for n in range(6)]
    facts = read_keys(b"".join(parts))
    assert ([line.failed for line in facts.lines], facts.vents) == ([True, False, True], 0)


def test_a_line_that_arrives_whole_with_its_end_was_not_struck() -> None:
    assert (struck((1.0, b"ls\r")).pasted, struck((1.0, b"ls\r")).pastes) == (2, 1)
    assert struck((1.0, b"l\r")).live == 1, "one key and Return are two keys of a quick hand"
    assert struck((1.0, b"l"), (1.5, b"s\r")).live == 2
    slow = struck((1.0, b"ls"), (1.010001, b"\r"))
    assert (slow.live, slow.pasted) == (2, 0)


def test_tabs_within_a_paste_are_white_space() -> None:
    assert struck((1.0, b"abcdef\tg")).tabs == 0
    assert struck((1.0, b"abcde\tg")).tabs == 1
    assert struck((1.0, b"abcdef"), (1.010001, b"\t")).tabs == 1


def test_a_newline_right_after_return_is_the_same_end() -> None:
    assert len(struck((0.0, b"a\r"), (0.009, b"\n"), (1.0, b"b\r")).lines) == 2
    facts = struck((1.0, b"a\r"), (2.0, b"b"), (2.5, b"\n"))
    assert [line.text for line in facts.lines] == ["a", "b"]


def test_the_pause_before_a_line_is_from_the_last_output_to_the_first_key() -> None:
    content = record(1.0, b"abc\r\n$ ", OUTPUT) + record(3.5, b"i") + record(3.75, b"d") + record(4.0, b"\r")
    (line,) = read_keys(content + record(4.25, b"root\r\n$ ", OUTPUT)).lines
    assert (line.pause, line.shown, line.started, line.ended) == (2.5, 7, 3.5, 4.0)
    (unasked,) = read_keys(record(1.0, b"i") + record(2.0, b"\r")).lines
    assert unasked.pause is None


def test_the_layout_is_counted_for_one_letter_only_and_bounded() -> None:
    assert struck((1.0, b"q"), (2.0, b"\x7f"), (3.0, b"a")).layout == {"qa": 1}
    assert struck((1.0, b"q"), (2.0, b"\x7f"), (3.0, b"q")).layout == {}
    assert struck((1.0, b"qw"), (2.0, b"\x7f"), (2.1, b"\x7f"), (3.0, b"a")).layout == {}
    assert struck((1.0, b"1"), (2.0, b"\x7f"), (3.0, b"a")).layout == {}
    reader = striking._Reader()
    reader.facts.layout = {f"{n}": 1 for n in range(1023)}
    for letter in "xy":
        reader.deleted, reader.deletion_run = letter, 1
        reader._replaced("a")
    assert "xa" in reader.facts.layout
    assert "ya" not in reader.facts.layout


def test_what_is_typed_at_a_password_prompt_leaves_no_line_and_no_count() -> None:
    facts = struck((1.0, b"hunter2"), (2.0, b"\r"), prompt=b"Password: ")
    assert (facts.lines, facts.live, facts.pasted, facts.rhythm.count) == ([], 0, 0, 0)
    given_up = struck((1.0, b"hunter2"), (2.0, b"\x03"), prompt=b"Password: ")
    assert (given_up.lines, given_up.abandoned) == ([], 0)


@pytest.mark.parametrize(
    ("tail", "mode"),
    [
        (b"Password: ", "secret"),
        (b"Password for root" + b"x" * 60 + b": ", "secret"),
        (b"Password" + b"x" * 81 + b": ", "shell"),
        (b"password:\nroot@h:~# ", "shell"),
        (b"\x1b[31mEnter passphrase\x1b[0m: ", "secret"),
        (b"> ", "program"),
        (b"root@h:~# ", "shell"),
    ],
)
def test_who_reads_is_judged_by_the_last_line_of_output(tail: bytes, mode: str) -> None:
    assert mode_after("shell", tail, None, answered=True, screen=False) == mode
    expected = mode if mode == "secret" else "program"
    assert mode_after("shell", tail, None, answered=True, screen=True) == expected


# --- the editor -----------------------------------------------------------------------------------


def test_a_line_is_kept_up_to_the_terminals_bound() -> None:
    assert editing.MAX_LINE == 4096
    line = LineEditor()
    line.insert("x" * 4095)
    line.insert("yz")
    assert (len(line.text()), line.text()[-1], line.cur) == (4096, "y", 4096)
    line.key("\x01")
    line.insert("front")
    assert len(line.text()) == 4096
    line.delete()
    line.insert("ab")
    assert (len(line.text()), line.text()[0]) == (4096, "a")
    line.key("\x15")
    for _ in range(2):
        line.insert("q" * 4095)
        line.key("\x15")
        line.key("\x19")
        line.key("\x19")
    assert len(line.text()) <= 4096, "what was killed comes back within the bound"


def test_a_query_of_the_history_is_bounded() -> None:
    line = LineEditor()
    line.begin_search()
    for _ in range(3):
        line.insert("x" * 4096)
    assert line.query is not None
    assert len(line.query) == 4096
    line.key("\x05")
    assert len(line.text()) == 4096


def test_the_history_is_kept_up_to_twice_its_bound_and_recalled_within_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert editing.MAX_HISTORY == 500
    monkeypatch.setattr(editing, "MAX_HISTORY", 3)
    line = LineEditor()
    for n in range(6):
        line.insert(f"c{n}")
        line.submit()
    assert len(line.history) == 6
    for _ in range(3):
        line.recall(-1)
    assert (line.text(), line.unsure) == ("c3", False)
    line.recall(-1)
    assert (line.text(), line.unsure) == ("c3", True), "older than what is kept is not guessed"
    line.reset()
    line.insert("c6")
    line.submit()
    assert line.history == ["c3", "c4", "c5", "c6"]


def test_equal_and_empty_lines_are_no_history() -> None:
    line = LineEditor()
    for text in ("a", "a", "  ", "", "b", "a"):
        line.insert(text)
        line.submit()
    assert line.history == ["a", "b", "a"]


def test_searches_are_carried_out_up_to_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert editing.MAX_SEARCHES == 200
    monkeypatch.setattr(editing, "MAX_SEARCHES", 1)
    line = LineEditor()
    line.insert("uname -a")
    line.submit()
    for expected, unsure in (("uname -a", False), ("una", True)):
        line.begin_search()
        line.insert("una")
        line.key("\x05")
        assert (line.text(), line.unsure, line.recalled) == (expected, unsure, True)
        line.reset()
    line.begin_search()
    line.insert("una")
    line.key("\x07")
    assert (line.text(), line.searches) == ("", 2), "given up"


def test_an_echo_moves_no_further_than_the_line() -> None:
    line = LineEditor()
    line.insert("abc")
    assert line.echo("\x1b[9999D")
    assert line.cur == 0
    assert line.echo("\x08")
    assert line.cur == 0
    assert line.echo("\x1b[9999C")
    assert line.cur == 3
    line.cur = 1
    assert line.echo("\x1b[1P")
    assert line.text() == "ac"
    assert line.echo("\x1b[K")
    assert line.text() == "a"
    assert not line.echo("b\nfile1 file2"), "a list of candidates"


# --- sessions -------------------------------------------------------------------------------------


def test_commands_are_read_up_to_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (t.MAX_COMMANDS, t.MAX_COMMAND_TEXT, t.MAX_COMMANDS_TEXT) == (5_000, 4_096, 524_288)
    monkeypatch.setattr(t, "MAX_COMMANDS", 3)
    found = evidence_of(session(["a", "b", "c", "d"]))
    assert ([c.parsed.text for c in found.commands], found.command_count) == (["a", "b", "c"], 4)
    blanks = session([" "] * 11 + ["x", "y"])
    assert [c.parsed.text for c in evidence_of(blanks).commands] == ["x"], (
        "four times as many rows are looked at"
    )
    monkeypatch.setattr(t, "MAX_COMMANDS", 5_000)
    monkeypatch.setattr(t, "MAX_COMMAND_TEXT", 4)
    assert [c.parsed.text for c in evidence_of(session(["abcd", "abcde"])).commands] == ["abcd", "abcd"]
    monkeypatch.setattr(t, "MAX_COMMANDS_TEXT", 8)
    assert len(evidence_of(session(["abcd", "abcde", "f"])).commands) == 2, "room for eight characters"
    assert len(evidence_of(session(["abcd", "abc", "f", "g"])).commands) == 3


def test_times_outside_the_session_are_put_at_its_edge_and_order_is_kept() -> None:
    payload = session(["a", "b", "c", "d"])
    for row, ts in zip(payload["commands"], [START - 9, START + 5, None, START + 9e9], strict=True):
        row["ts"] = ts
    found = evidence_of(payload)
    assert [c.ts for c in found.commands] == [START, START + 5, START + 5, payload["ended_at"]]
    assert found.gaps == [5.0, 0.0, payload["ended_at"] - START - 5]
    payload["commands"][0]["ts"] = START + 7
    assert [c.parsed.text for c in evidence_of(payload).commands] == ["b", "c", "a", "d"]


def test_odd_figures_of_a_session_are_left_out() -> None:
    found = evidence_of(session(["a"]) | {"started_at": START + 9e9, "duration_s": -1, "command_count": -5})
    assert found.started_at == found.ended_at
    assert (found.duration_s, found.command_count) == (0.0, 1)
    assert evidence_of(session(["a"]) | {"duration_s": 0}).duration_s == 0.0
    assert evidence_of(session(["a"]) | {"started_at": None}).started_at == session(["a"])["ended_at"]


def test_lists_and_texts_of_a_client_are_bounded() -> None:
    client = {"version": "v" * 300, "kex": ["k"] * 63 + ["", "l", "m"], "hassh": "", "size": {}}
    found = evidence_of(session(["a"], client=client)).client
    assert (len(found["version"]), len(found["kex"]), found["hassh"], found["size"]) == (255, 63, None, None)
    assert evidence_of(session(["a"], client={"kex": ["k"] * 65})).client["kex"] == ["k"] * 64


@pytest.mark.parametrize(
    ("auth", "account"),
    [
        ({"success": True, "usernames": ["root"]}, "root"),
        ({"success": False, "usernames": ["root"]}, None),
        ({"success": 1, "usernames": ["root"]}, None),
        ({"success": True, "usernames": ["root", "admin"]}, None),
        ({"success": True, "usernames": [7]}, None),
        ({"success": True, "usernames": []}, None),
    ],
)
def test_an_account_is_known_only_when_one_was_tried_and_let_in(auth: Row, account: str | None) -> None:
    assert evidence_of(session(["a"], auth=auth)).account == account


@pytest.mark.parametrize(
    ("before", "after", "foreign"),
    [(300.0, 0.0, False), (301.0, 0.0, True), (0.0, 300.0, False), (0.0, 301.0, True), (0.0, 0.0, False)],
)
def test_a_recording_may_lie_five_minutes_beside_its_session(
    before: float, after: float, foreign: bool
) -> None:
    payload = session(["id"], started=1000.0)
    end = payload["ended_at"]
    at = 1000.0 - before if before else end + after
    content = record(at, PROMPT, OUTPUT) + record(at, b"i")
    found = evidence_of(payload, content)
    assert (found.foreign_recording, found.keys is None, found.has_terminal) == (
        foreign,
        foreign,
        not foreign,
    )


def test_a_recording_without_input_measures_no_keys() -> None:
    found = evidence_of(session(["id"], started=1000.0), record(1000.0, PROMPT, OUTPUT))
    assert (found.keys, found.has_terminal, found.foreign_recording) == (None, False, False)
    assert evidence_of(session(["id"], started=1000.0), b"torn").keys is None


def test_a_failure_seen_on_the_terminal_is_that_of_the_command_near_it() -> None:
    def failed(apart: float) -> bool | None:
        payload = session(["zz"], started=1000.0)
        payload["commands"][0]["ts"] = 1004.0
        content = record(1001.0, PROMPT, OUTPUT) + record(1002.0, b"zz") + record(1004.0 - apart, b"\r")
        content += record(1005.0, b"zz: command not found\r\n$ ", OUTPUT)
        return evidence_of(payload | {"ended_at": 1009.0}, content).commands[0].failed

    assert failed(0.0) is True
    assert failed(1.75) is True
    assert failed(2.0) is None
    other = session([("ls", True)], started=1000.0)
    other["commands"][0]["ts"] = 1004.0
    content = record(1001.0, PROMPT, OUTPUT) + record(1004.0, b"zz\r")
    content += record(1005.0, b"zz: command not found\r\n$ ", OUTPUT)
    assert evidence_of(other | {"ended_at": 1009.0}, content).commands[0].failed is False, "another line"


def test_only_whole_first_pieces_and_typed_lines_are_commands() -> None:
    no = evidences._is_no_command
    assert no("  ", None, first=True)
    assert no("ls", "s1#cmd3.1", first=True)
    assert not no("ls", "s1#cmd3", first=True)
    assert not no("ls", "s1.2", first=True)
    assert no("#!/bin/sh", None, first=True)
    assert no("ls\n", None, first=False)
    assert not no("ls\n", None, first=True)


# --- parts ----------------------------------------------------------------------------------------


def part(**more: Any) -> SessionEnded:
    return SessionEnded.parse(session(["a"]) | more)


def ending(**more: Any) -> str:
    one = part(**more)
    return ending_of(one, one.parts)


@pytest.mark.parametrize(
    "more",
    [
        {"part": 0},
        {"part": 2, "parts": 1},
        {"part": 1, "parts": 0},
        {"part": 1, "parts": MAX_PARTS + 1},
        {"session_id": ""},
        {"session_id": 5},
        {"attacker_uuid": None, "attacker_ip": ""},
        {"ended_at": -0.1},
        {"ended_at": 1e12},
        {"ended_at": True},
        {"ended_at": "soon"},
        {"ended_at": float("nan")},
        {"ended_at": None},
    ],
)
def test_what_is_no_end_of_a_session_is_refused(more: Row) -> None:
    with pytest.raises(MalformedEvent):
        part(**more)


def test_the_place_of_a_part_at_its_bounds() -> None:
    assert MAX_PARTS == 100_000
    last = part(part=MAX_PARTS, parts=MAX_PARTS)
    assert (last.part, last.parts, last.attacker) == (100_000, 100_000, attacker_id("192.0.2.1"))
    assert ending(ended_at=0).startswith("0000000000000.000000|2|000000001|000001")
    assert (part().part, part().parts) == (1, 1)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"ended_at": 1.0}, {"ended_at": 10.0}),
        ({"end_reason": "eof"}, {"end_reason": "idle"}),
        ({"end_reason": "idle"}, {"end_reason": "closed"}),
        ({"command_count": 9}, {"command_count": 10}),
        ({"command_count": -1}, {"command_count": 1}),
        ({"command_count": 10**9}, {"command_count": 10**9 - 1}),
        ({"part": 1, "parts": 9}, {"part": 1, "parts": 10}),
        ({"ended_at": 1.0, "end_reason": "closed"}, {"ended_at": 2.0, "end_reason": "eof"}),
        ({"end_reason": "idle", "command_count": 9}, {"end_reason": "closed", "command_count": 1}),
    ],
)
def test_endings_are_ranked_by_time_then_finality_then_size(less: Row, more: Row) -> None:
    assert ending(**less) < ending(**more)


def test_joined_parts_are_bounded_and_the_last_part_has_the_totals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(t, "MAX_COMMANDS", 1)

    def texts(*lists: list[str]) -> list[str]:
        whole = joined([part(commands=some, command_count=len(some)) for some in lists])
        assert whole.command_count == len(lists[-1])
        return [command.command_text for command in whole.commands]

    assert texts(["a", "a"], ["b", "b"], ["c", "c"], ["d", "d", "d"]) == ["a", "a", "b", "b"]
    assert texts(["a", "b", "c"], ["d"], ["e"]) == ["a", "b", "c", "d"]
    fetched = joined([part(downloads=[{"url": "http://x/y"}]), part()]).downloads
    assert [download.url for download in fetched] == ["http://x/y"]
