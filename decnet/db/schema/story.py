"""The tables of what sessions amount to: the story of each, and what of it can be new.

Written by the tagging worker with the tags of a session; a session that is judged anew has the newer row.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy import text as sql

from decnet.db.schema.columns import Stored, json_column, moment, number, real, text, text_key

OF_SOMEBODY = sql("attacker_uuid IS NOT NULL")
"""What is counted by time: sessions whose source is known."""


class SessionStory(Stored, table=True):
    """What one session amounts to. ``rank`` orders severities, 0 is critical; ``seen_at`` is when it began.

    ``ended_at`` (epoch seconds) and ``lines`` (commands) tell a session that has gone on from what it was before.
    """

    __tablename__ = "session_story"
    __table_args__ = (
        Index("ix_session_story_rank", "rank", "seen_at"),
        Index("ix_session_story_playbook", "playbook", "seen_at"),
        Index(
            "ix_session_story_attacker",
            *("attacker_uuid", "rank", "seen_at", "ended_at", "playbook", "session_id"),
        ),
        Index(
            "ix_session_story_seen",
            *("seen_at", "ended_at"),
            sqlite_where=OF_SOMEBODY,
            postgresql_where=OF_SOMEBODY,
        ),
        Index(
            "ix_session_story_ended",
            *("ended_at", "attacker_uuid", "rank", "playbook", "seen_at", "session_id"),
        ),
    )
    session_id: str = text_key()
    attacker_uuid: str | None = text(None)
    severity: str = text()
    rank: int = number()
    reason: str = text()
    line: str = text()
    playbook: str | None = text(None)
    story: list[Any] | None = json_column()
    seen_at: datetime = moment(nullable=False)
    ended_at: float = real()
    lines: int = number()


class SessionThing(Stored, table=True):
    """A hash, a host of a URL, a key or a playbook that a session had; ``seen_at`` is when the session began."""

    __tablename__ = "session_thing"
    __table_args__ = (
        Index("ix_session_thing_first", "kind", "value", "seen_at"),
        Index("ix_session_thing_seen", "seen_at", "kind", "value", "session_id"),
    )
    session_id: str = text_key()
    kind: str = text_key()
    value: str = text_key()
    seen_at: datetime = moment(nullable=False)
