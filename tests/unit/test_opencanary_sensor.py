"""OpenCanary's log: lines to visits, log-in attempts, commands, HTTP requests; whatever a line holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.bus.base import Event
from decnet.config import Settings
from decnet.ids import attacker_id
from decnet.keyed import keyed_hash
from decnet.sensors.files.tailer import Line
from decnet.sensors.opencanary import OpenCanarySource, Visit
from decnet.sensors.replay import iter_events
from decnet.sensors.requests import MAX_REQUESTS
from decnet.sensors.values import Refusal
from tests.linekit import opencanary_line
from tests.wirekit import judged

KEY = b"k" * 32
START = 1_700_000_000.0


def line(logtype: int, data: Any = None, at: float = 0.0, src: str = "192.0.2.7", node: str = "web-01", port: int = 21) -> bytes:  # fmt: skip
    moment = datetime.fromtimestamp(START + at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    raw = {"logtype": logtype, "logdata": data or {}, "src_host": src, "src_port": 4711, "dst_port": port}
    return json.dumps({**raw, "dst_host": "127.0.0.1", "node_id": node, "utc_time": moment}).encode()


def source() -> OpenCanarySource:
    return OpenCanarySource(Settings(), KEY)


def fed(made: OpenCanarySource, *lines: bytes) -> list[Event]:
    return made.feed([Line("log", i, 0, data) for i, data in enumerate(lines, 1)])


def of(events: list[Event], topic: str) -> list[dict[str, Any]]:
    return [event.payload for event in events if event.topic == topic]


def test_a_log_in_attempt_becomes_a_session_and_a_keyed_credential() -> None:
    made = source()
    events = fed(made, line(2000, {"USERNAME": "bob", "PASSWORD": "s3cret"})) + made.end_all()
    (started,) = of(events, "attacker.session.started")
    assert (started["decky_id"], started["service"], started["attacker_ip"]) == ("web-01", "ftp", "192.0.2.7")
    assert started["attacker_uuid"] == attacker_id("192.0.2.7")
    (credential,) = of(events, "credential.captured")
    assert credential["secret_hmac"] == keyed_hash(KEY, "password", "s3cret")
    assert (credential["username"], credential["success"]) == ("bob", False)
    (ended,) = of(events, "attacker.session.ended")
    assert ended["auth"] == {"fail_count": 1, "success": False, "usernames": ["bob"]}
    assert not any("s3cret" in json.dumps(event.payload) for event in events)
    assert of(events, "attacker.observed")[0]["first_seen"] == START


def test_a_visit_is_one_session_and_a_pause_ends_it() -> None:
    made = source()
    tries = [line(2000, {"USERNAME": "root", "PASSWORD": str(i)}, at=float(i)) for i in range(30)]
    events = fed(made, *tries, line(2000, {"USERNAME": "root", "PASSWORD": "x"}, at=500.0)) + made.end_all()
    first, second = of(events, "attacker.session.ended")
    assert (first["auth"]["fail_count"], first["end_reason"], first["ended_at"]) == (30, "idle", START + 29)
    assert second["started_at"] == START + 500
    assert len({payload["session_id"] for payload in (first, second)}) == 2


def test_silence_of_a_live_log_ends_a_visit_with_the_event_that_the_next_line_would_have_given() -> None:
    attempt = line(2000, {"USERNAME": "root", "PASSWORD": "1"})
    live, late = source(), source()
    fed(live, attempt)
    assert live.at_rest(START + 10) == []
    rested = live.at_rest(START + 100)
    moved_on = fed(late, attempt, line(2000, {"USERNAME": "x", "PASSWORD": "1"}, at=300.0, src="192.0.2.8"))
    (by_line,) = [event for event in moved_on if event.topic == "attacker.session.ended"]
    assert rested == [by_line]


def test_http_requests_are_facts_for_the_tagger() -> None:
    data = {"PATH": "/index.html", "USERAGENT": "sqlmap/1.7", "HOSTNAME": "127.0.0.1", "SKIN": "basicLogin"}
    events = fed(
        source(),
        line(3000, data, port=80),
        line(3000, data, at=1.0, port=80),
        line(3001, {**data, "USERNAME": "admin", "PASSWORD": "<not supplied>"}, at=2.0, port=80),
        line(3002, {**data, "REQUEST_TYPE": "PROPFIND", "USERAGENT": "<not supplied>"}, at=3.0, port=80),
    )
    facts = [event for event in events if event.topic == "attacker.fingerprinted"]
    assert [(f.payload["method"], f.payload["user_agent"]) for f in facts] == [
        ("GET", "sqlmap/1.7"), ("POST", "sqlmap/1.7"), ("PROPFIND", ""),
    ]  # fmt: skip
    assert {f.payload["raw_url"] for f in facts} == {"/index.html"}
    (tagger_event,) = judged(facts[0])
    assert (tagger_event.source_kind, tagger_event.decky_id) == ("http_request", "web-01")
    assert tagger_event.payload["raw_url"] == "/index.html"
    assert of(events, "credential.captured") == [], "a form without a password gives no secret"


def test_requests_of_one_visit_are_bounded() -> None:
    lines = [
        line(3000, {"PATH": f"/{i}", "USERAGENT": "x"}, at=i / 100, port=80) for i in range(MAX_REQUESTS * 2)
    ]
    assert len(of(fed(source(), *lines), "attacker.fingerprinted")) == MAX_REQUESTS


@pytest.mark.parametrize(
    ("command", "arguments", "text", "user", "secret"),
    [
        ("CONFIG GET", "*", "CONFIG GET *", None, None), ("AUTH", "hunter2", None, "", "hunter2"),
        ("auth", "bob hunter2", None, "bob", "hunter2"), ("HELLO", "3 AUTH bob hunter2", None, "bob", "hunter2"),
        ("", "", None, None, None),
    ],
)  # fmt: skip
def test_redis_commands(
    command: str, arguments: str, text: str | None, user: str | None, secret: str | None
) -> None:
    made = source()
    events = fed(made, line(17001, {"CMD": command, "ARGS": arguments}, port=6379)) + made.end_all()
    (ended,) = of(events, "attacker.session.ended")
    assert [c["command_text"] for c in ended["commands"]] == ([text] if text else [])
    found = [(c["username"], c["secret_hmac"]) for c in of(events, "credential.captured")]
    assert found == ([(user, keyed_hash(KEY, "password", secret))] if secret else [])
    assert "hunter2" not in json.dumps(ended)


@pytest.mark.parametrize(
    ("logtype", "data", "service"),
    [
        (4000, {"SESSION": "1"}, "ssh"), (4001, {"REMOTEVERSION": "b'SSH-2.0-Go'"}, "ssh"), (6002, {}, "telnet"),
        (8001, {"USERNAME": "root", "PASSWORD": "00ff"}, "mysql"), (9001, {"UserName": "sa", "Password": "x"}, "mssql"),
        (10001, {"FILENAME": "x", "OPCODE": "READ"}, "tftp"), (11001, {}, "ntp"), (12001, {"VNC Password": "secret"}, "vnc"),
        (13001, {"COMMUNITY_STRING": "public"}, "snmp"), (14001, {"USERNAME": "adm"}, "rdp"), (15001, {"HEADERS": {}}, "sip"),
        (16001, {"REPO": "/x", "HOST": "h"}, "git"), (18005, {"DATA": "x"}, "tcp"), (20001, {"action": "mongodb.command", "command": "find", "query": "{}"}, "mongodb"),
        (5001, {}, "portscan"), (99003, {}, "unknown"),
    ],
)  # fmt: skip
def test_every_kind_of_line_is_at_least_a_probe(logtype: int, data: dict[str, Any], service: str) -> None:
    made = source()
    events = fed(made, line(logtype, data)) + made.end_all()
    assert of(events, "attacker.session.started")[0]["service"] == service
    assert len(of(events, "attacker.session.ended")) == 1


def test_its_talk_about_itself_is_no_event_and_no_fault() -> None:
    made = source()
    assert fed(made, line(1001, {"msg": {"logdata": "Canary running!!!"}}, src="")) == []
    assert not made.refused


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"junk", "not_json"), (b"[1]", "not_object"), (b"{}", "not_opencanary"), (b'{"logtype": 2000, "node_id": "x"}', "no_time")],
)  # fmt: skip
def test_what_is_no_line_is_refused(data: bytes, reason: str) -> None:
    assert opencanary_line(data) == Refusal(reason)


_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3), max_leaves=6)  # fmt: skip
_fields = st.dictionaries(st.sampled_from(["USERNAME", "PASSWORD", "PATH", "USERAGENT", "CMD", "ARGS", "REPO", "VNC Password", "action", "REMOTEVERSION", "query"]), _values)  # fmt: skip


@given(
    st.integers(0, 100_000),
    _fields,
    st.sampled_from(["192.0.2.1", "", "x", "::1", "1.2.3.4\n"]),
    st.text(max_size=30),
)
def test_no_line_breaks_it(logtype: int, data: dict[str, Any], src: str, node: str) -> None:
    raw = {"logtype": logtype, "logdata": data, "src_host": src, "dst_port": 1, "node_id": node, "utc_time": "2026-01-01 00:00:00"}  # fmt: skip
    found = opencanary_line(json.dumps(raw).encode())
    assert found is None or isinstance(found, (Visit, Refusal))
    made = source()
    for event in [*fed(made, json.dumps(raw).encode()), *made.end_all()]:
        assert event.to_bytes()


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    opencanary_line(data)


@given(st.lists(st.integers(1, 12), max_size=6))
@hypothesis.settings(max_examples=30)
def test_cut_anywhere_it_gives_the_same_events(cuts: list[int]) -> None:
    lines = [
        line(2000, {"USERNAME": f"u{i % 3}", "PASSWORD": "x"}, at=i * 25.0, src=f"192.0.2.{i % 4}")
        for i in range(24)
    ]
    whole = source()
    want = [event.id for event in [*fed(whole, *lines), *whole.end_all()]]
    made, found, at = source(), [], 0
    for cut in [*cuts, len(lines)]:
        found += fed(made, *lines[at : at + cut])
        at += cut
        state = json.loads(json.dumps(made.to_state()))
        made = source()
        made.restore(state)
    found += made.end_all()
    assert [event.id for event in found] == want


def test_a_log_can_be_replayed(tmp_path: Path) -> None:
    log = tmp_path / "opencanary.log.json"
    log.write_bytes(line(1001) + b"\n" + line(2000, {"USERNAME": "bob", "PASSWORD": "x"}) + b"\n")
    topics = [event.topic for event in iter_events(log, Settings(data_dir=tmp_path / "data"))]
    assert topics[0] == "attacker.observed"
    assert topics[-1] == "attacker.session.ended"


def test_names_of_sensors_become_topic_tokens() -> None:
    events = fed(source(), line(2000, {"USERNAME": "x"}, node="a.b > *"))
    assert {event.payload["decky_id"] for event in events} == {"a-b"}


def _attempts(*lines: bytes) -> list[tuple[str, str]]:
    made = source()
    return [
        (c["username"], c["secret_hmac"])
        for c in of(fed(made, *lines) + made.end_all(), "credential.captured")
    ]


@pytest.mark.parametrize(
    ("logtype", "data"),
    [
        (2001, {"USERNAME": "bob", "PASSWORD": "s3cret"}),
        (99007, {"Username": "bob", "Password": "s3cret"}),
        (21001, {"username": "bob", "password": "s3cret"}),
        (20001, {"action": "mongodb.auth_attempt", "username": "bob", "password": "s3cret"}),
        (3000, {"PATH": "/", "HEADERS": {"authorization": "Basic Ym9iOnMzY3JldA=="}}),
        (3000, {"PATH": "/", "HEADERS": [["Host", "x"], ["Authorization", "basic Ym9iOnMzY3JldA=="]]}),
        (3000, {"PATH": "/", "HEADERS": {"Authorization": ["Basic Ym9iOnMzY3JldA=="]}}),
    ],
)
def test_a_password_is_a_log_in_attempt_whatever_the_log_type(logtype: int, data: dict[str, Any]) -> None:
    assert _attempts(line(logtype, data)) == [("bob", keyed_hash(KEY, "password", "s3cret"))]


@pytest.mark.parametrize("value", ["Bearer Ym9iOnMzY3JldA==", "Basic %%%", "Basic", "", 5, None, [], {}])
def test_other_authorization_is_no_attempt_and_breaks_nothing(value: Any) -> None:
    assert _attempts(line(3000, {"PATH": "/", "HEADERS": {"Authorization": value}})) == []


def test_what_stands_beside_the_data_of_a_line_is_kept() -> None:
    made, raw = source(), json.loads(line(4002, {"USERNAME": "bob", "PASSWORD": "x"}))
    events = fed(made, json.dumps({**raw, "honeycred": True, "ticket": "TK-42"}).encode()) + made.end_all()
    (ended,) = of(events, "attacker.session.ended")
    assert {"honeycred": True, "ticket": "TK-42"} in [x["fields"] for x in ended["extras"]]


@pytest.mark.parametrize(("node", "decky"), [(7, "7"), (None, "opencanary"), ("", "opencanary")])
def test_a_node_is_named_by_whatever_names_it(node: Any, decky: str) -> None:
    made, raw = source(), json.loads(line(2000, {"USERNAME": "bob", "PASSWORD": "x"}))
    (started,) = of(fed(made, json.dumps({**raw, "node_id": node}).encode()), "attacker.session.started")
    assert started["decky_id"] == decky


@pytest.mark.parametrize("name", ["local_time", "timestamp", "@timestamp"])
def test_a_time_is_taken_from_where_it_stands(name: str) -> None:
    made, raw = source(), json.loads(line(2000, {"USERNAME": "bob", "PASSWORD": "x"}))
    told = {**raw, "utc_time": None, name: raw["utc_time"]}
    (started,) = of(fed(made, json.dumps(told).encode()), "attacker.session.started")
    assert started["started_at"] == START
