"""Logs in what carries them: every wrapping gives the objects that were put into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ("hello", "not_json"),
        ("17", "not_json"),
        ("[1, 2]", "not_object"),
    ],
)
def test_what_is_none_of_ours_is_named(text: str, reason: str) -> None:
    assert unwrapped(text) == ([], [reason])


def test_a_torn_line_costs_itself_only_and_is_counted() -> None:
    whole = dumped(events(3))
    assert unwrapped("\n".join((whole[0], whole[1][:40], whole[2]))) == (
        [events(3)[0], events(3)[2]],
        ["not_json"],
    )


def test_an_unfinished_piece_is_given_up_just_over_its_limit() -> None:
    line = json.dumps({"eventid": "x", "input": "y" * 50})
    half = len(line) // 2
    for limit, kept in ((len(line) + 2, 1), (len(line) + 1, 0)):
        reader = Unwrapper(wanted, limit)
        text = f"t stdout P {line[:half]}\nt stdout F {line[half:]}".replace("t ", "2026-03-01T10:00:00Z ", 1)
        text = text.replace("\nt ", "\n2026-03-01T10:00:00Z ")
        found, reasons = unwrapped(text, reader)
        assert (len(found), reasons, reader.dropped) == (kept, [] if kept else ["too_long"], 1 - kept)


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
