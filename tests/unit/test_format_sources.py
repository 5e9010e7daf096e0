"""Lines of files to events of a format: CSV records over lines, text, restarts, counters, what is told of whom and when."""

from __future__ import annotations

import json
from typing import Any

import pytest

from decnet.config import Settings
from decnet.keyed import keyed_hash
from decnet.sensors.files.tailer import Line
from decnet.sensors.formats import prints as prints_module
from decnet.sensors.formats import records as records_module
from decnet.sensors.formats import source as source_module
from decnet.sensors.formats.prints import AGAIN_S, Prints
from decnet.sensors.formats.records import CsvRecords, TextRecords, cells_of
from decnet.sensors.formats.shelf import shipped
from decnet.sensors.formats.source import TableSource
from decnet.sensors.formats.table import Table
from decnet.sensors.values import Refusal
from tests.tablekit import KEY, SMALL, ended, fed, line, made, of, source, with_rows

HERALDING = shipped().tables["heralding"]
HEAD = b"timestamp,auth_id,session_id,source_ip,source_port,destination_ip,destination_port,protocol,username,password,password_hash\r"
TS = 1_772_600_400.0


def row(password: bytes, at: int = 0, user: bytes = b"root", session: bytes = b"s1") -> bytes:
    return b"2026-03-04 05:00:%02d,a1,%s,192.0.2.1,4000,192.0.2.9,22,ssh,%s,%s,\r" % (
        at,
        session,
        user,
        password,
    )


def records(**bounds: int) -> CsvRecords:
    return CsvRecords(HERALDING, bounds.get("max_bytes", 100_000), bounds.get("max_lines", 64))


def passwords(made_records: CsvRecords, *lines: bytes, path: str = "auth.csv", first: int = 1) -> list[Any]:
    """The password of each record, or why there is none."""
    found = [
        one
        for number, data in enumerate(lines, first)
        for one in made_records.feed(Line(path, number, 1, data))
    ]
    return [one.reason if isinstance(one, Refusal) else one.get("password") for one in found]


# --- records of CSV


def test_a_record_goes_over_as_many_lines_as_its_quotes_do() -> None:
    lines = [
        HEAD,
        b'2026-03-04 05:00:00,a1,s1,192.0.2.1,4000,192.0.2.9,22,ssh,root,"p""w',
        b'd",\r',
        row(b"plain"),
    ]
    assert passwords(records(), *lines) == ['p"w\nd', "plain"]


def test_empty_lines_of_a_record_are_lines_of_it() -> None:
    """The tailer gives no lines of blanks; their numbers are missing."""
    made_records = records()
    open_line = b'2026-03-04 05:00:00,a1,s1,192.0.2.1,4000,192.0.2.9,22,ssh,root,"a\r'
    assert passwords(made_records, open_line, first=1) == []
    assert passwords(made_records, b'b",\r', first=4) == ["a\r\n\n\nb"]


def test_what_looks_like_a_record_within_a_password_is_none() -> None:
    """However long the password is: nothing of it is ever read as a line of its own."""
    forged = row(b"forged", user=b"admin", session=b"s9")
    opened = b'2026-03-04 05:00:00,a1,s1,192.0.2.1,4000,192.0.2.9,22,ssh,root,"x'
    short = passwords(records(max_lines=8), HEAD, opened, forged, b'",\r', row(b"next"))
    assert short == ["x\n" + forged.decode() + "\n", "next"]
    long = passwords(records(max_lines=8), HEAD, opened, *[forged] * 20, b'",\r', row(b"next"))
    assert long == ["record_too_long"] * (20 - 8 + 1 + 1) + ["next"]


@pytest.mark.parametrize(("more", "refused"), [(0, False), (1, True)])
def test_the_bounds_of_a_record_are_met_exactly(more: int, refused: bool) -> None:
    opened = b'2026-03-04 05:00:00,a1,s1,192.0.2.1,4000,192.0.2.9,22,ssh,root,"x'
    lines = [opened, *[b"y"] * (8 - 2 + more), b'",\r']
    by_lines = records(max_lines=8)
    assert ("record_too_long" in passwords(by_lines, *lines)) is refused
    assert by_lines.dropped == refused
    by_bytes = records(max_bytes=len(opened) + 3 - more)  # a newline, and the quote with its comma
    assert ("record_too_long" in passwords(by_bytes, opened, b'",')) is refused


