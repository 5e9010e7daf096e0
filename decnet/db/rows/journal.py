"""Rows of the journal."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from decnet.db.rows import JsonObject


class JournalChange(TypedDict):
    """One change by one operator, and what became of it."""

    ts: datetime
    operator: str
    kind: str
    target: str
    what: str
    before: JsonObject | None
    after: JsonObject | None
    reason: str | None
    outcome: str
    detail: str | None
    undoes: int | None


class JournalLine(JournalChange):
    """A change as it is stored."""

    id: int
