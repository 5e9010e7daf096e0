"""OpenCanary's log at its limits: visits, requests, secrets, and what every kind of line is taken for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import SensorSettings, Settings
from decnet.hostile import storable
from decnet.keyed import keyed_hash
from decnet.sensors import assembly
from decnet.sensors.opencanary import OpenCanarySource, Visit
from decnet.sensors.requests import MAX_REQUESTS
from decnet.sensors.values import Refusal
from tests.linekit import opencanary_line
from tests.unit.test_opencanary_sensor import KEY, START, fed, line, of


@pytest.fixture(autouse=True)
def forgets_by_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log's time is what these tests are about; how much was read has tests of its own."""
    monkeypatch.setattr(assembly, "FORGET_LINES", 0)


def made(**limits: Any) -> OpenCanarySource:
    return OpenCanarySource(Settings(sensor=SensorSettings(**limits)), KEY)


def attempt(at: float = 0.0, user: str = "root", **more: Any) -> bytes:
    return line(2000, {"USERNAME": user, "PASSWORD": "x"}, at=at, **more)


def ends(events: list[Event]) -> list[tuple[float, str, int]]:
    """When each session began, why it ended, and how many tries it had."""
    found = of(events, "attacker.session.ended")
    return [(p["started_at"] - START, p["end_reason"], p["auth"]["fail_count"]) for p in found]


# --- visits


@pytest.mark.parametrize(("pause", "one"), [(59.999, True), (60.0, True), (60.001, False)])
def test_a_pause_as_long_as_the_limit_is_still_the_same_visit(pause: float, one: bool) -> None:
    source = made(probe_idle_s=60)
    events = fed(source, attempt(), attempt(pause)) + source.end_all()
    assert ends(events) == ([(0, "eof", 2)] if one else [(0, "idle", 1), (pytest.approx(pause), "eof", 1)])


def test_every_line_of_a_visit_starts_its_pause_anew_and_a_late_one_does_not_turn_it_back() -> None:
    source = made(probe_idle_s=60)
    events = fed(source, attempt(0), attempt(50), attempt(40), attempt(105), attempt(166)) + source.end_all()
    assert ends(events) == [(0, "idle", 4), (166, "eof", 1)]


def test_an_older_log_read_after_a_newer_one_joins_none_of_its_visits() -> None:
    source = made(probe_idle_s=60)
    events = (
        fed(source, attempt(86_400), attempt(86_410), attempt(0), attempt(20), attempt(86_430))
        + source.end_all()
    )
    assert sorted(ends(events)) == [(0, "eof", 2), (86_400, "eof", 3)]
    assert len({p["session_id"] for p in of(events, "attacker.session.ended")}) == 2


def test_a_visit_is_one_address_at_one_port_and_service_of_one_decky() -> None:
    source = made()
    events = fed(
        source, attempt(), attempt(1, src="192.0.2.8"), attempt(2, node="web-02"), attempt(3, port=2121),
        line(6001, {"USERNAME": "x"}, at=4), attempt(5, user="toor"),
    )  # fmt: skip
    assert len(of(events, "attacker.session.started")) == 5


def test_visits_that_are_known_are_bounded_and_the_newest_stay() -> None:
    source = made(max_open_sessions=2)
    for number, src in enumerate(("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3")):
        fed(source, attempt(number, src=src))
    assert [visit[1] for visit in source.to_state()["visits"]] == ["192.0.2.1", "192.0.2.3"]


@pytest.mark.parametrize(("now", "over"), [(64.9, False), (65.0, False), (65.1, True)])
def test_silence_counts_only_beyond_the_limit_and_some_seconds_more(now: float, over: bool) -> None:
    source = made(probe_idle_s=60)
    fed(source, attempt())
    assert bool(source.at_rest(START + now)) is over
    assert source.sessions() == {"open_sessions": int(not over), "evicted": 0, "homeless": 0, "unfinished": 0}


def test_a_visit_is_not_taken_up_long_after_its_end() -> None:
    source = made(probe_idle_s=60, reopen_s=10)
    fed(source, attempt())
    source.end_all()
    fed(source, attempt(9, src="192.0.2.8"))
    assert len(source.to_state()["sessions"]["dormant"]) == 1
    fed(source, attempt(11, src="192.0.2.8"))
    assert source.to_state()["sessions"]["dormant"] == []


# --- requests


def request(number: int, at: float = 0.0, agent: str = "x") -> bytes:
    return line(3000, {"PATH": f"/{number}", "USERAGENT": agent}, at=at, port=80)


