"""Remote sensors on a real server: what each user may do, whose decky it is, order, restarts, recordings."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from sqlalchemy import text

from decnet.bus.base import Event
from decnet.bus.nats.connection import NatsBus
from decnet.config import SensorSpec
from decnet.db.repository import BaseRepository
from decnet.engine import Engine
from decnet.errors import BusUnavailable
from decnet.runtime.health import status_of
from tests.cowriegen import append_session, write_log
from tests.dbkit import KINDS, database_url
from tests.remotekit import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
DEMO = Path(__file__).parents[2] / "decnet" / "_data" / "demo" / "cowrie.json"
ENDED = "attacker.session.ended"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "nats")


def ended(number: int, decky: str) -> Event:
    payload = {
        "session_id": f"{decky}-{number}", "attacker_uuid": "a", "attacker_ip": "192.0.2.1", "decky_id": decky,
        "service": "ssh", "protocol": "ssh", "started_at": 1.0, "ended_at": 2.0 + number,
    }  # fmt: skip
    return Event(
        ENDED,
        payload,
        "ended",
        f"{decky}{number:04d}",
        1000.0 + number,
        headers={"traceparent": f"t{number}"},
    )


@asynccontextmanager
async def engine(settings: Any) -> AsyncIterator[Engine]:
    running = Engine(settings)
    await running.start()
    try:
        await running.bus.connect()  # a server that is not its own is reached in the background
        yield running
    finally:
        await running.stop(5)


async def centre_settings(site: Site, folder: Path, db: str | None = None, *workers: str) -> Any:
    return site.settings("engine", folder / "centre", workers=workers or ("sensors",), db=db)


async def stored(bus: NatsBus, count: int, pattern: str = ENDED) -> list[Event]:
    """The durable events of a pattern, once there are so many."""
    async with asyncio.timeout(30):
        while True:
            found = await bus.read_back(pattern, 10_000)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.1)


async def refusals(repo: BaseRepository, count: int) -> list[tuple[str, str]]:
    """(topic, reason) of the sensors worker's dead letters, once there are so many."""
    async with asyncio.timeout(30):
        while True:
            rows = [row for row in await repo.dead_letters() if row["worker"] == "sensors"]
            if len(rows) >= count:
                return sorted((row["topic"], row["reason"]) for row in rows)
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", KINDS)
async def test_two_sensors_and_a_centre(site: Site, tmp_path: Path, kind: str) -> None:
    async with database_url(kind, tmp_path) as db:
        with site.up():
            async with engine(await centre_settings(site, tmp_path, db)) as centre:
                east, west = site.client("sensor-east"), site.client("sensor-west")
                await east.connect()
                await west.connect()
                await east.publish_events([ended(n, "web1") for n in range(50)])
                await stored(centre.bus, 50)  # type: ignore[arg-type]
                await west.publish_events([ended(n, "web2") for n in range(50)])
                await west.publish_events([ended(99, "web1")])
                found = await stored(centre.bus, 100)  # type: ignore[arg-type]
                for decky in ("web1", "web2"):
                    mine = [event for event in found if event.payload["decky_id"] == decky]
                    sent = [ended(n, decky) for n in range(50)]
                    assert mine == sent, "id, ts, type and payload are kept, and the order"
                    assert [e.headers["traceparent"] for e in mine] == [f"t{n}" for n in range(50)]
                why = "refused: decky web1 belongs to sensor east"
                assert await refusals(centre.repo, 1) == [(f"sensor.west.{ENDED}", why)]
                assert centre.sensors is not None
                health = centre.sensors.health()
                assert (health["remote_sensors"], health["remote_events"], health["remote_refused"]) == (
                    2,
                    100,
                    1,
                )
                row = next(row for row in health["sensors"] if row["path"] == "sensor.west.>")
                assert (row["lines"], row["refused"], row["reasons"]) == (50, 1, {"owner": 1})
                assert row["last_refusal"] == f"{ENDED}: {why.removeprefix('refused: ')}"
                await east.close()
                await west.close()


