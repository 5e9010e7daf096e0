"""The tables of the services that are asked about attackers: budgets, answers, and what is to be asked."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from decnet.db.schema.columns import Stored, json_column, number, real, text, text_key


class IntelService(Stored, table=True):
    """How far the budget of a service is used: its day (days since the epoch, UTC), and how often it was asked in it.

    ``failures`` are those in a row, ``rest_until`` is wall clock, epoch seconds.
    """

    __tablename__ = "intel_service"
    service: str = text_key()
    day: int = number()
    used: int = number()
    failures: int = number()
    rest_until: float = real()


class IntelAnswer(Stored, table=True):
    """The last answer of a service about something, and when it came (wall clock, epoch seconds)."""

    __tablename__ = "intel_answer"
    __table_args__ = (Index("ix_intel_answer_at", "at"), Index("ix_intel_answer_value", "value"))
    service: str = text_key()
    kind: str = text_key()
    value: str = text_key()
    at: float = real()
    known: bool = Field(default=False)
    said: dict[str, Any] | None = json_column()


class IntelDue(Stored, table=True):
    """Something that a service is to be asked about.

    ``attacker_uuid`` is who is told of by the answer, NULL where it is about nobody's address. ``ts`` is event time,
    ``not_before`` wall clock, both in epoch seconds.
    """

    __tablename__ = "intel_due"
    __table_args__ = (
        Index("ix_intel_due_order", "service", "kind", "ts"),
        Index("ix_intel_due_value", "value"),
        Index("ix_intel_due_ts", "ts"),
        Index("ix_intel_due_attacker", "attacker_uuid"),
    )
    service: str = text_key()
    kind: str = text_key()
    value: str = text_key()
    attacker_uuid: str | None = text(None)
    ts: float = real()
    tries: int = number()
    not_before: float = real()
