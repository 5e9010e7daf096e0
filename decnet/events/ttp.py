"""Tags and rules: what was found, what was kept back, what changed."""

from __future__ import annotations

from typing import ClassVar

from decnet.events.record import Record


class Tagged(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``ttp.tagged``: tags of one subject that were really inserted; the lists are bounded."""

    ALWAYS: ClassVar = ("attacker_uuid", "identity_uuid", "session_id", "tag_uuids", "techniques_added")

    attacker_uuid: str | None = None
    identity_uuid: str | None = None
    session_id: str | None = None
    tag_uuids: list[str] = []
    techniques_added: list[str] = []


class RuleFired(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``ttp.rule.fired.<technique>``; the technique is the parent."""

    ALWAYS: ClassVar = ("attacker_uuid", "identity_uuid", "session_id", "tag_uuids", "rule_ids")

    technique_id: str
    tag_uuids: list[str] = []
    rule_ids: list[str] = []
    attacker_uuid: str | None = None
    identity_uuid: str | None = None
    session_id: str | None = None


class RuleSuppressed(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``ttp.rule.suppressed``: how often in ``window_s`` seconds and why (floor, disabled, …)."""

    rule_id: str
    reason: str
    count: int
    window_s: float


class RuleReloaded(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``ttp.rule.reloaded.<rule>``: its file has changed, or is gone."""

    ALWAYS: ClassVar = ("rule_version", "deleted")

    rule_id: str
    rule_version: int | None = None
    deleted: bool = False


class RuleState(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``ttp.rule.state.<rule>``; ``expires_at`` is ISO 8601 in UTC, None for ever."""

    ALWAYS: ClassVar = ("confidence_max", "expires_at", "reason", "set_by", "auto_revert")

    rule_id: str
    state: str
    confidence_max: float | None = None
    expires_at: str | None = None
    reason: str | None = None
    set_by: str | None = None
    auto_revert: bool = False
