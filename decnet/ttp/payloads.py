"""What came, left or was tried in a session beside its commands, one ``payload`` event for each thing. Pure.

Files that were sent or fetched (or could not be), connections through the host, attempts at known weaknesses.
What any of them means is a rule's business.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from decnet.events.session import Download, Exploit, Forward, SessionEnded, Upload
from decnet.hostile import storable_text
from decnet.shell.assets import host_of
from decnet.ttp.base import TaggerEvent
from decnet.ttp.facts import name_of

MAX_KEY = 200
"""Characters of what names a thing in its source id; of a longer name it is a hash."""
_SPOKEN: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("smtp", re.compile(r"(?i)\A(?:b['\"])?(?:EHLO|HELO|MAIL FROM|RCPT TO|AUTH LOGIN)\b")),
    ("http", re.compile(r"\A(?:b['\"])?(?:GET|POST|HEAD|PUT|OPTIONS|CONNECT|DELETE|PRI) ")),
    ("tls", re.compile(r"\A(?:b['\"])?(?:\\x16\\x03|\x16\x03)")),
    ("ssh", re.compile(r"\A(?:b['\"])?SSH-\d")),
)
_INSIDE = tuple(
    ip_network(net)
    for net in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10",
        "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip
"""Addresses that are reached from inside only."""
_INSIDE_NAME = re.compile(r"(?:localhost|[^.:]+|.*\.(?:local|lan|internal|localdomain|home\.arpa))\.?\Z")
_SEVERAL = frozenset({"payload_text", "url", "url_host", "url_scheme", "name", "destfile"})
Fields = dict[str, Any]


def payload_events(base: TaggerEvent, session: SessionEnded) -> list[TaggerEvent]:
    """One event for each distinct file, target and weakness; ``base`` is the session's own event."""
    found: dict[str, TaggerEvent] = {}
    for key, fields in (*_files(session), *_forwards(session.forwards), *_exploits(session.exploits)):
        source = f"{session.session_id}#{fields['direction']}#{_named(key)}"
        if source in found:
            _merge(found[source].payload, fields)
        else:
            found[source] = base._replace(source_kind="payload", source_id=source, payload=fields)
    return list(found.values())


def _merge(known: Fields, more: Fields) -> None:
    """One thing that came twice: what differs is a list, the earliest time stands, and failing adds nothing."""
    if more.get("failed") and not known.get("failed"):
        return
    for name, value in more.items():
        old = known.setdefault(name, value)
        if name == "ts":
            known[name] = min(old, value)
        elif name in _SEVERAL and value != old:
            values = old if isinstance(old, list) else [old]
            known[name] = values if value in values else [*values, value]


def _files(session: SessionEnded) -> Iterator[tuple[str, Fields]]:
    """Files with what names them; of one address that failed and then came, the one that came."""
    files: list[Download | Upload] = [
        *sorted(session.downloads, key=lambda item: item.failed),
        *session.uploads,
    ]
    for item in files:
        fields = _file(item)
        if fields:
            yield fields.get("sha256") or fields["payload_text"], fields


def _file(item: Download | Upload) -> Fields:
    """What is known about one file; empty when neither place, name nor hash is."""
    came = isinstance(item, Download)
    url, given = (item.url, "") if isinstance(item, Download) else ("", item.filename)
    dest, digest = item.destfile or "", item.sha256 or ""
    text = url or given or dest or digest
    if not text:
        return {}
    return _said(
        direction="download" if came else "upload",
        payload_text=text,
        url=url,
        url_host=host_of(url),
        url_scheme=_scheme(url),
        name=name_of(url or given or dest),
        destfile=dest,
        failed="yes" if isinstance(item, Download) and item.failed else "",
        error=(item.error or "") if isinstance(item, Download) else "",
        sha256=digest.lower(),
        ts=_seconds(item.ts),
    )


def _forwards(forwards: Sequence[Forward]) -> Iterator[tuple[str, Fields]]:
    """Targets of connections, with the protocols that were spoken to them; what was said stays with the session."""
    spoken: dict[str, set[str]] = {}
    for item in forwards:
        spoken.setdefault(_target(item), set()).update(_protocols(item))
    for item in forwards:
        target = _target(item)
        if target:
            host = item.host.lower()
            where = _said(
                direction="forward", payload_text=target, host=host, port=item.port, place=_place(host)
            )
            yield target, where | _said(spoke=sorted(spoken[target]), ts=_seconds(item.ts))


def _target(item: Forward) -> str:
    port = "" if item.port is None else f":{item.port}"
    return f"{item.host.lower()}{port}" if item.host else ""


def _place(host: str) -> str:
    """``inside`` or ``outside``: whether it takes the host to get there."""
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return "inside" if _INSIDE_NAME.match(host) else "outside"
    address = getattr(address, "ipv4_mapped", None) or address
    return "inside" if any(address in net for net in _INSIDE) else "outside"


def _protocols(item: Forward) -> Iterator[str]:
    yield from (name for name, pattern in _SPOKEN if item.data and pattern.match(item.data))
    if item.ja4:
        yield "tls"
    if item.ja4h:
        yield "http"


def _exploits(exploits: Iterable[Exploit]) -> Iterator[tuple[str, Fields]]:
    """Weaknesses that were tried, by CVE; the attempt that succeeded speaks for the others."""
    for item in sorted(exploits, key=lambda item: not item.success):
        text = item.value or item.command or item.username or ""
        key = item.cve or item.name or text
        if key:
            yield (
                key,
                _said(
                    direction="exploit",
                    payload_text=text or key,
                    cve=item.cve,
                    name=item.name,
                    success="yes" if item.success else "",
                    ts=_seconds(item.ts),
                ),
            )


def _said(**fields: Any) -> Fields:
    return {name: value for name, value in fields.items() if value not in ("", None, [])}


def _seconds(ts: float | None) -> float | None:
    return None if ts is None else float(ts)


def _scheme(url: str) -> str:
    head, colon, _ = url.partition("://")
    return head.lower() if colon and head.isalnum() else ""


def _named(key: str) -> str:
    text = storable_text(key)
    return text if len(text) <= MAX_KEY else hashlib.sha256(text.encode()).hexdigest()[:32]
