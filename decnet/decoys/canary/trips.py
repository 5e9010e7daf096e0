"""What a hit on a token means: a new trigger, one more hit of a trigger, or only a count; and the event that tells of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from decnet.bus import topics
from decnet.db.rows.canary import TokenRow, TriggerRow
from decnet.db.types import as_utc
from decnet.decoys.canary.browser import facts
from decnet.decoys.canary.hits import Hit
from decnet.decoys.canary.reads import first_trip
from decnet.decoys.canary.standing import Standing
from decnet.events.canary import Triggered
from decnet.ids import event_id
from decnet.runtime.worker import Transaction

PRODUCER: Final = "decoys"
WINDOW: Final = timedelta(minutes=15)
"""One trigger for a token and a peer in this time."""
ECHO_AFTER: Final = timedelta(hours=1)
"""A resolver that is new to a token so long after its first trip repeats what it found in somebody's log or cache."""
Became = Literal["new", "again", "told_more", "left_out"]


@dataclass(frozen=True, slots=True)
class Several:
    """Hits of one token by one peer, the first of them whole."""

    hit: Hit
    count: int
    last_at: float


def folded(hits: Iterable[Hit]) -> list[Several]:
    """Hits in order; those without a report of one token, peer and way are one with their count."""
    found: dict[object, Several] = {}
    for number, hit in enumerate(hits):
        key: object = (hit.slug, hit.peer, hit.via, hit.label) if hit.report is None else number
        known = found.get(key)
        found[key] = (
            Several(hit, 1, hit.at)
            if known is None
            else replace(known, count=known.count + 1, last_at=max(known.last_at, hit.at))
        )
    return list(found.values())


def trigger_id_of(token_id: str, peer: str, at: float) -> str:
    """Id of the trigger that begins at a moment (epoch seconds)."""
    return event_id(PRODUCER, f"canary|{token_id}|{peer}|{at:.3f}")


async def trip(tx: Transaction, standing: Standing, token: TokenRow, several: Several, most: int) -> Became:
    """Takes hits of a token whose row is locked, and tells of them; at most ``most`` new triggers in a window.

    ``token`` is changed; what has to be written is in ``standing`` afterwards.
    """
    hit = several.hit
    at, last = moment_of(hit.at), moment_of(several.last_at)
    token["trips"] += several.count
    token["last_trip_at"] = max(last, token["last_trip_at"] or last)
    standing.count(token)
    known = standing.newest(token["token_id"], hit.peer, at - WINDOW)
    if known is not None:
        return await _again(tx, standing, token, known, several)
    if not _has_room(token, at, most):
        return "left_out"
    return await _new(tx, standing, token, several)


def moment_of(at: float) -> datetime:
    found = as_utc(at)
    assert found is not None
    return found


def _has_room(token: TokenRow, at: datetime, most: int) -> bool:
    """Counts one new trigger of the token's window, if there is room for it."""
    if token["window_at"] is None or not token["window_at"] <= at < token["window_at"] + WINDOW:
        token["window_at"], token["window_trips"] = at, 0
    if token["window_trips"] >= most:
        return False
    token["window_trips"] += 1
    return True


async def _again(
    tx: Transaction, standing: Standing, token: TokenRow, trigger: TriggerRow, several: Several
) -> Became:
    report = several.hit.report
    more = report is not None and trigger["report"] is None
    before = await standing.reports(token["token_id"], several.hit.peer) if more else []
    trigger["hits"] += several.count
    trigger["last_at"] = max(trigger["last_at"], moment_of(several.last_at))
    trigger["report"] = report if more else trigger["report"]
    standing.keep(trigger)
    if not more:
        return "again"
    await _tell(tx, token, trigger, several.hit, before)
    return "told_more"


async def _new(tx: Transaction, standing: Standing, token: TokenRow, several: Several) -> Became:
    hit = several.hit
    before = await standing.reports(token["token_id"], hit.peer) if hit.report is not None else []
    at = moment_of(hit.at)
    trigger: TriggerRow = {
        "trigger_id": trigger_id_of(token["token_id"], hit.peer, hit.at),
        "token_id": token["token_id"],
        "peer": hit.peer,
        "peer_kind": hit.peer_kind,
        "via": hit.via,
        "first_at": at,
        "last_at": moment_of(several.last_at),
        "hits": several.count,
        "echo": await _is_echo(standing, token, hit, at),
        "user_agent": hit.user_agent or None,
        "request_path": hit.request_path or None,
        "dns_qname": hit.dns_qname,
        "label": hit.label,
        "session_id": None,
        "report": hit.report,
    }
    first = token["first_trip_at"] is None
    token["first_trip_at"] = min(at, token["first_trip_at"] or at)
    standing.keep(trigger)
    await _tell(tx, token, trigger, hit, before, standing if first else None)
    return "new"


async def _is_echo(standing: Standing, token: TokenRow, hit: Hit, at: datetime) -> bool:
    """Late, from a resolver that is new to the token, and nothing new in the name."""
    first = token["first_trip_at"]
    if hit.peer_kind != "resolver" or first is None or at - first < ECHO_AFTER:
        return False
    if await standing.seen(token["token_id"], peer=hit.peer):
        return False
    return hit.label is None or await standing.seen(token["token_id"], label=hit.label)


async def _tell(
    tx: Transaction,
    token: TokenRow,
    trigger: TriggerRow,
    hit: Hit,
    zones: Iterable[object],
    first: Standing | None = None,
) -> None:
    """One event for the trigger, and one more for what a browser tells of itself later.

    Of the token's first trip it says more, which is noted in ``first``.
    """
    said = {
        "token_id": token["token_id"],
        "trigger_id": trigger["trigger_id"],
        "decky_id": token["decky_id"],
        "attacker_ip": hit.peer,
        "peer_kind": hit.peer_kind,
        "echo": trigger["echo"],
        "first_trip": first is not None,
        "user_agent": hit.user_agent,
        "request_path": hit.request_path,
        "dns_qname": hit.dns_qname,
        "label_before_slug": hit.label,
        **facts(hit.user_agent, hit.report, zones, hit.peer),
    }
    if first is not None:
        about = await first_trip(tx.repo, token, trigger["first_at"])
        first.first_trips[token["token_id"]] = about
        said = {**about, **said}
    record = Triggered.parse({name: value for name, value in said.items() if value is not None})
    version = "trip" if hit.report is None else "report"
    await tx.bus.publish(
        topics.canary(token["token_id"], topics.CANARY_TRIGGERED),
        record.build(),
        event_type=topics.CANARY_TRIGGERED,
        event_id=event_id(PRODUCER, trigger["trigger_id"], version),
        ts=hit.at,
    )