def test_columns_stand_in_the_order_of_the_line_with_their_names_and_without_one_in_the_tables() -> None:
    old = HEAD.replace(b",password_hash", b"").replace(b"username,password", b"password,username")
    older = b"2026-03-04 05:00:00,a1,s1,192.0.2.1,4000,192.0.2.9,22,ssh,secret,root\r"
    assert passwords(records(), old, older) == ["secret"]
    assert passwords(records(), b"\xef\xbb\xbf" + HEAD, row(b"x")) == ["x"]
    assert passwords(records(), row(b"y")) == ["y"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"a", "wrong_columns"),
        (b"1," * 11 + b"1", "wrong_columns"),
        (b'x"y,"z"w"', "not_csv"),
        (b'"a"b,c', "not_csv"),
    ],
)
def test_what_is_no_record_is_refused(text: bytes, why: str) -> None:
    assert passwords(records(), HEAD, text, row(b"good")) == [why, "good"]


def test_a_record_of_very_many_cells_and_a_very_long_cell_are_refused() -> None:
    assert cells_of("," * (records_module.MAX_CELLS - 1), ",") is not None
    assert cells_of("," * records_module.MAX_CELLS, ",") is None
    assert cells_of("x" * 200_000, ",") is None


def test_another_file_under_the_same_name_ends_what_was_not_finished() -> None:
    made_records = records()
    opened = b'2026-03-04 05:00:00,a1,s1,192.0.2.1,4000,192.0.2.9,22,ssh,root,"x'
    assert passwords(made_records, HEAD, opened) == []
    assert made_records.unfinished == 1
    assert passwords(made_records, HEAD, row(b"good")) == ["torn_record", "good"]
    assert (made_records.unfinished, made_records.dropped) == (0, 1)


def test_files_are_kept_apart_and_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "MAX_PARTS", 2)
    made_records = records()
    opened = b'2026-03-04 05:00:00,a1,s1,192.0.2.1,4000,192.0.2.9,22,ssh,root,"x'
    for path in ("a", "b"):
        assert passwords(made_records, opened, path=path) == []
    assert passwords(made_records, b'",\r', path="a", first=2) == ["x\n"]
    assert (made_records.unfinished, made_records.dropped) == (1, 0)
    passwords(made_records, HEAD, path="c")
    assert (made_records.unfinished, made_records.dropped) == (0, 1), "b was read longest ago"


def test_a_restart_within_a_record_goes_on_with_it() -> None:
    first, second = records(), records()
    opened = b'2026-03-04 05:00:00,a1,s1,192.0.2.1,4000,192.0.2.9,22,ssh,root,"x'
    passwords(
        first, HEAD.replace(b"username,password", b"password,username"), opened.replace(b'root,"x', b'"x')
    )
    second.restore(json.loads(json.dumps(first.to_state())))
    assert passwords(second, b'y",root,\r', first=3) == ["x\ny"]
    skipping, again = records(max_lines=2), records(max_lines=2)
    passwords(skipping, opened, b"a", b"b")
    again.restore(json.loads(json.dumps(skipping.to_state())))
    assert again.dropped == 1
    assert passwords(again, b"c", b'",\r', row(b"good"), first=4) == [
        "record_too_long",
        "record_too_long",
        "good",
    ]


# --- lines of text


def test_lines_of_text_are_taken_apart_by_their_pattern() -> None:
    table = shipped().tables["mailoney_text"]
    made_records = TextRecords(table)
    (found,) = made_records.feed(Line("l", 1, 0, b"[1772600400.5][192.0.2.1:6] EHLO x\r"))
    assert found == {"time": "1772600400.5", "ip": "192.0.2.1", "port": "6", "data": "EHLO x"}
    assert made_records.feed(Line("l", 1, 0, b"\xff\xfe EHLO")) == (Refusal("no_match"),)


# --- sessions


def test_lines_become_a_session_with_its_commands_and_a_keyed_credential() -> None:
    lines = [
        line(0, what="cmd", text="id"),
        line(1, what="login", user="root", secret="hunter2"),
        line(2, what="end"),
    ]
    events = fed(source(made(SMALL)), lines)
    assert [event.topic for event in events] == [
        "attacker.observed", "attacker.session.started", "credential.captured", "attacker.session.ended",
    ]  # fmt: skip
    (credential,) = of(events, "credential.captured")
    assert credential["secret_hmac"] == keyed_hash(KEY, "password", "hunter2")
    (end,) = of(events, "attacker.session.ended")
    assert (end["end_reason"], end["service"], end["decky_id"], end["ended_at"]) == (
        "closed",
        "small",
        "small",
        TS + 2,
    )
    assert "hunter2" not in json.dumps([event.payload for event in events])


