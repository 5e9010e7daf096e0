"""What tables make of a value: ways out of a container, settings of HTTP/2, cells of Zeek's logs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.bounds import BITES
from decnet.config import Settings
from decnet.sensors.files.tailer import Line
from decnet.sensors.formats.containers import container_signals
from decnet.sensors.formats.emits import MAX_SIGNALS, signals
from decnet.sensors.formats.http2 import MAX_SETTINGS, http2_settings
from decnet.sensors.formats.selftest import faults_of
from decnet.sensors.formats.shelf import lines_of
from decnet.sensors.formats.source import TableSource
from decnet.sensors.formats.values import CUT
from decnet.sensors.formats.zeekrecords import MAX_PARTS, ZeekRecords
from decnet.sensors.session import MAX_WORDS
from decnet.sensors.values import Refusal
from decnet.ttp.lifters.behavioral import DockerKnobs
from tests.tablekit import made


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"HostConfig": {"Privileged": True}}, "privileged_container"),
        ({"HostConfig": {"Privileged": "true"}}, ""),
        ({"HostConfig": {"PidMode": "host", "NetworkMode": "host"}}, "host_network host_pid"),
        ({"HostConfig": {"PidMode": "container:x", "NetworkMode": "bridge"}}, ""),
        ({"HostConfig": {"Binds": ["/:/mnt:rw"]}}, "host_mount"),
        ({"HostConfig": {"Binds": ["data:/mnt"]}}, ""),
        ({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/x"}]}}, "host_mount"),
        ({"HostConfig": {"Mounts": [{"Type": "volume", "Source": "data"}, "x"]}}, ""),
        ({"HostConfig": {"Binds": ["/var/run/docker.sock:/s"]}}, "docker_sock"),
        ({"HostConfig": {"CapAdd": ["sys_admin"]}}, "cap_sys_admin"),
        ({"HostConfig": {"CapAdd": ["NET_RAW"]}}, ""),
        ({"Cmd": ["sh", "-c", "nsenter -t 1 -m sh"]}, "nsenter_host"),
        ({"Entrypoint": "sh", "Cmd": "echo x > /release_agent"}, "cgroup_release_agent"),
        ({"Image": "alpine", "HostConfig": None, "Cmd": None}, ""),
    ],
)
def test_ways_out_of_a_container(body: dict[str, Any], words: str) -> None:
    assert container_signals(json.dumps(body)) == words
    assert set(words.split()) <= set(DockerKnobs().signals)


@pytest.mark.parametrize("body", ["", "{", "[]", "1", "[" * 100_000])
def test_a_body_that_is_no_object_says_nothing_of_a_container(body: str) -> None:
    assert container_signals(body) is None


def setting(name: str, value: Any) -> dict[str, Any]:
    return {"settings_id": f"SETTINGS{name}", "settings_value": value}


def test_settings_of_http2_in_the_order_in_which_they_were_sent() -> None:
    sent = [
        setting("ENABLEPUSH", 0),
        setting("INITIALWINDOWSIZE", 4194304),
        setting("MAXHEADERLISTSIZE", 10485760),
    ]
    assert http2_settings(json.dumps(sent)) == "2:0;4:4194304;6:10485760"
    assert http2_settings(json.dumps(sent[::-1])) == "6:10485760;4:4194304;2:0"
    assert http2_settings(json.dumps([setting("HEADERTABLESIZE", 2**32 - 1)])) == "1:4294967295"


@pytest.mark.parametrize(
    "listed",
    [
        [], {}, "x", [1], [setting("OF_TOMORROW", 1)], [setting("ENABLEPUSH", -1)], [setting("ENABLEPUSH", 2**32)],
        [setting("ENABLEPUSH", True)], [setting("ENABLEPUSH", "0")], [{"settings_value": 1}],
        [setting("ENABLEPUSH", 0)] * (MAX_SETTINGS + 1),
    ],
)  # fmt: skip
def test_what_is_no_list_of_known_settings_gives_none(listed: Any) -> None:
    assert http2_settings(json.dumps(listed)) is None
    assert http2_settings(json.dumps([setting("ENABLEPUSH", 0)] * MAX_SETTINGS)) is not None


def feed(records: ZeekRecords, text: str, path: str = "a.log") -> list[Any]:
    return [
        found
        for number, line in enumerate(text.split("\n"), 1)
        for found in records.feed(Line(path, number, 0, line.encode()))
    ]


HEAD = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tx\n#fields\tts\tuid\tnote\n"


def test_records_of_zeek_by_the_names_in_their_head() -> None:
    found = feed(ZeekRecords(), HEAD + "1.5\tC1\ta b\n2.5\tC2\t-\n3.5\tC3\t(empty)\n#close\tx")
    assert found == [
        {"ts": "1.5", "uid": "C1", "note": "a b"},
        {"ts": "2.5", "uid": "C2"},
        {"ts": "3.5", "uid": "C3"},
    ]


def test_another_separator_and_other_words_for_nothing() -> None:
    head = "#separator |\n#unset_field|?\n#empty_field|none\n#fields|ts|uid|note\n"
    assert feed(ZeekRecords(), head + "1|C1|?\n2|C2|none\n3|C3|-") == [
        {"ts": "1", "uid": "C1"}, {"ts": "2", "uid": "C2"}, {"ts": "3", "uid": "C3", "note": "-"},
    ]  # fmt: skip


def test_bytes_that_are_written_out_are_read_back() -> None:
    assert feed(ZeekRecords(), HEAD + "1\tC1\ta\\x09b\\xc3\\xa4\n2\tC2\t\\xff") == [
        {"ts": "1", "uid": "C1", "note": "a\tbä"}, {"ts": "2", "uid": "C2", "note": "�"},
    ]  # fmt: skip


def test_a_record_without_a_head_or_with_other_columns_is_refused() -> None:
    assert feed(ZeekRecords(), "1\tC1\tx") == [Refusal("no_head")]
    assert feed(ZeekRecords(), "#fields\tts\n1") == [Refusal("no_head")], "a head begins with its separator"
    assert feed(ZeekRecords(), "#separator \\x09\n1\tC1\tx") == [Refusal("no_head")], (
        "without names it is none"
    )
    assert feed(ZeekRecords(), HEAD + "1\tC1\n1\tC1\tx\ty") == [Refusal("wrong_columns")] * 2


def test_a_head_is_of_its_file_and_stays_over_a_restart() -> None:
    records = ZeekRecords()
    feed(records, HEAD)
    again = ZeekRecords()
    again.restore(json.loads(json.dumps(records.to_state())))
    assert feed(again, "1\tC1\tx") == [{"ts": "1", "uid": "C1", "note": "x"}]
    assert feed(again, "1\tC1\tx", "b.log") == [Refusal("no_head")]


def test_so_many_heads_are_kept() -> None:
    records = ZeekRecords()
    for number in range(MAX_PARTS + 1):
        feed(records, HEAD, f"{number}.log")
    assert feed(records, "1\tC1\tx", "0.log") == [Refusal("no_head")]
    assert len(feed(records, "1\tC1\tx", "1.log")) == 1


@given(st.lists(st.text(max_size=60), max_size=12))
def test_no_line_makes_zeeks_records_fail(lines: list[str]) -> None:
    feed(ZeekRecords(), HEAD + "\n".join(lines))
    feed(ZeekRecords(), "\n".join(["#separator " + line for line in lines]))


def test_so_many_words_of_a_line_and_of_a_session_are_signals() -> None:
    before = BITES[CUT]
    assert signals(" ".join(f"w{n}" for n in range(MAX_SIGNALS))) == [f"w{n}" for n in range(MAX_SIGNALS)]
    assert BITES[CUT] == before
    assert len(signals(" ".join(f"w{n}" for n in range(MAX_SIGNALS + 1))) or ()) == MAX_SIGNALS
    assert BITES[CUT] == before + 1
    assert signals("") is signals(None) is None
    table = made("""
format: words
source: https://example.org/words
detect: {has: [t, ip, said]}
time: {field: t, as: unix}
peer: ip
id: [ip]
rows: [{emit: session, signals: said}]
sample: |
  {"t": 1772600400, "ip": "203.0.113.9", "said": "b a"}
  {"t": 1772600401, "ip": "203.0.113.9", "said": "a c"}
expected: {events: [{event: session, signals: [a, b, c]}]}
""")
    assert faults_of(table) == []
    lines = [
        json.dumps({"t": 1772600400 + n, "ip": "203.0.113.9", "said": f"w{n:03}"})
        for n in range(MAX_WORDS + 1)
    ]
    source = TableSource(table, Settings(), b"k")
    (ended,) = [
        e
        for e in source.feed(lines_of("\n".join(lines))) + source.end_all()
        if e.topic.endswith("session.ended")
    ]
    assert (len(ended.payload["signals"]), ended.payload["items_dropped"]) == (MAX_WORDS, 1)
