"""Logs in what carries them: every wrapping gives the objects that were put into it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.sensors.files.carriers import break_of, decoded
from decnet.sensors.files.unwrap import MAX_PARTS, Found, Unwrapper

LIMIT = 1 << 20


def wanted(value: Any) -> bool:
    return "eventid" in value


def events(n: int) -> list[dict[str, Any]]:
    return [
        {"eventid": "cowrie.command.input", "input": f'echo "{{[{i}" \\ \n', "message": "CMD: {", "n": i}
        for i in range(n)
    ]


def dumped(found: Iterable[Any], **how: Any) -> list[str]:
    return [json.dumps(event, **how) for event in found]


def _pretty(found: list[Any]) -> str:
    return json.dumps(found, indent=2)


def _pieces(line: str, size: int) -> list[str]:
    return [line[i : i + size] for i in range(0, len(line), size)]


def _docker(found: list[Any], size: int = 1 << 14) -> str:
    rows = []
    for line in dumped(found):
        parts = _pieces(line + "\n", size)
        rows += [
            json.dumps({"log": part, "stream": "stdout", "time": "2026-03-01T10:00:00Z"}) for part in parts
        ]
    return "\n".join(rows)


def _cri(found: list[Any], size: int = 1 << 14) -> str:
    rows = []
    for line in dumped(found):
        parts = _pieces(line, size)
        rows += [f"2026-03-01T10:00:00.0Z stdout {'F' if p is parts[-1] else 'P'} {p}" for p in parts]
    return "\n".join(rows)


def _table(found: list[Any], mark: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=mark, lineterminator="\n").writerows(
        ["2026-03-01T10:00:00Z", x, "pot1"] for x in dumped(found)
    )
    return out.getvalue()


def _painted(found: list[Any]) -> str:
    return re.sub(r'("(?:[^"\\]|\\.)*")', "\x1b[0;32m\\1\x1b[0m", "\n".join(dumped(found)))


def _lines(form: str, found: list[Any]) -> str:
    return "\n".join(form.replace("%", x, 1) for x in dumped(found))


def _under(key: str, found: list[Any]) -> str:
    return "\n".join(json.dumps({"@timestamp": "x", key: x}) for x in dumped(found))


WRAPPERS: dict[str, Callable[[list[Any]], str]] = {
    "plain": lambda found: "\n".join(dumped(found)),
    "bom": lambda found: "\ufeff" + "\n".join(dumped(found)),
    "nul_head": lambda found: "\0" * 5000 + "\n".join(dumped(found)),
    "array": json.dumps,
    "array_over_lines": lambda found: "[\n" + ",\n".join(dumped(found)) + "\n]",
    "commas": lambda found: "".join(f"{line},\n" for line in dumped(found)),
    "leading_commas": lambda found: "[" + "\n,".join(dumped(found)) + "\n]",
    "pretty": _pretty,
    "pretty_objects": lambda found: "\n".join(dumped(found, indent=4)),
    "pretty_tabs": lambda found: json.dumps(found, indent="\t"),
    "two_on_a_line": lambda found: " ".join(dumped(found)),
    "docker": _docker,
    "docker_cut": lambda found: _docker(found, 17),
    "cri": _cri,
    "cri_cut": lambda found: _cri(found, 13),
    "syslog": lambda found: "\n".join(f"Mar  1 10:00:00 pot1 cowrie[12]: {x}" for x in dumped(found)),
    "syslog_5424": lambda found: "\n".join(
        f"<14>1 2026-03-01T10:00:00Z pot1 cowrie 12 - - {x}" for x in dumped(found)
    ),
    "syslog_braces": lambda found: "\n".join(f'<14>1 - pot1 x - - [a b="{{c"] {x}' for x in dumped(found)),
    "journald": lambda found: "\n".join(json.dumps({"MESSAGE": x, "_PID": "1"}) for x in dumped(found)),
    "logstash": lambda found: "\n".join(json.dumps({"@timestamp": "x", "message": x}) for x in dumped(found)),
    "filebeat_json": lambda found: "\n".join(json.dumps({"@timestamp": "x", "json": x}) for x in found),
    "filebeat_original": lambda found: "\n".join(
        json.dumps({"event": {"original": x}}) for x in dumped(found)
    ),
    "elastic": lambda found: "\n".join(json.dumps({"_index": "a", "_source": x}) for x in found),
    "elastic_message": lambda found: "\n".join(
        json.dumps({"_source": {"message": x}}) for x in dumped(found)
    ),
    "elastic_answer": lambda found: json.dumps(
        {"took": 1, "hits": {"total": 3, "hits": [{"_source": x} for x in found]}}
    ),
    "elastic_pretty": lambda found: json.dumps({"hits": {"hits": [{"_source": x} for x in found]}}, indent=1),
    "splunk": lambda found: "\n".join(
        json.dumps({"preview": False, "result": {"_raw": x}}) for x in dumped(found)
    ),
    "loki": lambda found: "\n".join(json.dumps({"labels": {}, "line": x}) for x in dumped(found)),
    "no_newlines": lambda found: "".join(dumped(found)),
    "carriage_returns": lambda found: json.dumps(found, indent=2).replace("\n", "\r\n"),
    "trailing_comma_in_array": lambda found: "[" + ",".join(dumped(found)) + ",]",
    "trailing_commas_in_objects": lambda found: "\n".join(x[:-1] + ",}" for x in dumped(found)),
    "text_in_text": lambda found: "\n".join(json.dumps(x) for x in dumped(found)),
    "array_of_text": lambda found: json.dumps(dumped(found)),
    "csv": _table,
    "semicolons": lambda found: _table(found, ";"),
    "tabs": lambda found: _lines("x\t1\t%", found),
    "coloured": _painted,
    "gelf": lambda found: _under("short_message", found),
    "gelf_full": lambda found: _under("full_message", found),
    "graylog_answer": lambda found: json.dumps({"messages": [{"message": x, "index": "g"} for x in found]}),
    "loki_answer": lambda found: json.dumps(
        {"data": {"result": [{"stream": {"a": "b"}, "values": [["17", x] for x in dumped(found)]}]}}
    ),
    "logcli": lambda found: _lines('2026-03-01T10:00:00Z {job="{cowrie"} %', found),
    "splunk_results": lambda found: json.dumps({"results": [{"_raw": x} for x in dumped(found)]}),
    "splunk_collector": lambda found: "\n".join(json.dumps({"time": 1, "event": x}) for x in found),
    "flat_original": lambda found: _under("event.original", found),
    "bulk_load": lambda found: "\n".join(
        json.dumps({"index": {"_index": "c"}}) + "\n" + x for x in dumped(found)
    ),
    "cloudwatch": lambda found: json.dumps({"logEvents": [{"message": x} for x in dumped(found)]}),
    "google": lambda found: json.dumps([{"jsonPayload": x} for x in found]),
    "kafka": lambda found: _under("value", found),
    "journal_bytes": lambda found: "\n".join(
        json.dumps({"MESSAGE": list(x.encode())}) for x in dumped(found, ensure_ascii=False)
    ),
    "journal_export": lambda found: _lines("__CURSOR=s=1;i=2\nMESSAGE=%\n_PID=1\n", found),
    "journal_short": lambda found: "-- Logs begin at Mon --\n" + _lines("Mar 01 10:00:00 p c[1]: %", found),
    "journal_verbose": lambda found: _lines(
        "Mon 2026-03-01 10:00:00 UTC [s=ab;i=1;b=2]\n    PRIORITY=6\n    MESSAGE=%", found
    ),
    "compose": lambda found: _lines("cowrie_1  | %", found),
    "kubectl": lambda found: _lines("[pod/cowrie-1/cowrie] 2026-03-01T10:00:00.0Z %", found),
    "fluentd": lambda found: _lines("2026-03-01T10:00:00+00:00\tcowrie\t%", found),
    "syslog_of_text": lambda found: "\n".join(f"Mar  1 10:00:00 p c: {json.dumps(x)}" for x in dumped(found)),
    "grep": lambda found: _lines("cowrie.json:12:%", found),
    "tail": lambda found: "==> /x/cowrie.json <==\n" + "\n".join(dumped(found)),
    "markdown": lambda found: "```json\n" + "\n".join(dumped(found)) + "\n```",
    "script": lambda found: f"var log = {json.dumps(found)};",
    "under_a_key": lambda found: json.dumps({"logs": found}),
    "under_a_key_over_lines": lambda found: '{"logs": [\n' + ",\n".join(dumped(found)) + "\n]}",
    "syslog_glued": lambda found: "Mar  1 10:00:00 p c: " + "".join(dumped(found)),
    "syslog_with_a_tail": lambda found: _lines("Mar  1 10:00:00 p c[1]: % [once]", found),
    "key_and_value": lambda found: "\n".join(f"level=info msg={json.dumps(x)} at=1" for x in dumped(found)),
    "lists_in_lists": lambda found: json.dumps([[found[0]], {"x": [found[1:]]}]),
    "by_number": lambda found: json.dumps({str(i): x for i, x in enumerate(found)}),
    "by_number_over_lines": lambda found: json.dumps({str(i): x for i, x in enumerate(found)}, indent=1),
    "under_any_key": lambda found: _under("LogEntry", found),
    "as_an_attribute": lambda found: "\n".join(
        json.dumps({"id": "1", "attributes": {"host": "h", "attributes": x}}) for x in found
    ),
    "dotted": lambda found: "\n".join(
        json.dumps({"@timestamp": "x", **{f"a.json.{k}": v for k, v in x.items()}}) for x in found
    ),
    "telemetry": lambda found: json.dumps(
        {
            "resourceLogs": [
                {"scopeLogs": [{"logRecords": [{"body": {"stringValue": x}}]}]} for x in dumped(found)
            ]
        }
    ),
    "loki_push": lambda found: json.dumps(
        {"streams": [{"stream": {"job": "c"}, "values": [["17", x] for x in dumped(found)]}]}
    ),
    "pretty_with_commas_too_many": lambda found: ",\n".join(x[:-2] + ",\n}" for x in dumped(found, indent=2)),
    "nul_tail": lambda found: "".join(f"\0{x}\0\0\n" for x in dumped(found)),
    "docker_in_logstash": lambda found: "\n".join(
        json.dumps({"message": json.dumps({"log": x + "\n"})}) for x in dumped(found)
    ),
}


def unwrapped(text: str | bytes, unwrapper: Unwrapper | None = None) -> tuple[list[Any], list[str]]:
    """Events and reasons of a text that is fed line by line."""
    reader = unwrapper or Unwrapper(wanted, LIMIT)
    raw = text.encode() if isinstance(text, str) else text
    answers = [reader.feed("a.json", line) for line in raw.split(b"\n")]
    return [e for a in answers for e in a.events], [a.reason for a in answers if a.reason]


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("count", [1, 3])
def test_wrapped_equals_unwrapped(wrap: Callable[[list[Any]], str], count: int) -> None:
    assert unwrapped(wrap(events(count))) == (events(count), [])


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(TEXTS | st.integers() | st.booleans() | st.none(), lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXTS, v, max_size=3), max_leaves=5)  # fmt: skip
EVENTS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4).map(lambda d: {**d, "eventid": "x"}), min_size=1, max_size=4)  # fmt: skip


@given(EVENTS, st.sampled_from(sorted(WRAPPERS)))
def test_whatever_stands_in_an_event(found: list[Any], wrap: str) -> None:
    assert unwrapped(WRAPPERS[wrap](found)) == (found, [])


@given(EVENTS, st.sampled_from(sorted(WRAPPERS)), st.integers(0, 200))
def test_a_checkpoint_between_any_two_lines_changes_nothing(found: list[Any], wrap: str, cut: int) -> None:
    lines = WRAPPERS[wrap](found).encode().split(b"\n")
    first, second = Unwrapper(wanted, LIMIT), Unwrapper(wanted, LIMIT)
    got = [e for line in lines[:cut] for e in first.feed("a", line).events]
    second.restore(json.loads(json.dumps(first.to_state())))
    assert got + [e for line in lines[cut:] for e in second.feed("a", line).events] == found


@pytest.mark.parametrize("wrap", ["cri_cut", "docker_cut", "pretty"])
def test_a_checkpoint_within_any_event_changes_nothing(wrap: str) -> None:
    found = events(2)
    lines = WRAPPERS[wrap](found).encode().split(b"\n")
    for cut in range(len(lines)):
        first, second = Unwrapper(wanted, LIMIT), Unwrapper(wanted, LIMIT)
        got = [e for line in lines[:cut] for e in first.feed("a", line).events]
        second.restore(json.loads(json.dumps(first.to_state())))
        assert got + [e for line in lines[cut:] for e in second.feed("a", line).events] == found


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_never_raises(lines: list[bytes]) -> None:
    reader = Unwrapper(wanted, 100)
    for line in lines:
        reader.feed("a", line)
    assert json.loads(json.dumps(reader.to_state())) == reader.to_state()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"event_type": "alert", "flow_id": 1}', "a_suricata_log"),
        ('{"logtype": 4002, "node_id": "x"}', "a_opencanary_log"),
        ('{"message": "{\\"logtype\\": 4002, \\"node_id\\": \\"x\\"}"}', "a_opencanary_log"),
        ('{"topic": "attacker.observed", "payload": {}}', "a_recorded_events_log"),
        ("2026-03-01T10:00:00+0000 [HoneyPotSSHTransport,0,192.0.2.1] login", "a_cowrie_text_log"),
        ('192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1', "a_web_server_log"),
        ("Mar  1 10:00:00 host sshd[1]: Failed password", "a_sshd_log"),
        ("Mar  1 10:00:00 host kernel: hello", "a_syslog_log"),
        ('{"a": 1}', "no_eventid"),
        ('_time,"eventid","input"', "a_table_log"),
        ("hello", "not_json"),
        ("17", "not_json"),
        ("[1, 2]", "not_object"),
    ],
)
def test_what_is_none_of_ours_is_named(text: str, reason: str) -> None:
    assert unwrapped(text) == ([], [reason])


def test_what_breaks_off_behind_an_event_on_its_line_is_counted() -> None:
    assert unwrapped('Mar  1 10:00:00 p c: {"eventid": "a"} {"eventid": "b') == (
        [{"eventid": "a"}],
        ["not_json"],
    )


def test_a_torn_line_costs_itself_only_and_is_counted() -> None:
    whole = dumped(events(3))
    assert unwrapped("\n".join((whole[0], whole[1][:40], whole[2]))) == (
        [events(3)[0], events(3)[2]],
        ["not_json"],
    )


def test_an_unfinished_piece_is_given_up_just_over_its_limit() -> None:
    line = json.dumps({"eventid": "x", "input": "y" * 50})
    half = len(line) // 2
    for limit, kept in ((half + 1, True), (half, False)):
        reader = Unwrapper(wanted, limit)
        assert unwrapped(f"2026-03-01T10:00:00Z stdout P {line[:half]}", reader) == (
            [], [] if kept else ["too_long"],
        )  # fmt: skip
        assert (reader.dropped, reader.unfinished) == (0 if kept else 1, 1 if kept else 0)


def test_no_more_unfinished_pieces_are_kept_than_allowed_and_the_oldest_goes() -> None:
    reader = Unwrapper(wanted, LIMIT)
    for i in range(MAX_PARTS):
        assert reader.feed(f"f{i}", b'{"eventid":') == Found()
    assert reader.dropped == 0
    reader.feed("one-more", b'{"eventid":')
    assert reader.dropped == 1
    assert reader.feed("f1", b'"x"}').events == ({"eventid": "x"},)
    assert "f0" not in reader.to_state()


def test_a_pretty_printed_object_of_many_lines_takes_linear_time() -> None:
    """Each line is looked through once: 40,000 lines of one object are no 40,000 texts."""
    reader = Unwrapper(wanted, 1 << 22)
    lines = json.dumps({"eventid": "x", "list": list(range(40_000))}, indent=1).encode().split(b"\n")
    found = [e for line in lines for e in reader.feed("a", line).events]
    assert len(found[0]["list"]) == 40_000


FIELDS = st.text(st.characters(codec="ascii"), max_size=12)
NAMES = st.from_regex("[a-z_]{1,8}", fullmatch=True)
PLAIN = st.lists(st.dictionaries(NAMES, FIELDS | st.integers() | st.booleans() | st.none(), max_size=4).map(lambda d: {**d, "eventid": "x"}), min_size=1, max_size=4)  # fmt: skip


@given(PLAIN)
def test_dictionaries_as_python_writes_them(found: list[Any]) -> None:
    assert unwrapped("\n".join(map(repr, found))) == (found, [])
    assert unwrapped(repr(found)) == (found, [])


def test_fields_as_elasticsearch_and_graylog_write_them() -> None:
    event = {"eventid": "x", "input": "ls", "kexAlgs": ["a", "b"]}
    answer = {
        "_id": "1",
        "fields": {"eventid": ["x"], "input": ["ls"], "kexAlgs": ["a", "b"], "input.keyword": ["ls"]},
    }
    assert unwrapped(json.dumps(answer)) == ([event], [])
    gelf = {"version": "1.1", "host": "p", "timestamp": 5, "_eventid": "x", "_input": "ls"}
    assert unwrapped(json.dumps(gelf)) == ([{"timestamp": 5, "eventid": "x", "input": "ls"}], [])


@pytest.mark.parametrize("count", [1, 3])
def test_a_list_that_breaks_off_gives_what_is_whole_in_it(count: int) -> None:
    for text in (
        json.dumps(events(count))[:-1] + ", " + TORN,
        '{"hits":{"hits":' + json.dumps(events(count))[:-1] + ", " + TORN,
    ):
        reader = Unwrapper(wanted, LIMIT)
        got, reasons = unwrapped(text, reader)
        assert (got + list(reader.flush().events), reasons, reader.unfinished) == (events(count), [], 1)
        assert reader.flush().events == ()
        assert unwrapped("}", reader) == ([{"eventid": "cow"}], []), "it may still go on"


TORN = '{"eventid": "cow"'


def test_a_text_over_the_limit_gives_its_whole_events_as_they_come() -> None:
    text = json.dumps({"took": 1, "hits": {"hits": [{"_source": e} for e in events(400)]}}, indent=1)
    reader = Unwrapper(wanted, len(text) // 20)
    got, reasons = unwrapped(text, reader)
    assert got == events(400)
    assert "too_long" not in reasons


def test_a_break_between_objects_is_never_within_a_string_or_an_object() -> None:
    found = [{"eventid": "x", "input": '},{"a', "list": [[1], {}]} for _ in range(4)]
    text = json.dumps(found).encode()
    one = text.index(b', {"eventid"', 2) + 2
    assert break_of(text, len(text)) == text.rindex(b'{"eventid"')
    assert (break_of(text, one), break_of(text, one - 1)) == (one, 0)
    assert break_of(b'{"eventid": "x", "input": "},{},{},{', 100) == 0


def test_braces_without_end_take_linear_time() -> None:
    reader = Unwrapper(wanted, 1 << 18)
    text = b'{"a":[' * 40_000
    assert reader.feed("a", text).events == ()
    assert reader.flush().events == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a": [1, 2,], "b": ",}",}', {"a": [1, 2], "b": ",}"}),
        (b'[{"a": 1 , } ,\n]', [{"a": 1}]),
        (b'{"a": 1,,}', None),
        (b"{'a': 1,}", {"a": 1}),
    ],
)
def test_a_comma_too_many_is_forgiven_and_one_in_a_text_stays(text: bytes, found: object) -> None:
    assert decoded(text) == found
