"""An engine that asks a server on loopback instead of the services, and the log that gives it somebody to ask about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.engine import Engine
from decnet.ids import attacker_id
from tests import servicekit as kit
from tests.httpkit import Send, reply
from tests.servicekit import ADDRESS, SHA256, URL

IDLE_S = 0.3
NAMES = ("greynoise", "abuseipdb", "virustotal", "urlhaus", "threatfox", "feodo")
A = attacker_id(ADDRESS)
PATHS = {
    "greynoise": f"/v3/community/{ADDRESS}",
    "abuseipdb": f"/api/v2/check?ipAddress={ADDRESS}&maxAgeInDays=7&verbose=true",
    "virustotal": f"/api/v3/files/{SHA256}",
    "urlhaus": "/v1/host/",
    "threatfox": "/api/v1/",
    "feodo": "/downloads/ipblocklist.json",
}
ANSWERS: Mapping[str, bytes | Send] = {
    PATHS["greynoise"]: reply(200, kit.GREYNOISE_SEEN),
    PATHS["abuseipdb"]: reply(200, kit.ABUSEIPDB),
    PATHS["virustotal"]: reply(200, kit.VIRUSTOTAL),
    PATHS["urlhaus"]: reply(200, kit.URLHAUS_HOST),
    PATHS["threatfox"]: reply(200, kit.THREATFOX),
    PATHS["feodo"]: reply(200, kit.FEODO),
    "/v1/url/": reply(200, kit.URLHAUS_URL),
    "/v1/payload/": reply(200, kit.URLHAUS_FILE),
}


def lines(ip: str = ADDRESS, session: str = "a10000000001") -> list[dict[str, Any]]:
    """A session of Cowrie in which a file is fetched."""
    common = {"session": session, "src_ip": ip, "protocol": "ssh", "sensor": "pot", "message": ""}
    told = [
        {"eventid": "cowrie.session.connect", "src_port": 4010, "dst_ip": "198.51.100.31", "dst_port": 2222},
        {"eventid": "cowrie.login.success", "username": "root", "password": "x"},
        {"eventid": "cowrie.session.file_download", "url": URL, "outfile": "dl/p", "shasum": SHA256},
        {"eventid": "cowrie.session.closed", "duration": 3.0},
    ]
    return [
        {**common, **one, "timestamp": f"2026-11-29T10:00:0{n}.000000Z"} for n, one in enumerate(told)
    ]  # fmt: skip


def log_of(path: Path, *sessions: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for session in sessions for line in session))
    return path


def section(base: str, **more: Any) -> dict[str, Any]:
    return {"enabled": True, "key": "k3y", "base_url": base, "timeout_s": 2.0, **more}


def settings_for(folder: Path, base: str, *names: str, **more: Any) -> Settings:
    """Some services turned on, all at one address; a Cowrie log in the folder."""
    given: dict[str, Any] = {
        "data_dir": folder / "data",
        "bus": {"type": "memory"},
        "workers": ("sensors", "recorder", "ttp", "intel"),
        "ttp_rule_store_type": "filesystem",
        "sensors": [{"kind": "cowrie", "path": str(folder / "cowrie.json")}],
    }
    return load_settings(**{**given, **{name: section(base) for name in names}, **more})


async def ran(settings: Settings) -> Mapping[str, Any]:
    """Works until idle; the health of the worker in the end."""
    engine = Engine(settings)
    await engine.start()
    try:
        assert await engine.until_idle(IDLE_S) is None
        return engine.supervisor.runners["intel"].worker.health()
    finally:
        await engine.stop(5.0)


async def stored(settings: Settings) -> BaseRepository:
    return await BaseRepository.open(settings.db_url)