@pytest.mark.fault(
    fault="a remote sensor that has fallen, on the bus",
    guard="its user on the server may publish below its own name only",
    control="mutant remote-user-says-everything",
    figure="every other subject and API refused",
)
async def test_the_server_refuses_what_is_outside_a_sensors_prefix(site: Site) -> None:
    """Whatever the program there does: the raw client with the sensor's password."""
    with site.up() as url:
        everything = site.client("engine")
        await everything.connect()
        told: list[str] = []

        async def on_error(error: Exception) -> None:
            told.append(str(error).lower())

        raw = await nats.connect(
            url, user="sensor-east", password=site.passwords["sensor-east"], error_cb=on_error,
            inbox_prefix="_INBOX_east",
        )  # fmt: skip
        forbidden = (
            ENDED, f"sensor.west.{ENDED}", "sensor.east", "system.ttp.control", "decky.web1.mutate_request",
            "$JS.API.STREAM.DELETE.DECNET", "$JS.API.STREAM.INFO.DECNET", "$JS.API.CONSUMER.CREATE.DECNET.x",
            "$O.DECNET_blobs.M.x", "_INBOX_west.x", "$JS.ACK.DECNET.sensors.1.1.1.1.0",
        )  # fmt: skip
        for subject in forbidden:
            await raw.publish(subject, b"{}")
        await raw.flush()
        for pattern in (
            ">",
            "sensor.>",
            "sensor.east.>",
            "_INBOX_west.>",
            "_INBOX.>",
            "system.sensor-west.control",
        ):
            await raw.subscribe(pattern)
        await raw.flush()
        await asyncio.sleep(0.2)
        assert [t for t in told if "publish" in t and "violation" in t].__len__() == len(forbidden)
        assert sum("subscription" in t for t in told) == 6
        assert (await everything.stream_info())["messages"] == 0
        answer = await raw.request(f"sensor.east.{ENDED}", b"{}", timeout=5)
        assert b'"seq":1' in answer.data, "its own subject is stored and acknowledged"
        await raw.close()
        await everything.close()


async def test_a_sensor_says_only_what_sensors_may_say(site: Site, tmp_path: Path) -> None:
    with site.up():
        async with engine(await centre_settings(site, tmp_path)) as centre:
            raw = await nats.connect(
                site.url,
                user="sensor-east",
                password=site.passwords["sensor-east"],
                inbox_prefix="_INBOX_east",
            )
            said = (
                "system.ttp.control", "ttp.rule.state.R0001", "decky.web1.mutate_request", "identity.merged",
                "campaign.formed", "attacker.scored", "attacker.observation.x", "system.ttp.health",
                "system.sensors.control", "sensor.west.attacker.observed", "blob.x.0",
            )  # fmt: skip
            for topic in said:
                await raw.publish(f"sensor.east.{topic}", Event(topic, {}).to_bytes())
            await raw.publish(f"sensor.east.{ENDED}", Event(ENDED, {"session_id": "s"}).to_bytes())
            await raw.publish(f"sensor.east.{ENDED}", b"no JSON")
            found = dict(await refusals(centre.repo, len(said) + 1))
            assert {
                topic for topic, why in found.items() if why == "refused: no remote sensor may say this"
            } == {f"sensor.east.{topic}" for topic in said}
            reasons = [
                w for t, w in await refusals(centre.repo, len(said) + 2) if t == f"sensor.east.{ENDED}"
            ]
            assert reasons[1] == "refused: names no decky"
            assert reasons[0].startswith("malformed: not JSON")
            assert [e.topic for e in await centre.bus.read_back(">", 100) if not e.topic.startswith(("sensor.", "system."))] == []  # fmt: skip
            await raw.close()


