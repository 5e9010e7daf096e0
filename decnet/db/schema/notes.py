"""What operators wrote down about an alert or a source; it stands on that page as long as the thing itself."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index

from decnet.db.schema.columns import Stored, counter, moment, text


class Note(Stored, table=True):
    """One note. ``about`` is alert or source, ``target`` the alert's or the attacker's id."""

    __tablename__ = "note"
    __table_args__ = (Index("ix_note_target", "about", "target"), {"sqlite_autoincrement": True})
    id: int | None = counter()
    ts: datetime = moment(nullable=False)
    operator: str = text()
    about: str = text()
    target: str = text()
    body: str = text()
