"""One line of a Cowrie log, or of a recording: what is taken, what is refused and why, whatever stands in it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.bus.topics import MAX_TOPIC_LENGTH
from decnet.config import SensorSpec, Settings
from decnet.errors import SensorError
from decnet.events.fields import epoch, integer, number
from decnet.hostile import storable
from decnet.names import bounded
from decnet.sensors.cowrie import MAX_ALGORITHMS, Fact
from decnet.sensors.sources import (
    EVIDENCE_ROOTS,
    CowrieSource,
    JsonlSource,
    make_source,
    recorded_event,
    start_time,
)
from decnet.sensors.values import (
    MAX_NAME,
    MAX_URL,
    Refusal,
    as_text,
    duration_of,
)  # fmt: skip
from tests.linekit import cowrie_line, opencanary_line
from tests.unit.test_sensor_cowrie import KEY, feed, make, of, row

LATEST = 253_402_300_799.0


def data_of(event: str, **more: Any) -> dict[str, Any]:
    fact = cowrie_line(row(event, **more))
    assert isinstance(fact, Fact)
    return fact.data


# --- refused, unknown, passed over

TORN = b'{"eventid": "cowrie.x"'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"no json", "not_json"),
        (TORN, "not_json"),
        (b"[1]", "not_object"),
        (b'"x"', "not_json"),
        (b"{}", "no_eventid"),
        (b'{"eventid": 5}', "no_eventid"),
        (b'{"eventid": "other.x"}', "not_cowrie"),
        (b'{"eventid": "cowrie"}', "not_cowrie"),
        (b'{"eventid": "cowrie.x"}', "no_time"),
        (b'{"eventid": "cowrie.x", "timestamp": "soon", "time": "late"}', "no_time"),
        (b'{"eventid": "cowrie.x", "time": 5}', "no_session"),
        (b'{"eventid": "cowrie.x", "time": 5, "session": ""}', "no_session"),
        (b'{"eventid": "cowrie.x", "time": 5, "session": null}', "no_session"),
    ],
)
def test_a_line_that_is_refused_is_counted_by_its_reason_with_its_place(line: bytes, reason: str) -> None:
    source = make()
    if line == TORN:  # said when the next one comes
        assert feed(source, line + b"\n" + line + b"\n" + line) == []
        assert (source.refused, source.sessions()["unfinished"]) == ({reason: 2}, 1)
        assert source.last_refusal == f"f:3: {reason}"
        return
    assert cowrie_line(line) == Refusal(reason)
    assert feed(source, b'{"eventid": "cowrie.x", "time": 5, "session": "s"}\n' + line + b"\n" + line) == []
    assert source.refused == {reason: 2}
    assert source.last_refusal == f"f:3: {reason}"
    assert source.lines == 3


def test_events_of_an_unknown_kind_are_counted_and_cost_nothing() -> None:
    source = make()
    events = feed(
        source, row("session.connect") + row("brand.new", 1) + row("session.params", 2) + row("brand.new", 3)
    )
    assert (source.unknown, source.lines, dict(source.refused)) == (2, 4, {})
    assert [e.topic for e in events] == ["attacker.observed", "attacker.session.started"]


def test_bytes_that_are_no_utf8_are_counted_and_the_line_is_read() -> None:
    source = make()
    feed(source, row("session.connect") + row("command.input", 1, input="Q").replace(b"Q", b"\xff\xfe"))
    feed(source, row("command.input", 1, input="Q").replace(b"Q", "\u00e9".encode()))
    assert source.bad_utf8 == 1
    (ended,) = of(source.end_all(), "session.ended")
    assert [c["command_text"] for c in ended["commands"]] == ["\ufffd\ufffd", "\u00e9"]


@pytest.mark.parametrize(("at", "taken"), [(-0.5, False), (0.0, True), (0.5, True)])
def test_lines_older_than_the_start_are_passed_over(at: float, taken: bool) -> None:
    source = CowrieSource(Settings(), KEY, since=1_600_000_000.0)
    assert bool(feed(source, row("session.connect", at))) is taken
    assert source.newest == 1_600_000_000 + at
    assert (source.lines, dict(source.refused)) == (1, {})
    recorded = JsonlSource(Settings(), since=1_600_000_000.0)
    line = json.dumps({"topic": "email.received", "payload": {}, "ts": 1_600_000_000 + at}).encode()
    assert bool(feed(recorded, line)) is taken


def test_the_newest_time_is_the_newest_of_all_lines() -> None:
    source = make()
    feed(source, row("session.connect", 5) + row("command.input", 2, input="id"))
    assert source.newest == 1_600_000_005


# --- password prompts


@pytest.mark.parametrize("realm", ["passwd", "su", "sudo", "ssh", "scp", "sftp", "ftp", "login", "SuDo"])
@pytest.mark.parametrize("event", ["command.input", "command.input/other"])
def test_what_is_typed_at_a_password_prompt_is_no_command_and_stands_nowhere(event: str, realm: str) -> None:
    source = make()
    typed = row(event, 1, realm=realm, input="hunter22", message="CMD: hunter22")
    events = feed(source, row("session.connect") + typed) + source.end_all()
    (ended,) = of(events, "session.ended")
    assert (ended["command_count"], ended["commands"], ended["commands_dropped"]) == (0, [], 0)
    assert "hunter22" not in json.dumps([e.payload for e in events] + [source.to_state()])


@pytest.mark.parametrize("realm", [None, "", "shell", "sudoers", "python", True])
def test_other_input_is_a_command(realm: object) -> None:
    assert data_of("command.input", realm=realm, input="id") == {"text": "id"}


def test_a_command_without_its_text_is_the_one_of_the_message() -> None:
    assert data_of("command.input", input=None, message="CMD: uname -a") == {"text": "uname -a"}
    assert data_of("command.input", message="cmd: uname") == {"text": ""}
    assert data_of("command.input", message=5) == {"text": ""}
    assert data_of("command.input", input="", message="CMD: x") == {"text": ""}


# --- times and numbers


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0), (-0.001, None), (LATEST, LATEST), (LATEST + 1, None), ("5", 5.0), ("1e400", None), ("nan", None),
        (float("nan"), None), (float("inf"), None), (True, None), (None, None), ([], None), (10**400, None),
        ("1969-12-31T23:59:59Z", None), ("1970-01-01T00:00:00Z", 0.0), ("9999-12-31T23:59:59Z", LATEST),
        ("0001-01-01T00:00:00+23:59", None), ("2018-01-02T03:04:05.500000Z", 1514862245.5), ("T", None), ("", None),
        ("2018-01-02 03:04:05", 1514862245.0), ("2018-1-2T3:4:5.5Z", 1514862245.5), ("2018/01/02 03:04:05", 1514862245.0),
        ("2018-01-02t03:04:05z", 1514862245.0), ("2018-01-02 03:04:05 UTC", 1514862245.0),
        ("2018-01-02 03:04:05.250 +0100", 1514858645.25), ("2016-12-31T23:59:60.500Z", 1483228800.5),
        ("Tue, 02 Jan 2018 03:04:05 GMT", 1514862245.0), ("02/Jan/2018:03:04:05 +0000", 1514862245.0),
        ("02/Jan/2018:03:04:05", 1514862245.0), ("2018-13-02 03:04:05", None), ("2018-1-2 3:4:61", None), ("2018/01-02 03:04:05", None),
    ],
)  # fmt: skip
def test_times(value: object, seconds: float | None) -> None:
    assert epoch(value) == seconds


def test_a_time_without_a_zone_is_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        found = [epoch("2018-01-02T03:04:05"), epoch("2018-01-02T12:04:05+0900")]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found == [1514862245.0, 1514862245.0]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (2**31 - 1, 2**31 - 1), (2**31, None), (-(2**31) + 1, -(2**31) + 1), (-(2**31), None), (2**63, None), ("22", 22),
        (22.9, 22), (True, None), ("x", None), (float("nan"), None), (float("-inf"), None), (None, None), ({}, None),
    ],
)  # fmt: skip
def test_whole_numbers(value: object, number: int | None) -> None:
    assert integer(value) == number


def test_numbers_are_finite() -> None:
    assert [number(v) for v in (1, "2.5", 1e308, "1e309", 10**309, "nan", False)] == [
        1,
        2.5,
        1e308,
        *[None] * 4,
    ]


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ({"duration": 0}, 0.0), ({"duration": -0.1}, None), ({"duration": 9_999_999_999}, 9_999_999_999.0),
        ({"duration": 1e10}, None), ({"duration": "1.5"}, 1.5), ({"duration_ms": 1500}, 1.5), ({"duration_ms": -1}, None),
        ({"duration": 2, "duration_ms": 9}, 2.0), ({"duration": "x", "duration_ms": 9000}, 9.0), ({}, None),
    ],
)  # fmt: skip
def test_durations(raw: dict[str, Any], seconds: float | None) -> None:
    assert duration_of(raw) == seconds


# --- text


@pytest.mark.parametrize("length", [9, 10, 11])
def test_text_is_cut_at_its_limit(length: int) -> None:
    assert as_text("x" * length, 10) == "x" * min(length, 10)
    assert as_text(int("1" * length), 10) == "1" * min(length, 10)
    assert len(as_text(["x" * length], 10) or "") == 10


def test_text_can_be_stored_whatever_it_was() -> None:
    assert as_text("a\x00b\ud800c\udfff", 99) == "a\ufffdb\ufffdc\ufffd"
    assert as_text(["\x00", "\ud800"], 99) == '["\\u0000", "\\ud800"]'
    assert [as_text(v, 99) for v in (None, True, False, 5, 2**63)] == [None, None, None, "5", str(2**63)]
    assert storable(fact := data_of("login.failed", username="a\x00\ud800", password="x")) == fact


def test_every_field_has_its_limit() -> None:
    assert (MAX_NAME, MAX_URL, MAX_ALGORITHMS) == (256, 4096, 128)
    long = "x" * 70_000
    fact = cowrie_line(row("session.connect", session=long, sensor=long, protocol=long))
    assert isinstance(fact, Fact)
    assert (len(fact.session), len(fact.sensor or ""), len(fact.protocol or "")) == (
        128,
        len(bounded(long)),
        32,
    )
    lengths = {
        ("command.input", "input", "text"): 1 << 22, ("command.failed", "input", "text"): 1 << 22,
        ("login.failed", "username", "username"): MAX_NAME, ("login.failed", "password", "secret"): 65_536,
        ("client.fingerprint", "fingerprint", "secret"): 65_536, ("client.version", "version", "version"): MAX_NAME,
        ("client.kex", "hassh", "hassh"): 64, ("session.file_download", "url", "url"): MAX_URL,
        ("session.file_download", "shasum", "sha256"): 64, ("session.file_upload", "filename", "filename"): MAX_URL,
        ("session.file_upload", "destfile", "filename"): MAX_URL, ("session.file_upload", "shasum", "sha256"): 64,
        ("direct-tcpip.request", "dst_ip", "host"): MAX_NAME, ("log.closed", "ttylog", "path"): MAX_URL,
    }  # fmt: skip
    for (event, field, name), limit in lengths.items():
        for more in (-1, 0, 1):
            kept = data_of(event, **{field: "x" * (limit + more)})[name]
            assert len(kept) == min(limit + more, limit), (event, field)
    assert len(data_of("command.input", message="CMD: x" + "x" * (1 << 22))["text"]) == 1 << 22


@pytest.mark.parametrize("given", [MAX_ALGORITHMS - 1, MAX_ALGORITHMS, MAX_ALGORITHMS + 1])
def test_algorithms_are_taken_in_their_order_up_to_the_limit(given: int) -> None:
    names = [f"alg{i}" for i in range(given)]
    want = names[:MAX_ALGORITHMS]
    assert (
        data_of("client.kex", kexAlgs=names)["kex"]
        == data_of("client.kex", kexAlgs=",".join(names))["kex"]
        == want
    )
    assert data_of("client.kex", kexAlgs=[" a ", None, "", "b'c'"])["kex"] == ["a", "c"]
    assert data_of("client.kex", kexAlgs=5) == {}


@pytest.mark.parametrize(
    ("given", "shown"),
    [("b'SSH-2.0-Go'", "SSH-2.0-Go"), ('b"x"', "x"), ("'x'", "x"), ("b'", "b'"), ("'", "'"), ("b'x", "b'x"), ("x'", "x'")],
)  # fmt: skip
def test_banners_lose_the_quotes_of_old_versions(given: str, shown: str) -> None:
    assert data_of("client.version", version=given) == {"version": shown}


def test_addresses_are_addresses_or_nothing() -> None:
    def seen(event: str, address: object) -> object:
        fact = cowrie_line(row(event, src_ip=address))
        assert isinstance(fact, Fact)
        return fact.src_ip

    assert seen("session.connect", " 192.0.2.1 ") == "192.0.2.1"
    assert seen("session.connect", "2001:DB8::1") == "2001:db8::1"
    assert [seen("session.connect", a) for a in ("x", "", None, 5, "1.2.3.4.5")] == [None] * 5
    assert seen("direct-tcpip.request", "192.0.2.1") is None, "there it is a claim"


def test_what_a_log_in_says() -> None:
    assert data_of("login.success", username="a", password="") == {
        "username": "a", "secret": "", "secret_kind": "password", "success": True,
    }  # fmt: skip
    assert data_of("login.failed", username=None) == {
        "username": "", "secret": None, "secret_kind": "password", "success": False,
    }  # fmt: skip
    assert data_of("client.fingerprint", key="K", password="p")["secret_kind"] == "publickey"
    assert data_of("login.success", fingerprint="F", key="K")["secret"] == "F"


def test_what_the_other_lines_say() -> None:
    assert data_of("client.size", width=80, height="24") == {"width": 80, "height": 24}
    assert data_of("client.size", width=80) == data_of("client.size", height=80) == {}
    assert data_of("log.closed", ttylog="t", size="x", duplicate="true") == {
        "path": "t",
        "size": 0,
        "duplicate": False,
    }
    assert data_of("log.closed", ttylog="t", size=3, duplicate=True) == {
        "path": "t",
        "size": 3,
        "duplicate": True,
    }
    assert data_of("direct-tcpip.request", dst_ip="h", dst_port="80", src_port=7) == {
        "host": "h", "port": 80, "orig_ip": "192.0.2.7", "orig_port": 7,
    }  # fmt: skip
    assert [data_of(f"command.{word}", input="id")["success"] for word in ("failed", "success")] == [
        False,
        True,
    ]
    assert data_of("session.file_download.failed", url="u", error="404") == {
        "url": "u", "sha256": None, "failed": True, "error": "404",
    }  # fmt: skip
    assert data_of("session.connect", dst_port=2223) == {"dst_port": 2223}


# --- addresses


@pytest.mark.parametrize(
    "given",
    [
        "host.example",
        "192.0.2.7/32",
        "192.0.2.7, 10.0.0.1",
        ["192.0.2.7"],
        3221225991,
        "\uff11\uff19\uff12.0.2.7",
    ],
)
def test_what_stands_in_the_place_of_an_address_is_kept(given: object) -> None:
    line = {"timestamp": 1, "session": "s", "src_ip": given, "username": "root", "password": "x"}
    fact = cowrie_line(json.dumps({"eventid": "cowrie.login.failed", **line}).encode())
    assert isinstance(fact, Fact)
    assert fact.src_ip is None
    kept = given if isinstance(given, (int, str)) else json.dumps(given)
    assert fact.rest == {"eventid": "cowrie.login.failed", "fields": {"src_ip": kept}}


@pytest.mark.parametrize("given", ["192.0.2.7", "::ffff:192.0.2.7", "", None])
def test_an_address_that_is_read_or_empty_needs_no_other_home(given: object) -> None:
    line = {"timestamp": 1, "session": "s", "src_ip": given, "input": "id"}
    fact = cowrie_line(json.dumps({"eventid": "cowrie.command.input", **line}).encode())
    assert isinstance(fact, Fact)
    assert fact.rest is None


# --- too deep


@pytest.mark.parametrize(
    ("read", "around"),
    [
        (cowrie_line, b'{"eventid": "cowrie.command.input", "timestamp": 1, "session": "a", "input": %s}'),
        (cowrie_line, b'{"eventid": "cowrie.login.failed", "timestamp": 1, "session": %s}'),
        (opencanary_line, b'{"logtype": 2000, "node_id": "x", "utc_time": 1, "logdata": {"USERNAME": %s}}'),
        (recorded_event, b'{"topic": "attacker.observed", "ts": 1, "payload": {"a": %s}}'),
    ],
)  # fmt: skip
def test_a_line_may_be_nested_as_deep_as_it_likes(read: Callable[[bytes], object], around: bytes) -> None:
    found = set()
    for depth in [*range(1, 850, 25), *range(850, 1010), 3_200, 100_000]:
        made = read(around % (b"[" * depth + b"]" * depth))
        found.add(made.reason if isinstance(made, Refusal) else type(made).__name__)
    assert found <= {"Fact", "Visit", "Event", "too_deep", "not_json"}
    assert "not_json" in found


# --- recorded events


def recorded(**more: Any) -> Event | Refusal:
    raw = {"topic": "attacker.observed", "payload": {}, "id": "a1", "ts": 5, **more}
    return recorded_event(json.dumps(raw).encode())


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"topic": None}, "no_topic"), ({"topic": ["attacker", "x"]}, "no_topic"), ({"topic": ""}, "bad_topic"),
        ({"topic": "attacker"}, "bad_topic"), ({"topic": "attacker..x"}, "bad_topic"), ({"topic": ".x"}, "bad_topic"),
        ({"topic": "attacker.x."}, "bad_topic"), ({"topic": "attacker.>"}, "bad_topic"), ({"topic": "attacker.a b"}, "bad_topic"),
        ({"topic": "attacker.*"}, "bad_topic"), ({"topic": "attacker.\u00e9"}, "bad_topic"), ({"topic": "attacker.\x1b"}, "bad_topic"),
        ({"topic": "attacker." + "x" * (MAX_TOPIC_LENGTH - 8)}, "bad_topic"), ({"topic": "system.ttp.control"}, "command_topic"),
        ({"topic": "decky.a.mutate_request"}, "command_topic"), ({"topic": "other.x"}, "command_topic"),
        ({"payload": []}, "no_payload"), ({"payload": None}, "no_payload"),
    ],
)  # fmt: skip
def test_a_recording_publishes_evidence_and_nothing_else(more: dict[str, Any], reason: str) -> None:
    assert recorded(**more) == Refusal(reason)


def test_topics_of_a_recording_up_to_the_longest() -> None:
    for topic in ("attacker." + "x" * (MAX_TOPIC_LENGTH - 9), *(f"{root}.x" for root in EVIDENCE_ROOTS)):
        event = recorded(topic=topic)
        assert isinstance(event, Event)
        assert event.topic == topic
    assert len(EVIDENCE_ROOTS) == 9
    assert "system" not in EVIDENCE_ROOTS


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_recorded_event_may_be_as_large_as_the_bus_takes(more: int) -> None:
    empty = recorded(payload={"x": ""})
    assert isinstance(empty, Event)
    room = 4096 - 1024 - len(empty.to_bytes())
    line = json.dumps(
        {"topic": "attacker.observed", "payload": {"x": "y" * (room + more)}, "id": "a1", "ts": 5}
    ).encode()
    found = recorded_event(line, 4096)
    assert (found == Refusal("too_large")) == (more > 0)


def test_the_envelope_of_a_recorded_event_is_taken_only_where_it_can_be_used() -> None:
    def ident(value: object) -> str:
        event = recorded(id=value)
        assert isinstance(event, Event)
        return event.id

    assert ident("a" * 64) == "a" * 64
    for bad in ("a" * 65, "", "a-b", "\u0661", 5, None, ["a"]):
        assert len(ident(bad)) == 32
        assert ident(bad) == ident(bad)
    assert ident(None) != ident(5), "it follows from the line"
    event = recorded(
        type="t\x00" + "x" * 200, ts=float("nan"), payload={"a": "\ud800", "b": 2**63, "c": float("inf")}
    )
    assert isinstance(event, Event)
    assert (event.type, event.payload) == ("t\ufffd" + "x" * 126, {"a": "\ufffd", "b": str(2**63), "c": None})
    assert event.ts > 1_600_000_000
    assert isinstance(plain := recorded(type=5), Event)
    assert (plain.type, plain.ts) == ("", 5.0)


# --- which source, from when


def test_every_kind_has_its_source_and_a_start() -> None:
    made = [make_source(SensorSpec(kind=k, path="/x", start="2020-01-01"), Settings(), KEY) for k in ("cowrie", "jsonl", "opencanary")]  # type: ignore[arg-type]  # fmt: skip
    assert [type(source).__name__ for source in made] == ["CowrieSource", "JsonlSource", "OpenCanarySource"]
    assert {source.since for source in made} == {1577836800.0}
    assert start_time("start") is start_time("end") is None
    with pytest.raises(SensorError, match="from=soon: neither start, end nor an ISO date"):
        start_time("soon")


@pytest.mark.parametrize("realm", ["passwd", "SUDO", "su", "login"])
def test_input_at_a_password_prompt_is_kept_nowhere(realm: str) -> None:
    source = make()
    feed(source, row("session.connect") + row("session.input", 1, realm=realm, input="hunter2"))
    feed(source, row("session.input", 2, realm="cat", input="#!/bin/sh"))
    (ended,) = [e.payload for e in source.end_all() if e.topic == "attacker.session.ended"]
    assert [(i["realm"], i["text"]) for i in ended["inputs"]] == [("cat", "#!/bin/sh")]
    assert "hunter2" not in json.dumps(ended)


# --- what a line says beside its fact


def rest_of(event: str, **more: Any) -> Any:
    fact = cowrie_line(row(event, **more))
    assert isinstance(fact, Fact)
    return None if fact.rest is None else fact.rest["fields"]


def test_what_has_no_home_in_a_fact_stands_beside_it_and_what_has_one_does_not() -> None:
    assert rest_of("command.input", input="id") is None
    assert rest_of("command.input", input="id", realm="python", ttyno=3) == {"realm": "python", "ttyno": 3}
    assert rest_of("session.file_upload", filename="a", url="a", shasum="s") is None, (
        "the same again says nothing"
    )
    assert rest_of("session.file_upload", filename="a", url="b") == {"url": "b"}
    assert rest_of("session.connect", src_port=1, dst_ip="h", dst_port=22, uuid="u", sensor="a.b") == {
        "src_port": 1, "dst_ip": "h", "dst_port": 22, "uuid": "u", "sensor": "a.b",
    }  # fmt: skip
    assert rest_of("client.kex", hassh="h", keyAlgs=["k"]) is None, "it stands with the fingerprint"
    assert rest_of("client.version", version="v", keyAlgs=["k"]) == {"keyAlgs": '["k"]'}
    assert rest_of("direct-tcpip.request", dst_ip="h", dst_port=1, orig_ip="o", src_ip="192.0.2.9") == {
        "src_ip": "192.0.2.9"
    }
    assert rest_of("login.failed", username="u", isError=1) == {"isError": 1}
    assert rest_of("login.failed", username="u", isError=0, system="x", format="y") is None


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("login.failed", {"username": "u", "password": "hunter22", "passwd": "hunter22"}),
        (
            "command.chpasswd",
            {"username": "somebody", "password": "hunter22", "message": "new password hunter22"},
        ),
        ("command.input", {"realm": "passwd", "input": "hunter22"}),
        ("command.success", {"realm": "passwd", "input": "hunter22"}),
        ("session.input", {"realm": "sudo", "input": "hunter22"}),
        (
            "proxy.ssh",
            {"packet": "SSH_MSG_USERAUTH_REQUEST  ", "payload": "b'...hunter22'", "direction": "x"},
        ),
        ("new.event", {"user_password": "hunter22", "client.secret": "hunter22"}),
    ],
)
def test_no_field_beside_a_fact_holds_a_secret(event: str, fields: dict[str, Any]) -> None:
    fact = cowrie_line(row(event, **fields))
    assert isinstance(fact, Fact)
    data = {key: value for key, value in fact.data.items() if key != "secret"}
    assert "hunter22" not in repr((data, fact.rest))


def test_a_program_that_no_command_has_told_of_is_kept() -> None:
    source = make()
    lines = row("command.input", 0, session="s", input="echo 'a b'; wget x") + row(
        "command.success", 1, session="s", input="echo a b"
    )
    lines += row("command.success", 2, session="s", input="wget x") + row(
        "command.failed", 3, session="s", input="hidden --now"
    )
    (ended,) = [e for e in [*feed(source, lines), *source.end_all()] if e.topic.endswith("ended")]
    assert [(x["eventid"], x["fields"]) for x in ended.payload["extras"]] == [
        ("cowrie.command.failed", {"input": "hidden --now"}),
    ]  # fmt: skip
    assert [c.get("success") for c in ended.payload["commands"]] == [True]


@pytest.mark.parametrize(
    "given",
    [
        {"timestamp": 1772359200.5}, {"timestamp": "1772359200.5"}, {"timestamp": 1772359200500}, {"timestamp": "1772359200500"},
        {"timestamp": "2026-03-01T10:00:00.500000Z"}, {"timestamp": "2026-03-01T11:00:00.500000+0100"},
        {"timestamp": "2026-03-01 10:00:00.500000"}, {"timestamp": "2026-03-01 10:00:00,500"}, {"timestamp": {"$date": "2026-03-01T10:00:00.500Z"}},
        {"timestamp": {"$date": 1772359200500}}, {"timestamp": {"$date": {"$numberLong": "1772359200500"}}},
        {"timestamp": None, "time": 1772359200.5}, {"timestamp": "", "@timestamp": "2026-03-01T10:00:00.500Z"},
        {"timestamp": 1772359200500000}, {"timestamp": "1772359200500000000"}, {"time": 1772359200.5}, {"epoch": 1772359200500}, {"@timestamp": "2026-03-01T10:00:00.500Z"},
    ],
)  # fmt: skip
def test_a_time_is_read_however_it_was_written(given: dict[str, Any]) -> None:
    fact = cowrie_line(
        json.dumps({"eventid": "cowrie.command.input", "session": "s", "input": "id", **given}).encode()
    )
    assert isinstance(fact, Fact)
    assert fact.ts == 1772359200.5
