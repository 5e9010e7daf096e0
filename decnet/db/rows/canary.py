"""Rows of canary tokens and of who set them off."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from decnet.db.rows import JsonObject


class TokenRow(TypedDict):
    """One token, whole."""

    token_id: str
    slug: str
    kind: str
    decky_id: str
    path: str | None
    memo: str | None
    watched: str | None
    minted_at: datetime
    placed_at: datetime | None
    revoked_at: datetime | None
    first_trip_at: datetime | None
    last_trip_at: datetime | None
    trips: int
    window_at: datetime | None
    window_trips: int


class TriggerRow(TypedDict):
    """One peer that set a token off, within a quarter of an hour."""

    trigger_id: str
    token_id: str
    peer: str
    peer_kind: str
    via: str
    first_at: datetime
    last_at: datetime
    hits: int
    echo: bool
    user_agent: str | None
    request_path: str | None
    dns_qname: str | None
    label: str | None
    session_id: str | None
    report: JsonObject | None
