"""Planted keys that come back: an AWS key id in what was typed, an SSH key that was offered, on one of our own decoys.

How often one counts is left to :mod:`decnet.decoys.canary.sightings`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from decnet.bus import topics
from decnet.db.rows.canary import TokenRow
from decnet.decoys.canary.baits.keys import md5_fingerprint, public_blob, sha256_fingerprint
from decnet.decoys.canary.reads import first_trip
from decnet.decoys.canary.sightings import Sighted, Sighting
from decnet.decoys.canary.sightings import take as take_sighting
from decnet.decoys.canary.trips import PRODUCER
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
_FIGURES: Final = {
    "new": "canary_keys_back",
    "again": "canary_keys_again",
    "known": "canary_keys_known",
    "left_out": "canary_keys_left_out",
}
_KEY_ID = re.compile(r"(?<![A-Z0-9])AKIA[A-Z2-7]{16}(?![A-Z0-9])", re.ASCII)
_MD5 = re.compile(r"(?:MD5:)?((?:[0-9a-f]{2}:){15}[0-9a-f]{2})", re.ASCII | re.IGNORECASE)
_BLOB = re.compile(r"(?:ssh-[a-z0-9-]+ )?(AAAA[A-Za-z0-9+/]{20,8000}={0,2})(?: .*)?", re.ASCII)


class FoundKey(NamedTuple):
    """A value that came back: from whom and where, and what it counts as if it was planted."""

    value: str
    address: str | None
    attacker_uuid: str | None
    decky_id: str | None
    sighting: Sighting


def found_keys(batch: Iterable[Received]) -> Iterator[FoundKey]:
    """Values in a batch that might be planted keys, known or not."""
    for one in batch:
        record = one.record
        if not isinstance(record, (SessionEnded, Fingerprinted, Captured)):
            continue
        address, uuid = record.attacker_ip, record.attacker_uuid
        session_id, decky = getattr(record, "session_id", None), getattr(record, "decky_id", None)
        source, peer = session_id or one.event.id, address or uuid or ""
        sighting = Sighting(one.event.ts, peer, "key", source, session_id=session_id)
        for value in sorted(set(_values(record))):
            yield FoundKey(value, address, uuid, decky, sighting)


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
    seen = list(found_keys(batch))
    if not seen:
        return Counter()
    watched = watch_list(await tx.repo.canary_watched())
    mine = [one for one in seen if one.value in watched]
    locked = await tx.repo.canary_by_slugs(watched[one.value]["slug"] for one in mine)
    return Counter([await _taken(tx, locked[watched[one.value]["slug"]], one) for one in mine])


async def _taken(tx: Transaction, token: TokenRow, one: FoundKey) -> str:
    sighted = await take_sighting(tx, token, one.sighting)
    if sighted.became == "new":
        await _tell(tx, token, sighted, one)
    return _FIGURES[sighted.became]


async def _tell(tx: Transaction, token: TokenRow, sighted: Sighted, one: FoundKey) -> None:
    trigger = sighted.trigger
    said = {
        "first_trip": sighted.first,
        "token_id": token["token_id"],
        "trigger_id": trigger["trigger_id"],
        "decky_id": one.decky_id or token["decky_id"],
        "session_id": trigger["session_id"],
        "attacker_ip": one.address,
        "attacker_uuid": one.attacker_uuid,
    }
    if sighted.first:
        about = await first_trip(tx.repo, token, trigger["first_at"])
        said = {**about, **said}
        log.warning("canary token set off for the first time", token=token["token_id"], **about)
    record = Triggered.parse({name: value for name, value in said.items() if value})
    await tx.bus.publish(
        topics.canary(token["token_id"], topics.CANARY_TRIGGERED),
        record.build(),
        event_type=topics.CANARY_TRIGGERED,
        event_id=event_id(PRODUCER, trigger["trigger_id"], "trip"),
        ts=one.sighting.at,
    )
