"""Canary tokens as a list shows them: where each lies, who read it there and who set it off last. Knows no terminal.

What makes a token secret (its slug, what it watches for, the paths and names that hold the slug) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypedDict

from decnet.db.rows.canary import BaitReadRow, TokenRow, TriggerRow

LAST_TRIPS = 5
LAST_READS = 3


class Trip(TypedDict):
    """One peer that set a token off."""

    peer: str
    peer_kind: str
    via: str
    first_at: datetime
    last_at: datetime
    hits: int
    echo: bool
    user_agent: str | None
    session_id: str | None


class BaitReading(TypedDict):
    """One session that read a token where it lies."""

    attacker_ip: str | None
    session_id: str
    at: datetime


class TokenLine(TypedDict):
    """One token. ``attacker_ip`` is who set it off last, where that was a client itself."""

    token_id: str
    name: str
    kind: str
    decky_id: str
    path: str | None
    memo: str | None
    state: str
    """minted, placed, tripped or revoked."""
    trips: int
    minted_at: datetime
    placed_at: datetime | None
    revoked_at: datetime | None
    first_trip_at: datetime | None
    last_trip_at: datetime | None
    attacker_ip: str | None
    session_id: str | None
    last_trips: Sequence[Trip]
    last_reads: Sequence[BaitReading]


def token_lines(
    tokens: Iterable[TokenRow], triggers: Iterable[TriggerRow], reads: Iterable[BaitReadRow] = ()
) -> list[TokenLine]:
    """Those set off last first, then the newest; ``triggers`` and ``reads`` come the newest first."""
    by_token: dict[str, list[Trip]] = {}
    for one in triggers:
        trips = by_token.setdefault(one["token_id"], [])
        if len(trips) < LAST_TRIPS:
            trips.append(_trip(one))
    read: dict[str, list[BaitReading]] = {}
    for bait in reads:
        mine = read.setdefault(bait["token_id"], [])
        if len(mine) < LAST_READS:
            mine.append(
                {"attacker_ip": bait["attacker_ip"], "session_id": bait["session_id"], "at": bait["at"]}
            )
    lines = [_line(row, by_token.get(row["token_id"], []), read.get(row["token_id"], [])) for row in tokens]
    return sorted(lines, key=_place)


def _place(line: TokenLine) -> tuple[bool, float, float]:
    last = line["last_trip_at"]
    return last is None, -last.timestamp() if last else 0.0, -line["minted_at"].timestamp()


def _trip(one: TriggerRow) -> Trip:
    return {
        "peer": one["peer"], "peer_kind": one["peer_kind"], "via": one["via"], "first_at": one["first_at"],
        "last_at": one["last_at"], "hits": one["hits"], "echo": one["echo"], "user_agent": one["user_agent"],
        "session_id": one["session_id"],
    }  # fmt: skip


def _line(row: TokenRow, trips: list[Trip], reads: list[BaitReading]) -> TokenLine:
    client = next((trip for trip in trips if trip["peer_kind"] != "resolver"), None)
    return {
        "token_id": row["token_id"], "name": row["token_id"], "kind": row["kind"], "decky_id": row["decky_id"], "path": row["path"],
        "memo": row["memo"], "state": state_of(row), "trips": row["trips"], "minted_at": row["minted_at"],
        "placed_at": row["placed_at"], "revoked_at": row["revoked_at"], "first_trip_at": row["first_trip_at"],
        "last_trip_at": row["last_trip_at"], "attacker_ip": client["peer"] if client else None,
        "session_id": client["session_id"] if client else None, "last_trips": trips,
        "last_reads": reads,
    }  # fmt: skip


def state_of(row: Mapping[str, object]) -> str:
    """What a token is: revoked above all, then set off, then placed."""
    if row["revoked_at"]:
        return "revoked"
    return "tripped" if row["trips"] else "placed" if row["placed_at"] else "minted"