def test_commands_are_named_by_what_they_say_and_when_in_whatever_order_they_come() -> None:
    lines = [line(i, what="cmd", text=f"echo {i}") for i in range(5)]
    (forward,), (backward,) = ended(source(made(SMALL)), lines), ended(source(made(SMALL)), lines[::-1])
    assert forward["commands"] == backward["commands"]
    assert [c["command_text"] for c in forward["commands"]] == [f"echo {i}" for i in range(5)]
    assert all("#cmd@" in c["id"] for c in forward["commands"])


def test_a_session_is_over_when_it_was_quiet_as_long_as_its_table_says() -> None:
    assert (
        len(ended(source(made(SMALL)), [line(0, what="cmd", text="a"), line(60, what="cmd", text="b")])) == 1
    )
    quiet = source(made(SMALL), probe_idle_s=10)
    ends = ended(quiet, [line(0, what="cmd", text="a"), line(30, what="cmd", text="b", sid="other")])
    assert [end["end_reason"] for end in ends] == ["idle", "eof"]
    patient = source(made(SMALL.replace("id: [sid]", "id: [sid]\nidle: 1m")), probe_idle_s=10)
    ends = ended(patient, [line(0, what="cmd", text="a"), line(30, what="cmd", text="b", sid="other")])
    assert [end["end_reason"] for end in ends] == ["eof", "eof"]


def test_a_live_log_that_is_silent_ends_its_sessions_too() -> None:
    made_source = source(made(SMALL))
    fed(made_source, [line(0, what="cmd", text="a")])
    assert made_source.at_rest(TS + 60 + source_module.REST_S) == []
    assert [e.payload["end_reason"] for e in made_source.at_rest(TS + 60 + source_module.REST_S + 0.01)] == [
        "idle"
    ]


def test_every_line_is_counted_by_what_became_of_it() -> None:
    table = with_rows(
        "{when: {what: cmd}, emit: command, text: text}\n{when: {what: list}, each: l, emit: command, text: .}\n"
        "{when: {what: syn}, emit: fingerprint, type: tcpfp, value: {from: s, as: p0f_syn}}",
        kind="what", leave="{noise: nothing}",
    )  # fmt: skip
    made_source = source(table, max_elements=2)
    lines = [
        line(0, what="cmd", text="id"), line(1, what="noise"), line(2, what="noise"), line(3, what="new"), line(4, what="cmd"),
        line(5, what="syn", s="odd"), line(6, what="list", l=["a", "b", "c"]), b"{", b'{"x": 1}', line(7, what="cmd", text="x", who="?"),
        line(8, when="then", what="cmd"), line(0, what="cmd", text="id"),
    ]  # fmt: skip
    fed(made_source, lines)
    bounds = made_source.bounds()
    assert made_source.lines == 12
    assert (bounds["left_out"], dict(made_source.left_ids)) == (3, {"noise": 2, "cmd, with nothing in it": 1})
    assert (made_source.unknown, dict(made_source.unknown_ids)) == (1, {"small.new": 1})
    assert (bounds["not_derived"], bounds["elements_dropped"], bounds["repeated"]) == (1, 1, 1)
    assert (
        dict(made_source.refused) == {"no_peer": 1, "no_time": 1, "not_small": 1}
        or made_source.refused["not_json"] == 1
    )
    assert sum(made_source.refused.values()) + made_source.sessions()["unfinished"] >= 3


def test_kinds_that_are_left_out_have_names_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "MAX_LEFT", 2)
    table = with_rows(
        "{when: {what: cmd}, emit: command, text: text}", kind="what", leave="{a: b, c: d, e: f}"
    )
    made_source = source(table)
    fed(made_source, [line(i, what=what) for i, what in enumerate(["a", "c", "e", "a"])])
    assert dict(made_source.left_ids) == {"a": 2, "c": 1}
    assert made_source.left_out == 4


def test_older_lines_are_passed_over() -> None:
    made_source = TableSource(made(SMALL), Settings(), KEY, since=TS + 1)
    ends = ended(made_source, [line(0, what="cmd", text="old"), line(1, what="cmd", text="new")])
    assert [c["command_text"] for end in ends for c in end["commands"]] == ["new"]


def test_a_restart_goes_on_where_it_stood_and_counts_on() -> None:
    table = with_rows("{when: {what: cmd}, emit: command, text: text}\n{emit: fingerprint, type: ja4, value: j}",
                      kind="what", leave="{noise: n}")  # fmt: skip
    first = source(table, max_elements=1)
    fed(first, [line(0, what="cmd", text="a", j="x"), line(1, what="noise"), b'{"x": 1}'])
    second = source(table, max_elements=1)
    second.restore(json.loads(json.dumps(first.to_state())))
    assert (second.bounds(), second.refused, second.left_ids) == (
        first.bounds(),
        first.refused,
        first.left_ids,
    )
    events = fed(second, [line(2, what="cmd", text="b", j="x")]) + second.end_all()
    assert of(events, "attacker.fingerprinted") == []
    (end,) = of(events, "attacker.session.ended")
    assert [c["command_text"] for c in end["commands"]] == ["a", "b"]


