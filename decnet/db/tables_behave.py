"""What the behave worker keeps for itself: which ending of a session it has extracted, and waiting parts.

Times are epoch seconds as in the observation envelope.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index
from sqlmodel import SQLModel

from decnet.db.tables import json_column, number, real, text, text_key


class BehaveSession(SQLModel, table=True):
    """One extracted session: its rank (extractor version and ending) and when there was activity.

    ``version`` is the extractor's, ``keystrokes_ref`` NULL when no recording was read; ``hours`` counts
    activity by hour of the week.
    """

    __tablename__ = "behave_session"
    __table_args__ = (
        Index("ix_behave_session_attacker", "attacker_uuid", "started_at", "session_id"),
        Index("ix_behave_session_version", "version"),
    )
    session_id: str = text_key()
    attacker_uuid: str = text()
    rank: str = text()
    version: int = number()
    started_at: float = real()
    ended_at: float = real()
    hours: dict[str, int] | None = json_column()


class BehavePart(SQLModel, table=True):
    """One part of a long session's end, until all parts are there."""

    __tablename__ = "behave_part"
    session_id: str = text_key()
    generation: str = text_key()
    part: int = number(primary_key=True, sa_column_kwargs={"autoincrement": False})
    parts: int = number()
    body: dict[str, Any] | None = json_column()
