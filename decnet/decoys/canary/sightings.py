"""Trips that events tell of, instead of a listener of ours: counted once, whatever the order in which they come.

Such an event may come twice and at any time: a trigger is for a token, a peer and a quarter of an hour of event time,
and the sessions or events that it counts are kept by their ids.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from decnet.db.rows.canary import TokenRow, TriggerRow
from decnet.decoys.canary.trips import PRODUCER, WINDOW, moment_of
from decnet.ids import event_id
from decnet.runtime.worker import Transaction

MAX_SOURCES: Final = 100
"""Sessions or events that one trigger counts; more of the same quarter of an hour change nothing."""
Via = Literal["key", "webhook"]
Became = Literal["new", "again", "known", "left_out"]


class Sighting(NamedTuple):
    """That somebody set a token off: when (epoch seconds), from where, and how that is known."""

    at: float
    peer: str
    via: Via
    source: str
    """What it counts as: its session, or its event where it has none."""
    peer_kind: Literal["client", "resolver"] = "client"
    session_id: str | None = None
    user_agent: str | None = None
    dns_qname: str | None = None


class Sighted(NamedTuple):
    """What became of it, the trigger that counts it, and whether nobody had set the token off before."""

    became: Became
    trigger: TriggerRow
    first: bool


async def take(tx: Transaction, token: TokenRow, one: Sighting) -> Sighted:
    """Counts a sighting of a token whose row is locked; the row is changed and kept."""
    window = int(one.at // WINDOW.total_seconds())
    ident = event_id(PRODUCER, f"canary|{token['token_id']}|{one.peer}|{one.via}|{window}")
    known = await tx.repo.canary_trigger(ident)
    sources = _sources(known)
    trigger = known or _trigger(ident, token, one)
    if one.source in sources:
        return Sighted("known", trigger, first=False)
    if len(sources) >= MAX_SOURCES:
        return Sighted("left_out", trigger, first=False)
    first, at = token["first_trip_at"] is None, moment_of(one.at)
    token["trips"] += 1
    token["first_trip_at"] = min(at, token["first_trip_at"] or at)
    token["last_trip_at"] = max(at, token["last_trip_at"] or at)
    await tx.repo.canary_count(token)
    if known is None:
        await tx.repo.canary_trigger_add(trigger)
        return Sighted("new", trigger, first)
    trigger["hits"] += 1
    trigger["first_at"], trigger["last_at"] = min(at, trigger["first_at"]), max(at, trigger["last_at"])
    trigger["report"] = {"sources": [*sources, one.source]}
    await tx.repo.canary_trigger_again(trigger)
    return Sighted("again", trigger, first)


def _trigger(ident: str, token: TokenRow, one: Sighting) -> TriggerRow:
    at = moment_of(one.at)
    return {
        "trigger_id": ident, "token_id": token["token_id"], "peer": one.peer, "peer_kind": one.peer_kind, "via": one.via,
        "first_at": at, "last_at": at, "hits": 1, "echo": False, "user_agent": one.user_agent, "request_path": None,
        "dns_qname": one.dns_qname, "label": None, "session_id": one.session_id, "report": {"sources": [one.source]},
    }  # fmt: skip


def _sources(trigger: TriggerRow | None) -> list[Any]:
    found = (trigger["report"] or {}).get("sources") if trigger is not None else None
    return found if isinstance(found, list) else []
