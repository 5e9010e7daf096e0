"""Rows of the machinery: dead letters, heartbeats, due marks."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, TypedDict

from decnet.db.rows import JsonObject


class DeadLetterLine(TypedDict):
    """An event that a worker could not digest, without its bytes."""

    id: int
    worker: str
    topic: str
    reason: str
    seq: int
    path: str | None
    """Where a bad element stood in its event, as a JSON path; None for a whole event. ``value`` is what it was."""
    value: str | None
    ts: datetime


class StoredDeadLetter(DeadLetterLine):
    """The same with its bytes."""

    letter_key: str
    body: bytes


class NewDeadLetter(NamedTuple):
    """A dead letter that is not stored yet.

    ``key`` tells letters apart, made of worker, sequence and body where none is given; ``path`` and ``value`` are
    those of one element, None for a whole event.
    """

    topic: str
    reason: str
    seq: int
    body: bytes
    key: str = ""
    path: str | None = None
    value: str | None = None


class WaitingMessage(TypedDict):
    """A message that waits for its target; times are epoch seconds, ``ts`` is that of what it tells of."""

    row_id: int
    target: str
    ident: str
    topic: str
    ts: float
    body: str
    stored_at: float


class Heartbeat(TypedDict):
    """The last heartbeat of a worker; ``payload`` is its health as it said it."""

    worker: str
    payload: JsonObject | None
    ts: datetime


class DueSpan(TypedDict):
    """An attacker whose rows of a span of event time (epoch seconds) changed."""

    attacker_uuid: str
    since: float
    until: float


class DueMark(DueSpan):
    """The same for one consumer; ``seq`` grows with every change."""

    consumer: str
    seq: int


class KnownName(TypedDict):
    """The token of a sensor's or decky's name as its log writes it."""

    name: str
    token: str
    ts: datetime
