"""Rows of canary tokens, of who read them and of who set them off."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from decnet.db.rows import JsonObject


def is_foreign(kind: str) -> bool:
    """Whether a token is another service's, which its kind names: "canarytokens/web"."""
    return "/" in kind


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


class BaitReadRow(TypedDict):
    """One session that read a token where it lay, at the first time that it did."""

    token_id: str
    session_id: str
    command_id: str
    attacker_uuid: str | None
    attacker_ip: str | None
    decky_id: str
    path: str
    at: datetime


class TokenOverview(TypedDict):
    """One token as lists show it, without what gives it away; who set it off last, and who read it last."""

    token_id: str
    kind: str
    decky_id: str
    path: str | None
    memo: str | None
    minted_at: datetime
    placed_at: datetime | None
    revoked_at: datetime | None
    first_trip_at: datetime | None
    last_trip_at: datetime | None
    trips: int
    last_peer: str | None
    last_peer_kind: str | None
    last_via: str | None
    last_session_id: str | None
    read_session_id: str | None
    read_ip: str | None
    read_at: datetime | None