@pytest.mark.fault(
    fault="an event of a remote sensor that claims a decky of another",
    guard="a decky belongs to the first that names it",
    control="mutant remote-owner-by-beginning",
    figure="refused, counted and a dead letter",
)
async def test_a_decky_of_this_site_is_no_remote_sensors(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    write_log(log, 60, seed=2)  # its sensors are called gen-00, gen-01, gen-02
    settings = site.settings(
        "engine", tmp_path / "centre", workers=("sensors",), sensors=(SensorSpec(kind="cowrie", path=log),)
    )
    with site.up():
        settings = settings.model_copy(update={"bus": settings.bus.model_copy(update={"url": site.url})})
        async with engine(settings) as centre:
            assert await centre.until_idle(0.3) is None
            east = site.client("sensor-east")
            await east.connect()
            await east.publish_events([ended(1, "gen-01"), ended(1, "web1")])
            why = "refused: decky gen-01 is one of this site's own"
            assert await refusals(centre.repo, 1) == [(f"sensor.east.{ENDED}", why)]
            await east.close()


async def test_the_centre_restarts_while_a_sensor_goes_on_and_nothing_is_lost_or_doubled(
    site: Site, tmp_path: Path
) -> None:
    with site.up():
        async with engine(await centre_settings(site, tmp_path)):
            east = site.client("sensor-east")
            await east.connect()
            await east.publish_events([ended(n, "web1") for n in range(100)])
        await east.publish_events([ended(n, "web1") for n in range(100, 200)])
        async with engine(await centre_settings(site, tmp_path)) as centre:
            found = await stored(centre.bus, 200)  # type: ignore[arg-type]
            assert [e.id for e in found] == [ended(n, "web1").id for n in range(200)]
            assert await centre.until_idle(0.3) is None
            assert len(await stored(centre.bus, 200)) == 200  # type: ignore[arg-type]
            await east.close()


async def test_the_server_restarts_and_a_sensor_waits_for_it(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "east.json"
    write_log(log, 200, seed=3)
    spec = SensorSpec(kind="cowrie", path=log)
    with site.up():
        port = site.url.rpartition(":")[2]
        site.text = site.text.replace("127.0.0.1:-1", f"127.0.0.1:{port}")
        async with engine(await centre_settings(site, tmp_path, None, "sensors", "recorder")):
            pass  # the stream and its reader are made
    with site.up():
        remote = Engine(
            site.settings("sensor-east", tmp_path / "east", workers=("sensors",), sensors=(spec,))
        )
        await remote.start()
        try:
            assert remote.sensors is not None
            assert await remote.until_idle(0.3) is None
            before = remote.sensors.health()["events_published"]
            assert before > 0
        except BaseException:
            await remote.stop(1)
            raise
    append_session(log, "feedbeef0001", ["crontab -l"])
    await asyncio.sleep(1.0)
    try:
        with site.up():
            assert await remote.until_idle(0.5) is None
            assert remote.sensors.health()["events_published"] > before
            async with engine(await centre_settings(site, tmp_path, None, "sensors", "recorder")) as centre:
                assert await centre.until_idle(0.5) is None
                async with centre.repo.db.read() as reading:
                    asked = text("SELECT count(*) FROM session WHERE sensor_session = 'feedbeef0001'")
                    assert (await reading.execute(asked)).scalar_one() == 1
    finally:
        await remote.stop(1)


async def test_the_same_events_again_change_nothing(site: Site, tmp_path: Path) -> None:
    with site.up():
        async with engine(await centre_settings(site, tmp_path, None, "sensors", "recorder")) as centre:
            east = site.client("sensor-east")
            await east.connect()
            sent = [ended(n, "web1") for n in range(20)]
            await east.publish_events(sent)
            await stored(centre.bus, 20)  # type: ignore[arg-type]
            await east.publish_events(random.Random(1).sample(sent, 20))
            assert await centre.until_idle(0.5) is None
            assert len(await stored(centre.bus, 20)) == 20  # type: ignore[arg-type]
            async with centre.repo.db.read() as reading:
                assert (await reading.execute(text("SELECT count(*) FROM session"))).scalar_one() == 20
            await east.close()


async def observations(found: BaseRepository) -> set[tuple[Any, ...]]:
    async with found.db.read() as reading:
        rows = await reading.execute(
            text("SELECT primitive, value, session_id, attacker_uuid FROM observation")
        )
        return {tuple(map(str, row)) for row in rows}


async def test_a_remote_sensor_with_recordings_gives_what_a_local_one_does(
    site: Site, tmp_path: Path
) -> None:
    spec, workers = SensorSpec(kind="cowrie", path=DEMO), ("sensors", "recorder", "behave")
    with site.up():
        async with engine(await centre_settings(site, tmp_path, None, *workers)) as centre:
            remote = site.settings("sensor-east", tmp_path / "east", workers=("sensors",), sensors=(spec,))
            async with engine(remote) as sensor:
                assert await sensor.until_idle(0.3) is None
            assert await centre.until_idle(0.5) is None
            behave = centre.supervisor.runners["behave"].worker.health()
            assert (behave["sessions"], behave["recordings_missing"]) == (136, 0)
            assert behave["recordings_read"] > 50
            assert centre.sensors is not None
            figures = centre.sensors.remote.figures()
            assert (figures["remote_refused"], figures["remote_recordings_missing"]) == (0, 0)
            there = await observations(centre.repo)
    from decnet.config import load_settings

    async with engine(load_settings(data_dir=tmp_path / "local", sensors=(spec,), workers=workers)) as local:
        assert await local.until_idle(0.5) is None
        assert await observations(local.repo) == there


@pytest.mark.parametrize("size", [1, 200_000, 1_500_000])
async def test_a_recording_of_any_size_comes_through(site: Site, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)  # cannot be compressed
    key = hashlib.sha256(data).hexdigest()
    with site.up():
        async with engine(await centre_settings(site, tmp_path)) as centre:
            east, west = site.client("sensor-east"), site.client("sensor-west")
            await east.connect()
            await west.connect()
            await east.put_blob(key, data)
            for bus, decky in ((west, "web2"), (east, "web1")):
                event = ended(1, decky)
                event.payload["keystrokes_ref"] = key
                await bus.publish_events([event])
            assert len(await stored(centre.bus, 2)) == 2  # type: ignore[arg-type]
            assert await centre.bus.get_blob(key) == data
            assert centre.sensors is not None
            missing = {row["path"]: row["recordings_missing"] for row in centre.sensors.remote.rows()}
            assert missing == {"sensor.east.>": 0, "sensor.west.>": 1}, (
                "nobody's recording is taken from another"
            )
            await east.close()
            await west.close()


async def test_health_and_control_of_a_remote_sensor(site: Site, tmp_path: Path) -> None:
    with site.up():
        async with engine(await centre_settings(site, tmp_path)) as centre:
            console = site.client("console")
            await console.connect()
            assert (await console.stream_info())["messages"] >= 0
            async with engine(
                site.settings("sensor-east", tmp_path / "east", workers=("sensors",))
            ) as sensor:
                async with asyncio.timeout(30):
                    async with console.subscribe("system.sensor-east.health") as beats:
                        beat = await anext(beats)
                    assert (beat.payload["worker"], beat.payload["state"]) == ("sensor-east", "ok")
                    assert "pid" not in beat.payload
                    rows = {row["worker"]: row["payload"] for row in await centre.repo.heartbeats()}
                    assert status_of(rows["sensor-east"] or {}, beat.ts, 10.0) == "ok"
                    await centre.bus.publish("system.sensor-east.control", {"action": "pause"})
                    while sensor.supervisor.runners["sensors"].state != "paused":
                        await asyncio.sleep(0.05)
                    while (await anext_beat(console)).payload["state"] != "paused":
                        pass
                assert centre.supervisor.runners["sensors"].state == "ok"
            await console.close()
            assert [r for r in await centre.repo.dead_letters() if r["worker"] == "sensors"] == []


async def anext_beat(bus: NatsBus) -> Event:
    async with bus.subscribe("system.sensor-east.health") as beats:
        return await anext(beats)


async def test_the_console_reads_and_cannot_speak(site: Site) -> None:
    with site.up():
        everything, console = site.client("engine"), site.client("console")
        await everything.connect()
        await everything.publish_events([ended(n, "web1") for n in range(5)])
        await everything.consume("ttp", [ENDED])
        await console.connect()
        assert len(await console.read_back(ENDED, 3)) == 3
        for forbidden in (console.publish(ENDED, {}), console.forget_consumer("ttp"), console.purge_to(9)):
            with pytest.raises(BusUnavailable):
                await forbidden
        assert (await everything.stream_info())["messages"] == 5
        assert "ttp" in await everything.durables()
        await console.close()
        await everything.close()
