"""Bytes for every producer that ships: lines of logs, files of an inbox, connections to our own decoys.

Each attacker has an address of its own, by which a test knows who produced what.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from decnet.db.repository import BaseRepository
from decnet.decoys.http.listener import CanaryHttp
from decnet.ids import attacker_id
from decnet.sensors.formats.shelf import shipped
from tests.decoykit import SLUG, Clock, token
from tests.mailkit import case, case_bytes
from tests.smtpkit import Client, sent

MAIL_PEERS = {"A1": "127.0.0.41", "A2": "127.0.0.42"}
CANARY_PEER, PROXY = "127.0.0.50", "127.0.0.49"
ABROAD = "9.9.9.9"
OPENCANARY = "opencanary"
_AT = "2026-03-04 06:{:02}:00.000001"


def opencanary_log(path: Path) -> list[str]:
    """Requests, a file over TFTP, an answer to a name that nobody has; the addresses that they come from."""
    asked = [
        ("203.0.113.140", 3000, 80, {"PATH": "/var/run/secrets/kubernetes.io/serviceaccount/token", "USERAGENT": "curl/8.5"}),
        ("203.0.113.141", 3000, 80, {"PATH": "/.git/config", "USERAGENT": "python-requests/2.31.0"}),
        ("203.0.113.142", 3000, 80, {"PATH": "/", "USERAGENT": "sqlmap/1.7.2#stable (https://sqlmap.org)"}),
        ("203.0.113.143", 3000, 80, {"PATH": "/vendor/phpunit/src/Util/PHP/eval-stdin.php", "USERAGENT": "Mozilla/5.0"}),
        ("203.0.113.144", 10001, 69, {"FILENAME": "cisco-rtr1-confg", "MODE": "octet", "OPCODE": "READ"}),
        ("203.0.113.145", 19001, 5355, {"query": "WPAD", "response": "203.0.113.145"}),
    ]  # fmt: skip
    lines = [
        {"dst_host": "192.0.2.9", "dst_port": port, "node_id": "oc-1", "src_host": ip, "src_port": 40_000,
         "logtype": logtype, "logdata": data, "utc_time": _AT.format(number)}
        for number, (ip, logtype, port, data) in enumerate(asked)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [ip for ip, *_ in asked]


def packets_log(path: Path) -> list[str]:
    """What sensors of packets say that no sample of their tables does: much taken away, headers of implants."""
    flow = {"flow_id": 99, "event_type": "http", "src_ip": "203.0.113.150", "src_port": 40_100, "dest_ip": "192.0.2.9",
            "dest_port": 80, "proto": "TCP"}  # fmt: skip
    got = {
        "hostname": "192.0.2.9",
        "url": "/backup.tar",
        "http_method": "GET",
        "status": 200,
        "length": 2**27,
    }
    eve = {**flow, "timestamp": "2026-03-04T05:40:00.000001+0000", "http": got}
    path.write_text(json.dumps(eve) + "\n")
    return ["203.0.113.150"]


def zeek_log(path: Path) -> list[str]:
    """Requests of implants, as Zeek's package for header fingerprints writes them."""
    prints = ("ge11cn060000_4e59edc1297a_4da5efaf0cbd", "ge11cn020000_9ed1ff1f7b03_cd8dafe26982")
    lines = [
        {"ts": 1772602600.5 + n, "uid": f"CX{n}", "id.orig_h": f"203.0.113.16{n}", "id.orig_p": 41_000, "id.resp_h": "192.0.2.9",
         "id.resp_p": 80, "method": "GET", "host": "192.0.2.9", "uri": "/a", "ja4h": value}
        for n, value in enumerate(prints)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [str(line["id.orig_h"]) for line in lines]


def sample_addresses(names: Iterable[str]) -> dict[str, str]:
    """Address → the table in whose sample it is."""
    found: dict[str, str] = {}
    for name in names:
        for ip in set(re.findall(r"203\.0\.113\.\d+", shipped().tables[name].sample)):
            found.setdefault(ip, f"table {name}")
    return found


def put_lists(inbox: Path, known: list[str]) -> None:
    """Exports about five attackers that were seen here; of the last two one is called malicious, the other is not."""
    reports = [{"categories": [18, 22]}]
    put(
        inbox,
        "noise",
        [{"ip": known[0], "classification": "malicious", "tags": ["Mirai", "SSH Bruteforcer"]}],
    )
    put(inbox, "feodo", [{"ip_address": known[1], "malware": "Dridex", "last_online": "2026-03-04"}])
    fox = {"ioc_value": f"{known[2]}:443", "ioc_type": "ip:port", "threat_type": "botnet_cc",
           "malware_printable": "Dridex", "confidence_level": 100}  # fmt: skip
    put(inbox, "fox", {"1": [fox]})
    abuse = [
        {"ipAddress": known[3], "abuseConfidenceScore": 74, "reports": reports},
        {"ipAddress": known[4], "abuseConfidenceScore": 76, "reports": reports},
    ]
    put(inbox, "abuse", {"data": abuse})


def put(inbox: Path, name: str, content: Any) -> None:
    """Writes beside the folder's names and renames, as its writers do."""
    part = inbox / f"{name}.json.part"
    part.write_text(json.dumps(content))
    part.rename(inbox / f"{name}.json")


async def send_mails(port: int) -> None:
    """The cases of mail, the first one twice, over a socket of an address of its own each."""
    for name, times in (("A1", 2), ("A2", 1)):
        one = case(name)
        said = one["input"]["envelope"]
        streams = await asyncio.open_connection("127.0.0.1", port, local_addr=(MAIL_PEERS[name], 0))
        client = Client(*streams)
        await client.answer()
        await client.say(f"EHLO {said['helo']}")
        for _ in range(times):
            answer = await sent(client, case_bytes(one), *said["rcpt"], mail_from=said["mail_from"])
            assert answer.startswith("250"), answer
        await client.close()


async def open_bait(repo: BaseRepository, listener: CanaryHttp) -> None:
    """A remote controlled browser, three times in an hour from three time zones, and one behind a proxy of its own.

    That one comes through a proxy of ours, which says whose it is.
    """
    clock = Clock(time.time())
    listener._place = replace(listener._place, clock=clock)
    port = listener.port
    await repo.canary_add(token("page-1", SLUG, kind="page"))
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) HeadlessChrome/120.0"
    told = {
        "webdriver": True,
        "automation": "puppeteer",
        "platform": "Linux x86_64",
        "ua": agent,
        "lang": "en-US",
    }
    for zone in ("Europe/Berlin", "Asia/Tokyo", "America/Lima"):
        await _report(port, CANARY_PEER, {**told, "tz": zone}, agent)
        clock.now += 1200
    await _report(
        port, PROXY, {"rtc": ["192.168.1.4", "8.8.8.8"], "ua": "Mozilla/5.0"}, "Mozilla/5.0", ABROAD
    )


async def _report(port: int, source: str, report: Mapping[str, Any], agent: str, behind: str = "") -> None:
    forwarded = f"X-Forwarded-For: {behind}\r\n" if behind else ""
    head = f"Host: files.example\r\nUser-Agent: {agent}\r\n{forwarded}"
    script = await asked(port, f"GET /i/{SLUG}/s.js HTTP/1.1\r\n{head}\r\n".encode(), source)
    nonce = re.search(rb"r\?n=([0-9a-f]{32})", script)
    assert nonce is not None
    body = json.dumps(report).encode()
    line = f"POST /i/{SLUG}/r?n={nonce[1].decode()} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    assert b" 200 " in await asked(port, line.encode() + body, source)


async def asked(port: int, raw: bytes, source: str) -> bytes:
    """All that a port of ours answers to an address."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    writer.write(raw)
    answer = await asyncio.wait_for(reader.read(-1), 10)
    writer.close()
    return answer


def by_attacker(addresses: Mapping[str, str]) -> dict[str, str]:
    """Attacker id → producer, of addresses with theirs."""
    return {attacker_id(ip): producer for ip, producer in addresses.items()}
