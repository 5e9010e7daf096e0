"""Lines of Cowrie's output plug-ins that hold a provider's answer become that intel; the others stay what they are."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import SensorSettings, Settings
from decnet.events.attacker import IntelEnriched
from decnet.events.intel import merged, newest, parts_of
from decnet.ids import attacker_id
from decnet.sensors.cowrie import EVENTS
from decnet.sensors.files.tailer import Line
from decnet.sensors.opinions import ANSWERS, answer_of, together
from decnet.sensors.sources import CowrieSource

IP = "192.0.2.7"
SEEN = (
    "GreyNoise: 192.0.2.7 has been observed scanning the Internet. GreyNoise classification is malicious"
    " and the believed owner is Some Owner"
)
SERVICE = "GreyNoise: 192.0.2.7 belongs to a benign service or provider. The owner is Some Owner."
NOISE: dict[str, Any] = {
    "attacker_uuid": attacker_id(IP), "attacker_ip": IP, "greynoise_classification": "malicious",
    "greynoise_name": "Some Owner", "providers": ["greynoise"],
}  # fmt: skip


def make() -> CowrieSource:
    return CowrieSource(Settings(sensor=SensorSettings()), b"k" * 32)


def row(name: str, at: float, **more: Any) -> bytes:
    raw = {"eventid": f"cowrie.{name}", "timestamp": 1_600_000_000 + at, "session": "s1", "sensor": "d1"}
    return json.dumps({**raw, "src_ip": IP, **more}).encode()


def feed(source: CowrieSource, *rows: bytes) -> list[Event]:
    return source.feed(Line("f", i, 0, x) for i, x in enumerate(rows, 1))


def intel(events: list[Event]) -> list[Event]:
    return [event for event in events if event.topic == "attacker.intel.enriched"]


CONNECT, CLOSED = row("session.connect", 0), row("session.closed", 9, duration=9)


def test_an_answer_of_greynoise_is_intel_of_the_address_and_stays_an_extra() -> None:
    events = feed(make(), CONNECT, row("greynoise.result", 1, message=SEEN), CLOSED)
    (told,) = intel(events)
    assert told.payload == NOISE
    assert (told.ts, told.type) == (1_600_000_001.0, "intel")
    assert IntelEnriched.parse(told.payload).attacker == attacker_id(IP)
    (ended,) = [e.payload for e in events if e.topic == "attacker.session.ended"]
    assert [(x["eventid"], x["fields"]) for x in ended["extras"]] == [
        ("cowrie.greynoise.result", {"message": SEEN})
    ]


def test_reading_the_log_twice_gives_the_same_events_or_none() -> None:
    log = (
        CONNECT,
        row("greynoise.result", 1, message=SEEN),
        row("abuseipdb.reportedip", 2, IP=IP, confidence=83),
        CLOSED,
    )
    source = make()
    first = intel(feed(source, *log))
    assert len(first) == 2
    assert intel(feed(source, *log)) == []
    assert [(e.id, e.payload) for e in intel(feed(make(), *log))] == [(e.id, e.payload) for e in first]


def test_an_answer_that_is_given_again_has_its_own_time_and_id() -> None:
    one, two = intel(feed(make(), CONNECT, *(row("greynoise.result", at, message=SEEN) for at in (1, 5))))
    assert (one.payload, one.ts) == (two.payload, two.ts - 4)
    assert one.id != two.id


def test_a_line_before_its_session_waits_for_it() -> None:
    source = make()
    assert intel(feed(source, row("greynoise.result", 1, message=SEEN))) == []
    (told,) = intel(feed(source, CONNECT))
    assert told.payload == NOISE


def test_the_answer_belongs_to_the_address_that_it_names() -> None:
    other = SEEN.replace(IP, "::ffff:198.51.100.9")
    (told,) = intel(feed(make(), CONNECT, row("greynoise.result", 1, message=other)))
    assert (told.payload["attacker_ip"], told.payload["attacker_uuid"]) == (
        "198.51.100.9",
        attacker_id("198.51.100.9"),
    )
    (told,) = intel(feed(make(), CONNECT, row("abuseipdb.reportedip", 1, IP="no address", confidence=5)))
    assert told.payload["attacker_ip"] == IP, "else to the session's"


@pytest.mark.parametrize("order", permutations((0, 1)), ids=str)
def test_a_service_that_scans_is_no_harmless_one(order: tuple[int, ...]) -> None:
    rows = (row("greynoise.result", 1, message=SEEN), row("greynoise.result", 1.25, message=SERVICE))
    parts: Any = {}
    for told in intel(feed(make(), CONNECT, *(rows[i] for i in order))):
        parts = newest(parts, parts_of(told.ts, told.payload))
    assert merged(parts).payload == {**NOISE, "greynoise_tags": ["RIOT"]}


def test_a_service_alone_is_benign() -> None:
    (told,) = intel(feed(make(), CONNECT, row("greynoise.result", 1, message=SERVICE)))
    assert told.payload == {**NOISE, "greynoise_classification": "benign", "greynoise_tags": ["RIOT"]}


def test_tags_that_old_versions_told_one_a_line_come_together_in_any_order() -> None:
    rows = [
        row("greynoise.result", 1, IP=IP, tag=tag, conf="high", meta={"x": 1})
        for tag in ("MIRAI", "SSH_WORM")
    ]
    for order in permutations(rows):
        told = intel(feed(make(), CONNECT, *order))
        assert [e.payload["greynoise_tags"] for e in told][1] == ["MIRAI", "SSH_WORM"]
        assert "greynoise_classification" not in told[1].payload
        last = merged(newest(parts_of(told[1].ts, told[1].payload), parts_of(told[0].ts, told[0].payload)))
        assert last.payload["greynoise_tags"] == ["MIRAI", "SSH_WORM"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"message": SEEN.replace("Some Owner", "")}, {"greynoise_classification": "malicious"}),
        ({"message": SEEN.replace("192.0.2.7", "'192.0.2.7'").replace("malicious", "'Unknown'")}, {"greynoise_classification": "unknown", "greynoise_name": "Some Owner"}),
        ({"IP": IP, "classification": "malicious", "name": "N", "message": "broken format"}, {"greynoise_classification": "malicious", "greynoise_name": "N"}),
        ({"message": SEEN + "\nSecond line"}, {"greynoise_classification": "malicious", "greynoise_name": "Some Owner\nSecond line"}),
    ],
)  # fmt: skip
def test_what_greynoise_says_is_read_in_every_form_that_was_written(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = answer_of("cowrie.greynoise.result", fields)
    assert found == {
        "about": IP,
        "providers": ["greynoise"],
        **expected,
        **({"greynoise_name": ""} if len(expected) == 1 else {}),
    }


@pytest.mark.parametrize(
    "message",
    ["", "GreyNoise: got error", SEEN.replace(" has been", ""), f"x {SEEN}", f"{SEEN[:60]}", 7, None, ["x"]],
)
def test_words_that_are_no_answer_are_an_extra_only(message: Any) -> None:
    assert answer_of("cowrie.greynoise.result", {"message": message}) is None
    source = make()
    assert intel(feed(source, CONNECT, row("greynoise.result", 1, message=message))) == []
    assert not source.refused


@pytest.mark.parametrize(
    ("confidence", "score"),
    [
        (0, 0.0),
        (100, 100.0),
        (100.5, None),
        (-1, None),
        ("83", 83.0),
        ("x", None),
        (None, None),
        (True, None),
        ([1], None),
    ],
)
def test_a_score_of_abuseipdb_is_one_from_0_to_100(confidence: Any, score: float | None) -> None:
    found = answer_of("cowrie.abuseipdb.reportedip", {"IP": IP, "confidence": confidence})
    assert found == (
        None if score is None else {"about": IP, "abuseipdb_score": score, "providers": ["abuseipdb"]}
    )


@pytest.mark.parametrize(
    "name",
    sorted(
        {n for n in EVENTS if n.partition(".")[0] in ("abuseipdb", "virustotal", "urlhaus")} - ANSWERS.keys()
    ),
)
def test_what_a_plug_in_did_is_no_answer(name: str) -> None:
    said = {"IP": IP, "confidence": 83, "classification": "malicious", "message": SEEN}
    assert answer_of(f"cowrie.{name}", said) is None
    assert EVENTS[name].kind == "extra"


def test_an_answer_of_several_lines_has_the_time_of_the_newest_and_at_most_so_many_tags() -> None:
    said = [
        (float(i), {"about": None, "providers": ["greynoise"], "greynoise_tags": [f"t{i:03}"]})
        for i in range(150)
    ]
    ts, told = together(reversed(said))
    assert (ts, len(told["greynoise_tags"])) == (149.0, 100)
    with pytest.raises(ValueError, match="no answer"):
        together([])


def test_the_words_stay_with_the_extra_though_a_field_repeats_a_part_of_them() -> None:
    events = feed(make(), CONNECT, row("greynoise.result", 1, message=SEEN, dst_port=2), CLOSED)
    (ended,) = [e.payload for e in events if e.topic == "attacker.session.ended"]
    assert ended["extras"][0]["fields"] == {"dst_port": 2, "message": SEEN}
