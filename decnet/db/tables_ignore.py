"""Tables of ignored sources, and what the producers of derived events remember.

The marks themselves are columns of ``attacker`` and ``session``: lists look at those.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import SQLModel

from decnet.db.tables import json_column, moment, number, real, text, text_key


class IgnoredSource(SQLModel, table=True):
    """A network or a login name whose doings are left out of lists; ``expires_at`` is wall clock."""

    __tablename__ = "ignored_source"
    ignore_id: str = text_key()
    kind: str = text()
    value: str = text()
    reason: str | None = text(None)
    set_by: str | None = text(None)
    set_at: datetime = moment(nullable=False)
    expires_at: datetime | None = moment(None)


class ProducerDue(SQLModel, table=True):
    """An attacker whose rows changed since a producer last looked; ``since`` and ``until`` are event time.

    ``seq`` grows with each change, so that a producer takes back only the mark it has seen.
    """

    __tablename__ = "producer_due"
    consumer: str = text_key()
    attacker_uuid: str = text_key()
    seq: int = number()
    since: float = real()
    until: float = real()


class Announcement(SQLModel, table=True):
    """Something that is told once; the row is written with the news."""

    __tablename__ = "announcement"
    key: str = text_key()
    ts: float = real()


class AttackerIntel(SQLModel, table=True):
    """The newest enrichment of an attacker, as ``attacker.intel.enriched`` had it; ``version`` orders them."""

    __tablename__ = "attacker_intel"
    __table_args__ = (Index("ix_attacker_intel_ts", "ts"),)
    attacker_uuid: str = text_key()
    version: str = text()
    ts: float = real()
    payload: dict[str, Any] | None = json_column()
