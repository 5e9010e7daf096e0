"""The tables of behaviour: observations, and what the behave worker keeps for itself.

Times are epoch seconds as in the observation envelope.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, UniqueConstraint

from decnet.db.schema.columns import Stored, json_column, number, real, text, text_key


class BehaveSession(Stored, table=True):
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


class BehavePart(Stored, table=True):
    """One part of a long session's end, until all parts are there."""

    __tablename__ = "behave_part"
    session_id: str = text_key()
    generation: str = text_key()
    part: int = number(primary_key=True, sa_column_kwargs={"autoincrement": False})
    parts: int = number()
    body: dict[str, Any] | None = json_column()


class ObservationRow(Stored, table=True):
    """One BEHAVE-SHELL observation of one session; times are epoch seconds as the envelope has them."""

    __tablename__ = "observation"
    __table_args__ = (
        UniqueConstraint("evidence_ref", "primitive", name="uq_observation_evidence_primitive"),
        Index("ix_observation_identity", "identity_uuid", "primitive", "ts"),
        Index("ix_observation_attacker", "attacker_uuid", "primitive", "ts"),
        Index("ix_observation_session", "session_id"),
    )
    observation_id: str = text_key()
    evidence_ref: str = text()
    primitive: str = text()
    identity_uuid: str | None = text(None)
    attacker_uuid: str | None = text(None)
    session_id: str | None = text(None)
    value: Any = json_column()
    confidence: float | None = real(None)
    ts: float = real()
    window_start: float | None = real(None)
    window_end: float | None = real(None)
    source: str | None = text(None)
