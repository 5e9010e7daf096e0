"""What can be undone, and by which change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from decnet.db.rows.journal import JournalLine
from decnet_tui.actions import alerts, fleet, links, rules, sources
from decnet_tui.actions.changes import Change, cannot_undo
from decnet_tui.model.journal import NOBODY, RULE_STATE, Entry

UNDO: dict[str, Callable[[Mapping[str, Any]], Change]] = {
    RULE_STATE: rules.undo,
    sources.KIND: sources.undo,
    sources.ALL: sources.undo_all,
    fleet.INTERVAL: fleet.undo,
    links.KIND: links.undo,
    alerts.KIND: alerts.undo,
}
"""How each kind of change is undone; a kind that is not here cannot be."""


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
