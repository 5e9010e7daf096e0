"""Facts of a session that conditions can name: flat lists from its downloads, uploads and forwards. Pure.

A condition looks at one field; what Cowrie logs as lists of objects is made flat here, and every file
that came or went becomes a ``payload`` event of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from decnet.bounds import bit
from decnet.hostile import storable_text
from decnet.ttp.base import TaggerEvent

MAX_FACTS = 200
"""Items of one flat list; a sensor keeps at most 1,000."""
FACTS_CAPPED = "facts_capped"
"""The bound's name in health."""


def session_facts(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload with flat facts about files and forwards, where it has any."""
    downloads, uploads = _items(payload, "downloads"), _items(payload, "uploads")
    forwards, exploits = _items(payload, "forwards"), _items(payload, "exploits")
    facts: dict[str, Any] = {}
    if downloads:
        urls = _distinct(item.get("url") for item in downloads)
        facts |= {
            "download_count": len(downloads),
            "download_urls": urls,
            "download_hosts": _distinct(host_of(url) for url in urls),
            "download_names": _distinct(name_of(url) for url in urls),
            **_came_in(downloads),
        }
    if uploads:
        names = _distinct(name_of(item.get("filename")) for item in uploads)
        facts |= {"upload_count": len(uploads), "upload_names": names}
    if forwards:
        facts |= _forward_facts(forwards)
    if exploits:
        facts |= {
            "exploit_count": len(exploits),
            "exploit_cves": _distinct(item.get("cve") for item in exploits),
            "exploit_values": _distinct(item.get("value") for item in exploits),
        }
    return {**payload, **facts} if facts else dict(payload)


def _came_in(downloads: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Files that were really fetched, that could not be, and where what was written went."""
    done = [item for item in downloads if item.get("failed") is not True]
    return {
        "fetched_count": sum(1 for item in done if "://" in _text(item.get("url"))),
        "fetch_failed_count": len(downloads) - len(done),
        "written_paths": _distinct(item.get("destfile") for item in done),
    }


def _forward_facts(forwards: list[Mapping[str, Any]]) -> dict[str, Any]:
    ports = [port for item in forwards if type(port := item.get("port")) is int]
    return {
        "forward_count": len(forwards),
        "forward_hosts": _distinct(item.get("host") for item in forwards),
        "forward_ports": _bounded(sorted(set(ports))),
        "forward_targets": _distinct(f"{item.get('host')}:{item.get('port')}" for item in forwards),
    }


def input_events(base: TaggerEvent) -> list[TaggerEvent]:
    """What programs of the honeypot read from their standard input, line by line as commands.

    A script typed into ``cat > x.sh`` says what it would do.
    """
    found = []
    for item in _bounded(_items(base.payload, "inputs")):
        if text := _text(item.get("text")):
            source = f"{base.session_id or base.source_id}#in{_short_hash(str(item.get('ts')) + text)[:12]}"
            payload = {"command_text": text, "ts": item.get("ts"), "realm": item.get("realm")}
            found.append(base._replace(source_kind="command", source_id=source, payload=payload))
    return found


def joined_events(base: TaggerEvent) -> list[TaggerEvent]:
    """Commands that were logged as several lines, as one command each beside its lines."""
    return [
        base._replace(
            source_kind="command",
            source_id=_text(item.get("id")),
            payload={"command_text": text, "ts": item.get("ts"), "lines": item.get("lines")},
        )
        for item in _bounded(_items(base.payload, "joined"))
        if (text := _text(item.get("command_text"))) and _text(item.get("id"))
    ]


def payload_events(base: TaggerEvent) -> list[TaggerEvent]:
    """One ``payload`` event for each distinct file of a session; ``base`` is the session's own event."""
    found: dict[str, TaggerEvent] = {}
    for direction, name in (("download", "downloads"), ("upload", "uploads")):
        for item in _items(base.payload, name):
            fact = _file(direction, item)
            if fact:
                key = fact.get("sha256") or _short_hash(fact["payload_text"])
                source = f"{base.session_id or base.source_id}#payload#{key}"
                found.setdefault(source, base._replace(source_kind="payload", source_id=source, payload=fact))
    return list(found.values())


def _file(direction: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """What is known about one file; empty when neither place, name nor hash is."""
    url, given, digest = (_text(item.get(name)) for name in ("url", "filename", "sha256"))
    text = url or given or _text(item.get("destfile")) or digest
    if not text:
        return {}
    fact = {
        "direction": direction,
        "payload_text": text,
        "url": url,
        "url_host": host_of(url),
        "url_scheme": _scheme(url),
        "name": name_of(url or given or _text(item.get("destfile"))),
        "destfile": _text(item.get("destfile")),
        "failed": "yes" if item.get("failed") is True else "",
        "sha256": digest.lower(),
    }
    return {key: value for key, value in fact.items() if value}


def host_of(url: Any) -> str:
    """Host of a URL in lower case, empty when it has none."""
    try:
        return urlsplit(_text(url)).hostname or ""
    except ValueError:
        return ""


def _scheme(url: str) -> str:
    head, colon, _ = url.partition("://")
    return head.lower() if colon and head.isalnum() else ""


def name_of(path: Any) -> str:
    """Base name of a path or URL, without query and fragment."""
    text = _text(path).split("?", 1)[0].split("#", 1)[0]
    if "://" in text:
        _, _, text = text.partition("://")[2].partition("/")
    return text.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _short_hash(text: str) -> str:
    return hashlib.sha256(storable_text(text).encode()).hexdigest()[:32]


def _bounded(items: list[Any]) -> list[Any]:
    bit(FACTS_CAPPED, len(items) - MAX_FACTS)
    return items[:MAX_FACTS]


def _items(payload: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = payload.get(name)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _distinct(values: Iterable[Any]) -> list[str]:
    texts = (value for value in values if isinstance(value, str) and value)
    return _bounded(list(dict.fromkeys(texts)))
