"""Sessions at their limits: when one ends and why, what is kept of it, and that every figure adds up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import BusSettings, SensorSettings, Settings
from decnet.events.lives import CLOSED_KEPT_S
from decnet.ids import attacker_id, session_id
from decnet.keyed import keyed_hash
from decnet.names import token_of
from decnet.sensors import assembly
from decnet.sensors.assembly import JUMP_S, Assembler
from decnet.sensors.cowrie import Fact
from decnet.sensors.session import MAX_LIST, MAX_USERNAMES, OVERLAP, Session, encoded_size, pieces
from decnet.sensors.sources import CowrieSource
from tests.unit.test_sensor_cowrie import KEY, feed, make, of, row

START = 1_600_000_000.0
EVENT_BYTES = 262_144


@pytest.fixture(autouse=True)
def forgets_by_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log's time is what these tests are about; how much was read has tests of its own."""
    monkeypatch.setattr(assembly, "FORGET_LINES", 0)


def ends(events: list[Event]) -> list[tuple[str, str]]:
    """Which sessions ended, by the honeypot's own id, and why."""
    names = {session_id("cowrie", "d1", f"s{i}"): f"s{i}" for i in range(60)}
    return [(names[p["session_id"]], p["end_reason"]) for p in of(events, "session.ended")]


def connect(number: int, at: float, **more: Any) -> bytes:
    return row("session.connect", at, session=f"s{number}", **more)


def typed(number: int, at: float, text: str) -> bytes:
    return row("command.input", at, session=f"s{number}", input=text)


def held(source: CowrieSource, where: str) -> list[str]:
    return [s["native_id"] for s in source.assembler.to_state()[where]]


def size_of_all(source: CowrieSource) -> int:
    state = source.assembler.to_state()
    return sum(s["size_bytes"] for where in ("open", "dormant", "closed") for s in state[where])


def test_the_limits_are_those_that_are_promised() -> None:
    assert (assembly.SEEN_LIMIT, CLOSED_KEPT_S, JUMP_S) == (10_000, 30, 86_400)
    assert (MAX_LIST, MAX_USERNAMES, OVERLAP) == (1000, 200, 256)
    limits = SensorSettings().model_dump()
    assert limits == {
        "max_line_bytes": 262_144, "read_bytes": 2**20, "poll_s": 0.5, "idle_session_s": 3600, "probe_idle_s": 60,
        "max_open_sessions": 20_000, "max_commands": 20_000, "max_text": 65_536, "max_session_bytes": 16 * 2**20,
        "max_open_bytes": 128 * 2**20, "reopen_s": 86_400, "checkpoint_s": 1, "silent_s": 21_600, "max_tty_bytes": 8 * 2**20,
        "max_files": 10_000, "formats": None, "max_elements": 1000, "max_record_lines": 64,
    }  # fmt: skip


# --- too many, too much


def test_one_session_too_many_ends_the_one_that_is_idle_longest() -> None:
    source = make(max_open_sessions=3)
    events = feed(source, connect(0, 0) + connect(1, 1) + connect(2, 2) + typed(0, 3, "id"))
    assert ends(events) == []
    assert source.sessions() == {"open_sessions": 3, "evicted": 0, "homeless": 0, "unfinished": 0}
    events = feed(source, connect(3, 4))
    assert ends(events) == [("s1", "idle")]
    assert of(events, "session.ended")[0]["ended_at"] == START + 1
    assert source.sessions() == {"open_sessions": 3, "evicted": 1, "homeless": 0, "unfinished": 0}
    assert held(source, "open") == ["s2", "s0", "s3"]
    assert ends(feed(source, connect(4, 5) + connect(5, 6))) == [("s2", "idle"), ("s0", "idle")]
    assert source.sessions() == {"open_sessions": 3, "evicted": 3, "homeless": 0, "unfinished": 0}


def test_sessions_that_ended_are_forgotten_before_an_open_one_has_to_end() -> None:
    source = make(max_open_sessions=3)
    feed(source, connect(0, 0))
    source.end_all("idle")
    feed(source, connect(1, 1) + connect(2, 2) + row("session.closed", 3, session="s1"))
    assert (held(source, "dormant"), held(source, "closed"), held(source, "open")) == (["s0"], ["s1"], ["s2"])
    assert ends(feed(source, connect(3, 4))) == []
    assert (held(source, "dormant"), held(source, "closed")) == (["s0"], [])
    assert ends(feed(source, connect(4, 5))) == []
    assert (held(source, "dormant"), held(source, "open")) == ([], ["s2", "s3", "s4"])
    feed(source, row("session.closed", 6, session="s2"))
    assert ends(feed(source, connect(5, 7))) == []
    assert (held(source, "closed"), held(source, "open")) == ([], ["s3", "s4", "s5"])
    assert source.assembler.evicted == 0


