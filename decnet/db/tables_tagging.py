"""The tables of window and sequence rules: what counts for one key, and when a rule came true for it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index
from sqlmodel import SQLModel

from decnet.db.tables import json_column, number, real, text, text_key


class WindowHitRow(SQLModel, table=True):
    """One view of one event that counts. ``slot`` is rule, version and key; ``ts`` event time in epoch seconds.

    ``keep_until`` (wall clock, epoch seconds) bounds the table.
    """

    __tablename__ = "ttp_window_hit"
    __table_args__ = (Index("ix_ttp_window_hit_keep", "keep_until"),)
    slot: str = text_key()
    source_kind: str = text_key()
    source_id: str = text_key()
    pos: int = number(primary_key=True, sa_column_kwargs={"autoincrement": False})
    ts: float = real()
    steps: int = number()
    value: str = text()
    who: dict[str, Any] | None = json_column()
    why: dict[str, Any] | None = json_column()
    keep_until: float = real()


class WindowFireRow(SQLModel, table=True):
    """A rule came true for one key at ``ts`` (event time); it stays, so that nothing moves later."""

    __tablename__ = "ttp_window_fire"
    slot: str = text_key()
    source_kind: str = text_key()
    source_id: str = text_key()
    ts: float = real()
