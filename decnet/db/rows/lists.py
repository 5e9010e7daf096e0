"""Rows for people: what the command line and the console list, search, count and sum up. Times are aware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from decnet.db.rows import JsonObject
from decnet.events.intel import Answer


class Kind(NamedTuple):
    """What a tag says."""

    rule_id: str
    technique_id: str
    sub_technique_id: str | None
    tactic: str


class OneCounted(NamedTuple):
    """An attacker (None: an identity alone) with the numbers of the kinds that it has, as a text: ``3,17``.

    ``who`` is the same for all that are one now: the identity of several, or the attacker itself.
    """

    attacker_uuid: str | None
    who: str
    kinds: str


class Counted(NamedTuple):
    """How many tags there are of each kind, when the last was seen, and who has some.

    Kinds go by number; those without a tag are among ``kinds`` alone.
    """

    kinds: Mapping[int, Kind]
    tags: Mapping[int, int]
    last: Mapping[int, datetime]
    ones: Sequence[OneCounted]


class ListedTag(TypedDict):
    """One tag with whose it is; ``technique_name`` is filled in by who knows the catalogue."""

    uuid: str
    source_kind: str
    source_id: str
    attacker_uuid: str | None
    session_id: str | None
    decky_id: str | None
    tactic: str
    technique_id: str
    sub_technique_id: str | None
    confidence: float
    rule_id: str
    rule_version: int
    evidence: JsonObject | None
    attack_release: str
    seen_at: datetime
    """When the attacker did it; ``created_at`` is when it was judged."""
    created_at: datetime
    attacker_ip: str | None
    identity_uuid: str | None
    technique_name: str | None


TAG_COLUMNS = (
    "uuid", "source_kind", "source_id", "attacker_uuid", "session_id", "decky_id", "tactic", "technique_id", "sub_technique_id",
    "confidence", "rule_id", "rule_version", "evidence", "attack_release", "seen_at", "created_at", "identity_uuid",
)  # fmt: skip
"""What of a tag is exported."""
TagPage = Sequence[tuple[Any, ...]]
"""Tags as they are stored, with the values of :data:`TAG_COLUMNS`.

Evidence is the text of its JSON, times are texts in UTC without a zone (``2026-01-02 03:04:05.000006``); the identity is
what the tag itself names.
"""


class ListedSession(TypedDict):
    """One session with its identity and the numbers of its tags and files."""

    session_id: str
    sensor_session: str | None
    """The honeypot's own id: what stands in its log."""
    attacker_uuid: str
    attacker_ip: str | None
    decky_id: str | None
    service: str | None
    protocol: str | None
    started_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    duration_s: float | None
    command_count: int
    download_count: int
    upload_count: int
    identity_uuid: str | None
    tag_count: int
    commands_dropped: int | None
    items_dropped: int | None
    story: list[JsonObject] | None
    """What the session amounts to; None, as all below, of a session that nobody has judged."""
    story_line: str | None
    severity: str | None
    severity_reason: str | None
    playbook: str | None


class ListedAttacker(TypedDict):
    """One attacker with what it did."""

    attacker_uuid: str
    attacker_ip: str | None
    identity_uuid: str | None
    first_seen: datetime | None
    last_seen: datetime | None
    session_count: int
    decky_count: int
    techniques: list[str]


class Often(TypedDict):
    """One value, of how many attackers it was seen, and in how many sessions (log-ins: attempts)."""

    value: str
    attackers: int
    times: int


class Top(TypedDict):
    """The values that were seen most often, of how many."""

    of: int
    top: list[Often]


class AttackerTold(TypedDict):
    """What an attacker's sessions amount to, and what others say of it."""

    severity: str | None
    """The worst of its sessions."""
    did: str | None
    """The story of the newest session that is as bad."""
    files: list[str]
    """Hashes of what came in."""
    answers: list[Answer]


class Login(TypedDict, total=False):
    """How a log-in is shown: ``root/#a1b2``, or its clear text where the operator keeps that."""

    login: str


class Hit(Login):
    """One place that holds the text that was looked for."""

    ts: datetime | None
    kind: str
    value: str
    attacker_ip: str | None
    attacker_uuid: str | None
    session_id: str | None


class TechniqueCount(TypedDict):
    """How often a technique was seen under a tactic, of how many actors, and when last."""

    tactic: str
    technique_id: str
    sub_technique_id: str | None
    tags: int
    actors: int
    last: datetime | None
    new: bool
    """Whether nobody had it before the span that is asked for; false without one."""


class TagBehind(TypedDict):
    """One tag behind a technique or a rule, with the address, the time of its session and the command."""

    uuid: str
    session_id: str | None
    attacker_uuid: str | None
    decky_id: str | None
    tactic: str
    technique_id: str
    sub_technique_id: str | None
    confidence: float
    rule_id: str
    evidence: JsonObject | None
    source_kind: str
    source_id: str
    attacker_ip: str | None
    identity_uuid: str | None
    seen: datetime | None
    command_text: str | None


class RuleUse(TypedDict):
    """How often a rule gave a tag lately, and when last; ``last_seen`` is when the attacker did it."""

    recent: int
    last_seen: datetime | None


class ListedSample(TypedDict):
    """A file that attackers brought; the lists of names and sources are cut, their counts are not."""

    sha256: str
    names: list[str]
    name_count: int
    sources: list[str]
    """URLs that it was fetched from; none of one that was sent."""
    source_count: int
    attackers: int
    times: int
    first_seen: datetime | None
    last_seen: datetime | None


class ListedCredential(TypedDict):
    """One attempt to log in; ``secret`` is clear text only where the operator keeps and asks for it."""

    credential_id: str
    attacker_uuid: str | None
    decky_id: str | None
    service: str | None
    session_id: str | None
    username: str | None
    secret_hmac: str | None
    secret: str | None
    secret_kind: str | None
    key_id: str | None
    """Which key the hash was made with; hashes of two keys tell nothing about each other."""
    success: bool | None
    first_seen: datetime | None
    last_seen: datetime | None
    attacker_ip: str | None
    login: str


class TypedWords(NamedTuple):
    """Which of some words stand in the commands of which attackers."""

    by: Mapping[str, frozenset[str]]
    looked_at: int | None
    """How many commands were looked at, the newest, where there are more; None when these were all."""