def test_the_last_session_stays_however_small_the_limit() -> None:
    source = make(max_open_sessions=1)
    assert ends(feed(source, connect(0, 0))) == []
    assert ends(feed(source, connect(1, 1))) == [("s0", "idle")]
    assert held(source, "open") == ["s1"]


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_too_much_text_ends_the_session_that_is_idle_longest(more: int) -> None:
    limit = 2**20
    source = make(max_open_bytes=limit)
    feed(source, connect(0, 0) + typed(0, 1, "w" * 50_000) + connect(1, 2))
    feed(source, b"".join(typed(1, 3 + i, "x" * 60_000) for i in range(16)))
    room = limit - source.assembler.held_bytes - 256
    assert 0 < room < 60_000
    events = feed(source, typed(1, 30, "y" * (room + more)))
    if more <= 0:
        assert ends(events) == []
        assert source.assembler.held_bytes == limit + more
        return
    assert ends(events) == [("s0", "idle")]
    assert source.assembler.evicted == 1
    assert (held(source, "open"), held(source, "dormant")) == (["s1"], [])
    assert source.assembler.held_bytes == size_of_all(source) == limit + 1 - (1024 + 256 + 50_000)


def test_a_single_session_over_the_limit_of_text_is_not_ended() -> None:
    source = make(max_open_bytes=2**20)
    assert ends(feed(source, connect(0, 0) + b"".join(typed(0, i, "x" * 65_000) for i in range(20)))) == []
    assert source.assembler.held_bytes > 2**20


def test_the_count_of_text_follows_every_session_through_all_its_states() -> None:
    source = make(reopen_s=100)
    feed(source, connect(0, 0) + typed(0, 1, "id") + connect(1, 2) + typed(1, 3, "ls" * 50))
    assert source.assembler.held_bytes == size_of_all(source) == 2 * 1024 + 258 + 356
    feed(source, row("session.closed", 4, session="s0"))
    source.end_all()
    assert source.assembler.held_bytes == size_of_all(source) == 2 * 1024 + 258 + 356
    feed(source, typed(1, 5, "uname"))
    assert source.assembler.held_bytes == size_of_all(source) == 2 * 1024 + 258 + 356 + 261
    again = make(reopen_s=100)
    again.restore(json.loads(json.dumps(source.to_state())))
    assert again.assembler.held_bytes == source.assembler.held_bytes
    source.end_all()
    for one in (source, again):
        feed(one, connect(2, 10_000))
        assert one.assembler.held_bytes == size_of_all(one)
    assert source.assembler.held_bytes == 1024, "what is forgotten weighs nothing"


def test_figures_survive_a_restart() -> None:
    source = make(max_open_sessions=1)
    feed(
        source,
        connect(0, 0) + connect(1, 1) + b"no json\n" + row("something.new", 2) + b'{"eventid": "\xff"}\n',
    )
    again = make(max_open_sessions=1)
    again.restore(json.loads(json.dumps(source.to_state())))
    assert (
        again.sessions()
        == source.sessions()
        == {"open_sessions": 1, "evicted": 1, "homeless": 0, "unfinished": 0}
    )
    assert (again.lines, again.bad_utf8, again.unknown) == (5, 1, 1)
    assert again.refused == source.refused == {"not_json": 1, "not_cowrie": 1}
    assert again.last_refusal == "f:5: not_cowrie"
    assert again.newest == START + 2


# --- idle, and the clock of the log


@pytest.mark.parametrize(("at", "ended"), [(59.0, False), (60.0, False), (60.001, True)])
def test_a_session_is_idle_beyond_the_limit_and_not_at_it(at: float, ended: bool) -> None:
    source = make(idle_session_s=60)
    events = feed(source, connect(0, 0) + connect(1, at))
    assert ends(events) == ([("s0", "idle")] if ended else [])


def test_every_line_of_a_session_starts_its_idle_time_anew() -> None:
    source = make(idle_session_s=60)
    assert ends(feed(source, connect(0, 0) + connect(1, 10) + typed(0, 50, "id") + connect(2, 75))) == [
        ("s1", "idle")
    ]
    assert ends(feed(source, connect(3, 111))) == [("s0", "idle")]


def test_a_restart_keeps_who_is_idle() -> None:
    source = make(idle_session_s=60)
    feed(source, connect(0, 0) + connect(1, 10))
    again = make(idle_session_s=60)
    again.restore(json.loads(json.dumps(source.to_state())))
    assert ends(feed(again, connect(2, 65))) == [("s0", "idle")]


