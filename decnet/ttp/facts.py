"""Facts of a session that conditions can name: flat lists from its downloads, uploads and forwards. Pure.

A condition looks at one field; what Cowrie logs as lists of objects is made flat here, and every file
that came or went becomes a ``payload`` event of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from decnet.hostile import storable_text
from decnet.ttp.base import TaggerEvent

MAX_FACTS = 200
"""Items of one flat list; a sensor keeps at most 1,000."""


def session_facts(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload with flat facts about files and forwards, where it has any."""
    downloads, uploads = _items(payload, "downloads"), _items(payload, "uploads")
    forwards = _items(payload, "forwards")
    facts: dict[str, Any] = {}
    if downloads:
        urls = _distinct(item.get("url") for item in downloads)
        facts |= {
            "download_count": len(downloads),
            "download_urls": urls,
            "download_hosts": _distinct(host_of(url) for url in urls),
            "download_names": _distinct(name_of(url) for url in urls),
        }
    if uploads:
        names = _distinct(name_of(item.get("filename")) for item in uploads)
        facts |= {"upload_count": len(uploads), "upload_names": names}
    if forwards:
        facts |= _forward_facts(forwards)
    return {**payload, **facts} if facts else dict(payload)


def _forward_facts(forwards: list[Mapping[str, Any]]) -> dict[str, Any]:
    ports = [port for item in forwards if type(port := item.get("port")) is int]
    return {
        "forward_count": len(forwards),
        "forward_hosts": _distinct(item.get("host") for item in forwards),
        "forward_ports": sorted(set(ports))[:MAX_FACTS],
        "forward_targets": _distinct(f"{item.get('host')}:{item.get('port')}" for item in forwards),
    }


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
    text = url or given or digest
    if not text:
        return {}
    fact = {
        "direction": direction,
        "payload_text": text,
        "url": url,
        "url_host": host_of(url),
        "url_scheme": _scheme(url),
        "name": name_of(url or given),
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


def _items(payload: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = payload.get(name)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _distinct(values: Iterable[Any]) -> list[str]:
    texts = (value for value in values if isinstance(value, str) and value)
    return list(dict.fromkeys(texts))[:MAX_FACTS]
