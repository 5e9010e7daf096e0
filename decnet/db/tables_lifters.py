"""What the e-mail lifter remembers: which body an attacker has sent when. Hashes, counts and times only."""

from __future__ import annotations

from sqlalchemy import Index
from sqlmodel import SQLModel

from decnet.db.tables import number, real, text, text_key


class EmailBody(SQLModel, table=True):
    """One e-mail as ``email.received`` told of it; ``ts`` is epoch seconds of event time."""

    __tablename__ = "email_body"
    __table_args__ = (Index("ix_email_body_ts", "ts"),)
    attacker_uuid: str = text_key()
    simhash: str = text_key()
    source_id: str = text_key()
    ts: float = real()
    rcpt_count: int = number()
    session_id: str | None = text(None)
    decky_id: str | None = text(None)
