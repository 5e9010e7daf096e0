"""What the centre makes of the words of remote sensors, on both databases, to the limits: owners, pieces, heartbeats."""

from __future__ import annotations

import base64
import hashlib
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from decnet.bus import remote
from decnet.bus.base import Event
from decnet.bus.memory import MemoryBus
from decnet.bus.wire import MAX_BLOB_BYTES
from decnet.db.repository import BaseRepository
from decnet.db.repository.runtime import names, owners
from decnet.runtime.received import received
from decnet.runtime.worker import Transaction
from decnet.sensors import remote as intake_module
from decnet.sensors.remote import RemoteIntake
from tests.dbkit import KINDS, database_url

ENDED = "attacker.session.ended"


@dataclass
class World:
    repo: BaseRepository
    bus: MemoryBus
    intake: RemoteIntake

    async def take(self, *events: Event) -> Transaction:
        async with self.repo.transaction() as bound:
            tx = Transaction(bound)
            await self.intake.take([received(event) for event in events], tx, self.bus)
        return tx


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with database_url(request.param, tmp_path) as url:
        repo, bus = await BaseRepository.open(url), MemoryBus("centre")
        await bus.connect()
        yield World(repo, bus, RemoteIntake(60.0))
        await bus.close()
        await repo.close()


def said(sensor: str, topic: str = ENDED, number: int = 0, **payload: Any) -> Event:
    return Event(
        f"sensor.{sensor}.{topic}", payload, "t", f"{sensor}{topic}{number}{payload}"[:60], 5.0 + number
    )


def outcome(tx: Transaction) -> tuple[list[str], list[str]]:
    """(topics handed on, reasons of what was given up)."""
    return [event.topic for event in tx.bus.events], [dead.reason for dead in tx.dead]


async def test_the_first_sensor_that_names_a_decky_has_it_within_one_batch_too(world: World) -> None:
    tx = await world.take(said("b", decky_id="d"), said("a", decky_id="d"), said("a", decky_id="e"))
    assert outcome(tx) == ([ENDED, ENDED], ["refused: decky d belongs to sensor b"])
    assert [event.payload for event in tx.bus.events] == [{"decky_id": "d"}, {"decky_id": "e"}]
    assert await world.repo.decky_owners("b", ["d", "e"]) == {"d": "b", "e": "a"}


async def _taken_and_lost(world: World) -> None:
    async with world.repo.transaction() as bound:
        await world.intake.take([received(said("a", decky_id="d"))], Transaction(bound), world.bus)
        raise ZeroDivisionError


async def test_what_is_rolled_back_belongs_to_nobody(world: World) -> None:
    with pytest.raises(ZeroDivisionError):
        await _taken_and_lost(world)
    assert outcome(await world.take(said("b", decky_id="d")))[1] == []


async def test_names_of_this_site_and_of_sensors_never_meet(world: World) -> None:
    assert await world.repo.name_claim("web 1") == "web-1"
    assert await world.repo.decky_owners("a", ["web-1", "web-2"]) == {"web-1": "", "web-2": "a"}
    assert await world.repo.name_claim("web 2") != "web-2", "the remote decky has it"
    assert await world.repo.name_holder("web-2") == "sensor.a.web-2"
    tx = await world.take(said("a", decky_id="web-1"))
    assert outcome(tx) == ([], ["refused: decky web-1 is one of this site's own"])
    whole = await world.repo.name_claim("sensor.a" + "x" * 64)  # which is cut; a local log may call itself so
    assert await world.repo.decky_owners("a", [whole]) == {whole: ""}
    odd = await world.repo.name_claim("sensor.a.web-3")  # a local log may call itself so
    assert odd == "sensor-a-web-3"
    assert await world.repo.decky_owners("a", ["web-3", odd]) == {odd: ""}, "nobody's, so refused"


async def test_a_sensor_has_so_many_deckies_and_the_others_none_the_fewer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "MAX_DECKIES", 3)
    monkeypatch.setattr(names, "MAX_NAMES", 1)
    assert await world.repo.decky_owners("a", ["d1", "d2"]) == {"d1": "a", "d2": "a"}
    tx = await world.take(*(said("a", decky_id=f"d{n}") for n in (1, 2, 3, 4)))
    assert outcome(tx) == ([ENDED] * 3, ["refused: decky d4 is one too many for sensor a"])
    assert outcome(await world.take(said("ab", decky_id="d4")))[1] == []
    assert await world.repo.name_claim("plain") == "plain", "they use up no names of this site"