def test_a_wrapped_log_is_read_as_it_was_written() -> None:
    inner = line(0, what="cmd", text="id").decode()
    docker = json.dumps({"log": inner + "\n", "stream": "stdout", "time": "2026-03-04T05:00:01Z"}).encode()
    (end,) = ended(source(made(SMALL)), [docker])
    assert [c["command_text"] for c in end["commands"]] == ["id"]


@pytest.mark.parametrize(
    ("lines", "commands", "refused"),
    [
        ([b'{"when": 1772600400.0, "who"'], [], {"not_json": 1}), ([b'{"when": 1772600400.0, "who": "192.0', b"x"], [], {"not_json": 2}),
        ([b'{"when": 1772600400.0, "who": "192.0.2.1",', b' "sid": "a", "what": "cmd", "text": "id"}'], ["id"], {}),
        ([b'{"x": {', b'"y": 1}, "when": 1772600400.0, "who": "192.0.2.1", "sid": "a", "what": "cmd", "text": "id"}'], ["id"], {}),
        ([b"{", b' "when": 1772600400.0, "who": "192.0.2.1",', b' "sid": "a", "what": "cmd",', b' "text": "id"', b"}"], ["id"], {}),
    ],
)  # fmt: skip
def test_a_line_that_breaks_off_is_refused_at_once_and_an_object_over_lines_is_read(
    lines: list[bytes], commands: list[str], refused: dict[str, int]
) -> None:
    made_source = source(made(SMALL))
    ends = ended(made_source, lines)
    assert [c["command_text"] for end in ends for c in end["commands"]] == commands
    assert dict(made_source.refused) == refused


# --- fingerprints


def print_table() -> Table:
    return with_rows("{emit: fingerprint, type: ja4, value: j, version: v}")


def test_a_fingerprint_is_told_once_earlier_and_an_hour_later() -> None:
    made_source = source(print_table())
    times = [100.0, 200.0, 50.0, 60.0, 100.0 + AGAIN_S - 0.001, 100.0 + AGAIN_S, 101.0 + AGAIN_S]
    events = [fed(made_source, [line(at, j="x", n=number)]) for number, at in enumerate(times)]
    assert [bool(some) for some in events] == [True, False, True, False, False, True, False]
    assert [e.ts - TS for some in events for e in some] == [100.0, 50.0, 100.0 + AGAIN_S]
    assert len({e.id for some in events for e in some}) == 3


def test_another_value_version_address_or_decoy_is_another_fingerprint() -> None:
    table = with_rows("{emit: fingerprint, type: ja4, value: j, version: v}", decky="d")
    base: dict[str, Any] = {"j": "x", "v": "1", "d": "d1"}
    events = fed(source(table), [line(i, **{**base, **more}) for i, more in enumerate(
        [{}, {"j": "y"}, {"v": "2"}, {"who": "192.0.2.2"}, {"d": "d2"}, {}])])  # fmt: skip
    told = of(events, "attacker.fingerprinted")
    assert [(p["ja4"], p["version"], p["attacker_ip"], p["decky_id"]) for p in told] == [
        ("x", "1", "192.0.2.1", "d1"), ("y", "1", "192.0.2.1", "d1"), ("x", "2", "192.0.2.1", "d1"), ("x", "1", "192.0.2.2", "d1"),
        ("x", "1", "192.0.2.1", "d2"),
    ]  # fmt: skip
    assert [event.topic for event in events] == ["attacker.fingerprinted"] * 5, "no session of a packet"


def test_so_many_fingerprints_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prints_module, "KEPT", 2)
    told = Prints()
    assert [told.event("d", f"192.0.2.{n}", "ja4", {"value": "x"}, 1.0) is not None for n in (1, 2, 1, 3, 1, 2)] == [
        True, True, False, True, False, True,
    ]  # fmt: skip


def test_what_was_told_is_the_same_event_when_it_is_read_again() -> None:
    lines = [line(0, j="x"), line(AGAIN_S, j="x")]
    once, again = fed(source(print_table()), lines), fed(source(print_table()), lines)
    assert [(e.id, e.ts, e.payload) for e in once] == [(e.id, e.ts, e.payload) for e in again]
    assert len(once) == 2