def test_lines_of_another_sensor_say_nothing_of_this_ones_time() -> None:
    source = make(idle_session_s=60)
    assert ends(feed(source, connect(0, 0) + connect(1, 5000, sensor="d2"))) == []
    assert source.assembler.newest == START + 5000


def test_a_line_that_comes_late_does_not_turn_the_clock_back() -> None:
    source = make(idle_session_s=60)
    feed(source, connect(0, 0) + connect(1, 50) + connect(2, 20))
    assert source.assembler.newest == START + 50
    feed(source, typed(1, 40, "id"))
    (one,) = [s for s in source.assembler.to_state()["open"] if s["native_id"] == "s1"]
    assert (one["started_at"], one["last_ts"]) == (START + 40, START + 50)
    assert ends(feed(source, connect(3, 61))) == [("s0", "idle")]


def newest(*times: float) -> float:
    source = make(idle_session_s=10**9)
    feed(source, b"".join(connect(i, at) for i, at in enumerate(times)))
    return float(source.assembler.newest or 0) - START


def test_a_jump_of_the_clock_needs_a_second_line_to_say_so() -> None:
    assert newest(0, JUMP_S) == JUMP_S
    assert newest(0, JUMP_S + 1) == 0
    assert newest(0, JUMP_S + 1, JUMP_S + 2) == JUMP_S + 2
    assert newest(0, JUMP_S + 5, JUMP_S + 1) == JUMP_S + 1
    assert newest(0, JUMP_S + 5, 1, JUMP_S + 5) == 1, "a line in between takes it back"
    assert newest(0, JUMP_S + 5, -1, JUMP_S + 5) == 0
    assert newest(-START, 5) == 5, "the first time is believed"


def test_a_jump_that_waits_for_its_second_line_survives_a_restart() -> None:
    source, again = make(), make()
    feed(source, connect(0, 0) + connect(1, JUMP_S + 1))
    again.restore(json.loads(json.dumps(source.to_state())))
    feed(again, connect(2, JUMP_S + 2))
    assert again.assembler.newest == START + JUMP_S + 2


def test_quiet_since_ends_what_is_older_and_nothing_else() -> None:
    source = make()
    feed(source, connect(0, 0) + connect(1, 10))
    assert source.assembler.quiet_since(START) == []
    assert ends(source.assembler.quiet_since(START + 10)) == [("s0", "idle")]
    assert ends(source.assembler.quiet_since(START + 10.5)) == [("s1", "idle")]


# --- after the end


@pytest.mark.parametrize(("more", "kept"), [(0.0, True), (0.5, False)])
def test_a_closed_session_takes_lines_for_a_while(more: float, kept: bool) -> None:
    source = make()
    feed(
        source, connect(0, 0) + row("session.closed", 5, session="s0") + connect(1, 5 + CLOSED_KEPT_S + more)
    )
    assert held(source, "closed") == (["s0"] if kept else [])
    late = feed(source, row("log.closed", 6, session="s0", ttylog="tty/x", size=5))
    assert bool(of(late, "session.started")) is not kept
    assert held(source, "open") == ["s1", "s0"]


@pytest.mark.parametrize(("more", "kept"), [(0.0, True), (0.5, False)])
def test_a_session_without_a_close_line_can_be_gone_on_with_for_a_while(more: float, kept: bool) -> None:
    source = make(reopen_s=100)
    feed(source, connect(0, 0))
    source.end_all()
    feed(source, connect(1, 100 + more))
    assert held(source, "dormant") == (["s0"] if kept else [])


def test_an_idle_session_that_goes_on_ends_once_more_with_all_it_had() -> None:
    source = make(idle_session_s=60)
    first = feed(source, connect(0, 0) + typed(0, 1, "id") + connect(1, 100))
    again = feed(source, typed(0, 101, "ls") + row("session.closed", 102, session="s0"))
    assert (ends(first), ends(again)) == ([("s0", "idle")], [("s0", "closed")])
    assert [c["command_text"] for c in of(again, "session.ended")[0]["commands"]] == ["id", "ls"]
    assert (held(source, "closed"), held(source, "dormant")) == (["s0"], [])


def test_a_close_line_counts_once_and_a_remark_opens_nothing() -> None:
    source = make()
    close = row("session.closed", 1, session="s0")
    events = feed(source, connect(0, 0) + close + close)
    assert ends(events) == [("s0", "closed")]
    assert feed(source, row("session.params", 2, session="s7")) == []
    assert source.assembler.open_sessions == 0
    alone = feed(source, row("session.closed", 3, session="s8"))
    assert [len(of(alone, f"session.{what}")) for what in ("started", "ended")] == [1, 1]


