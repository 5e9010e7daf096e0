"""Every event of Cowrie's own reference, each documented field with a value of its own: nothing is lost on the way.

The log goes through the real pipeline; a value has arrived when ``find`` finds it or the session's detail has it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decnet.config import load_settings
from decnet.engine import Engine
from decnet.ids import attacker_id
from decnet.sensors.cowrie import EVENTS
from decnet_tui.cli.session import lines_of

IDLE_S = 0.4
START = 1_772_359_200
SHA = {
    name: f"{i:02x}" * 32 for i, name in enumerate(("download", "redirect", "sftp", "scp", "tty", "vt"), 1)
}
Fields = dict[str, Any]

REFERENCE: tuple[tuple[str, Fields], ...] = (
    ("session.connect", {"src_port": 40001, "dst_ip": "198.51.100.31", "dst_port": 42223}),
    ("client.version", {"version": "SSH-2.0-sentinelclient_1"}),
    (
        "client.kex",
        {
            "hassh": "a1" * 16, "hasshAlgorithms": "sent-kex;sent-enc;sent-mac;sent-comp", "kexAlgs": ["sent-kex-1"], "keyAlgs": ["sent-key-1"],
            "encCS": ["sent-enc-1"], "macCS": ["sent-mac-1"], "compCS": ["sent-comp-1"], "langCS": ["sent-lang-1"],
        },
    ),
    ("client.size", {"width": 143, "height": 57}),
    ("client.var", {"name": "SENTVAR", "value": "sent-var-value"}),
    ("client.malformed_packet", {"messagenum": 94001, "datalen": 94002, "data": "deadbeef94"}),
    ("client.fingerprint", {"username": "sent-keyuser", "fingerprint": "5e:47:aa", "key": "AAAAsentkey", "type": "ssh-sent"}),
    ("login.failed", {"username": "sent-failed", "password": "clear-one"}),
    ("login.success", {"username": "sent-success", "password": "clear-two"}),
    ("session.params", {"arch": "sent-arch-x64-lsb"}),
    ("command.input", {"input": "echo sent-command"}),
    ("command.success", {"input": "sentprogram --good"}),
    ("command.failed", {"input": "sentmissing --bad"}),
    ("command.chpasswd", {"realm": "chpasswd", "username": "sent-chpasswd", "password": "clear-three"}),
    ("session.input", {"realm": "sentcat", "input": "sent-typed-line"}),
    (
        "session.file_download",
        {"url": "http://203.0.113.9/sent.sh", "outfile": "dl/sent-out-1", "shasum": SHA["download"], "destfile": "/tmp/sent-dest-1", "duplicate": False},
    ),
    ("session.file_download", {"outfile": "dl/sent-out-2", "shasum": SHA["redirect"], "destfile": "/root/.ssh/sent-keys"}),
    ("session.file_download.failed", {"url": "http://203.0.113.9/sent-nope", "error": "sent-error-404"}),
    (
        "session.file_upload",
        {"filename": "sent-sftp", "outfile": "dl/sent-out-3", "shasum": SHA["sftp"], "destfile": "/opt/sent-dest-3", "url": "sent-upload-url"},
    ),
    ("session.file_upload", {"filename": "sent-scp", "outfile": "dl/sent-out-4", "shasum": SHA["scp"]}),
    ("direct-tcpip.request", {"dst_ip": "203.0.113.51", "dst_port": 41443, "orig_ip": "127.0.0.51", "orig_port": 45551}),
    ("direct-tcpip.request", {"dst_ip": "203.0.113.52", "dst_port": 41025, "src_ip": "10.9.8.7", "src_port": 45552}),
    ("direct-tcpip.redirect", {"dst_ip": "203.0.113.52", "dst_port": 41025, "orig_ip": "127.0.0.52", "orig_port": 45553, "new_ip": "192.0.2.152", "new_port": 42525}),
    ("direct-tcpip.tunnel", {"dst_ip": "203.0.113.53", "dst_port": 41080, "orig_ip": "127.0.0.53", "orig_port": 45554, "new_ip": "192.0.2.153", "new_port": 43128}),
    ("direct-tcpip.data", {"dst_ip": "203.0.113.52", "dst_port": 41025, "data": "b'EHLO sent-data'", "id": 48001}),
    ("direct-tcpip.ja4", {"dst_ip": "203.0.113.51", "dst_port": 41443, "ja4": "t13i190800_5e4712345678_97f8aa674fd9"}),
    ("direct-tcpip.ja4h", {"dst_ip": "203.0.113.53", "dst_port": 41080, "ja4h": "ge11cn060000_5e4700000000_4da5efaf0cbd_000000000000"}),
    ("tunnelproxy-tcpip.data", {"data": "b'CONNECT sent-tunnel'"}),
    ("telnet.exploit_attempt", {"cve": "CVE-2026-24061", "name": "SENTUSER", "value": "-f sentroot"}),
    (
        "telnet.exploit_success",
        {"cve": "CVE-2026-99999", "username": "sent-exploited", "original_username": "-f sent-original", "attempted_command": "id; echo sent-attempted"},
    ),
    ("telnet.option", {"command": "WILL-sent", "option_name": "SENT-OPTION", "option_byte": 95039}),
    ("telnet.error", {"error": "sent-telnet-error"}),
    ("log.open", {"ttylog": "log/tty/sent-open.log"}),
    ("log.closed", {"ttylog": "log/tty/sent-closed.log", "size": 96096, "shasum": SHA["tty"], "duplicate": True, "duration": 96.5}),
    ("reversedns.connect", {"ptr": "sent.ptr.example", "ttl": 97301}),
    ("reversedns.forward", {"dst_ip": "203.0.113.54", "ptr": "sent.forward.example", "ttl": 97302}),
    (
        "virustotal.scanfile",
        {"sha256": SHA["vt"], "is_new": "sent-no", "positives": 98047, "total": 98060, "scan_date": "2026-02-03", "scans": {"SentAV": "trojan.sent"}, "permalink": "https://vt.example/sent-file"},
    ),
    ("virustotal.scanurl", {"url": "http://203.0.113.9/sent-scanned", "is_new": "sent-new", "positives": 98003, "total": 98090, "permalink": "https://vt.example/sent-url"}),
    ("greynoise.result", {"message": "GreyNoise: 192.0.2.44 has been observed scanning the Internet. GreyNoise classification is malicious and the believed owner is SentOwner"}),
    ("abuseipdb.started", {"message": "AbuseIPDB Plugin version 9.sent started."}),
    ("abuseipdb.reportedip", {"IP": "192.0.2.44", "confidence": 83}),
    ("abuseipdb.reportfail", {"IP": "192.0.2.45", "response": 94290, "reason": "sent-too-many"}),
    ("abuseipdb.ratelimited", {"retry_after": 93600, "wake_at": "2026-03-02T00:00:00Z"}),
    ("abuseipdb.wakeup", {"message": "AbuseIPDB plugin resuming sent-activity"}),
    ("virustotal.scanfile", {"sha256": SHA["download"], "is_new": "false", "positives": 98041, "total": 98062, "scan_date": "2026-02-04"}),
    ("virustotal.scanurl", {"url": "http://203.0.113.9/sent.sh", "is_new": "true"}),
    ("greynoise.result", {"message": "GreyNoise: 192.0.2.44 belongs to a benign service or provider. The owner is SentOwner."}),
    ("greynoise.result", {"IP": "192.0.2.44", "tag": "SENT_WORM", "conf": "sent-high", "meta": {"category": "sent-worm"}}),
    ("urlhaus.submitted", {"url": "http://203.0.113.9/sent-urlhaus", "result": "sent-queued"}),
    ("malwarebazaar.submitted", {"sha256": "ee" * 32, "result": "sent-inserted", "query_status": "sent-ok"}),
    ("proxy.backend_connected", {"backend_ip": "10.1.1.1", "backend_port": 42201, "local_ip": "10.1.1.2", "local_port": 42202}),
    ("proxy.backend_connect_error", {"backend_ip": "10.1.1.3", "backend_port": 42203, "error": "sent-refused"}),
    ("proxy.backend_disconnected", {"backend_ip": "10.1.1.4", "backend_port": 42204, "local_ip": "10.1.1.5", "local_port": 42205}),
    ("proxy.client_disconnect", {"vm_id": 99501, "honey_ip": "10.1.1.6", "honey_port": 42206}),
    ("proxy.ssh", {"direction": "SENT -> BACKEND", "packet": "SSH_MSG_SENT", "payload": "b'sent-payload'"}),
    ("session.closed", {"duration": 321.25}),
)  # fmt: skip
"""Event ids of docs/OUTPUT (2.3 to 3.1) and of the catalogue that Cowrie 3.1 checks it against, with their attributes."""
SECRETS = ("clear-one", "clear-two", "clear-three")
CLEAR = frozenset({"password"})
LATE = 4


def written(path: Path, lines: tuple[tuple[str, Fields], ...] = REFERENCE) -> Path:
    """The log of one session that has everything happen to it."""
    shared = {"sensor": "pot.sent", "uuid": "5e47-uuid", "session": "5e4700000001", "src_ip": "192.0.2.44", "protocol": "ssh"}  # fmt: skip
    rows = [
        {"eventid": f"cowrie.{name}", "timestamp": START + i, **shared, "message": name, **fields}
        for i, (name, fields) in enumerate(lines)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with path.open("a") as log:
        log.writelines(late(number) for number in range(LATE))
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    folder = tmp_path_factory.mktemp("reference")
    settings = load_settings(
        data_dir=folder / "data",
        bus={"type": "memory"},
        workers=("sensors", "recorder", "ttp"),
        ttp_rule_store_type="filesystem",
        sensors=[{"kind": "cowrie", "path": str(written(folder / "cowrie.json"))}],
    )
    made = Engine(settings)
    await made.start()
    try:
        assert await made.until_idle(IDLE_S) is None
        yield made
    finally:
        await made.stop(5.0)


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def detail(engine: Engine) -> dict[str, Any]:
    (session,) = await engine.repo.list_sessions(limit=0)
    payload = await engine.repo.session_payload(session["session_id"])
    assert payload is not None
    return payload


def late(number: int) -> str:
    """What a service answers some seconds after the session has closed."""
    row = {
        "eventid": "cowrie.new.answer",
        "timestamp": START + 60 + number,
        "session": "5e4700000001",
        "said": f"sent-late-{number}",
    }
    return json.dumps(row) + "\n"


def values(fields: Fields) -> list[str]:
    """The texts in some fields; a password is none that may be there."""
    found: list[str] = []
    for key, value in fields.items():
        if key not in CLEAR:
            some = (
                value
                if isinstance(value, list)
                else next(iter(value.items()))
                if isinstance(value, dict)
                else [value]
            )
            found += [str(one) for one in some if not isinstance(one, bool)]
    return found


@pytest.mark.parametrize(
    ("name", "fields"), REFERENCE, ids=[f"{i}-{n}" for i, (n, _) in enumerate(REFERENCE)]
)
async def test_every_value_of_every_event_is_found_or_stands_in_the_session(
    engine: Engine, name: str, fields: Fields
) -> None:
    told = json.dumps(await detail(engine))
    for value in values(fields):
        rows = await engine.repo.find(value)
        assert rows or value in told, f"{name}: {value}"
        if not value.replace(".", "").isdigit():
            assert rows, f"{name}: {value} is in the session, but cannot be found"


async def test_what_providers_answered_is_intel_of_the_address(engine: Engine) -> None:
    """An answer that reports failed, or that something was sent, is none."""
    ((ts, payload),) = await engine.repo.intel_of([attacker_id("192.0.2.44"), attacker_id("192.0.2.45")])
    assert payload == {
        "attacker_uuid": attacker_id("192.0.2.44"), "attacker_ip": "192.0.2.44", "providers": ["abuseipdb", "greynoise"],
        "abuseipdb_score": 83.0, "greynoise_classification": "malicious", "greynoise_name": "SentOwner",
        "greynoise_tags": ["RIOT", "SENT_WORM"],
    }  # fmt: skip
    assert ts == START + [name for name, _ in REFERENCE].index("urlhaus.submitted") - 1


@pytest.mark.parametrize("value", [SHA["download"], SHA["vt"]])
async def test_a_hash_is_found_in_what_virustotal_said_of_it(engine: Engine, value: str) -> None:
    (session,) = await engine.repo.list_sessions(limit=0)
    assert {row["session_id"] for row in await engine.repo.find(value)} == {session["session_id"]}
    extras = [
        x["fields"] for x in (await detail(engine))["extras"] if x["eventid"] == "cowrie.virustotal.scanfile"
    ]
    assert value in [fields["sha256"] for fields in extras]


async def test_no_line_is_refused_or_unknown(engine: Engine) -> None:
    (beat,) = [row["payload"] for row in await engine.repo.heartbeats() if row["worker"] == "sensors"]
    (sensor,) = beat["sensors"]
    assert (sensor["refused"], sensor["homeless"]) == (0, 0)
    assert sensor["unknown_ids"] == {"cowrie.new.answer": LATE}, (
        "of the reference none, and what is new by its name"
    )
    assert {name for name, _ in REFERENCE} <= EVENTS.keys()


@pytest.mark.parametrize("number", range(LATE))
async def test_what_is_said_after_the_end_is_kept_as_well(engine: Engine, number: int) -> None:
    (row,) = await engine.repo.find(f"sent-late-{number}")
    assert row["kind"] == "other"


async def test_the_command_that_shows_a_session_tells_every_list_of_it(engine: Engine) -> None:
    told = await detail(engine)
    assert await engine.repo.sessions_named("5e4700000001") == [told["session_id"]]
    assert await engine.repo.sessions_named(told["session_id"][:8]) == [told["session_id"]]
    assert await engine.repo.sessions_named(told["session_id"][:3]) == []
    shown = "\n".join(lines_of({**told, "tags": await engine.repo.list_tags(limit=0)}))
    for text in (
        "echo sent-command", "sent-typed-line", "sent-sftp", "http://203.0.113.9/sent-nope", "b'EHLO sent-data'", "CVE-2026-99999",
        "SentOwner", "5e4700000001", "virustotal=98041/98062 (scanned 2026-02-04)  virustotal=not known there", "SSH-2.0-sentinelclient_1", "T1190 (R0294)",
    ):  # fmt: skip
        assert text in shown, text
    hostile = {**told, "inputs": [{"text": "\x1b]0;x\x07"}]}
    assert "\x1b" not in "\n".join(lines_of(hostile))


@pytest.mark.parametrize("secret", SECRETS)
async def test_no_password_is_anywhere_in_clear(engine: Engine, secret: str) -> None:
    assert await engine.repo.find(secret) == []
    assert secret not in json.dumps(await detail(engine))
