"""One stored session with its commands, tags and recording; plain data for the views that show it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from decnet.db.rows.intel import StoredAnswer
from decnet.db.rows.lists import ListedTag
from decnet.db.rows.recorder import EndedCommand
from decnet.db.rows.session import Evidence, SessionRows
from decnet.hostile import visible
from decnet.shell.assets import names_of_file
from decnet_tui.model import keys
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.identities import identity_label
from decnet_tui.model.reputation import told_of_file
from decnet_tui.model.words import addresses_text, clock, counted, span


class TaggedCommand(EndedCommand):
    """A command with its tags."""

    tags: list[ListedTag]


LISTS = ("joined", "inputs", "downloads", "uploads", "forwards", "exploits", "extras")
_FILES = frozenset({"downloads", "uploads"})
_SCANS = frozenset({"cowrie.virustotal.scanfile", "cowrie.virustotal.scanurl"})
_TIMES = frozenset({"ts", "connected_at", "started_at", "ended_at"})
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

    ``services`` are their answers about files and URLs of the session (``SessionRows.services``).
    """
    scans = _scans(payload.get("extras") or ())
    asked: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in services:
        asked[row["kind"], row["value"]].append(told_of_file(row))
    for name in LISTS:
        for item in payload.get(name) or ():
            said = [f"{key}={shown(key, inner)}" for key, inner in item.items() if inner not in (None, "")]
            if name in _FILES:
                said += [f"virustotal={scans[key]}" for key in names_of_file(item) if key in scans]
                said += [one for key in names_of_file(item) for one in asked.get(key, ())]
            yield str(item.get("id") or ""), f"{name:<9} {'  '.join(said)}"