# --- the same again, and who is who


def test_read_twice_a_log_gives_the_same_ids() -> None:
    data = (
        connect(0, 0) + row("login.failed", 1, session="s0", username="a", password="b") + typed(0, 2, "id")
    )
    data += row("client.kex", 3, session="s0", hassh="a" * 32) + row("session.closed", 4, session="s0")
    first, second = feed(make(), data), feed(make(), data)
    assert [e.id for e in first] == [e.id for e in second]
    assert len({e.id for e in first}) == len(first) == 5


def test_the_same_try_is_one_credential_and_another_one_is_another() -> None:
    def tried(**more: Any) -> str:
        fields = {"session": "s0", "username": "root", "password": "x", "name": "login.failed", **more}
        events = feed(make(), row(fields.pop("name"), 1, **fields))
        (found,) = [e for e in events if e.topic == "credential.captured"]
        return found.id

    one = tried()
    assert tried() == one
    others = [
        tried(username="toor"), tried(password="y"), tried(name="login.success"), tried(session="s1"), tried(key="x")
    ]  # fmt: skip
    assert len({one, *others}) == 6


def test_an_attacker_is_observed_once_a_decky_and_its_client_told_of_once() -> None:
    source = make()
    kex = {"hassh": "b" * 32, "version": "SSH-2.0-Go", "kexAlgs": ["x", "y"]}
    events = feed(
        source, connect(0, 0) + connect(1, 1) + connect(2, 2, sensor="d2") + connect(3, 3, src_ip="192.0.2.8")
    )
    assert [(p["decky_id"], p["attacker_ip"], p["first_seen"]) for p in of(events, "observed")] == [
        ("d1", "192.0.2.7", START), ("d2", "192.0.2.7", START + 2), ("d1", "192.0.2.8", START + 3),
    ]  # fmt: skip
    assert len(of(events, "session.started")) == 4
    events = feed(source, b"".join(row("client.kex", 4 + i, session=f"s{i}", **kex) for i in range(2)))
    (told,) = of(events, "fingerprinted")
    assert (told["type"], told["hassh"], told["kex"], told["session_id"]) == (
        "hassh", "b" * 32, ["x", "y"], session_id("cowrie", "d1", "s0"),
    )  # fmt: skip


def test_marks_of_what_was_told_are_bounded_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "SEEN_LIMIT", 2)
    source = make()

    def seen(number: int) -> list[str]:
        events = feed(source, connect(number, number, src_ip=f"192.0.2.{number % 10}"))
        return [e.id for e in events if e.topic == "attacker.observed"]

    first = seen(1)
    assert [len(seen(2)), len(seen(11)), len(seen(3))] == [1, 0, 1], "at the limit nothing is forgotten"
    assert len(source.to_state()["sessions"]["seen"]) == 2
    assert seen(21) == [], "it was met again, so it is younger"
    assert len(seen(12)) == 1
    assert seen(31) == []
    assert seen(4)
    assert seen(5)
    assert seen(41) == first, "told of once more, it is the same event"


def test_sessions_of_one_name_at_two_deckies_are_two() -> None:
    source = make()
    events = feed(source, connect(0, 0) + connect(0, 1, sensor="d2") + typed(0, 2, "id"))
    assert len({p["session_id"] for p in of(events, "session.started")}) == 2
    assert [(s["decky_id"], s["command_count"]) for s in source.to_state()["sessions"]["open"]] == [
        ("d2", 0), ("d1", 1),
    ]  # fmt: skip


def test_lines_with_a_sensor_join_the_session_that_began_without_one() -> None:
    source = make()
    feed(source, connect(0, 0, sensor=None) + typed(0, 1, "id"))
    assert [(s["decky_id"], s["lines"]) for s in source.to_state()["sessions"]["open"]] == [("cowrie", 2)]


def test_a_line_without_a_sensor_joins_no_session_that_is_forgotten() -> None:
    source = make(reopen_s=10)
    feed(source, connect(0, 0))
    source.end_all()
    feed(source, connect(0, 5, sensor="d2") + connect(1, 20))
    assert held(source, "dormant") == []
    feed(source, typed(0, 21, "id").replace(b'"d1"', b"null"))
    assert [(s["decky_id"], s["lines"]) for s in source.to_state()["sessions"]["open"]] == [
        ("d1", 1),
        ("d2", 2),
    ]
    source.end_all()
    feed(source, connect(1, 60) + connect(1, 61, sensor="d2"))
    feed(source, typed(0, 62, "id").replace(b'"d1"', b"null"))
    assert [s["decky_id"] for s in source.to_state()["sessions"]["open"]] == ["d1", "d2", "cowrie"]


