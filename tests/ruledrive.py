"""Drives shipped rules: Cowrie log lines made from the rules' own examples and from scripted attackers.

Events of producers outside this project come from recordings in ``tests/fixtures/events``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from decnet.home import packaged_rules_dir
from decnet.ttp.kinds import DEFAULT_FIELDS
from decnet.ttp.loader import load_dir
from decnet.ttp.rules import CompiledRule

EVENTS = Path(__file__).parent / "fixtures" / "events"
START = datetime(2026, 3, 4, 5, 0, 0, tzinfo=UTC).timestamp()
EXAMPLES, AT_ONCE = 2, 50
"""Examples of one rule that are played, and commands of one session."""


@cache
def shipped() -> tuple[CompiledRule, ...]:
    """The shipped rules, read once in a test run."""
    loaded = load_dir(packaged_rules_dir())
    assert not loaded.errors
    return tuple(loaded.rules)


class CowrieLog:
    """Lines of one made-up log in order of time; every session has an address of its own unless told."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, int, dict[str, Any]]] = []
        self._sessions = 0
        self.addresses: dict[str, str] = {}
        """Address → what its sessions are there for."""

    def session(
        self,
        why: str,
        *steps: tuple[float, Mapping[str, Any]],
        ip: str = "",
        at: float = 0.0,
        pot: str = "pot-1",
    ) -> None:
        """One session: ``steps`` are (seconds after its start, fields of a line)."""
        number = self._sessions = self._sessions + 1
        address = ip or f"198.18.{number // 250}.{number % 250 + 1}"
        self.addresses[address] = why
        name, start = f"{number:012x}", START + at
        end = max((after for after, _ in steps), default=0.0) + 1.0
        connect = {"eventid": "cowrie.session.connect", "dst_port": 2222, "protocol": "ssh"}
        close = {"eventid": "cowrie.session.closed", "duration": end}
        for after, fields in ((0.0, connect), *steps, (end, close)):
            line = {**fields, "session": name, "src_ip": address, "sensor": pot}
            self._lines.append((start + after, len(self._lines), line))

    def text(self) -> str:
        """The log file."""
        out = []
        for ts, _, line in sorted(self._lines, key=lambda item: item[:2]):
            stamp = datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            out.append(json.dumps({**line, "timestamp": stamp, "message": ""}))
        return "\n".join(out) + "\n"


def login(user: str, secret: str, success: bool) -> dict[str, Any]:
    """A log-in line."""
    return {
        "eventid": f"cowrie.login.{'success' if success else 'failed'}",
        "username": user,
        "password": secret,
    }


def typed(text: str) -> dict[str, Any]:
    """A command line."""
    return {"eventid": "cowrie.command.input", "input": text}


def hello(hassh: str) -> dict[str, Any]:
    """A key exchange line."""
    return {"eventid": "cowrie.client.kex", "hassh": hassh, "kexAlgs": ["curve25519-sha256"]}


def scripted(log: CowrieLog) -> None:
    """Attackers whose log-ins, returns and clients the lifters look at."""
    fails = [(i * 0.5, login("root", f"guess-{i}", False)) for i in range(120)]
    log.session("brute force, then in", *fails, (62.0, login("root", "let-me-in", True)))
    log.session(
        "one secret on many users", *((i * 1.0, login(f"user{i}", "Summer2026!", False)) for i in range(21))
    )
    for pot in ("pot-1", "pot-2"):
        log.session(
            "one pair on two decoys", (1.0, login("deploy", "only-here", True)), ip="198.19.0.1", pot=pot
        )
    log.session("default pair", (1.0, login("root", "root", True)))
    for i in range(30):
        log.session("thirty sessions a minute", (0.5, login("x", "y", False)), ip="198.19.0.4", at=i * 1.9)
    for i in range(10):
        log.session("regular returns", (1.0, login("x", "y", False)), ip="198.19.0.2", at=i * 60.0)
    guesses = 6
    for i in range(guesses):
        log.session(
            "guesses, then at work", (1.0, login("root", f"try-{i}", False)), ip="198.19.0.3", at=i * 5.0
        )
    work = ((1.0, login("root", "at-last", True)), (3.0, typed("uname -a")), (4.0, typed("nproc")))
    log.session("guesses, then at work", *work, ip="198.19.0.3", at=60.0)
    for hassh in ("b5752e36ba6c5979a575e43178908adf", "16f898dd8ed8279e1055350b4e20666c"):
        log.session("client library", (1.0, hello(hassh)))
    key = {
        "eventid": "cowrie.session.file_download",
        "destfile": "/root/.ssh/authorized_keys",
        "shasum": "cd" * 32,
    }
    log.session("key through a redirect", (1.0, login("root", "a", True)), (2.0, key))
    flaw = {
        "eventid": "cowrie.telnet.exploit_attempt",
        "cve": "CVE-2026-24061",
        "name": "USER",
        "value": "-f root",
    }
    log.session("flaw tried", (1.0, flaw))
    key_login = {"eventid": "cowrie.login.success", "username": "root", "key": "ssh-rsa AAAAB3NzaC1yc2E"}
    log.session("log-in by a key", (1.0, key_login))
    asking = (typed(f"curl -s https://victim.example.net/?q={i}") for i in range(1000))
    log.session("flood of requests", *((1.0 + i, line) for i, line in enumerate(asking)))


