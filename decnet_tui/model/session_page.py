"""One stored session with its commands, tags and recording; plain data for the views that show it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from decnet.db.rows.intel import StoredAnswer
from decnet.db.rows.lists import ListedTag
from decnet.db.rows.recorder import EndedCommand, EndedPayload
from decnet.hostile import visible
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.reputation import told_of_file
from decnet_tui.model.words import clock

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


class TaggedCommand(EndedCommand):
    """A command with its tags."""

    tags: list[ListedTag]


LISTS = ("joined", "inputs", "downloads", "uploads", "forwards", "exploits", "extras")
_FILES = frozenset({"downloads", "uploads"})
_SCANS = frozenset({"cowrie.virustotal.scanfile", "cowrie.virustotal.scanurl"})
_TIMES = frozenset({"ts", "started_at", "ended_at"})
_LONGEST = 2000
_SHOWN_OF: Mapping[str, tuple[str, int]] = {
    "playbooks": ("playbook", 0), "hashes": ("hash", 8), "keys": ("key", 15), "credentials": ("log-in", 40),
    "hosts": ("host", 60), "techniques": ("technique", 12),
}  # fmt: skip
"""What can be new, in the order in which it is told: its word, and characters of each (a playbook stands beside)."""
_NAMED = 3


def fact_lines(
    payload: Mapping[str, Any], services: Iterable[StoredAnswer] = ()
) -> Iterator[tuple[str, str]]:
    """Whatever was logged beside the commands, as (id or empty, line); control characters written out.

    ``services`` are their answers about files and URLs of the session (:func:`services_on`).
    """
    scans = _scans(payload.get("extras") or ())
    asked: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in services:
        asked[row["kind"], row["value"]].append(told_of_file(row))
    for name in LISTS:
        for item in payload.get(name) or ():
            said = [f"{key}={shown(key, inner)}" for key, inner in item.items() if inner not in (None, "")]
            if name in _FILES:
                said += [f"virustotal={scans[key]}" for key in _names_of(item) if key in scans]
                said += [one for key in _names_of(item) for one in asked.get(key, ())]
            yield str(item.get("id") or ""), f"{name:<9} {'  '.join(said)}"


async def services_on(repo: BaseRepository, payload: Mapping[str, Any]) -> list[StoredAnswer]:
    """What services said last of a session's files and URLs. Raises what the repository raises."""
    items = [item for name in sorted(_FILES) for item in payload.get(name) or ()]
    return await repo.intel_said_of(*(value for item in items for _, value in _names_of(item)))


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
        return f"{clock(value, 'date')}Z"
    if isinstance(value, Mapping):
        return "  ".join(
            f"{key}={shown(key, inner)}" for key, inner in value.items() if inner not in (None, [])
        )
    return visible(value if isinstance(value, str) else json.dumps(value, default=str), _LONGEST)


def story_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What a session amounts to, as lines: story, severity with its reason, playbook, what was never seen before."""
    if told.get("severity") is None:
        yield f"{'story':<15} not judged yet: a session is when it ends"
        return
    yield f"{'story':<15} {visible(told.get('story_line') or '-', _LONGEST)}"
    yield f"{'severity':<15} {told['severity']}: {visible(told.get('severity_reason'), _LONGEST)}"
    if told.get("playbook"):
        yield f"{'playbook':<15} {told['playbook']}"
    if news := first_line(told.get("first_times") or {}):
        yield f"{'first time ever':<15} {news}"


def head_lines(told: Mapping[str, Any]) -> list[str]:
    """The same for a screen: severity with its reason, the story, playbook and what was never seen before."""
    if told.get("severity") is None:
        return []
    news = first_line(told.get("first_times") or {})
    named = [str(told["playbook"])] if told.get("playbook") else []
    last = "  ".join([*named, *([f"first time ever: {news}"] if news else [])])
    reason, story = visible(told.get("severity_reason"), _LONGEST), visible(told.get("story_line"), _LONGEST)
    return [line for line in (f"{told['severity']}: {reason}", story, last) if line]


def first_line(first: Mapping[str, Any]) -> str:
    """What was never seen before, in words; empty for nothing. Hashes and keys are cut to what tells them apart."""
    return ", ".join(_first(kind, first[kind]) for kind in _SHOWN_OF if first.get(kind))


def _first(kind: str, values: Sequence[str]) -> str:
    word, chars = _SHOWN_OF[kind]
    named = " ".join(visible(value[:chars], chars) for value in values[:_NAMED])
    return f"{word} {named}".rstrip() + (f" and {len(values) - _NAMED} more" if len(values) > _NAMED else "")


@dataclass(frozen=True)
class SessionData:
    """``payload`` as ``attacker.session.ended`` has it, None when no such session is stored.

    ``recording`` is None when there is none (yet).
    """

    payload: EndedPayload | None
    tags: Sequence[ListedTag]
    recording: bytes | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    """Story, severity, playbook and ``first_times``, as :func:`story_lines` takes them."""
    services: Sequence[StoredAnswer] = ()
    """What services said of its files and URLs."""
    identity: str | None = None
    """Whose it is, as known now, and how many addresses that identity has."""
    addresses: int = 1

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
    told = {**await repo.session_told(session_id), "first_times": await repo.first_times(session_id)}
    services = await services_on(repo, payload or {})
    attacker = payload["attacker_uuid"] if payload is not None else None
    identity = (await repo.identities_now([attacker])).get(attacker) if attacker else None
    count = (await repo.identity_sizes([identity])).get(identity, 1) if identity else 1
    tty = await repo.recording(key) if key else None
    return SessionData(payload, tags, tty, told, services, identity, count)
