"""Profiles of identities: changes of state, and the suspicion that one is several people."""

from __future__ import annotations

from typing import Any, ClassVar

from decnet.events.fields import Epoch, Share
from decnet.events.record import Record


class StateChanged(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``attribution.profile.state_changed``; ``old_state`` is None at first, ``seq`` only grows."""

    ALWAYS: ClassVar = (
        "attacker_uuids", "old_state", "current_value", "confidence", "observation_count",
    )  # fmt: skip

    identity_uuid: str
    attacker_uuids: list[str] = []
    primitive: str
    old_state: str | None = None
    new_state: str
    current_value: Any = None
    confidence: Share = 0.0
    observation_count: int = 0
    ts: Epoch
    seq: int


class MultiActorSuspected(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``attribution.profile.multi_actor_suspected``: ``sides`` are the sessions of each of them."""

    ALWAYS: ClassVar = (
        "attacker_uuids", "primitives", "families", "sides", "against", "cannot_tell", "evidence_summary", "confidence",
    )  # fmt: skip

    identity_uuid: str
    attacker_uuids: list[str] = []
    primitives: list[str] = []
    families: list[str] = []
    sides: list[list[str]] = []
    against: list[str] = []
    cannot_tell: list[str] = []
    evidence_summary: str = ""
    confidence: Share = 0.0
    alert_id: str | None = None
    ts: Epoch
