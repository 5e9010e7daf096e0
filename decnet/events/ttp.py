"""Tags and rules: what was found, what was kept back, what changed."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from decnet.events.record import Record

SEVERITIES: tuple[str, ...] = ("critical", "high", "medium", "low", "info")
"""How bad a session was, from the worst on."""
RAN_CODE: tuple[str, ...] = ("% and ran %", "%ran code of its own%")
"""What the reason of a severity says (as patterns of SQL) where a session ran code of its own."""


class Fired(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What fired for one technique (the parent): the rules, and how many of ``tag_uuids`` are of it."""

    technique_id: str
    rule_ids: list[str] = []
    tags: Annotated[int, msgspec.Meta(ge=0)] = 0


class Tagged(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``ttp.tagged``: tags of one subject that were really inserted; the lists are bounded.

    ``tag_uuids`` are in the order of ``fired``: first those of its first technique, and so on.
    """

    LISTS: ClassVar = {"fired": Fired}
    ALWAYS: ClassVar = ("attacker_uuid", "identity_uuid", "session_id", "tag_uuids", "techniques_added")

    attacker_uuid: str | None = None
    identity_uuid: str | None = None
    session_id: str | None = None
    tag_uuids: list[str] = []
    techniques_added: list[str] = []
    fired: list[Fired] = []


class StoryPhase(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False, rename={"first": "from"}):
    """One phase of a session's story: from which line to which (from 1; 0 is before the first), how many steps.

    ``times`` and ``cycle`` are there where a group of phases followed itself: how often, and which group.
    """

    phase: str
    first: int
    to: int
    n: int
    stages: dict[str, int] = {}
    what: list[str] = []
    via: list[str] = []
    techniques: list[str] = []
    times: int | msgspec.UnsetType = msgspec.UNSET
    cycle: int | msgspec.UnsetType = msgspec.UNSET


class SessionJudged(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``ttp.session.judged``: what a session that ended amounts to; told again when more of it was judged."""

    LISTS: ClassVar = {"story": StoryPhase}
    ALWAYS: ClassVar = ("attacker_uuid", "decky_id", "playbook", "story")

    session_id: str
    severity: str
    """One of ``SEVERITIES``."""
    severity_reason: str
    story_line: str
    attacker_uuid: str | None = None
    decky_id: str | None = None
    playbook: str | None = None
    story: list[StoryPhase] = []


class RuleFired(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``ttp.rule.fired.<technique>``; the technique is the parent. A view of ``ttp.tagged``, live only."""

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
