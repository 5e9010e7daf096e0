"""Planted keys that come back: an AWS key id in what was typed, an SSH key that was offered, on one of our own decoys.

The events may come twice and in any order: a trigger is for a token, an attacker and a quarter of an hour of event
time, and the sessions that it counts are kept by their ids.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from decnet.bus import topics
from decnet.db.rows.canary import TokenRow, TriggerRow
from decnet.db.types import as_utc
from decnet.decoys.canary.baits.keys import md5_fingerprint, public_blob, sha256_fingerprint
from decnet.decoys.canary.reads import first_trip
from decnet.decoys.canary.trips import PRODUCER, WINDOW
from decnet.events.attacker import Fingerprinted
from decnet.events.canary import Triggered
from decnet.events.credential import Captured
from decnet.events.session import SessionEnded
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction

log = get_logger(__name__)
TOPICS: Final = (
    topics.attacker(topics.ATTACKER_SESSION_ENDED),
    topics.attacker(topics.ATTACKER_FINGERPRINTED),
    topics.credential(topics.CREDENTIAL_CAPTURED),
)
MAX_SESSIONS: Final = 100
"""Sessions that one trigger counts; more of the same quarter of an hour change nothing."""
_KEY_ID = re.compile(r"(?<![A-Z0-9])AKIA[A-Z2-7]{16}(?![A-Z0-9])", re.ASCII)
_MD5 = re.compile(r"(?:MD5:)?((?:[0-9a-f]{2}:){15}[0-9a-f]{2})", re.ASCII | re.IGNORECASE)
_BLOB = re.compile(r"(?:ssh-[a-z0-9-]+ )?(AAAA[A-Za-z0-9+/]{20,8000}={0,2})(?: .*)?", re.ASCII)


class Sighting(NamedTuple):
    """A value that came back: when (epoch seconds), from whom, where."""

    value: str
    at: float
    address: str | None
    attacker_uuid: str | None
    decky_id: str | None
    session_id: str | None
    source: str
    """What it counts as: its session, or its event where it has none."""

    @property
    def peer(self) -> str:
        """The address; the attacker's id where a producer gave no address."""
        return self.address or self.attacker_uuid or ""


def sightings(batch: Iterable[Received]) -> Iterator[Sighting]:
    """Values in a batch that might be planted keys, known or not."""
    for one in batch:
        record = one.record
        if not isinstance(record, (SessionEnded, Fingerprinted, Captured)):
            continue
        who = record.attacker_ip, record.attacker_uuid
        session_id, decky = getattr(record, "session_id", None), getattr(record, "decky_id", None)
        for value in sorted(set(_values(record))):
            yield Sighting(value, one.event.ts, *who, decky, session_id, session_id or one.event.id)


def _values(record: SessionEnded | Fingerprinted | Captured) -> Iterator[str]:
    if isinstance(record, SessionEnded):
        for command in record.commands:
            yield from _KEY_ID.findall(command.command_text)
    elif isinstance(record, Captured):
        yield from _KEY_ID.findall(record.username or "")
    elif isinstance(key := record.public_key, str) and (found := ssh_value(key)) is not None:
        yield found


def ssh_value(text: str) -> str | None:
    """A public key, or a fingerprint of one, in the form that it is compared in; None for neither."""
    if text.startswith("SHA256:"):
        return text.rstrip("=")
    if (md5 := _MD5.fullmatch(text)) is not None:
        return md5[1].lower()
    if (blob := _BLOB.fullmatch(text)) is not None:
        try:
            return sha256_fingerprint(base64.b64decode(blob[1], validate=True))
        except binascii.Error:
            return None
    return None


def watch_list(tokens: Iterable[TokenRow]) -> Mapping[str, TokenRow]:
    """Value → token, with every form in which a decoy may log it."""
    found = {}
    for token in tokens:
        found[str(token["watched"])] = token
        if token["kind"] == "ssh":
            found[md5_fingerprint(public_blob(token["slug"]))] = token
    return found


async def take(tx: Transaction, batch: Iterable[Received]) -> Counter[str]:
    """Writes down the planted keys of a batch, and tells of those that are new; figures by their names in health."""
    seen = list(sightings(batch))
    if not seen:
        return Counter()
    watched = watch_list(await tx.repo.canary_watched())
    mine = [one for one in seen if one.value in watched]
    locked = await tx.repo.canary_by_slugs(watched[one.value]["slug"] for one in mine)
    return Counter([await _taken(tx, locked[watched[one.value]["slug"]], one) for one in mine])


async def _taken(tx: Transaction, token: TokenRow, one: Sighting) -> str:
    """What became of it: a new trigger, one more session of one, a session that is known, or one too many."""
    window = int(one.at // WINDOW.total_seconds())
    ident = event_id(PRODUCER, f"canary|{token['token_id']}|{one.peer}|key|{window}")
    known = await tx.repo.canary_trigger(ident)
    sources = _sources(known)
    if one.source in sources:
        return "canary_keys_known"
    if len(sources) >= MAX_SESSIONS:
        return "canary_keys_left_out"
    at = as_utc(one.at)
    assert at is not None
    first = token["first_trip_at"] is None
    token["trips"] += 1
    token["first_trip_at"] = min(at, token["first_trip_at"] or at)
    token["last_trip_at"] = max(at, token["last_trip_at"] or at)
    await tx.repo.canary_count(token)
    trigger: TriggerRow = {
        "trigger_id": ident, "token_id": token["token_id"], "peer": one.peer, "peer_kind": "client", "via": "key",
        "first_at": at, "last_at": at, "hits": 1, "echo": False, "user_agent": None, "request_path": None,
        "dns_qname": None, "label": None, "session_id": one.session_id, "report": {"sources": [one.source]},
    }  # fmt: skip
    if known is None:
        await tx.repo.canary_trigger_add(trigger)
        await _tell(tx, token, trigger, one, first)
        return "canary_keys_back"
    known["hits"] += 1
    known["first_at"] = min(at, known["first_at"])
    known["last_at"] = max(at, known["last_at"])
    known["report"] = {"sources": [*sources, one.source]}
    await tx.repo.canary_trigger_again(known)
    return "canary_keys_again"


def _sources(trigger: TriggerRow | None) -> list[Any]:
    found = (trigger["report"] or {}).get("sources") if trigger is not None else None
    return found if isinstance(found, list) else []


async def _tell(tx: Transaction, token: TokenRow, trigger: TriggerRow, one: Sighting, first: bool) -> None:
    said = {
        "first_trip": first,
        "token_id": token["token_id"],
        "trigger_id": trigger["trigger_id"],
        "decky_id": one.decky_id or token["decky_id"],
        "session_id": one.session_id,
        "attacker_ip": one.address,
        "attacker_uuid": one.attacker_uuid,
    }
    if first:
        about = await first_trip(tx.repo, token, trigger["first_at"])
        said = {**about, **said}
        log.warning("canary token set off for the first time", token=token["token_id"], **about)
    record = Triggered.parse({name: value for name, value in said.items() if value})
    await tx.bus.publish(
        topics.canary(token["token_id"], topics.CANARY_TRIGGERED),
        record.build(),
        event_type=topics.CANARY_TRIGGERED,
        event_id=event_id(PRODUCER, trigger["trigger_id"], "trip"),
        ts=one.at,
    )