def test_requests_are_told_of_up_to_the_limit_in_each_visit_and_across_a_restart() -> None:
    assert MAX_REQUESTS == 200
    source = made()
    told = of(fed(source, *(request(i) for i in range(MAX_REQUESTS - 1))), "attacker.fingerprinted")
    assert len(told) == MAX_REQUESTS - 1
    again = made()
    again.restore(json.loads(json.dumps(source.to_state())))
    more = of(fed(again, *(request(i) for i in range(MAX_REQUESTS + 5))), "attacker.fingerprinted")
    assert [p["raw_url"] for p in more] == [f"/{MAX_REQUESTS - 1}"]
    assert again.bounds()["items_dropped"] == 5
    later = of(fed(again, request(7, at=500)), "attacker.fingerprinted")
    assert len(later) == 1


def test_a_request_is_another_one_by_its_method_its_address_or_its_client() -> None:
    source = made()
    other = line(3002, {"PATH": "/1", "USERAGENT": "x", "REQUEST_TYPE": "PUT"}, port=80)
    events = fed(source, request(1), request(1, 1), request(2), request(1, agent="y"), other)
    told = [e for e in events if e.topic == "attacker.fingerprinted"]
    assert [(p["method"], p["raw_url"], p["user_agent"]) for p in (e.payload for e in told)] == [
        ("GET", "/1", "x"), ("GET", "/2", "x"), ("GET", "/1", "y"), ("PUT", "/1", "x"),
    ]  # fmt: skip
    assert len({e.id for e in told}) == len({e.payload["source_id"] for e in told}) == 4


# --- log-ins and secrets


@pytest.mark.parametrize(
    ("logtype", "data", "user", "kind", "secret"),
    [
        (2000, {"USERNAME": "a", "PASSWORD": "s3cret"}, "a", "password", "s3cret"),
        (4002, {"USERNAME": "a", "PASSWORD": "s3cret"}, "a", "password", "s3cret"),
        (6001, {"USERNAME": "", "PASSWORD": "s3cret"}, "", "password", "s3cret"),
        (9001, {"UserName": "sa", "Password": "s3cret"}, "sa", "password", "s3cret"),
        (3001, {"USERNAME": "a", "PASSWORD": "s3cret"}, "a", "password", "s3cret"),
        (
            7001,
            {"USERNAME": "a", "PASSWORD": "<not supplied>", "Password": "s3cret"},
            "a",
            "password",
            "s3cret",
        ),
        (8001, {"USERNAME": "a", "PASSWORD": 12345678}, "a", "password", "12345678"),
        (12001, {"VNC Password": "s3cret"}, "", "password", "s3cret"),
        (13001, {"COMMUNITY_STRING": "s3cret"}, "", "community", "s3cret"),
        (17001, {"CMD": "AUTH", "ARGS": "s3cret"}, "", "password", "s3cret"),
        (17001, {"CMD": "auth", "ARGS": "bob s3cret with spaces"}, "bob", "password", "s3cret with spaces"),
        (17001, {"CMD": "hello", "ARGS": "3 auth bob s3cret x"}, "bob", "password", "s3cret x"),
    ],
)
def test_a_secret_leaves_only_as_a_keyed_hash(
    logtype: int, data: dict[str, Any], user: str, kind: str, secret: str
) -> None:
    source = made()
    events = fed(source, line(logtype, data)) + source.end_all()
    (found,) = of(events, "credential.captured")
    assert (found["username"], found["secret_kind"], found["success"]) == (user, kind, False)
    assert found["secret_hmac"] == keyed_hash(KEY, kind, secret)
    assert secret not in json.dumps([e.payload for e in events]) + json.dumps(source.to_state())


@pytest.mark.parametrize(
    ("logtype", "data"),
    [
        (2000, {"USERNAME": "a"}), (2000, {"USERNAME": "a", "PASSWORD": None}), (14001, {"USERNAME": "a", "PASSWORD": "<not supplied>"}),
        (12001, {"VNC Password": "<Password was not in the common list>"}), (12001, {}),
        (20001, {"action": "mongodb.auth_attempt", "username": "a"}),
    ],
)  # fmt: skip
def test_a_try_without_a_secret_is_counted(logtype: int, data: dict[str, Any]) -> None:
    source = made()
    events = fed(source, line(logtype, data)) + source.end_all()
    assert of(events, "credential.captured") == []
    assert of(events, "attacker.session.ended")[0]["auth"]["fail_count"] == 1


