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
