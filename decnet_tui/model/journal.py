"""The journal as everybody reads it: what operators did, how it ended, and what ended by itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum

from decnet.db.rows.journal import JournalChange, JournalLine

RULE_STATE = "rule.state"
"""The kind of a change of a rule's state: the only one that may end by itself."""
NOBODY = "(expiry)"
EXPIRED = "expired"


class End(Enum):
    """How a change ended; the value stands in the journal and on the screen."""

    VERIFIED = "verified"
    SAVED = "saved, not yet reported"
    REFUTED = "NOT APPLIED"
    UNKNOWN = "UNKNOWN"


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
        if entry["kind"] != RULE_STATE or entry["outcome"] == End.REFUTED.value:
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
        "kind": RULE_STATE,
        "target": entry["target"],
        "what": f"{entry['target']} enabled again",
        "before": entry["after"],
        "after": {"state": "enabled"},
        "reason": None,
        "outcome": EXPIRED,
        "detail": f"the state of entry {entry['id']} ended",
        "undoes": None,
    }
