"""Every log type of OpenCanary 0.9 and older, each field with a value of its own: nothing is lost but the secrets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decnet.config import load_settings
from decnet.engine import Engine
from tests.acceptance.test_every_event_of_cowrie import IDLE_S

Fields = dict[str, Any]
SECRETS = tuple(f"clear-{i}" for i in range(20))
LINES: tuple[tuple[int, str, Fields], ...] = (
    (2000, "ftp", {"USERNAME": "sent-ftp", "PASSWORD": "clear-0"}),
    (2001, "ftp", {"USERNAME": "sent-ftp-started"}),
    (3000, "http", {"PATH": "/sent-get", "USERAGENT": "sent-agent/1", "HOSTNAME": "sent-host", "SKIN": "sent-skin", "HEADERS": {"x-sent": "sent-header", "authorization": "Basic clear-1"}}),
    (3001, "http", {"PATH": "/sent-post", "USERAGENT": "sent-agent/2", "HOSTNAME": "sent-host-2", "USERNAME": "sent-web", "PASSWORD": "clear-2", "SKIN": "sent-skin-2"}),
    (3002, "http", {"PATH": "/sent-put", "REQUEST_TYPE": "SENTPUT", "USERAGENT": "sent-agent/3", "HOSTNAME": "sent-host-3"}),
    (3003, "http", {"PATH": "/sent-redirect", "USERAGENT": "sent-agent/4", "HOSTNAME": "sent-host-4"}),
    (4000, "ssh", {"SESSION": "sent-session-4"}),
    (4001, "ssh", {"LOCALVERSION": "SSH-2.0-sentlocal", "REMOTEVERSION": "SSH-2.0-sentremote"}),
    (4002, "ssh", {"LOCALVERSION": "SSH-2.0-sentlocal2", "REMOTEVERSION": "SSH-2.0-sentremote", "USERNAME": "sent-ssh", "PASSWORD": "clear-3"}),
    (5000, "smb", {"USER": "sent-smb-user", "REMOTENAME": "sent-remote", "SHARENAME": "sent-share", "LOCALNAME": "sent-local", "SMBVER": "SENT3", "SMBARCH": "sent-arch", "DOMAIN": "SENTDOMAIN", "AUDITACTION": "sent-pread", "STATUS": "sent-ok", "FILENAME": "sent.docx"}),
    (5001, "portscan", {"PROTO": "SENTTCP", "IN": "sent-eth0", "TTL": "95052", "WINDOW": "95053"}),
    (5002, "portscan", {"PROTO": "SENT-OS"}),
    (5003, "portscan", {"PROTO": "SENT-NULL"}),
    (5004, "portscan", {"PROTO": "SENT-XMAS"}),
    (5005, "portscan", {"PROTO": "SENT-FIN"}),
    (6001, "telnet", {"USERNAME": "sent-telnet", "PASSWORD": "clear-4"}),
    (6002, "telnet", {}),
    (7001, "httpproxy", {"USERNAME": "sent-proxy", "PASSWORD": "clear-5", "URL": "http://sent-target.example/"}),
    (8001, "mysql", {"USERNAME": "sent-mysql", "PASSWORD": "clear-6"}),
    (9001, "mssql", {"UserName": "sent-mssql", "Password": "clear-7", "HostName": "sent-mssql-host", "AppName": "sent-app", "CltIntName": "sent-client", "Database": "sent-database", "Language": "sent-language", "ServerName": "sent-server"}),
    (9002, "mssql", {"USERNAME": "", "PASSWORD": ""}),
    (9003, "mysql", {"DETAIL": "sent-mysql-made"}),
    (10001, "tftp", {"FILENAME": "sent-config", "OPCODE": "SENTREAD", "MODE": "sent-octet"}),
    (11001, "ntp", {"NTP CMD": "sent-monlist"}),
    (12001, "vnc", {"VNC Server Challenge": "5e47challenge", "VNC Client Response": "5e47response", "VNC Password": "clear-8"}),
    (13001, "snmp", {"REQUESTS": ["1.3.6.1.5.1.2.94"], "COMMUNITY_STRING": "clear-9"}),
    (14001, "rdp", {"USERNAME": "sent-rdp"}),
    (15001, "sip", {"HEADERS": {"from": ["<sip:sent@nm>"], "user-agent": ["sent-sip-scanner"], "authorization": ["Digest clear-10"]}}),
    (16001, "git", {"HOST": "sent-git-host", "REPO": "sent-repo.git"}),
    (17001, "redis", {"CMD": "CONFIG", "ARGS": "SET dir /sent-dir"}),
    (17001, "redis", {"CMD": "AUTH", "ARGS": "clear-11", "ERROR": "sent-redis-error"}),
    (18001, "tcp", {"FUNCTION": "SENT_MADE", "DATA": "sent-banner", "BANNER_ID": "95181"}),
    (18002, "tcp", {"FUNCTION": "SENT_KEPT", "DATA": "sent-kept", "BANNER_ID": "95182"}),
    (18003, "tcp", {"FUNCTION": "SENT_SECRET", "DATA": "sent-came", "SECRET_STRING": "clear-12", "BANNER_ID": "95183"}),
    (18004, "tcp", {"FUNCTION": "SENT_DATA", "DATA": "sent-data", "BANNER_ID": "95184"}),
    (18005, "tcp", {"FUNCTION": "DATA_RECEIVED", "DATA": "sent-received", "ALERT_STRING": "sent-alert", "BANNER_ID": "95185"}),
    (19001, "llmnr", {"query_hostname": "SENT-WPAD", "response": "sent-answer"}),
    (20001, "mongodb", {"action": "mongodb.auth_attempt", "username": "sent-mongo", "mechanism": "SENT-PLAIN", "auth_data": "{'payload': 'clear-13'}"}),
    (20001, "mongodb", {"action": "mongodb.command", "command": "sentlistDatabases", "query": "{'sent': 1}"}),
    (20001, "mongodb", {"action": "mongodb.error", "error": "sent-mongo-error"}),
    (99000, "unknown", {"user": "sent-user-module"}),
)  # fmt: skip
HIDDEN = frozenset({"PASSWORD", "Password", "VNC Password", "COMMUNITY_STRING", "SECRET_STRING", "auth_data", "authorization"})  # fmt: skip

NO_FACTS = frozenset({"mongodb.auth_attempt", "mongodb.command", "mongodb.error", "AUTH", "clear-11"})
"""What became the kind of the fact, and a password among arguments."""


def written(path: Path) -> Path:
    rows = [
        {
            "logtype": logtype, "logdata": data, "src_host": f"192.0.2.{i}", "src_port": 40000 + i, "dst_host": "198.51.100.9",
            "dst_port": 1000 + i, "node_id": "oc-sent", "local_time": f"2026-03-01 10:00:{i % 60:02d}.000001",
        }
        for i, (logtype, _, data) in enumerate(LINES, 1)
    ]  # fmt: skip
    boot = {
        "logtype": 1001,
        "logdata": {"msg": "Canary running"},
        "src_host": "",
        "dst_host": "",
        "src_port": -1,
    }
    boot |= {"dst_port": -1, "node_id": "oc-sent", "local_time": "2026-03-01 09:00:00.000001"}
    path.write_text("".join(json.dumps(row) + "\n" for row in (boot, *rows)))
    return path


def texts(value: Any) -> list[str]:
    """The values of some fields and headers that are no secret."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() if key not in HIDDEN for text in texts(inner)]
    return [text for inner in value for text in texts(inner)] if isinstance(value, list) else [value]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    folder = tmp_path_factory.mktemp("opencanary")
    settings = load_settings(
        data_dir=folder / "data",
        bus={"type": "memory"},
        workers=("sensors", "recorder"),
        sensors=[{"kind": "opencanary", "path": str(written(folder / "opencanary.log"))}],
    )
    made = Engine(settings)
    await made.start()
    try:
        assert await made.until_idle(IDLE_S) is None
        yield made
    finally:
        await made.stop(5.0)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("at", "logtype", "service", "fields"),
    [(i, *one) for i, one in enumerate(LINES, 1)],
    ids=lambda v: str(v)[:12],
)
async def test_every_value_is_found_and_the_visit_names_its_service(
    engine: Engine, at: int, logtype: int, service: str, fields: Fields
) -> None:
    (visit,) = [s for s in await engine.repo.list_sessions(limit=0) if s["attacker_ip"] == f"192.0.2.{at}"]
    assert (visit["service"], visit["decky_id"]) == (service, "oc-sent")
    for text in (*texts(fields), str(40000 + at), str(1000 + at)):
        if text and text not in NO_FACTS:
            assert await engine.repo.find(text), f"{logtype}: {text}"


async def test_requests_of_a_visit_are_counted(engine: Engine) -> None:
    (visit,) = [s for s in await engine.repo.list_sessions(limit=0) if s["attacker_ip"] == "192.0.2.3"]
    payload = await engine.repo.session_payload(visit["session_id"])
    assert payload is not None
    assert payload["request_count"] == 1


async def test_boot_messages_are_no_loss_and_unknown_types_are_counted_by_number(engine: Engine) -> None:
    (beat,) = [row["payload"] for row in await engine.repo.heartbeats() if row["worker"] == "sensors"]
    (sensor,) = beat["sensors"]
    assert (sensor["lines"], sensor["refused"]) == (len(LINES) + 1, 0)
    assert sensor["unknown_ids"] == {"opencanary.99000": 1}


async def test_no_secret_is_anywhere_in_clear(engine: Engine) -> None:
    for secret in SECRETS:
        assert await engine.repo.find(secret) == [], secret
