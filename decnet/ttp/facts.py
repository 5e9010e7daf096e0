"""Facts of a session that conditions can name: flat lists from its downloads, uploads and forwards. Pure.

A condition looks at one field; what Cowrie logs as lists of objects is made flat here. Every file, target and
weakness is an event of its own besides: :mod:`decnet.ttp.payloads`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from decnet.bounds import bit
from decnet.events.session import Download, Forward, SessionEnded
from decnet.hostile import storable_text
from decnet.shell.assets import host_of
from decnet.ttp.base import TaggerEvent

T = TypeVar("T")
MAX_FACTS = 200
"""Items of one flat list; a sensor keeps at most 1,000."""
FACTS_CAPPED = "facts_capped"
"""The bound's name in health."""


def session_facts(session: SessionEnded, said: dict[str, Any]) -> dict[str, Any]:
    """The payload ``said`` of a session with flat facts about files and forwards, where it has any."""
    facts: dict[str, Any] = {}
    if session.downloads:
        urls = _distinct(item.url for item in session.downloads)
        facts |= {
            "download_count": len(session.downloads),
            "download_urls": urls,
            "download_hosts": _distinct(host_of(url) for url in urls),
            "download_names": _distinct(name_of(url) for url in urls),
            **_came_in(session.downloads),
        }
    if session.uploads:
        names = _distinct(name_of(item.filename) for item in session.uploads)
        facts |= {"upload_count": len(session.uploads), "upload_names": names}
    if session.forwards:
        facts |= _forward_facts(session.forwards)
    if session.exploits:
        facts |= {
            "exploit_count": len(session.exploits),
            "exploit_cves": _distinct(item.cve for item in session.exploits),
            "exploit_values": _distinct(item.value for item in session.exploits),
        }
    return said | facts


def _came_in(downloads: Sequence[Download]) -> dict[str, Any]:
    """Files that were really fetched, that could not be, and where what was written went."""
    done = [item for item in downloads if not item.failed]
    return {
        "fetched_count": sum(1 for item in done if "://" in item.url),
        "fetch_failed_count": len(downloads) - len(done),
        "written_paths": _distinct(item.destfile for item in done),
    }


def _forward_facts(forwards: Sequence[Forward]) -> dict[str, Any]:
    ports = {item.port for item in forwards if item.port is not None}
    return {
        "forward_count": len(forwards),
        "forward_hosts": _distinct(item.host for item in forwards),
        "forward_ports": _bounded(sorted(ports)),
        "forward_targets": _distinct(f"{item.host}:{item.port}" for item in forwards),
    }


def input_events(base: TaggerEvent, session: SessionEnded) -> list[TaggerEvent]:
    """What programs of the honeypot read from their standard input, line by line as commands.

    A script typed into ``cat > x.sh`` says what it would do.
    """
    found = []
    for item in _bounded(session.inputs):
        if item.text:
            ts = None if item.ts is None else float(item.ts)
            source = f"{session.session_id}#in{_short_hash(str(ts) + item.text)[:12]}"
            payload = {"command_text": item.text, "ts": ts, "realm": item.realm}
            found.append(base._replace(source_kind="command", source_id=source, payload=payload))
    return found


def joined_events(base: TaggerEvent, session: SessionEnded) -> list[TaggerEvent]:
    """Commands that were logged as several lines, as one command each beside its lines."""
    return [
        base._replace(
            source_kind="command",
            source_id=item.id,
            payload={
                "command_text": item.command_text,
                "ts": None if item.ts is None else float(item.ts),
                "lines": item.lines,
            },
        )
        for item in _bounded(session.joined)
        if item.command_text and item.id
    ]


def name_of(path: str) -> str:
    """Base name of a path or URL, without query and fragment."""
    text = path.split("?", 1)[0].split("#", 1)[0]
    if "://" in text:
        _, _, text = text.partition("://")[2].partition("/")
    return text.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _short_hash(text: str) -> str:
    return hashlib.sha256(storable_text(text).encode()).hexdigest()[:32]


def _bounded(items: list[T]) -> list[T]:
    bit(FACTS_CAPPED, len(items) - MAX_FACTS)
    return items[:MAX_FACTS]


def _distinct(values: Iterable[str | None]) -> list[str]:
    return _bounded(list(dict.fromkeys(value for value in values if value)))
