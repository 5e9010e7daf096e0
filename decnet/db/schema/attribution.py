"""The tables of attribution: states, features of sessions, verdicts of the multi-actor test, alerts.

Times of sessions are epoch seconds as in the envelope; what operators did carries wall-clock times.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from decnet.db.schema.columns import Stored, json_column, moment, number, real, text, text_key


class AttributionState(Stored, table=True):
    """What one primitive of one identity looks like now."""

    __tablename__ = "attribution_state"
    identity_uuid: str = text_key()
    primitive: str = text_key()
    state: str = text()
    current_value: Any = json_column()
    confidence: float = real()
    observation_count: int = number()
    last_change_ts: float | None = real(None)
    last_observation_ts: float | None = real(None)
    seq: int = number(0)


class AttributionPast(Stored, table=True):
    """What was told last of a primitive whose row is gone, since its identity was merged or nothing is left of it.

    Its number goes on from here should it come back, and nothing is told that was told already.
    """

    __tablename__ = "attribution_past"
    identity_uuid: str = text_key()
    primitive: str = text_key()
    state: str = text()
    last_change_ts: float | None = real(None)
    seq: int = number(0)


class SessionFeature(Stored, table=True):
    """One session as the multi-actor test sees it: one column per family of evidence, NULL when not measured.

    ``identity_uuid`` is the stub identity of the attacker, never a canonical one: merges are followed
    by whoever reads. ``rank`` orders versions of the same session; the greatest stays.
    """

    __tablename__ = "session_feature"
    __table_args__ = (Index("ix_session_feature_attacker", "attacker_uuid", "ended_at", "session_id"),)
    session_id: str = text_key()
    attacker_uuid: str = text()
    identity_uuid: str = text()
    started_at: float | None = real(None)
    ended_at: float = real()
    rank: str = text("")
    client: dict[str, Any] | None = json_column()
    playbook: dict[str, Any] | None = json_column()
    tempo: dict[str, Any] | None = json_column()
    credentials: dict[str, Any] | None = json_column()
    typing: dict[str, Any] | None = json_column()
    habit: dict[str, Any] | None = json_column()
    hours: dict[str, Any] | None = json_column()


class MultiActorEvidence(Stored, table=True):
    """The last verdict on an identity, and whether sessions came since (``due``)."""

    __tablename__ = "multi_actor_evidence"
    __table_args__ = (
        Index("ix_multi_actor_due", "due"),
        Index("ix_multi_actor_suspected", "suspected"),
    )
    identity_uuid: str = text_key()
    version: int = number(0)
    due: bool = Field(default=True)
    suspected: bool = Field(default=False)
    reason: str | None = text(None)
    primitives: list[str] | None = json_column()
    verdict: dict[str, Any] | None = json_column()


class AttributionAlert(Stored, table=True):
    """One alert: open, acknowledged or resolved.

    ``standing`` is true while the evidence is what the alert says, whatever an operator made of it: a
    standing alert is not raised again.
    """

    __tablename__ = "attribution_alert"
    __table_args__ = (
        Index("ix_attribution_alert_identity", "identity_uuid", "ordinal"),
        Index("ix_attribution_alert_standing", "standing"),
        Index("ix_attribution_alert_ts", "ts"),
    )
    alert_id: str = text_key()
    identity_uuid: str = text()
    ordinal: int = number()
    revision: int = number(1)
    attacker_uuids: list[str] | None = json_column()
    primitives: list[str] | None = json_column()
    families: list[str] | None = json_column()
    sides: list[list[str]] | None = json_column()
    confidence: float = real()
    state: str = text()
    standing: bool = Field(default=True)
    ts: datetime | None = moment(None)
    explanation: dict[str, Any] | None = json_column()
    acknowledged_by: str | None = text(None)
    acknowledged_at: datetime | None = moment(None)
    resolved_by: str | None = text(None)
    resolved_at: datetime | None = moment(None)
    verdict: str | None = text(None)
    """What an operator found: one of :data:`decnet.db.repository.attribution.alerts.VERDICTS`, with ``resolved`` only."""
