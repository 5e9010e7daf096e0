"""Rows of how commands were struck, as the recordings of sessions show it."""

from __future__ import annotations

from typing import TypedDict


class Struck(TypedDict):
    """How the keys of one session came; None for what its recording does not show."""

    modality: str | None
    """``typed``, ``mixed`` or ``pasted``: how much of it came in whole lines (``motor.input_modality``)."""
    cadence: str | None
    """``steady``, ``bursty``, ``hunt_and_peck`` or ``machine`` (``motor.keystroke_cadence``)."""
    confidence: float
    """Of the cadence where it is a machine's or nothing else is known, else of the modality; 0 to 1."""
    protocol: str | None
    """``telnet`` clients may send whole lines however they were struck."""


class StruckSessions(Struck):
    """So many sessions of which the same is known; the confidence is the least of theirs."""

    sessions: int