def _scans(extras: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """What VirusTotal said of files and URLs of a session, by what it was asked for; of several answers the newest.

    It stands in the session's extras, with what every engine said; here is the sum.
    """
    scanned = [
        (one.get("ts") or 0.0, one.get("fields") or {}) for one in extras if one.get("eventid") in _SCANS
    ]
    found: dict[tuple[str, str], str] = {}
    for _, fields in sorted(scanned, key=lambda scan: scan[0]):
        for key in names_of_file(fields):
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


def first_line(first: Mapping[str, Any]) -> str:
    """What was never seen before, in words; empty for nothing. Hashes and keys are cut to what tells them apart."""
    return ", ".join(_first(kind, first[kind]) for kind in _SHOWN_OF if first.get(kind))


def _first(kind: str, values: Sequence[str]) -> str:
    word, chars = _SHOWN_OF[kind]
    named = " ".join(visible(value[:chars], chars) for value in values[:_NAMED])
    return f"{word} {named}".rstrip() + (f" and {len(values) - _NAMED} more" if len(values) > _NAMED else "")


async def read_session(session: Session, session_id: str) -> SessionRows | None:
    """One session from the store, by its id, its beginning or the honeypot's own. Raises what the store raises."""
    return await need_store(session).session_page(session_id, clear=session.keep_clear)


def commands_of(rows: SessionRows) -> list[TaggedCommand]:
    """Commands in order, each with its ``tags``."""
    by_command: dict[str, list[ListedTag]] = defaultdict(list)
    for tag in rows.tags:
        by_command[tag["source_id"]].append(tag)
    return [{**c, "tags": by_command.get(c["id"], [])} for c in rows.payload["commands"]]


def tagged_at(rows: SessionRows) -> list[float]:
    """Times (epoch seconds) of the commands that have a tag."""
    return [c["ts"] for c in commands_of(rows) if c["tags"] and c.get("ts")]


# --- the lines above and below its steps


def who_line(rows: SessionRows, place: str, new: bool) -> str:
    """Whose session it is."""
    ip = visible(rows.payload["attacker_ip"] or "?", 45)
    size = addresses_text(rows.addresses) if rows.addresses > 1 else ""
    known = identity_label(rows.identity) if rows.identity else ""
    return "  ".join(part for part in (ip, known, size, visible(place, 40), "NEW" if new else "") if part)


def where_line(rows: SessionRows) -> str:
    """Where and when it was, the honeypot's own id of it, and which of its source's sessions it is."""
    payload = rows.payload
    began = f"{clock(payload['started_at'], 'date')[5:]}Z" if payload["started_at"] is not None else "-"
    took = "still open" if payload["ended_at"] is None else f"+{span(payload['duration_s'] or 0.0)}"
    native = f"its own id {visible(payload['sensor_session'], 24)}" if payload["sensor_session"] else ""
    what = f"{visible(payload['decky_id'] or '-', 16)} {visible(payload['service'] or '', 12)}".rstrip()
    lost = [
        f"{counted(count, kind)} found no room"
        for count, kind in ((payload.get("commands_dropped"), "command"), (payload.get("items_dropped"), "item")) if count
    ]  # fmt: skip
    return "  ".join(
        part
        for part in (what, f"{began} {took}", f"session {rows.place} of {rows.of}", native, *lost)
        if part
    )


def client_line(rows: SessionRows) -> str:
    """What its client says it is, how common that is, and how it got in."""
    client = rows.payload["client"] or {}
    hassh = f"hassh {visible(client['hassh'], 8).rstrip('…')}" if client.get("hassh") else ""
    shared = [one for one in rows.alike["shared"] if one["family"] == "client"]
    common = (
        f"(at {counted(max(one['addresses'] for one in shared), 'other address', 'other addresses')})"
        if shared
        else ""
    )
    said = f"client {visible(client['version'], 50)}" if client.get("version") else "client not told"
    return "  ".join(part for part in (said, hassh, common, f"login {login_text(rows)}") if part)


def refusals(auth: Mapping[str, object]) -> int:
    """Log-ins that were refused, as the honeypot counts them."""
    count = auth.get("fail_count")
    return count if isinstance(count, int) else 0


def login_text(rows: SessionRows) -> str:
    """How it got in, or not."""
    auth = rows.payload["auth"] or {}
    accepted = [one for one in rows.attempts if one["success"]]
    refused = max(refusals(auth), sum(not one["success"] for one in rows.attempts))
    if accepted:
        return f"{visible(accepted[-1]['login'], 40)}, try {refused + len(accepted)} ok"
    if auth.get("success"):
        return f"ok after {refused} refused" if refused else "ok"
    return f"{refused} refused" if refused else "none"


def verdict_line(rows: SessionRows) -> str:
    """How bad it was and why."""
    if rows.told["severity"] is None:
        return "not judged yet: a session is when it ends"
    return f"{rows.told['severity'].upper()}: {visible(rows.told['severity_reason'], _LONGEST)}"


def like_lines(rows: SessionRows) -> list[str]:
    """What is like it, and what of it nobody had before."""
    alike, told = rows.alike, rows.told
    said = []
    if told["playbook"]:
        others = (
            f" of {counted(alike['playbook_sources'], 'other source')}" if alike["playbook_sources"] else ""
        )
        said.append(f"{told['playbook']}: {counted(alike['playbook_before'], 'session')} before{others}")
    for one in sorted(alike["shared"], key=lambda one: (one["family"] == "client", -one["addresses"])):
        if one["addresses"]:
            others = counted(one["addresses"], "other address", "other addresses")
            said.append(f"{one['family']} {visible(one['value'], 16)} at {others}")
    news = first_line(rows.first_times)
    return [f"like it  {'; '.join(said[:3]) or 'nothing'}", *([f"first time ever: {news}"] if news else [])]


def next_line(rows: SessionRows) -> str:
    """What to do next; empty for a session that needs nothing."""
    if rows.first_times.get("hashes"):
        lists, read = keys.key("indicators"), keys.key("read")
        return f"next: look the new file up elsewhere ({lists}: its hash), then {read} marks this as read"
    if rows.told["severity"] in ("critical", "high"):
        return f"next: who else does this ({keys.key('sessions')}: all of its source), then {keys.key('read')} marks it as read"
    return ""


def evidence_of(rows: SessionRows) -> Evidence:
    """What of it may be an indicator."""
    payload, began = rows.payload, rows.payload["started_at"]
    return {
        "session_id": payload["session_id"],
        "attacker_ip": payload["attacker_ip"],
        "started_at": None if began is None else datetime.fromtimestamp(began, UTC),
        "downloads": list(payload["downloads"] or ()),
        "uploads": list(payload["uploads"] or ()),
        "commands": [command["command_text"] for command in payload["commands"]],
        "hosts": list(rows.hosts),
        "logins": [one["login"] for one in rows.attempts if one["success"]],
    }
