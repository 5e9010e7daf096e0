"""What operators did: one row for each change, written before it is sent and completed with its outcome.

It is a table, so that two operators see the same. A row that stays at ``sent`` belongs to a console
that ended before it knew what became of its change.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index

from decnet.db.schema.columns import Stored, counter, json_column, moment, number, text


class JournalEntry(Stored, table=True):
    """One change by one operator; ``before`` and ``after`` are what undo needs and readers want."""

    __tablename__ = "journal"
    __table_args__ = (
        Index("ix_journal_ts", "ts"),
        Index("ix_journal_target", "kind", "target"),
        {"sqlite_autoincrement": True},
    )
    id: int | None = counter()
    ts: datetime = moment(nullable=False)
    operator: str = text()
    kind: str = text()
    target: str = text()
    what: str = text()
    before: dict[str, Any] | None = json_column()
    after: dict[str, Any] | None = json_column()
    reason: str | None = text(None)
    outcome: str = text()
    detail: str | None = text(None)
    undoes: int | None = number(None)