@pytest.mark.parametrize(
    ("name", "token"), [("web-01", "web-01"), ("a.b > *", "a-b"), ("...", "cowrie"), ("x" * 70, "x" * 63), ("é", "cowrie")]
)  # fmt: skip
def test_the_name_of_a_sensor_is_one_token_of_a_topic(name: str, token: str) -> None:
    assert token_of(name) == token


def test_a_session_without_any_address_is_its_own_attacker() -> None:
    source = make()
    events = feed(source, connect(0, 0, src_ip=None) + connect(1, 2, src_ip="no address"))
    assert events == []
    started = of(source.end_all(), "session.started")
    assert [p["attacker_ip"] for p in started] == ["unknown", "unknown"]
    assert started[0]["attacker_uuid"] == attacker_id(f"unknown:{started[0]['session_id']}")
    assert started[0]["attacker_uuid"] != started[1]["attacker_uuid"]


def test_the_address_is_the_one_of_the_connection_and_never_a_claim_of_the_client() -> None:
    source = make()
    first = row(
        "direct-tcpip.request", 0, session="s0", src_ip="203.0.113.9", dst_ip="198.51.100.1", dst_port=80
    )
    events = feed(
        source, first + connect(0, 1) + row("client.version", 2, session="s0", src_ip="203.0.113.9")
    )
    events += source.end_all()
    assert {p["attacker_ip"] for p in of(events, "session.ended")} == {"192.0.2.7"}
    assert [p["attacker_ip"] for p in of(events, "session.started")] == ["192.0.2.7"]


# --- secrets


def test_a_secret_is_hashed_with_the_key_and_stands_nowhere_else() -> None:
    source = make()
    data = connect(0, 0) + row("login.failed", 1, session="s0", username="bob", password="hunter22")
    data += row("client.fingerprint", 2, session="s0", username="bob", fingerprint="aa:bb:cc", type="ssh-rsa")
    events = feed(source, data) + source.end_all()
    found = [e.payload for e in events if e.topic == "credential.captured"]
    assert [(f["secret_kind"], f["secret_hmac"]) for f in found] == [
        ("password", keyed_hash(KEY, "password", "hunter22")), ("publickey", keyed_hash(KEY, "publickey", "aa:bb:cc")),
    ]  # fmt: skip
    assert keyed_hash(b"other" * 8, "password", "hunter22") != found[0]["secret_hmac"]
    said = json.dumps([e.payload for e in events]) + json.dumps(source.to_state())
    assert "hunter22" not in said
    keys = [e.payload["public_key"] for e in events if e.type == "public_key"]
    assert keys == ["aa:bb:cc"], "a public key is no secret"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([("login.success", {"username": "root", "password": "vizxv"})], True),
        ([("login.failed", {"username": "root", "password": "vizxv"})], False),
        ([("login.success", {"username": "root", "password": "hunter22"})], False),
        ([("login.success", {"username": "pi", "password": "vizxv"})], False),
        ([("login.success", {"username": "pi", "key": "raspberry"})], False),
        ([("login.success", {"username": "root"})], False),
        ([("login.failed", {"username": "a", "password": "b"}), ("login.success", {"username": "pi", "password": "raspberry"})], True),
    ],
)  # fmt: skip
def test_a_log_in_by_what_devices_are_delivered_with_is_told_without_the_secret(
    lines: list[tuple[str, dict[str, str]]], told: bool
) -> None:
    source = make()
    log = b"".join(row(kind, n, session="s0", **said) for n, (kind, said) in enumerate(lines))
    events = feed(source, log)
    state = json.loads(json.dumps(source.to_state()))
    fresh = make()
    fresh.restore(state)
    auth = of(events + fresh.end_all(), "session.ended")[0]["auth"]
    assert auth.get("default_pair") is (True if told else None)
    assert "vizxv" not in json.dumps(state)


def test_a_log_in_without_a_secret_is_counted_and_gives_no_credential() -> None:
    source = make()
    events = feed(source, row("login.failed", 1, session="s0", username="bob")) + source.end_all()
    assert [e for e in events if e.topic == "credential.captured"] == []
    assert of(events, "session.ended")[0]["auth"] == {"fail_count": 1, "success": False, "usernames": ["bob"]}


# --- what is kept of one session


def session(**fields: Any) -> Session:
    return Session("sid", "d1", "s0", started_at=START, last_ts=START, **fields)


def take(one: Session, kind: str, data: dict[str, Any], at: float = 0.0, **limits: Any) -> None:
    fact = Fact(kind, START + at, "s0", "d1", None, None, data)
    one.absorb(fact, SensorSettings(**limits))


