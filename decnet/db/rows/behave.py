"""Rows of behaviour: observations, and what the behave worker keeps for itself. Times are epoch seconds."""

from __future__ import annotations

from typing import TypedDict

from decnet.db.rows import JsonObject


class ExtractedSession(TypedDict):
    """One extracted session; ``hours`` counts activity by hour of the week."""

    session_id: str
    attacker_uuid: str
    rank: str
    version: int
    started_at: float
    ended_at: float
    hours: dict[str, int] | None


class PartOfSession(TypedDict):
    """One part of a long session's end."""

    session_id: str
    generation: str
    part: int
    parts: int
    body: JsonObject


class ObservationFacts(TypedDict):
    """One observation without its id, which is derived from ``evidence_ref`` and ``primitive``.

    ``value`` is text, a number, a truth value, or a list or object of them, as the primitive has it.
    """

    evidence_ref: str
    primitive: str
    identity_uuid: str | None
    attacker_uuid: str | None
    session_id: str | None
    value: object
    confidence: float | None
    ts: float
    window_start: float | None
    window_end: float | None
    source: str | None
