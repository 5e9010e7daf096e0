"""Rows of the services that are asked about attackers."""

from __future__ import annotations

from typing import TypedDict

from decnet.db.rows import JsonObject


class ServiceState(TypedDict):
    """What is left of a service's budget, and until when it rests (epoch seconds); see the table."""

    service: str
    day: int
    used: int
    failures: int
    rest_until: float


class StoredAnswer(TypedDict):
    """What a service said last about something, and when (epoch seconds)."""

    service: str
    kind: str
    value: str
    at: float
    known: bool
    said: JsonObject | None


class DueQuestion(TypedDict):
    """Something that a service is to be asked about; ``ts`` is event time, ``not_before`` wall clock."""

    service: str
    kind: str
    value: str
    attacker_uuid: str | None
    ts: float
    tries: int
    not_before: float


class DueCount(TypedDict):
    """How many questions wait for a service, and how many of them may be asked now."""

    service: str
    waiting: int
    ready: int