@pytest.mark.parametrize(
    ("logtype", "data"),
    [
        (2000, {}), (2000, {"USERNAME": "<not supplied>", "PASSWORD": "<not supplied>"}), (13001, {}), (13001, {"COMMUNITY_STRING": "<not supplied>"}),
        (16001, {}), (17001, {}), (17001, {"ARGS": "x"}), (20001, {"action": "mongodb.other"}), (4001, {}), (9003, {"USERNAME": "x"}),
    ],
)  # fmt: skip
def test_a_line_that_says_nothing_is_a_touch(logtype: int, data: dict[str, Any]) -> None:
    visit = opencanary_line(line(logtype, data))
    assert isinstance(visit, Visit)
    assert [fact for fact in visit.facts if fact[0] != "extra"] == [("connect", {"dst_port": None})]


@pytest.mark.parametrize(
    ("logtype", "data", "text"),
    [
        (17001, {"CMD": "HELLO", "ARGS": "3 AUTH bob"}, "HELLO 3 AUTH bob"),
        (17001, {"CMD": "HELLO", "ARGS": "3 SETNAME bob x"}, "HELLO 3 SETNAME bob x"),
        (17001, {"CMD": "AUTH", "ARGS": ""}, "AUTH"),
        (17001, {"CMD": "KEYS", "ARGS": "*"}, "KEYS *"),
        (16001, {"REPO": "/x"}, "git-upload-pack /x"),
        (20001, {"action": "mongodb.command", "command": "find", "query": ""}, "find"),
    ],
)
def test_commands(logtype: int, data: dict[str, Any], text: str) -> None:
    source = made()
    (ended,) = of(fed(source, line(logtype, data)) + source.end_all(), "attacker.session.ended")
    assert [c["command_text"] for c in ended["commands"]] == [text]


@pytest.mark.parametrize(
    ("given", "shown"),
    [("b'SSH-2.0-Go'", "SSH-2.0-Go"), ('b"x"', "x"), ("SSH-2.0-Go", "SSH-2.0-Go"), ("b'x\"", "b'x\"")],
)
def test_banners_lose_the_quotes_around_them(given: str, shown: str) -> None:
    visit = opencanary_line(line(4001, {"REMOTEVERSION": given}))
    assert isinstance(visit, Visit)
    assert visit.facts == (("client", {"version": shown}),)


# --- lines


@pytest.mark.parametrize(("logtype", "silent"), [(999, False), (1000, True), (1999, True), (2000, False)])
def test_its_talk_about_itself_is_passed_over(logtype: int, silent: bool) -> None:
    assert (opencanary_line(line(logtype)) is None) is silent


SERVICES = {
    2000: "ftp", 3000: "http", 3001: "http", 3002: "http", 3003: "http", 4000: "ssh", 4001: "ssh", 4002: "ssh", 5000: "smb",
    5001: "portscan", 6001: "telnet", 7001: "httpproxy", 8001: "mysql", 9001: "mssql", 9002: "mssql", 9003: "mysql",
    10001: "tftp", 11001: "ntp", 12001: "vnc", 13001: "snmp", 14001: "rdp", 15001: "sip", 16001: "git", 17001: "redis",
    18001: "tcp", 19001: "llmnr", 20001: "mongodb", 21001: "unknown", 0: "unknown",
}  # fmt: skip


def test_every_kind_of_line_has_its_service_and_unknown_ones_are_counted() -> None:
    found = {logtype: opencanary_line(line(logtype)) for logtype in SERVICES}
    assert {
        logtype: visit.service for logtype, visit in found.items() if isinstance(visit, Visit)
    } == SERVICES
    source = made()
    fed(source, *(line(logtype) for logtype in SERVICES))
    assert (source.unknown, dict(source.refused), source.lines) == (2, {}, len(SERVICES))


@pytest.mark.parametrize("data", [None, [], ["USERNAME"], "USERNAME", 5])
def test_details_that_are_no_object_say_nothing(data: object) -> None:
    raw = {**json.loads(line(2000)), "logdata": data}
    visit = opencanary_line(json.dumps(raw).encode())
    assert isinstance(visit, Visit)
    assert [fact for fact in visit.facts if fact[0] != "extra"] == [("connect", {"dst_port": None})]


