"""Topics that are views: who listens to the pieces gets them from the whole, live and read back, on both buses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js import api

from decnet.bus.base import BaseBus, Event, Subscription, matches
from decnet.bus.nats.connection import NatsBus
from decnet.bus.nats.server import EmbeddedServer
from decnet.bus.nats.store import stream_config
from decnet.bus.topics import is_durable
from decnet.bus.views import _overlap
from decnet.config import BusSettings
from decnet.events.views import VIEWS
from decnet.ids import event_id
from tests.buskit import both_buses
from tests.wirekit import pieces

SETTINGS = BusSettings(ack_wait_s=1.0, read_back_window=50)
TAGGED = {
    "attacker_uuid": "a", "identity_uuid": None, "session_id": "s", "tag_uuids": ["u1", "u2", "u3"],
    "techniques_added": ["T1059", "T1105"],
    "fired": [
        {"technique_id": "T1059", "rule_ids": ["R1"], "tags": 1},
        {"technique_id": "T1105", "rule_ids": ["R2", "R3"], "tags": 2},
    ],
}  # fmt: skip
SEEN = {
    "attacker_uuid": "a", "session_id": "s",
    "observations": [
        {"primitive": "motor.paste_burst_rate", "value": "high", "ts": 12.5, "id": "i1", "evidence_ref": "r#x"},
        {"primitive": "cognitive.tool_vocabulary", "value": 3, "confidence": 0.5},
    ],
}  # fmt: skip


bus = both_buses(SETTINGS)


async def told(bus: BaseBus) -> None:
    await bus.publish("ttp.tagged", TAGGED, event_type="tagged", event_id="t1", ts=20.0)
    await bus.publish("attacker.observations", SEEN, event_id="o1", ts=30.0)


async def heard(subscription: Subscription, count: int) -> list[Event]:
    async with asyncio.timeout(20):
        return [await anext(subscription) for _ in range(count)]


def brief(events: list[Event]) -> list[tuple[Any, ...]]:
    return [(e.topic, e.type, e.id, e.ts) for e in events]


FIRED = [
    ("ttp.rule.fired.T1059", "fired", event_id("ttp.fired", "T1059|u1"), 20.0),
    ("ttp.rule.fired.T1105", "fired", event_id("ttp.fired", "T1105|u2,u3"), 20.0),
]
OBSERVED = [
    ("attacker.observation.motor.paste_burst_rate", "motor.paste_burst_rate", "i1", 12.5),
    ("attacker.observation.cognitive.tool_vocabulary", "cognitive.tool_vocabulary",
     event_id("observation", "None|cognitive.tool_vocabulary"), 30.0),
]  # fmt: skip
WANTED = {
    "ttp.rule.fired.*": FIRED,
    "ttp.rule.fired.>": FIRED,
    "ttp.rule.>": FIRED,
    "ttp.rule.fired.T1105": FIRED[1:],
    "*.rule.fired.T1059": FIRED[:1],
    "attacker.observation.>": OBSERVED,
    "attacker.observation.cognitive.>": OBSERVED[1:],
    "attacker.observation.*.*": OBSERVED,
    "ttp.>": [("ttp.tagged", "tagged", "t1", 20.0), *FIRED],
    "ttp.*": [("ttp.tagged", "tagged", "t1", 20.0)],
    ">": [
        ("ttp.tagged", "tagged", "t1", 20.0), *FIRED,
        ("attacker.observations", "", "o1", 30.0), *OBSERVED,
    ],
}  # fmt: skip


@pytest.mark.parametrize("pattern", WANTED)
async def test_pieces_are_heard_live_and_read_back(bus: BaseBus, pattern: str) -> None:
    wanted = WANTED[pattern]
    async with bus.subscribe(pattern) as live:
        await told(bus)
        assert brief(await heard(live, len(wanted))) == wanted
    assert brief(await bus.read_back(pattern, 50)) == wanted
    assert brief(await bus.read_back(pattern, 1)) == wanted[-1:]
    assert await bus.read_back(pattern, 0) == []


async def test_a_piece_says_what_an_event_of_its_own_would(bus: BaseBus) -> None:
    await told(bus)
    first, second = await bus.read_back("ttp.rule.fired.*", 9)
    who = {"attacker_uuid": "a", "identity_uuid": None, "session_id": "s"}
    assert first.payload == {**who, "technique_id": "T1059", "tag_uuids": ["u1"], "rule_ids": ["R1"]}
    assert second.payload == {
        **who,
        "technique_id": "T1105",
        "tag_uuids": ["u2", "u3"],
        "rule_ids": ["R2", "R3"],
    }
    paste, vocabulary = await bus.read_back("attacker.observation.>", 9)
    assert paste.payload == {
        "attacker_uuid": "a", "session_id": "s", "primitive": "motor.paste_burst_rate", "value": "high",
        "evidence_ref": "r#x", "identity_ref": None,
    }  # fmt: skip
    assert vocabulary.payload["confidence"] == 0.5


async def test_the_last_piece_is_found_behind_many_wholes_without_one(bus: BaseBus) -> None:
    await told(bus)
    for number in range(40):
        other = {**TAGGED, "tag_uuids": [f"x{number}"], "fired": [{"technique_id": "T1", "tags": 1}]}
        await bus.publish("ttp.tagged", other, event_id=f"t{number + 2}")
    found = await bus.read_back("ttp.rule.fired.T1105", 3)
    assert brief(found) == FIRED[1:]


async def test_observations_of_others_still_come_one_by_one_and_are_kept(bus: BaseBus) -> None:
    topic = "attacker.observation.motor.paste_burst_rate"
    await bus.publish(topic, {"attacker_uuid": "b", "value": 1}, event_id="own", ts=5.0)
    await told(bus)
    assert [e.id for e in await bus.read_back("attacker.observation.motor.>", 9)] == ["own", "i1"]


@pytest.mark.parametrize(
    "payload",
    [{}, {"fired": 7}, {"fired": [{"tags": -1, "technique_id": "T1"}]}, {"observations": [{"value": 1}]},
     {"attacker_uuid": "a", "observations": [{"primitive": "", "value": 1}, {"primitive": "p", "value": None}]}],
)  # fmt: skip
@pytest.mark.parametrize("topic", ["ttp.tagged", "attacker.observations"])
def test_a_whole_that_cannot_be_read_has_no_pieces(topic: str, payload: dict[str, Any]) -> None:
    event = Event(topic, payload)
    assert pieces([event], ">") == [event]


def test_more_tags_than_uuids_are_no_fault() -> None:
    event = Event("ttp.tagged", {"tag_uuids": ["u"], "fired": [{"technique_id": "T1", "tags": 10**9}] * 2})
    assert [e.payload["tag_uuids"] for e in pieces([event], "ttp.rule.fired.*")] == [["u"], []]


def test_a_view_is_live_and_its_whole_is_durable() -> None:
    for view in VIEWS:
        assert is_durable(view.source)
        assert not matches(view.pattern, view.source)
    assert not is_durable("ttp.rule.fired.T1105")


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (">", "a.b", True), ("a.>", "a", False), ("a.*", "a.b", True), ("*.b", "a.*", True), ("a.b", "a.c", False),
        ("a.b.>", "a.*", False), ("a.>", "*.b.c", True), ("a.*.c", "a.b", False),
    ],
)  # fmt: skip
def test_patterns_overlap_where_a_topic_matches_both(one: str, other: str, overlap: bool) -> None:
    assert _overlap(one, other) is overlap
    assert _overlap(other, one) is overlap


async def test_a_stream_of_an_earlier_version_keeps_what_it_holds(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, SETTINGS)
    await server.start()
    raw = await nats.connect(server.url, token=server.token)
    old = stream_config(SETTINGS)
    subjects = [*(old.subjects or []), "ttp.rule.fired.*"]
    await raw.jetstream().add_stream(old.evolve(subjects=subjects, compression=api.StoreCompression.NONE))
    await raw.jetstream().publish("ttp.rule.fired.T1", Event("ttp.rule.fired.T1", {}, id="old").to_bytes())
    client = NatsBus(server.url, token=server.token, settings=SETTINGS)
    await client.connect()
    try:
        await told(client)
        assert [e.id for e in await client.read_back("ttp.>", 9)][:2] == ["old", "t1"]
        config = (await raw.jetstream().stream_info(SETTINGS.stream)).config
        assert config.compression == api.StoreCompression.S2
        assert "ttp.rule.fired.*" not in (config.subjects or [])
    finally:
        await client.close()
        await raw.close()
        await server.stop()