@pytest.mark.parametrize("decky", [None, "", 7, ["d"], {}, True, "a b", "a.b", "d\n", "d" * 64, "é"])
async def test_what_is_no_token_is_no_decky(world: World, decky: Any) -> None:
    payload = {} if decky is None else {"decky_id": decky}
    for topic in (ENDED, "attacker.session.started", "attacker.observed", "credential.captured"):
        assert outcome(await world.take(said("a", topic, **payload))) == ([], ["refused: names no decky"])


async def test_the_longest_token_is_one(world: World) -> None:
    assert outcome(await world.take(said("a", decky_id="d" * 63))) == ([ENDED], [])


@pytest.mark.parametrize(
    "topic", ["system.sensors.control", "ttp.tagged", "attacker.scored", "decky.d.mutate_request", "x"]
)
async def test_what_sensors_have_not_to_say_is_refused(world: World, topic: str) -> None:
    assert outcome(await world.take(said("a", topic, decky_id="d"))) == (
        [],
        ["refused: no remote sensor may say this"],
    )
    assert await world.repo.name_holder("d") is None, "and claims nothing"


async def test_what_needs_no_decky_is_handed_on_without_one_and_checked_with_one(world: World) -> None:
    free = ("attacker.session.progress", "attacker.fingerprinted", "attacker.intel.enriched")
    assert outcome(await world.take(*(said("a", topic) for topic in free))) == (list(free), [])
    await world.take(said("b", decky_id="d"))
    tx = await world.take(*(said("a", topic, decky_id="d") for topic in free))
    assert outcome(tx) == ([], ["refused: decky d belongs to sensor b"] * 3)


async def test_a_name_that_is_none_is_refused_whole(world: World) -> None:
    for name in ("-a", "a" * 41, "é", "a,b"):
        tx = await world.take(said(name, decky_id="d"))
        assert outcome(tx) == ([], ["refused: not the name of a remote sensor"])


async def test_rows_say_what_came_and_what_was_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "MAX_SENSORS", 2)
    await world.take(
        said("a", decky_id="d", number=3), said("a", decky_id="e", number=1), said("b", decky_id="d")
    )
    tx = await world.take(said("c", decky_id="f"))
    assert outcome(tx) == ([ENDED], []), "one too many to be told of is handed on like the others"
    a, b = world.intake.rows()
    assert (a["path"], a["state"], a["lines"], a["refused"], a["last_line_ts"]) == (
        "sensor.a.>",
        "ok",
        2,
        0,
        8.0,
    )
    assert (b["path"], b["lines"], b["refused"], b["reasons"]) == ("sensor.b.>", 0, 1, {"owner": 1})
    assert b["last_refusal"] == f"{ENDED}: decky d belongs to sensor a"
    assert world.intake.figures() == {
        "remote_sensors": 2, "remote_events": 2, "remote_refused": 1, "remote_recordings_missing": 0,
    }  # fmt: skip
    world.intake.seen["a"].heard = time.time() - 59.0
    assert world.intake.rows()[0]["state"] == "ok"
    world.intake.seen["a"].heard = time.time() - 60.5
    assert world.intake.rows()[0]["state"] == "silent"


async def beat_of(world: World, event: Event) -> dict[str, Any]:
    tx = await world.take(event)
    (news,) = tx.bus.events
    rows = {row["worker"]: row["payload"] for row in await world.repo.heartbeats()}
    assert news.topic == "system.sensor-a.health"
    assert rows["sensor-a"] == news.payload
    return dict(news.payload)


