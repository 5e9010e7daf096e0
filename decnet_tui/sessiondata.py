"""One stored session with its commands, tags and recording; plain data for the views that show it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from decnet.db.rows.lists import ListedTag
from decnet.db.rows.recorder import EndedCommand, EndedPayload
from decnet.hostile import visible
from decnet_tui.changes import need_store
from decnet_tui.session import Session


class TaggedCommand(EndedCommand):
    """A command with its tags."""

    tags: list[ListedTag]


LISTS = ("joined", "inputs", "downloads", "uploads", "forwards", "exploits", "extras")
_FILES = frozenset({"downloads", "uploads"})
_SCANS = frozenset({"cowrie.virustotal.scanfile", "cowrie.virustotal.scanurl"})
_TIMES = frozenset({"ts", "started_at", "ended_at"})
_LONGEST = 2000


def fact_lines(payload: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Whatever was logged beside the commands, as (id or empty, line); control characters written out."""
    scans = _scans(payload.get("extras") or ())
    for name in LISTS:
        for item in payload.get(name) or ():
            said = [f"{key}={shown(key, inner)}" for key, inner in item.items() if inner not in (None, "")]
            if name in _FILES:
                said += [f"virustotal={scans[key]}" for key in _names_of(item) if key in scans]
            yield str(item.get("id") or ""), f"{name:<9} {'  '.join(said)}"


def _names_of(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a file may have been scanned as: its hash, its URL."""
    for name in ("sha256", "url"):
        if item.get(name):
            yield name, str(item[name]).lower() if name == "sha256" else str(item[name])


def _scans(extras: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """What VirusTotal said of files and URLs of a session, by what it was asked for; of several answers the newest.

    It stands in the session's extras, with what every engine said; here is the sum.
    """
    scanned = [
        (one.get("ts") or 0.0, one.get("fields") or {}) for one in extras if one.get("eventid") in _SCANS
    ]
    found: dict[tuple[str, str], str] = {}
    for _, fields in sorted(scanned, key=lambda scan: scan[0]):
        for key in _names_of(fields):
            of = (
                f"{fields['positives']}/{fields.get('total', '?')}"
                if "positives" in fields
                else "not known there"
            )
            when = f" (scanned {fields['scan_date']})" if fields.get("scan_date") else ""
            found[key] = visible(f"{of}{when}", _LONGEST)
    return found


def shown(name: str, value: Any) -> str:
    """One value of a session as text for people."""
    if name in _TIMES and isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, Mapping):
        return "  ".join(
            f"{key}={shown(key, inner)}" for key, inner in value.items() if inner not in (None, [])
        )
    return visible(value if isinstance(value, str) else json.dumps(value, default=str), _LONGEST)


@dataclass(frozen=True)
class SessionData:
    """``payload`` as ``attacker.session.ended`` has it, None when no such session is stored.

    ``recording`` is None when there is none (yet).
    """

    payload: EndedPayload | None
    tags: Sequence[ListedTag]
    recording: bytes | None = None

    def commands(self) -> list[TaggedCommand]:
        """Commands in order, each with its ``tags``."""
        by_command: dict[str, list[ListedTag]] = defaultdict(list)
        for tag in self.tags:
            by_command[tag["source_id"]].append(tag)
        return [{**c, "tags": by_command.get(c["id"], [])} for c in self._typed()]

    def _typed(self) -> list[EndedCommand]:
        return self.payload["commands"] if self.payload is not None else []

    def own_tags(self) -> list[ListedTag]:
        """Tags of the session itself: log-ins, downloads, what several commands show together."""
        known = {c["id"] for c in self._typed()}
        return [tag for tag in self.tags if tag["source_id"] not in known]

    def tagged_at(self) -> list[float]:
        """Times (epoch seconds) of the commands that have a tag."""
        return [c["ts"] for c in self.commands() if c["tags"] and c.get("ts")]


async def read_session(session: Session, session_id: str) -> SessionData:
    """One session from the store, by its id, its beginning or the honeypot's own. Raises what the store raises."""
    repo = need_store(session)
    session_id = await repo.session_named(session_id) or session_id
    payload = await repo.session_payload(session_id)
    tags = await repo.list_tags(session=session_id, limit=0, ignored=True)
    key = payload["keystrokes_ref"] if payload is not None else None
    return SessionData(payload, tags, await repo.recording(key) if key else None)
