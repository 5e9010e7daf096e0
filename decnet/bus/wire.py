"""What may go on the wire: subjects, headers and sizes, checked before a client library sees them.

The NATS client closes its connection for good on a subject or payload the server refuses, so each
bound is enforced here, for every adapter alike.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from decnet.bus.base import Event, Sealed
from decnet.bus.topics import MAX_TOPIC_LENGTH

MSG_ID_HEADER = "Nats-Msg-Id"
HEADER_OVERHEAD = 64
"""Bytes allowed for the header block's own framing and for what is added to an event's id."""
MAX_BLOB_BYTES = 8 * 2**20
"""Bytes of one blob before compression."""
MAX_ID_LENGTH = 200
"""Characters of an event id."""

_PLAIN = r"[^\s.*>\x00-\x20\x7f\ud800-\udfff]+"
"""One token; half of a surrogate pair has no bytes to send."""
_TOKEN = re.compile(_PLAIN)
_PATTERN_TOKEN = re.compile(rf"\*|>|{_PLAIN}")
_HEADER_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_BLOB_KEY = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(rf"[\x21-\x7e]{{1,{MAX_ID_LENGTH}}}")


def check_topic(topic: str) -> str:
    """``topic`` when it can be published to; ValueError otherwise."""
    if len(topic) > MAX_TOPIC_LENGTH:
        raise ValueError(f"topic longer than {MAX_TOPIC_LENGTH} characters: {topic[:60]}…")
    if not all(_TOKEN.fullmatch(token) for token in topic.split(".")):
        raise ValueError(f"not a topic: {topic!r:.80}")
    return topic


def check_pattern(pattern: str) -> str:
    """``pattern`` when it can be subscribed to; ValueError otherwise."""
    tokens = pattern.split(".")
    if len(pattern) > MAX_TOPIC_LENGTH or not all(_PATTERN_TOKEN.fullmatch(token) for token in tokens):
        raise ValueError(f"not a topic pattern: {pattern!r:.80}")
    if ">" in tokens[:-1]:
        raise ValueError(f"'>' must be the last token: {pattern!r:.80}")
    return pattern


def outgoing(event: Event | Sealed, limit: int) -> tuple[bytes, dict[str, str]]:
    """Body and headers of ``event``, of which body plus headers take ``limit`` bytes at most.

    Raises ValueError for a bad topic, id or header, a payload that is no JSON, and an event over the limit.
    """
    check_topic(event.topic)
    ident = event.id
    if not _ID.fullmatch(ident):
        raise ValueError(f"not an event id: {ident!r:.80}")
    headers = {key: value for key, value in event.headers.items() if _may_travel(key, value)}
    try:
        body = event.to_bytes()
    except (TypeError, RecursionError) as error:
        raise ValueError(f"payload is not JSON: {error}") from error
    headers[MSG_ID_HEADER] = ident
    size = len(body) + HEADER_OVERHEAD + sum(len(k) + len(v) + 4 for k, v in headers.items())
    if size > limit:
        raise ValueError(f"event of {size} bytes on {event.topic} is over the limit of {limit}")
    headers[MSG_ID_HEADER] = _once(event.topic, ident, body)
    return body, headers


def _once(topic: str, ident: str, body: bytes) -> str:
    """What the server stores once: an id together with what is said under it, and where.

    Producers that know nothing of each other may give one id to two things; the second is no repetition. The payload
    ends the body, after the time, which may differ between two tries.
    """
    said = hashlib.blake2b(topic.encode(), digest_size=8)
    said.update(body[body.index(b'"payload":') :])
    return f"{ident}:{said.hexdigest()}"


def _may_travel(key: str, value: str) -> bool:
    """Headers for the server itself (``Nats-…``) are ours alone: one of them can empty a stream."""
    if key.lower().startswith("nats-"):
        return False
    if not _HEADER_KEY.fullmatch(key) or not value.isprintable() or not value.isascii():
        raise ValueError(f"not a header: {key!r:.80}")
    return True


def incoming_headers(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """The publisher's headers without those of the server; None when nothing is left."""
    if not headers:
        return None
    kept = {k: v for k, v in headers.items() if not k.lower().startswith("nats-")}
    return kept or None


def new_event(
    topic: str, payload: dict[str, Any], event_type: str, event_id: str | None, ts: float | None
) -> Event:
    """An event from the arguments of ``publish``."""
    given: dict[str, Any] = {}
    if event_id is not None:
        given["id"] = event_id
    if ts is not None:
        given["ts"] = ts
    return Event(topic=topic, payload=payload, type=event_type, **given)


def check_consumer_name(name: str) -> str:
    """``name`` when a durable consumer can have it; ValueError otherwise."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a consumer name: {name!r:.80}")
    return name


def check_blob(key: str, data: bytes = b"") -> None:
    """ValueError for a key that is no sha256 in hex and for a blob over the limit."""
    if not _BLOB_KEY.fullmatch(key):
        raise ValueError(f"not a sha256 in hex: {key!r:.80}")
    if len(data) > MAX_BLOB_BYTES:
        raise ValueError(f"blob of {len(data)} bytes is over the limit of {MAX_BLOB_BYTES}")
