"""The tables of canary tokens: what was made and where it lies, who read it there, and who set it off."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from decnet.db.schema.columns import Stored, json_column, moment, number, text, text_key


class CanaryToken(Stored, table=True):
    """One token. ``slug`` is its secret; ``watched`` is what trips it when it comes back (a key's id or fingerprint).

    ``window_at`` and ``window_trips`` bound its new triggers: how many since then.
    """

    __tablename__ = "canary_token"
    __table_args__ = (
        Index("ix_canary_token_slug", "slug", unique=True),
        Index("ix_canary_token_watched", "watched"),
    )
    token_id: str = text_key()
    slug: str = text()
    kind: str = text()
    decky_id: str = text()
    path: str | None = text(None)
    memo: str | None = text(None)
    watched: str | None = text(None)
    minted_at: datetime = moment(nullable=False)
    placed_at: datetime | None = moment(None)
    revoked_at: datetime | None = moment(None)
    first_trip_at: datetime | None = moment(None)
    last_trip_at: datetime | None = moment(None)
    trips: int = number(0)
    window_at: datetime | None = moment(None)
    window_trips: int = number(0)


class CanaryTrigger(Stored, table=True):
    """Who set a token off, for one peer and a quarter of an hour; ``hits`` counts how often.

    ``peer_kind`` is client or resolver: a resolver asked for somebody else. ``echo``: its late repeat of a name
    that others asked for before. ``report`` is what the browser told of itself.
    """

    __tablename__ = "canary_trigger"
    __table_args__ = (
        Index("ix_canary_trigger_peer", "token_id", "peer", "first_at"),
        Index("ix_canary_trigger_label", "token_id", "label"),
        Index("ix_canary_trigger_session", "session_id"),
        Index("ix_canary_trigger_last", "last_at"),
    )
    trigger_id: str = text_key()
    token_id: str = text()
    peer: str = text()
    peer_kind: str = text()
    via: str = text()
    first_at: datetime = moment(nullable=False)
    last_at: datetime = moment(nullable=False)
    hits: int = number()
    echo: bool = Field(default=False)
    user_agent: str | None = text(None)
    request_path: str | None = text(None)
    dns_qname: str | None = text(None)
    label: str | None = text(None)
    session_id: str | None = text(None)
    report: dict[str, Any] | None = json_column()


class BaitRead(Stored, table=True):
    """A session that read a token where it lay (``bait.read``): the command that did it first, and when."""

    __tablename__ = "bait_read"
    __table_args__ = (Index("ix_bait_read_session", "session_id"), Index("ix_bait_read_at", "token_id", "at"))
    token_id: str = text_key()
    session_id: str = text_key()
    command_id: str = text()
    attacker_uuid: str | None = text(None)
    attacker_ip: str | None = text(None)
    decky_id: str = text()
    path: str = text()
    at: datetime = moment(nullable=False)
