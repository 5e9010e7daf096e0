"""Rows of attribution: states of primitives, features of sessions, verdicts, alerts.

Times of sessions and states are epoch seconds, times of alerts are aware datetimes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NotRequired, TypedDict

from decnet.db.rows import JsonObject

OPEN, ACKNOWLEDGED, RESOLVED = "open", "acknowledged", "resolved"
STATES = (OPEN, ACKNOWLEDGED, RESOLVED)
"""What an alert may be."""
VERDICTS = ("two_people", "one_two_tools", "wrong")
"""What an operator may find when an alert is resolved."""


class ObservedValue(TypedDict):
    """One observation as a merge reads it; ``value`` is as the primitive has it."""

    value: object
    ts: float
    confidence: float | None
    evidence_ref: str


class PrimitiveState(TypedDict):
    """What one primitive of one identity looks like; ``seq`` counts its changes."""

    identity_uuid: str
    primitive: str
    state: str
    current_value: object
    confidence: float
    observation_count: int
    last_change_ts: float | None
    last_observation_ts: float | None
    seq: int


class ListedState(TypedDict):
    """The same for people: times are aware, without ``seq``."""

    identity_uuid: str
    primitive: str
    state: str
    current_value: object
    confidence: float
    observation_count: int
    last_change_ts: datetime | None
    last_observation_ts: datetime | None


class SessionFeatures(TypedDict):
    """One session as the multi-actor test sees it: one object of features for each family, None when not measured."""

    session_id: str
    attacker_uuid: str
    identity_uuid: str
    started_at: float | None
    ended_at: float
    rank: str
    client: JsonObject | None
    playbook: JsonObject | None
    tempo: JsonObject | None
    credentials: JsonObject | None
    typing: JsonObject | None
    habit: JsonObject | None
    hours: JsonObject | None


class Support(TypedDict):
    """How well one family of evidence follows the sides, 0 to 1."""

    family: str
    primitives: list[str]
    agreement: float
    log10_gain: float
    measured: NotRequired[int]
    """Sessions in which it was measured; not told by earlier versions, as are those below."""
    breaks: NotRequired[list[str]]
    """Sessions among them that stand on the other side."""


class IdentityWhy(TypedDict):
    """Why an identity of several addresses is one; ``confidence`` is log10, reasons come the weightiest first."""

    confidence: float
    reasons: list[JsonObject] | None
    against: list[JsonObject] | None


class LinkDoubt(TypedDict):
    """That two sides are different addresses. Without ``confidence`` others merged them, and no link of ours."""

    doubtful: bool
    sides: list[list[str]]
    confidence: float | None
    reasons: list[JsonObject]


class Explanation(TypedDict, total=False):
    """A verdict with its claim, what speaks for and against it, and its limits; ``ts`` is the newest session's end.

    ``link`` is there when the sides are different addresses.
    """

    suspected: bool
    reason: str
    sessions: int
    score: float
    threshold: float
    switches: int
    confidence: float
    families: Sequence[str]
    primitives: Sequence[str]
    sides: Sequence[Sequence[str]]
    support: Sequence[Support]
    against: Sequence[str]
    decidable: bool
    claim: str
    cannot_tell: Sequence[str]
    ts: float | None
    link: LinkDoubt


class VerdictRow(TypedDict):
    """What the multi-actor test found about an identity."""

    identity_uuid: str
    suspected: bool
    reason: str | None
    primitives: list[str]
    verdict: Explanation


class SuspectedIdentity(TypedDict):
    """An identity that the multi-actor test suspects, and the primitives that differ."""

    identity_uuid: str
    primitives: list[str] | None


class AlertFacts(TypedDict):
    """What an alert claims; ``ts`` is the end of the newest session behind it."""

    identity_uuid: str
    attacker_uuids: list[str]
    primitives: list[str]
    families: list[str]
    sides: list[list[str]]
    confidence: float
    ts: float | datetime | None
    explanation: Explanation


class Alert(TypedDict):
    """One stored alert with what operators made of it."""

    alert_id: str
    identity_uuid: str
    ordinal: int
    revision: int
    attacker_uuids: list[str] | None
    primitives: list[str] | None
    families: list[str] | None
    sides: list[list[str]] | None
    confidence: float
    state: str
    standing: bool
    ts: datetime | None
    explanation: Explanation | None
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    resolved_by: str | None
    resolved_at: datetime | None
    verdict: str | None


class AlertMade(TypedDict):
    """What operators made of an alert: all that ``undo`` has to bring back."""

    state: str
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    resolved_by: str | None
    resolved_at: datetime | None
    verdict: str | None


MADE: tuple[str, ...] = tuple(AlertMade.__annotations__)
"""The columns of an alert that operators write."""
