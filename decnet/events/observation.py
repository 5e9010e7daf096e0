"""Observations of behaviour: one primitive of one session, as BEHAVE-SHELL names it."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from decnet.events.fields import Epoch, Share
from decnet.events.record import FromAttacker


class Window(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The time that an observation is about (epoch seconds)."""

    start_ts: Epoch | None = None
    end_ts: Epoch | None = None


class Observation(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``attacker.observation.<primitive>``; ``confidence`` is 0 to 1, 1 where nothing is said."""

    DECISIVE: ClassVar = frozenset({"confidence", "evidence_ref", "primitive"})

    ALWAYS: ClassVar = ("session_id", "identity_ref")

    value: Any
    primitive: str | None = None
    confidence: Share | None = None
    window: Window | None = None
    ts: Epoch | None = None
    source: str | None = None
    evidence_ref: str | None = None
    identity_ref: str | None = None
    session_id: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value is None:
            raise ValueError("no value")


class OneOfMany(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One observation among those of a session; whose it is stands once, beside the list. ``ts`` is its event's."""

    primitive: str
    value: Any
    id: str | None = None
    ts: Epoch | None = None
    confidence: Share | None = None
    window: Window | None = None
    source: str | None = None
    evidence_ref: str | None = None
    identity_ref: str | None = None

    def __post_init__(self) -> None:
        if not self.primitive:
            raise ValueError("no primitive")
        if self.value is None:
            raise ValueError("no value")


class Observations(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``attacker.observations``: all that was observed of one session, or of an attacker's days (without a session)."""

    LISTS: ClassVar = {"observations": OneOfMany}
    ALWAYS: ClassVar = ("session_id",)

    observations: list[OneOfMany]
    session_id: str | None = None

    def whole(self, one: OneOfMany) -> Observation:
        """One of the observations as an event of its own would tell it."""
        return Observation(
            attacker_uuid=self.attacker_uuid, attacker_ip=self.attacker_ip, identity_uuid=self.identity_uuid,
            session_id=self.session_id, value=one.value, primitive=one.primitive, confidence=one.confidence,
            window=one.window, source=one.source, evidence_ref=one.evidence_ref, identity_ref=one.identity_ref,
        )  # fmt: skip