async def test_of_a_heartbeat_figures_are_believed_and_nothing_else(world: World) -> None:
    sent = {
        "worker": "ttp", "ts": 1.0, "pid": 1, "host": "h", "state": "degraded", "note": "x" * 600, "lines_read": 7, "lag": 0,
        "yes": True, "huge": 1e15, "Odd": 1, "a" * 42: 1, "url": "nats://x", "sensors": [{"path": "/l"}], "age": 1.5,
    }  # fmt: skip
    event = Event(f"sensor.a.{remote.HEALTH}", sent, "health", "h1", time.time() - 3.0)
    assert await beat_of(world, event) == {
        "worker": "sensor-a", "ts": event.ts, "state": "degraded", "note": "x" * 500, "lines_read": 7, "lag": 0, "age": 1.5,
    }  # fmt: skip
    ahead = Event(
        f"sensor.a.{remote.HEALTH}", {"state": "\x1b[2J", "note": 5}, "health", "h2", time.time() + 999.0
    )
    payload = await beat_of(world, ahead)
    assert payload["ts"] <= time.time(), "a clock that is ahead is stale in time"
    assert (payload["state"], payload["note"]) == ("failed", "")
    many = {f"f{number}": number for number in range(100)}
    assert len(await beat_of(world, Event(f"sensor.a.{remote.HEALTH}", many, "health", "h3", 1.0))) == 84


async def arrived(world: World, sensor: str, events: Sequence[Event]) -> None:
    await world.bus.publish_events(
        [Event(f"sensor.{sensor}.{e.topic}", e.payload, e.type, e.id, e.ts) for e in events]
    )


async def brought(world: World, key: str) -> bytes | None:
    await world.take(
        said("a", decky_id="d", keystrokes_ref=key, number=world.intake.figures()["remote_events"])
    )
    return await world.bus.get_blob(key)


async def test_a_recording_is_put_together_or_counted_as_missing(world: World) -> None:
    data = bytes(range(256)) * 40
    key = hashlib.sha256(data).hexdigest()
    pieces = list(remote.pieces(key, data, 4096))
    assert await brought(world, key) is None
    await arrived(world, "b", pieces)
    assert await brought(world, key) is None, "another sensor's"
    await arrived(world, "a", pieces)
    assert await brought(world, key) == data
    assert world.intake.figures()["remote_recordings_missing"] == 2


def piece(key: str, number: int, data: bytes, more: bool) -> Event:
    return Event(
        remote.piece_topic(key, number),
        {"data": base64.b64encode(data).decode(), "more": more},
        id=f"{key}{number}{more}",
    )


async def test_what_is_not_what_its_key_names_is_missing(world: World) -> None:
    key = hashlib.sha256(b"x").hexdigest()
    bomb = zlib.compress(bytes(MAX_BLOB_BYTES + 1))
    for bad in ([piece(key, 0, b"no zlib", False)], [piece(key, 0, zlib.compress(b"y"), False)],
                [piece(key, 0, bomb, False)], [piece(key, 0, zlib.compress(b"x"), True)],
                [piece(key, 0, b"", True), piece(key, 1, zlib.compress(b"x"), False)],
                [Event(remote.piece_topic(key, 0), {"data": 5, "more": False}, id="odd")]):  # fmt: skip
        await arrived(world, "a", bad)
        assert await brought(world, key) is None
    assert world.intake.figures()["remote_recordings_missing"] == 6


async def test_the_largest_recording_is_one_and_what_is_beyond_is_not_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(MAX_BLOB_BYTES)
    key = hashlib.sha256(data).hexdigest()
    await arrived(world, "a", list(remote.pieces(key, data, 262_144)))
    assert await brought(world, key) == data
    asked: list[str] = []
    real = world.bus.last_of

    async def last_of(topic: str) -> Event | None:
        asked.append(topic)
        return await real(topic)

    monkeypatch.setattr(world.bus, "last_of", last_of)
    monkeypatch.setattr(intake_module, "MAX_PACKED", 9)
    other = "0" * 64
    await arrived(world, "a", [piece(other, number, b"abcd", True) for number in range(9)])
    assert await brought(world, other) is None
    assert len(asked) == 3, "twelve bytes are more than nine"


@pytest.mark.parametrize(
    "payload", [{}, {"data": "AA==", "more": 1}, {"data": "%", "more": True}, {"data": None, "more": True}]
)
async def test_what_is_no_piece_is_refused(world: World, payload: dict[str, Any]) -> None:
    tx = await world.take(said("a", f"blob.{'0' * 64}.0", **payload))
    assert outcome(tx) == ([], ["refused: not a piece of a recording"])
    assert outcome(await world.take(said("a", f"blob.{'0' * 64}.1", data="AA==", more=False))) == ([], [])