@pytest.mark.parametrize(("given", "kept"), [(2, 2), (3, 3), (4, 3)])
def test_commands_are_kept_up_to_the_limit_and_all_are_counted(given: int, kept: int) -> None:
    one = session()
    for _ in range(given):
        take(one, "command", {"text": "id"}, max_commands=3)
    assert (one.command_count, len(one.commands), one.commands_dropped) == (given, kept, given - kept)
    assert [c["id"] for c in one.commands] == [f"sid#cmd{i}" for i in range(kept)]


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_text_of_a_session_is_kept_up_to_the_limit(more: int) -> None:
    one, limits = session(), {"max_session_bytes": 65_536}
    take(one, "command", {"text": "x" * 60_000}, **limits)
    assert one.size_bytes == 1024 + 60_000 + 256
    take(one, "command", {"text": "y" * (65_536 - one.size_bytes + more)}, **limits)
    assert (len(one.commands), one.commands_dropped) == ((1, 1) if more > 0 else (2, 0))
    take(one, "download", {"url": "u" * 5000, "sha256": None}, **limits)
    assert one.downloads == []


def test_a_long_command_without_room_for_all_its_pieces_is_dropped_once() -> None:
    one = session()
    take(one, "command", {"text": "x" * 3000}, max_text=1000, max_commands=2)
    assert (one.command_count, len(one.commands), one.commands_dropped) == (1, 2, 1)
    assert [c["id"] for c in one.commands] == ["sid#cmd0", "sid#cmd0.1"]


def test_what_was_typed_at_a_password_prompt_is_no_command() -> None:
    one = session()
    take(one, "command", {"hidden": True})
    assert (one.command_count, one.commands, one.lines) == (0, [], 1)


@pytest.mark.parametrize("kind", ["download", "upload", "forward"])
def test_lists_are_kept_up_to_the_limit_without_neighbours_that_are_the_same(kind: str) -> None:
    one = session()
    for i in range(MAX_LIST + 1):
        take(one, kind, {"what": str(i)})
        take(one, kind, {"what": str(i)})
    kept = getattr(one, f"{kind}s")
    assert [item["what"] for item in kept] == [str(i) for i in range(MAX_LIST)]
    take(other := session(), kind, {"what": "0"})
    for i in [*range(1, 9), 0]:
        take(other, kind, {"what": str(i)})
    assert len(getattr(other, f"{kind}s")) == 10, "one beyond the eight before it is told again"


def test_names_are_kept_up_to_the_limit_and_all_tries_are_counted() -> None:
    one = session()
    for i in range(MAX_USERNAMES + 1):
        for _ in range(2):
            take(one, "login", {"username": f"u{i}", "success": False})
    assert one.fail_count == 2 * (MAX_USERNAMES + 1)
    assert one.usernames == [f"u{i}" for i in range(MAX_USERNAMES)]
    assert one.size_bytes == 1024 + sum(len(name) for name in one.usernames)
    assert one.login is False
    take(one, "login", {"username": "u0", "success": True})
    assert (one.login, one.fail_count) == (True, 2 * (MAX_USERNAMES + 1))


@pytest.mark.parametrize("char", ["x", "\u00e9", "\x01", "\U0001f600"])
@pytest.mark.parametrize("length", [999, 1000, 1001, 8191, 8192, 8193, 20_000, 98_304, 98_305])
def test_pieces_of_a_text_fit_overlap_and_lose_nothing(char: str, length: int) -> None:
    for longest in (1000, 65_536, 10**9):
        found = pieces(char * length, longest)
        assert max(map(len, found)) <= longest
        assert max(encoded_size(piece) for piece in found) <= 98_304 + 2
        assert len(found[0]) + sum(len(piece) - OVERLAP for piece in found[1:]) == length
        if length <= min(longest, 8192):
            assert found == [char * length]


def test_no_word_is_lost_at_a_cut() -> None:
    text = " ".join(f"{i:0255d}" for i in range(40))
    found = pieces(text, 1000)
    assert all(any(word in piece for piece in found) for word in text.split())


def test_the_largest_recording_counts_and_none_that_is_anothers() -> None:
    one = session()
    for path, size, duplicate in (
        ("a", 5, False),
        ("b", 9, False),
        ("c", 3, False),
        ("d", 99, True),
        ("", 100, False),
    ):
        take(one, "tty", {"path": path, "size": size, "duplicate": duplicate})
    assert one.tty == {"path": "b", "size": 9}
    take(one, "tty", {"path": "e", "size": 9, "duplicate": False})
    assert one.tty == {"path": "e", "size": 9}
    take(zero := session(), "tty", {"path": "z", "size": 0, "duplicate": False})
    assert zero.tty == {"path": "z", "size": 0}