def examples(log: CowrieLog, rules: Iterable[CompiledRule]) -> None:
    """Plays what rules say themselves that they match, as far as Cowrie can log it.

    Single commands share a few sessions; a session of its own has what needs several events or other lines.
    """
    commands: list[str] = []
    for rule in rules:
        if rule.lifter is not None:
            continue
        for example in rule.tests_match[:EXAMPLES]:
            if isinstance(example, str) and rule.applies_to == {"command"} and rule.correlation is None:
                commands.append(example)
            else:
                _play(log, rule, example)
    for i in range(0, len(commands), AT_ONCE):
        steps = ((float(n + 1), typed(text)) for n, text in enumerate(commands[i : i + AT_ONCE]))
        log.session("commands", *steps)


def _play(log: CowrieLog, rule: CompiledRule, example: Any) -> None:
    for kind in sorted(rule.applies_to):
        steps = list(_steps(kind, example))
        if steps:
            log.session(rule.rule_id, *steps)


def _steps(kind: str, example: Any) -> Iterable[tuple[float, dict[str, Any]]]:
    whole = example.get("session") if isinstance(example, Mapping) else None
    parts = whole or (example if isinstance(example, list) else [example])
    for i, part in enumerate(parts):
        payload = {DEFAULT_FIELDS.get(kind, "text"): part} if isinstance(part, str) else dict(part)
        after = float(payload.pop("at", i)) + 1.0
        for line in _lines(str(payload.pop("source_kind", kind)), payload):
            yield after, line


def _lines(kind: str, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lines of a real log from which the sensors and the recorder make such a payload."""
    if kind == "command" and "command_text" in payload:
        return [typed(str(payload["command_text"]))]
    if kind == "auth_attempt" and "username" in payload:
        return [login(str(payload["username"]), "unheard-of", bool(payload.get("success", False)))]
    if kind == "payload":
        return _PAYLOADS.get(str(payload.get("direction")), _file)(payload)
    return _session_lines(payload) if kind == "session" else []


def _tunnel(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A connection through the host, and what was said to tell its protocol by."""
    place = {"dst_ip": payload["host"], "dst_port": payload["port"]}
    said = {"smtp": "b'EHLO x\\r\\n'", "http": "b'GET / HTTP/1.1\\r\\n'"}
    data = [
        {"eventid": "cowrie.direct-tcpip.data", "data": said[name], **place}
        for name in payload.get("spoke", ())
    ]
    return [{"eventid": "cowrie.direct-tcpip.request", **place}, *data]


def _flaw(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    line = {"value": payload.get("payload_text", "-f root"), "name": payload.get("name", "USER")}
    return [{"eventid": "cowrie.telnet.exploit_attempt", "cve": payload.get("cve"), **line}]


def _file(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = str(payload.get("url") or payload.get("payload_text") or payload.get("name") or "")
    if not text and payload.get("url_host"):
        text = f"http://{payload['url_host']}/{payload.get('name', 'x')}"
    if payload.get("url_scheme") and "://" not in text:
        text = f"{payload['url_scheme']}://203.0.113.200/{text}"
    digest = str(payload.get("sha256") or "d" * 64)
    dest = {"destfile": payload["destfile"]} if payload.get("destfile") else {}
    came = f"cowrie.session.file_download{'.failed' if payload.get('failed') else ''}"
    if payload.get("direction") == "download" and "://" not in text:
        return [{"eventid": came, "shasum": digest, **dest}]
    if payload.get("direction") == "upload" or not urlsplit(text).scheme:
        return [{"eventid": "cowrie.session.file_upload", "filename": text, "shasum": digest, **dest}]
    return [{"eventid": came, "url": text, "shasum": digest, **dest}]


_PAYLOADS = {"forward": _tunnel, "exploit": _flaw}


def _session_lines(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    urls = list(payload.get("download_urls", ()))
    urls += [f"http://{host}/x" for host in payload.get("download_hosts", ())]
    urls += [f"http://203.0.113.200/{name}" for name in payload.get("download_names", ())]
    came = _filled(urls, payload.get("download_count"), "http://203.0.113.200/{}")
    lines = [line for url in came for line in _file({"url": url})]
    names = _filled(list(payload.get("upload_names", ())), payload.get("upload_count"), "file{}")
    lines += [line for name in names for line in _file({"direction": "upload", "name": name})]
    targets = [str(target).rpartition(":")[::2] for target in payload.get("forward_targets", ())]
    hosts, ports = list(payload.get("forward_hosts", ())), list(payload.get("forward_ports", ()))
    size = max(len(hosts), len(ports))
    targets += [
        (hosts[i] if i < len(hosts) else "203.0.113.201", str(ports[i] if i < len(ports) else 443))
        for i in range(size)
    ]
    wanted = int(payload.get("forward_count") or 0)
    targets += [("203.0.113.201", str(1000 + i)) for i in range(max(wanted - len(targets), 0))]
    forwards = [
        {"eventid": "cowrie.direct-tcpip.request", "dst_ip": host, "dst_port": int(port)}
        for host, port in targets
    ]
    return lines + forwards + _client_lines(payload)


def _client_lines(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    client = payload.get("client")
    version = payload.get("client.version") or (
        client.get("version") if isinstance(client, Mapping) else None
    )
    return [{"eventid": "cowrie.client.version", "version": version}] if version else []


def _filled(given: list[Any], count: Any, pattern: str) -> list[str]:
    missing = int(count or 0) - len(given)
    return [*map(str, given), *(pattern.format(i) for i in range(missing))]
