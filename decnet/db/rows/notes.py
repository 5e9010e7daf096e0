"""Rows of operators' notes. Times are aware."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

ALERT, SOURCE = "alert", "source"
"""What a note may be about."""


class NoteRow(TypedDict):
    """One note about an alert or a source."""

    id: int
    ts: datetime
    operator: str
    about: str
    target: str
    body: str
