"""The journal as the console shows it: what operators did, what ended by itself, and what can be undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from decnet.db.rows.journal import JournalChange, JournalLine
from decnet_tui.actions import fleet, links, rules, sources
from decnet_tui.actions.changes import Change, End, cannot_undo

UNDO: dict[str, Callable[[Mapping[str, Any]], Change]] = {
    rules.KIND: rules.undo,
    sources.KIND: sources.undo,
    sources.ALL: sources.undo_all,
    fleet.INTERVAL: fleet.undo,
    links.KIND: links.undo,
}
"""How each kind of change is undone; a kind that is not here cannot be."""
NOBODY = "(expiry)"
BY_ITSELF = "by itself"


class Entry(JournalChange):
    """A line of the journal; one that nobody wrote has a text for its ``id``."""

    id: int | str


def with_expiries(entries: Sequence[JournalLine], now: float | None = None) -> list[Entry]:
    """Journal rows, newest first, with a line for each rule state that ended by itself.

    These lines are derived from the rows: a state with an expiry that has passed and that nobody had
    replaced before. So they are the same for every reader, and no one has to be there to write them.
    """
    moment = time.time() if now is None else now
    out: list[Entry] = [{**entry} for entry in entries]
    replaced_at: dict[str, float] = {}
    for entry in entries:  # newest first
        if entry["kind"] != rules.KIND or entry["outcome"] == End.REFUTED.value:
            continue
        after, target = entry["after"] or {}, entry["target"]
        expires = after.get("expires_at")
        until = min(moment, replaced_at.get(target, moment))
        if isinstance(expires, (int, float)) and expires <= until:
            out.append(_expiry(entry, float(expires)))
        replaced_at[target] = entry["ts"].timestamp()
    return sorted(out, key=lambda row: row["ts"], reverse=True)


def _expiry(entry: JournalLine, at: float) -> Entry:
    return {
        "id": f"{entry['id']}x",
        "ts": datetime.fromtimestamp(at, UTC),
        "operator": NOBODY,
        "kind": rules.KIND,
        "target": entry["target"],
        "what": f"{entry['target']} enabled again",
        "before": entry["after"],
        "after": {"state": "enabled"},
        "reason": None,
        "outcome": BY_ITSELF,
        "detail": f"the state of entry {entry['id']} ended",
        "undoes": None,
    }


def undoable(entry: Entry | JournalLine) -> str:
    """Why this row cannot be undone; empty when it can."""
    if entry.get("operator") == NOBODY:
        return "it came by itself"
    if entry.get("kind") not in UNDO:
        return "nothing takes it back"
    return cannot_undo(entry)


def last_undoable(entries: Sequence[JournalLine], operator: str) -> JournalLine | None:
    """The operator's newest change that can be undone and was not undone yet; entries are newest first."""
    undone = {entry["undoes"] for entry in entries if entry.get("undoes")}
    for entry in entries:
        own = entry["operator"] == operator and entry["id"] not in undone and not entry.get("undoes")
        if own and not undoable(entry):
            return entry
    return None


def undo_of(entry: Entry | JournalLine) -> Change:
    """The change that brings back what was there before. Raises KeyError for a kind without one.

    It is refused where somebody has changed the target since.
    """
    change = UNDO[str(entry["kind"])](entry)
    change.replaces = entry.get("after")
    return change
