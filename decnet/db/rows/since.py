"""Rows of what happened in a span: what it comes to, who is to be read first, what was never seen before. Times are aware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypedDict

from decnet.db.rows.attribution import Alert
from decnet.db.rows.fleet import MutationRow
from decnet.db.rows.journal import JournalLine
from decnet.db.rows.runtime import Heartbeat


class SpanTotals(TypedDict):
    """What a span comes to. ``got_in`` are sessions that were let in, ``ran_code`` those that ran code of their own."""

    sources: int
    sessions: int
    got_in: int
    ran_code: int
    files: int
    """Different files that came in, by their hashes."""


class SourceSince(TypedDict):
    """One source of a span, by the worst that it did there."""

    attacker_uuid: str
    attacker_ip: str | None
    identity_uuid: str | None
    severity: str | None
    """None, as all that follows from it, where nobody has judged any of its sessions yet."""
    severity_reason: str | None
    sessions: int
    playbooks: int
    """Different scripts among them."""
    first: datetime
    last: datetime
    new: bool
    """Whether it was first seen in the span; false for whatever belongs to the beginning of the history."""
    unseen: bool
    """Whether ``session_id`` brought a file, a host, a key or a script that nobody had brought before, by event time."""
    session_id: str
    """The newest of its worst sessions: the one to read."""
    decky_id: str | None
    service: str | None
    playbook: str | None
    story_line: str | None


class Tie(TypedDict):
    """What a source of a span shares with sources that had it before."""

    attacker_uuid: str
    family: str
    """``key``, ``sha256``, ``script``, ``tunnel``, ``host`` or ``client``."""
    value: str
    sources: int
    """How many had it before; of very many at least so many."""


class NewThing(TypedDict):
    """Something that was first seen in a span: a hash, a host, a key or a log-in that was let in."""

    value: str
    name: str | None
    """Of a file the name that it came under; of a log-in the beginning of its secret's hash."""
    first_seen: datetime
    session_id: str | None
    """The session that had it first."""
    times: int
    """Sessions of the span that had it (log-ins: attempts)."""


class NewTechnique(TypedDict):
    """A technique that was first seen lately."""

    technique: str
    first_seen: datetime
    tags: int
    attackers: int


class SomeNew(NamedTuple):
    """The first of what is new of a kind, newest first, and how many there are."""

    of: int
    some: Sequence[NewThing]


class SinceRows(NamedTuple):
    """Everything that the store tells of a span. ``begin`` and ``end`` are what was asked for."""

    begin: datetime
    end: datetime
    history: datetime | None
    """When the first stored session began; None when nothing is stored."""
    new_from: datetime | None
    """From when on something is new: what the first day of the history had is its beginning. None: nothing is."""
    totals: SpanTotals
    new_sources: int
    usual: SpanTotals | None
    """The medians of the spans of the same length before, as far as the history goes; None where there is none."""
    usual_of: int
    """How many spans that are."""
    rhythm: Sequence[tuple[datetime, int]]
    """Sessions by the beginning of each hour (``bucket_s`` seconds), those without any left out."""
    bucket_s: int
    sources: Sequence[SourceSince]
    by_severity: Mapping[str | None, int]
    """How many sources there are by the worst that they did."""
    files: SomeNew
    hosts: SomeNew
    keys: SomeNew
    credentials: SomeNew
    techniques: Sequence[NewTechnique]
    alerts: Sequence[Alert]
    addresses: Mapping[str, str]
    """Of the attackers that open alerts name, by their uuid."""
    changes: Sequence[MutationRow]
    """Changes of decoys in the span."""
    journal: Sequence[JournalLine]
    heartbeats: Sequence[Heartbeat]
    ties: Sequence[Tie] = ()
    """What those who are read first share with sources of before the span, the most telling first."""
