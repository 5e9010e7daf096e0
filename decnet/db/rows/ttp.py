"""Rows of tagging: rules and their states, hits of window rules, bodies of e-mail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

from decnet.db.rows import JsonObject
from decnet.db.types import utcnow
from decnet.ids import tag_id

_NAMED = ("source_kind", "source_id", "rule_id", "rule_version", "technique_id")
"""What the id of a tag is made of."""


@dataclass(slots=True, kw_only=True)
class TTPTag:
    """One technique seen in one piece of evidence, as it is made: a row of ``ttp_tag``.

    ``uuid`` is derived, ``created_at`` now and ``seen_at`` (event time) ``created_at`` where they are not given. Raises ValueError without an attacker or identity, or
    for a confidence outside 0..1.
    """

    source_kind: str
    source_id: str
    tactic: str
    technique_id: str
    confidence: float
    rule_id: str
    rule_version: int
    attacker_uuid: str | None = None
    identity_uuid: str | None = None
    session_id: str | None = None
    decky_id: str | None = None
    sub_technique_id: str | None = None
    evidence: dict[str, Any] | None = None
    attack_release: str = ""
    mitre_url: str = ""
    uuid: str = ""
    created_at: datetime = field(default_factory=lambda: utcnow())  # noqa: PLW0108  a clock may be put in its place
    seen_at: datetime | None = None
    superseded_by: str | None = None
    replaced_by: str | None = None

    def __post_init__(self) -> None:
        if not self.attacker_uuid and not self.identity_uuid:
            raise ValueError("a tag needs attacker_uuid or identity_uuid")
        if not isinstance(self.confidence, (int, float)) or not 0.0 <= self.confidence <= 1.0:
            raise ValueError(f"confidence {self.confidence!r} is not within 0..1")
        if self.seen_at is None:
            self.seen_at = self.created_at
        if not self.uuid:
            if missing := [name for name in _NAMED if getattr(self, name) is None]:
                raise ValueError(f"a tag needs {', '.join(missing)}")
            source, rule = (self.source_kind, self.source_id), (self.rule_id, self.rule_version)
            self.uuid = tag_id(*source, *rule, self.technique_id, self.sub_technique_id)


class RuleText(TypedDict):
    """What a file says about its rule; ``error`` says why it does not load."""

    version: int
    name: str
    yaml: str
    file: str
    error: str | None


class RuleDefinition(RuleText):
    """One rule as it is stored."""

    rule_id: str
    updated_at: datetime


class StoredRuleState(TypedDict):
    """What an operator did to a rule, expired or not."""

    rule_id: str
    state: str
    confidence_max: float | None
    expires_at: datetime | None
    reason: str | None
    set_by: str | None
    set_at: datetime | None


class StoredRuleChange(TypedDict):
    """One step of the change sequence; ``kind`` is definition, state or removed."""

    seq: int
    rule_id: str
    kind: str


class WindowHitKey(TypedDict):
    """Which view of which event counts for which key (slot) of a window rule."""

    slot: str
    source_kind: str
    source_id: str
    pos: int


class WindowMark(WindowHitKey):
    """A hit as far as it is counted; ``ts`` is event time."""

    ts: float
    steps: int
    value: str


class WindowReason(WindowHitKey):
    """What makes a tag of a hit."""

    who: Mapping[str, str | None]
    why: JsonObject


class WindowHitFacts(WindowMark, WindowReason):
    """One view of one event that counts for a window rule; ``keep_until`` is wall clock."""

    keep_until: float


class WindowFire(TypedDict):
    """A window rule came true for one key (slot) at ``ts`` (event time)."""

    slot: str
    ts: float


class WindowFireFacts(WindowFire):
    """The same with the event that made it true."""

    source_kind: str
    source_id: str


class StoredTag(TypedDict):
    """A tag by what it says of what, and by what replaced it."""

    uuid: str
    session_id: str
    source_kind: str
    source_id: str
    rule_id: str
    rule_version: int
    technique_id: str
    sub_technique_id: str | None
    tactic: str
    confidence: float
    evidence: JsonObject | None
    replaced_by: str | None


class PartToJudge(TypedDict):
    """One part of a session's end that comes in several; ``keep_until`` is wall clock."""

    session_id: str
    generation: str
    part: int
    parts: int
    body: JsonObject
    keep_until: float


class MailBody(TypedDict):
    """One e-mail by what its body looks like; ``ts`` is epoch seconds of event time."""

    attacker_uuid: str
    simhash: str
    source_id: str
    ts: float
    rcpt_count: int
    session_id: str | None
    decky_id: str | None