def test_one_part_that_failed_makes_its_command_a_failed_one() -> None:
    one = session()
    take(one, "result", {"text": "id", "success": True})
    take(one, "command", {"text": "id; nope; ls"})
    take(one, "result", {"text": "", "success": False})
    take(one, "result", {"text": "other", "success": False})
    assert "success" not in one.commands[-1]
    take(one, "result", {"text": " id ", "success": True})
    assert one.commands[-1]["success"] is True
    take(one, "result", {"text": "nope", "success": False})
    take(one, "result", {"text": "ls", "success": True})
    assert one.commands[-1]["success"] is False


@pytest.mark.parametrize(
    ("port", "service"), [(22, "ssh"), (23, "telnet"), (2223, "telnet"), (2222, "ssh"), (None, "ssh")]
)
def test_the_service_is_what_the_log_says_or_what_the_port_is_for(port: int | None, service: str) -> None:
    one = session()
    take(one, "connect", {"dst_port": port})
    assert one.service == service
    take(said := session(protocol="ssh"), "connect", {"dst_port": 23})
    assert said.service == "ssh"


def test_the_first_word_of_a_client_counts_and_its_last_window() -> None:
    one = session()
    for version, width in (("SSH-2.0-A", 80), ("SSH-2.0-B", 120)):
        take(one, "client", {"version": version, "kex": ["k" * 200] * 100})
        take(one, "size", {"width": width, "height": 24})
    take(one, "size", {})
    assert one.client["version"] == "SSH-2.0-A"
    assert one.client["size"] == {"width": 120, "height": 24}
    assert len(one.client["kex"]) == 12_288 // 203


@pytest.mark.parametrize(("longer", "kept"), [(-1, 48), (0, 48), (1, 47)])
def test_names_fill_their_part_of_an_event_to_the_last_byte(longer: int, kept: int) -> None:
    one = session()
    for i in range(48):
        take(
            one, "login", {"username": f"{i:02d}" + "x" * (251 + (longer if i == 0 else 0)), "success": False}
        )
    take(one, "login", {"username": "y" * 253, "success": False})
    assert len(ended(one)["auth"]["usernames"]) == kept


def test_a_connection_names_the_address_until_it_was_told_of() -> None:
    def seen(one: Session, kind: str, ip: str) -> str | None:
        one.absorb(Fact(kind, START, "s0", "d1", ip, None, {"dst_port": None}), SensorSettings())
        return one.ip

    one = session()
    assert seen(one, "other", "192.0.2.1") == "192.0.2.1"
    assert seen(one, "other", "192.0.2.2") == "192.0.2.1"
    assert seen(one, "connect", "192.0.2.3") == "192.0.2.3"
    one.announced = True
    assert seen(one, "connect", "192.0.2.4") == "192.0.2.3"


def test_a_state_with_keys_of_another_version_is_taken_up() -> None:
    one = session(command_count=3)
    assert Session.from_state({**one.to_state(), "of_tomorrow": 1}) == one


# --- times of the end


def ended(one: Session, reason: str = "eof") -> dict[str, Any]:
    (payload,) = one.payloads(reason, {}, EVENT_BYTES)
    return payload


def test_the_end_is_the_close_line_and_without_one_the_last_line() -> None:
    one = session()
    take(one, "command", {"text": "id"}, at=5)
    assert [ended(one)[k] for k in ("ended_at", "end_reason", "duration_s")] == [START + 5, "eof", 5]
    take(one, "closed", {"duration": None}, at=8)
    take(one, "tty", {"path": "x", "size": 1, "duplicate": False}, at=9)
    assert [ended(one)[k] for k in ("ended_at", "end_reason", "duration_s")] == [START + 8, "closed", 8]
    take(said := session(), "closed", {"duration": 3.5}, at=8)
    assert ended(said)["duration_s"] == 3.5


@pytest.mark.parametrize(
    ("connected", "duration", "began"),
    [(True, 100.0, 0.0), (False, 100.0, -92.0), (False, 2.0, 0.0), (False, 1e10, -START)],
)
def test_a_session_whose_beginning_was_not_seen_began_by_its_duration(
    connected: bool, duration: float, began: float
) -> None:
    one = session(connected=connected)
    take(one, "closed", {"duration": duration}, at=8)
    assert one.started_at == START + began


def test_a_session_closed_before_it_began_lasted_no_time() -> None:
    one = session()
    one.closed_at, one.started_at = START - 5, START
    assert ended(one)["duration_s"] == 0


