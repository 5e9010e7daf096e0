"""Deterministic ids: the same evidence gets the same id in every run, on every host.

All are UUIDv5, so replay, redelivery and back-fill write the same rows again instead of new ones.
"""

from __future__ import annotations

import hashlib
from uuid import NAMESPACE_URL, UUID, uuid5

from decnet.addresses import fold
from decnet.hostile import storable_text

_ATTACKER_NS = uuid5(NAMESPACE_URL, "decnet:attacker:v1")
_IDENTITY_NS = uuid5(NAMESPACE_URL, "decnet:identity:v1")
_CAMPAIGN_NS = uuid5(NAMESPACE_URL, "decnet:campaign:v1")
_SESSION_NS = uuid5(NAMESPACE_URL, "decnet:session:v1")
_EVENT_NS = uuid5(NAMESPACE_URL, "decnet:event:v1")
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""Two bits of the variant of RFC 9562 before the two of the hash that stay."""
TTP_TAG_NS: UUID = uuid5(NAMESPACE_URL, "decnet:ttp_tag:v1")


def _hex(namespace: UUID, name: str) -> str:
    """Hex of UUIDv5 (RFC 9562, 5.5); an object of :mod:`uuid` costs three times as much, and every event needs some.

    Of the text as both databases store it: an event may hold lone surrogates, which have no bytes.
    """
    text = storable_text(name).encode()
    found = hashlib.sha1(namespace.bytes + text, usedforsecurity=False).hexdigest()
    return f"{found[:12]}5{found[13:16]}{_VARIANT[found[16]]}{found[17:32]}"


def _derived(namespace: UUID, name: str) -> str:
    found = _hex(namespace, name)
    return f"{found[:8]}-{found[8:12]}-{found[12:16]}-{found[16:20]}-{found[20:]}"


def normalize_ip(ip: str) -> str:
    """The canonical text of an address (:func:`decnet.addresses.fold`).

    Text that is no address comes back unchanged: a log may hold anything.
    """
    return fold(ip) or ip


def attacker_id(ip: str) -> str:
    """Id of the attacker behind one source address."""
    return _derived(_ATTACKER_NS, normalize_ip(ip))


def attacker_id_as_written(ip: str) -> str:
    """The id that versions before the folding of addresses gave one that they left unfolded."""
    return _derived(_ATTACKER_NS, ip)


def identity_id(attacker_uuid: str) -> str:
    """Id of the stub identity that one attacker starts with."""
    return _derived(_IDENTITY_NS, str(attacker_uuid))


def campaign_id(family: str, value: str) -> str:
    """Id of the campaign that begins with one asset (a key, a file, a script)."""
    return _derived(_CAMPAIGN_NS, f"{family}|{value}")


def session_id(kind: str, decky_id: str, native_id: str) -> str:
    """Id of one honeypot session.

    ``kind`` is the sensor kind, ``native_id`` the honeypot's own session id.
    """
    return _derived(_SESSION_NS, "|".join((kind, decky_id, native_id)))


def tag_id(
    source_kind: str,
    source_id: str,
    rule_id: str,
    rule_version: int,
    technique_id: str,
    sub_technique_id: str | None,
) -> str:
    """Id of a tag; nothing else takes part, the tactic neither."""
    parts = (source_kind, source_id, rule_id, str(rule_version), technique_id, sub_technique_id or "")
    return _derived(TTP_TAG_NS, "|".join(parts))


def event_id(producer: str, subject_key: str, version: str | int = 1) -> str:
    """Hex id of a durable event: producer, the subject's own key and the version of its content."""
    return _hex(_EVENT_NS, f"{producer}|{subject_key}|{version}")


def letter_key(worker: str, place: int | str, body: bytes) -> str:
    """What tells one dead letter of a worker from others: the event's bytes, and where it or its element stood.

    The sequence alone would not do: a stream that was made anew counts from one again.
    """
    named = f"{worker}|{place}|{hashlib.sha256(body).hexdigest()}"
    return hashlib.sha256(storable_text(named).encode()).hexdigest()
