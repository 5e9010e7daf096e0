"""The demo recording that the package ships is what its README.md promises."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter, defaultdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.recording import ttylog

DEMO = Path(__file__).parents[2] / "decnet/_data/demo"
PAIR, LONE = "203.0.113.77", "198.51.100.42"
SENSORS = {"web-01", "db-02", "edge-03"}
FIRST, LAST = "2026-11-08T00:00:00", "2026-11-18T00:00:00"
DOCUMENTATION = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
HARMLESS = {"127.0.0.1", "0.0.0.0", "255.255.255.255"}
MACHINE = re.compile(r"site-packages|cowrie-envs|decnet-cowrie-|decnet-tests|\.pyenv|\.venv")
Event = dict[str, Any]


@pytest.fixture(scope="module")
def text() -> str:
    return (DEMO / "cowrie.json").read_text("utf-8")


@pytest.fixture(scope="module")
def events(text: str) -> list[Event]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def sessions(events: list[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event["session"]].append(event)
    return found


def _of(sessions: dict[str, list[Event]], address: str) -> list[list[Event]]:
    mine = [lines for lines in sessions.values() if lines[0]["src_ip"] == address]
    return sorted(mine, key=lambda lines: str(lines[0]["timestamp"]))


def _first(lines: list[Event], eventid: str, key: str) -> Any:
    return next((event[key] for event in lines if event["eventid"] == eventid), None)


def _duration(lines: list[Event]) -> float:
    return float(_first(lines, "cowrie.session.closed", "duration_ms")) / 1000


def _in_documentation_range(address: str) -> bool:
    return any(ipaddress.ip_address(address) in network for network in DOCUMENTATION)


def test_as_many_sessions_and_addresses_as_promised(sessions: dict[str, list[Event]]) -> None:
    assert 110 <= len(sessions) <= 160
    assert 20 <= len({lines[0]["src_ip"] for lines in sessions.values()}) <= 30


def test_every_session_begins_with_connect_and_is_closed_once(sessions: dict[str, list[Event]]) -> None:
    for lines in sessions.values():
        assert lines[0]["eventid"] == "cowrie.session.connect"
        assert Counter(event["eventid"] for event in lines)["cowrie.session.closed"] == 1


def test_duration_agrees_with_the_times(sessions: dict[str, list[Event]]) -> None:
    for lines in sessions.values():
        ends = next(e["timestamp"] for e in lines if e["eventid"] == "cowrie.session.closed")
        took = datetime.fromisoformat(ends) - datetime.fromisoformat(lines[0]["timestamp"])
        assert took.total_seconds() == pytest.approx(_duration(lines), abs=0.2)


def test_times_are_sorted_and_within_the_span(events: list[Event]) -> None:
    times = [event["timestamp"] for event in events]
    assert times == sorted(times)
    assert times[0] >= FIRST
    assert times[-1] < LAST
    assert len({time[:10] for time in times}) >= 9


def test_sensors_are_the_three_decoys(events: list[Event]) -> None:
    assert {event["sensor"] for event in events} == SENSORS


def test_all_addresses_are_for_documentation(events: list[Event], text: str) -> None:
    for event in events:
        assert _in_documentation_range(event["src_ip"])
    found = set(re.findall(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])", text)) - HARMLESS
    assert [address for address in found if not _in_documentation_range(address)] == []


def test_nothing_of_the_recording_machine_is_left(text: str) -> None:
    content = [text, *(file.read_bytes().decode("latin-1") for file in (DEMO / "tty").iterdir())]
    for each in content:
        assert "127.77." not in each
        assert MACHINE.search(each) is None


def test_what_the_honeypot_prints_holds_no_other_address() -> None:
    ours = re.compile(rb"(?<![\d.])192\.0\.2\.(?!0/24|255)\d+|\b(?:fd00|fe80):[0-9a-f:]+")
    expected = {b"192.0.2.11", b"192.0.2.12", b"192.0.2.13", b"192.0.2.60", b"192.0.2.151", b"192.0.2.152",
                b"192.0.2.180", b"192.0.2.199", b"192.0.2.231", b"192.0.2.232", b"192.0.2.1", b"192.0.2.31"}  # fmt: skip
    for file in (DEMO / "tty").iterdir():
        printed = b"".join(r.data for r in ttylog.read(file.read_bytes()) if r.direction == ttylog.OUTPUT)
        assert set(ours.findall(printed)) <= expected


def test_every_closed_log_has_its_recording(events: list[Event]) -> None:
    closed = [event for event in events if event["eventid"] == "cowrie.log.closed"]
    assert {event["shasum"] for event in closed} == {file.name for file in (DEMO / "tty").iterdir()}
    for event in closed:
        records = list(ttylog.read((DEMO / "tty" / event["shasum"]).read_bytes()))
        assert event["ttylog"].endswith("/" + event["shasum"])
        assert ttylog.input_hash(records) == event["shasum"]


def test_recordings_have_the_times_of_their_session(sessions: dict[str, list[Event]]) -> None:
    owners = Counter[str]()
    for lines in sessions.values():
        begin = datetime.fromisoformat(lines[0]["timestamp"]).timestamp()
        end = datetime.fromisoformat(lines[-1]["timestamp"]).timestamp()
        for event in lines:
            if event["eventid"] == "cowrie.log.closed" and not event["duplicate"]:
                owners[event["shasum"]] += 1
                records = list(ttylog.read((DEMO / "tty" / event["shasum"]).read_bytes()))
                assert ttylog.output_size(records) == event["size"]
                assert all(begin - 0.1 <= record.at / 1e6 <= end + 0.1 for record in records)
    assert set(owners.values()) == {1}
    assert set(owners) == {file.name for file in (DEMO / "tty").iterdir()}


def test_two_operators_share_one_address_in_turn(sessions: dict[str, list[Event]]) -> None:
    mine = _of(sessions, PAIR)
    banners = [_first(lines, "cowrie.client.version", "version") for lines in mine]
    counts = Counter(banners)
    assert len(counts) == 2
    assert min(counts.values()) >= 10
    assert sum(one != other for one, other in pairwise(banners)) >= 6


def test_the_two_operators_differ_in_more_than_the_client(sessions: dict[str, list[Event]]) -> None:
    sides: dict[str, list[list[Event]]] = defaultdict(list)
    for lines in _of(sessions, PAIR):
        sides[_first(lines, "cowrie.client.version", "version")].append(lines)
    (_, a), (_, b) = sorted(sides.items(), key=lambda item: "PuTTY" not in item[0])
    for event, key in (("cowrie.client.kex", "hassh"), ("cowrie.login.success", "password")):
        ours, theirs = ({_first(lines, event, key) for lines in side} for side in (a, b))
        assert len(ours) == len(theirs) == 1
        assert ours.isdisjoint(theirs)
    assert min(map(_duration, a)) > max(map(_duration, b))


def test_one_operator_varies_over_many_days(sessions: dict[str, list[Event]]) -> None:
    mine = _of(sessions, LONE)
    assert len(mine) >= 18
    assert len({lines[0]["timestamp"][:10] for lines in mine}) >= 7
    assert len({_first(lines, "cowrie.client.kex", "hassh") for lines in mine}) == 1
    assert len({_first(lines, "cowrie.login.success", "username") for lines in mine}) == 2


def test_the_manual_explorer_corrects_his_typing(sessions: dict[str, list[Event]]) -> None:
    typed = b""
    for lines in _of(sessions, "198.51.100.23"):
        recording = (DEMO / "tty" / _first(lines, "cowrie.log.closed", "shasum")).read_bytes()
        typed += b"".join(r.data for r in ttylog.read(recording) if r.direction == ttylog.INPUT)
    assert all(key in typed for key in (b"\x7f", b"\x03", b"\x15", b"\t", b"\x1b[A"))


def test_it_fits_the_wheel() -> None:
    assert sum(file.stat().st_size for file in DEMO.rglob("*") if file.is_file()) < 1_500_000