# --- parts


def test_a_part_is_filled_up_to_the_last_byte_and_not_beyond() -> None:
    one = session()
    take(one, "command", {"text": "id"})
    take(one, "download", {"url": "http://198.51.100.1/x", "sha256": None})
    head = {"session_id": "sid"}
    base = {
        k: v
        for k, v in one.payloads("eof", head, EVENT_BYTES)[0].items()
        if k not in ("part", "parts", *_LISTS)
    }
    items = encoded_size(one.commands[0]) + 1 + encoded_size(one.downloads[0]) + 1
    fits = encoded_size(base) + 512 + items
    whole = one.payloads("eof", head, fits)
    assert [(p["part"], p["parts"], len(p["commands"]), len(p["downloads"])) for p in whole] == [(1, 1, 1, 1)]
    cut = one.payloads("eof", head, fits - 1)
    assert [(p["part"], p["parts"], len(p["commands"]), len(p["downloads"])) for p in cut] == [
        (1, 2, 1, 0),
        (2, 2, 0, 1),
    ]
    assert one.payloads("eof", head, 0)[1]["parts"] == 2, "a part is never empty"


_LISTS = ("commands", "downloads", "uploads", "forwards")


@pytest.mark.parametrize("limit", [EVENT_BYTES, 131_072])
def test_whatever_was_typed_no_event_is_over_the_bound(limit: int) -> None:
    source = CowrieSource(
        Settings(bus=BusSettings(max_event_bytes=limit), sensor=SensorSettings(max_text=10**6)), KEY
    )
    data = connect(0, 0) + row("client.version", 0, session="s0", version="\U0001f600" * 256)
    data += row("client.kex", 0, session="s0", kexAlgs=["\U0001f600" * 256] * 128)
    for i in range(MAX_USERNAMES):
        data += row("login.failed", 1, session="s0", username="\U0001f600" * 250 + str(i), password="x")
    for i, char in enumerate('x\U0001f600\x01\u00e9"\\' * 2):
        data += typed(0, 2 + i, char * 60_000)
        data += row("session.file_download", 2 + i, session="s0", url=char * 4096 + str(i))
    data += row("log.closed", 30, session="s0", ttylog="tty/" + "a" * 64, size=1)
    events = feed(source, data + row("session.closed", 31, session="s0"))
    assert max(len(e.to_bytes()) for e in events) <= limit
    parts = of(events, "session.ended")
    assert len(parts) > 10
    assert [(p["part"], p["parts"]) for p in parts] == [(i, len(parts)) for i in range(1, len(parts) + 1)]
    assert [p.get("ttylog") for p in parts] == [None] * (len(parts) - 1) + ["tty/" + "a" * 64]
    assert all(any(p[name] for name in _LISTS) for p in parts)
    assert {p["command_count"] for p in parts} == {12}
    assert parts[0]["commands_dropped"] == 0
    assert len({e.id for e in events}) == len(events)


def test_parts_of_an_assembler_leave_room_for_the_envelope() -> None:
    made = Assembler(SensorSettings(), KEY, 104_000)
    for i in range(40):
        made.feed(Fact("command", START + i, "s0", "d1", "192.0.2.7", "ssh", {"text": "x" * 10_000}))
    parts = [e for e in made.end_all() if e.topic.endswith("ended")]
    assert [len(e.payload["commands"]) for e in parts] == [9, 9, 9, 9, 4]
    assert max(len(e.to_bytes()) for e in parts) <= 104_000 - 4096


def test_a_second_close_line_changes_nothing() -> None:
    source = make()
    closed = [row("session.closed", at, session="s1", duration=at - 1) for at in (5.0, 9.0)]
    first = feed(source, connect(1, 1.0) + typed(1, 2.0, "id") + closed[0])
    again = feed(source, closed[1])
    (end,) = of(first, "session.ended")
    assert (end["ended_at"] - end["started_at"], end["end_reason"], end["lines"]) == (4.0, "closed", 3)
    assert of(again, "session.ended") == []


def test_a_line_that_the_reader_has_forgotten_is_known_to_its_session() -> None:
    made = Assembler(SensorSettings(), KEY)
    connected = Fact("connect", START, "s1", "d1", "192.0.2.7", "ssh", {"dst_port": 22})
    typed_once = Fact("command", START + 1, "s1", "d1", "192.0.2.7", None, {"text": "id"})
    for fact in (connected, typed_once, typed_once, connected):
        made.feed(fact)
    (end,) = of(made.end_all(), "session.ended")
    assert [command["command_text"] for command in end["commands"]] == ["id"]
    assert (end["lines"], made.repeated) == (2, 2)
