"""An external server: users with passwords, nkeys and TLS each work, and a wrong one fails soon."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import nkeys
import pytest

from decnet.bus.base import Event
from decnet.bus.nats.connection import NatsBus
from decnet.bus.nats.sensor import SensorBus
from decnet.config import BusSettings
from decnet.errors import BusAuthError, BusUnavailable
from tests.natskit import server_of
from tests.remotekit import Site, config_text
from tests.tlskit import certificate

ENDED = "attacker.session.ended"
SOON_S = 10.0


async def fails(kind: type[BusAuthError], url: str, **settings: Any) -> None:
    """Within ten seconds, with all waiting at its default."""
    bus, started = NatsBus(url, settings=BusSettings(**settings)), time.monotonic()
    with pytest.raises(kind):
        await bus.connect()
    assert time.monotonic() - started < SOON_S
    await bus.close()


async def sensor_publishes(url: str, **settings: Any) -> None:
    """What the sensor publishes arrives at the engine."""
    sensor_only = {k: v for k, v in settings.items() if k in ("tls_ca",)}
    engine = NatsBus(url, settings=BusSettings(**settings["engine"], **sensor_only))
    east = SensorBus(url, settings=BusSettings(sensor="east", **settings["east"], **sensor_only))
    await engine.connect()
    await east.connect()
    await east.publish_events([Event(ENDED, {"decky_id": "web1"})])
    assert [e.payload for e in await engine.read_back(f"sensor.east.{ENDED}", 1)] == [{"decky_id": "web1"}]
    await east.close()
    await engine.close()


@pytest.mark.fault(
    fault="a wrong password, a strange user and none at a server with users",
    guard="the server asks, and what it refuses is said and not tried for ever",
    control="itself",
    figure="refused within 10 s, each of 3",
)
async def test_passwords(tmp_path: Path) -> None:
    site = Site(tmp_path)
    users = {
        who: {"user": name, "password": site.passwords[name]}
        for who, name in (("engine", "engine"), ("east", "sensor-east"))
    }
    with site.up() as url:
        await sensor_publishes(url, **users)
        await fails(BusAuthError, url, user="engine", password="wrong")
        await fails(BusAuthError, url, user="nobody", password=site.passwords["engine"])
        await fails(BusAuthError, url)


@pytest.mark.fault(
    fault="a strange nkey",
    guard="the server has the public halves of ours",
    control="itself",
    figure="refused within 10 s",
)
async def test_nkeys(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    text = config_text(tmp_path, "--nkeys", str(seeds))
    with server_of(tmp_path / "server", text) as url:
        await sensor_publishes(
            url, engine={"nkeys_seed": seeds / "engine.nk"}, east={"nkeys_seed": seeds / "sensor-east.nk"}
        )
        strange = tmp_path / "strange.nk"
        strange.write_bytes(nkeys.encode_seed(b"\7" * 32, nkeys.PREFIX_BYTE_USER))
        await fails(BusAuthError, url, nkeys_seed=strange)


@pytest.mark.fault(
    fault="a server whose certificate another authority signed",
    guard="bus.tls_ca names the one that is trusted",
    control="itself",
    figure="refused, with the setting to change",
)
async def test_tls(tmp_path: Path) -> None:
    authority, own, key = certificate(tmp_path / "tls")
    other, _, _ = certificate(tmp_path / "other")
    site = Site(tmp_path)
    site.text = config_text(tmp_path, "--tls-cert", str(own), "--tls-key", str(key))
    site.passwords = dict(_users(site.text))
    users = {
        who: {"user": name, "password": site.passwords[name]}
        for who, name in (("engine", "engine"), ("east", "sensor-east"))
    }
    with site.up() as url:
        await sensor_publishes(url.replace("nats://", "tls://"), **users, tls_ca=authority)
        await sensor_publishes(url, **users, tls_ca=authority)
        await fails(BusAuthError, url.replace("nats://", "tls://"), **users["engine"], tls_ca=other)
        await fails(BusAuthError, url.replace("nats://", "tls://"), **users["engine"])
        await fails(BusAuthError, url, user="engine", password="wrong", tls_ca=authority)


def _users(text: str) -> list[tuple[str, str]]:
    return re.findall(r'user: "([^"]+)", password: "([^"]+)"', text)


async def test_a_sensor_without_a_centre_waits(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with site.up():
        east = site.client("sensor-east")
        await east.connect()
        with pytest.raises(BusUnavailable, match="centre has to run once"):
            await east.publish_events([Event(ENDED, {"decky_id": "web1"})])
        await east.close()
