"""Trips that another service tells of by its webhook: of tokens of that service's, and of ours that it watches.

The trip is on the bus already, from who read the webhook. Here the token gets its row, so that lists have it, and the
first trip is told once more, as that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from decnet.bus import topics
from decnet.db.rows.canary import TokenRow
from decnet.decoys.canary.reads import first_trip
from decnet.decoys.canary.sightings import Sighting
from decnet.decoys.canary.sightings import take as take_sighting
from decnet.decoys.canary.trips import PRODUCER, moment_of
from decnet.events.canary import Triggered
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction

log = get_logger(__name__)
TOPICS: Final = ("canary.*.triggered",)
_FIGURES: Final = {
    "new": "canary_webhooks",
    "again": "canary_webhooks_again",
    "known": "canary_webhooks_known",
    "left_out": "canary_webhooks_left_out",
}
_WORD = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)


async def take(tx: Transaction, batch: Iterable[Received], most: int) -> Counter[str]:
    """Writes down the trips of a batch that a service told of; at most ``most`` tokens that are none of ours are kept."""
    told = [
        (token, one.event.ts, one.record)
        for one in batch
        if isinstance(one.record, Triggered) and (token := _token_of(one.record)) is not None
    ]
    if not told:
        return Counter()
    counts = Counter[str]()
    tokens = await tx.repo.canary_by_ids(token for token, *_ in told)
    for token, at, record in told:
        if token not in tokens and await tx.repo.canary_foreign() < most:
            await tx.repo.canary_add(_foreign(token, record, at))
            tokens |= await tx.repo.canary_by_ids([token])
        row = tokens.get(token)
        counts[await _taken(tx, row, record, at) if row is not None else "canary_webhooks_beyond"] += 1
    return counts


def _token_of(record: Triggered) -> str | None:
    """The token of a trip that a service told of; None for others, and for the news of a first trip, which is from here."""
    return record.token_id if record.service is not None and not record.first_trip else None


def _foreign(token: str, record: Triggered, at: float) -> TokenRow:
    """A row for a token of another service's: nobody can fetch its slug, and where it lies only its memo says."""
    kind = f"{_word(record.service)}/{_word(record.kind)}"
    return {
        "token_id": token, "slug": f"{kind}/{token}", "kind": kind, "decky_id": record.decky_id or "", "path": None,
        "memo": record.memo, "watched": None, "minted_at": moment_of(at), "placed_at": None, "revoked_at": None,
        "first_trip_at": None, "last_trip_at": None, "trips": 0, "window_at": None, "window_trips": 0,
    }  # fmt: skip


def _word(text: str | None) -> str:
    return text if text is not None and _WORD.fullmatch(text) else "token"


async def _taken(tx: Transaction, token: TokenRow, record: Triggered, at: float) -> str:
    if token["revoked_at"] is not None:
        return "canary_revoked"
    sighted = await take_sighting(tx, token, _sighting(record, at))
    if sighted.first:
        await _tell(tx, token, record, at)
    return _FIGURES[sighted.became]


def _sighting(record: Triggered, at: float) -> Sighting:
    peer = record.attacker_ip or record.attacker_uuid or ""
    source = record.trigger_id or f"{peer}@{at:.3f}"
    agent = record.user_agent or None
    return Sighting(at, peer, "webhook", source, record.peer_kind, None, agent, record.dns_qname)


async def _tell(tx: Transaction, token: TokenRow, record: Triggered, at: float) -> None:
    about = await first_trip(tx.repo, token, moment_of(at))
    first = msgspec.structs.replace(record, first_trip=True, **about)
    log.warning("canary token set off for the first time", token=token["token_id"], **about)
    await tx.bus.publish(
        topics.canary(token["token_id"], topics.CANARY_TRIGGERED),
        first.build(),
        event_type=topics.CANARY_TRIGGERED,
        event_id=event_id(PRODUCER, f"canary|{token['token_id']}|first"),
        ts=at,
    )