def test_lines_that_are_refused_are_counted_by_reason_with_their_place() -> None:
    source = made()
    node = line(2000).replace(b'"web-01"', b"[5]")
    late = b'{"logtype": 2000, "node_id": "x", "utc_time": "soon"}'
    fed(
        source,
        line(2000),
        b"junk",
        b"[1]",
        b'{"logtype": "x", "node_id": "x"}',
        node,
        late,
        b'{"node_id": "x", "\xff": 1}',
    )
    assert source.refused == {"not_json": 1, "not_object": 1, "not_opencanary": 3, "no_time": 1}
    assert source.last_refusal == "log:7: not_opencanary"
    assert source.bad_utf8 == 1
    assert opencanary_line(late) == Refusal("no_time")


@pytest.mark.parametrize(("at", "taken"), [(-0.5, False), (0.0, True)])
def test_lines_older_than_the_start_are_passed_over(at: float, taken: bool) -> None:
    source = OpenCanarySource(Settings(), KEY, since=START)
    assert bool(fed(source, line(99_000, at=at))) is taken
    assert source.unknown == int(taken)
    assert source.newest == START + at


def test_every_field_has_its_limit() -> None:
    def size(logtype: int, field: str, limit: int, name: str) -> int:
        visit = opencanary_line(line(logtype, {"CMD": "K", field: "x" * (limit + 1)}))
        assert isinstance(visit, Visit)
        return len(visit.facts[0][1][name])

    fields = {
        (2000, "USERNAME", "username"): 256, (2000, "PASSWORD", "secret"): 65_536, (12001, "VNC Password", "secret"): 65_536,
        (13001, "COMMUNITY_STRING", "secret"): 65_536, (3000, "PATH", "raw_url"): 4096, (3000, "USERAGENT", "user_agent"): 4096,
        (3002, "REQUEST_TYPE", "method"): 32, (3000, "HOSTNAME", "host"): 256,
    }  # fmt: skip
    assert {key: size(key[0], key[1], limit, key[2]) for key, limit in fields.items()} == fields
    assert size(17001, "ARGS", 1 << 20, "text") == len("K ") + (1 << 20)
    assert size(16001, "REPO", 4096, "text") == len("git-upload-pack ") + 4096


def test_whatever_a_line_holds_can_be_stored() -> None:
    source = made()
    data = {
        "PATH": "/\x00\ud800",
        "USERAGENT": ["\x00"],
        "HOSTNAME": 2**70,
        "USERNAME": "a\udfff",
        "PASSWORD": "\ud800",
    }
    events = (
        fed(source, line(3001, data, node="d\x001", port=2**40), line(2000, {"USERNAME": float("nan")}))
        + source.end_all()
    )
    assert [storable(e.payload) for e in events] == [e.payload for e in events]
    assert not source.refused
    assert {e.payload["decky_id"] for e in events if "decky_id" in e.payload} == {"d-1", "web-01"}


def test_too_many_visits_end_the_longest_idle_one() -> None:
    source = made(max_open_sessions=2)
    events = fed(
        source, attempt(0, src="192.0.2.1"), attempt(1, src="192.0.2.2"), attempt(2, src="192.0.2.3")
    )
    assert [p["attacker_ip"] for p in of(events, "attacker.session.ended")] == ["192.0.2.1"]
    assert source.sessions() == {"open_sessions": 2, "evicted": 1, "homeless": 0, "unfinished": 0}
    again = made(max_open_sessions=2)
    again.restore(json.loads(json.dumps(source.to_state())))
    assert again.sessions() == {"open_sessions": 2, "evicted": 1, "homeless": 0, "unfinished": 0}


def test_details_are_kept_and_secrets_are_none_of_them() -> None:
    visit = opencanary_line(
        line(5000, {"FILENAME": "a.docx", "USER": "guest", "PASSWORD": "hunter2", "apiToken": "t"})
    )
    assert isinstance(visit, Visit)
    assert dict(visit.facts)["extra"] == {
        "eventid": "opencanary.5000",
        "fields": {"FILENAME": "a.docx", "USER": "guest"},
    }
    assert dict(visit.facts)["fact"] == {"path": "a.docx"}


def test_what_is_said_again_and_again_is_kept_once() -> None:
    source = made()
    ended = [
        e
        for e in [*fed(source, *[line(5001, {"PROTO": "TCP"})] * 50), *source.end_all()]
        if e.topic.endswith("ended")
    ]
    assert [x["fields"] for x in ended[-1].payload["extras"]] == [
        {"PROTO": "TCP"}, {"dst_host": "127.0.0.1", "dst_port": "21", "src_port": "4711"},
    ]  # fmt: skip
