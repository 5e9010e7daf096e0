"""Rows of what sessions amount to: stories, and what was seen for the first time. Times are aware."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from decnet.db.rows import JsonObject


class StoryRow(TypedDict):
    """What one session amounts to; ``ended_at`` is epoch seconds, ``lines`` the number of its commands."""

    session_id: str
    attacker_uuid: str | None
    severity: str
    rank: int
    reason: str
    line: str
    playbook: str | None
    story: list[JsonObject]
    seen_at: datetime
    ended_at: float
    lines: int


class ThingRow(TypedDict):
    """One thing that a session had and that can be new; ``seen_at`` is when the session began."""

    session_id: str
    kind: str
    value: str
    seen_at: datetime


class SessionTold(TypedDict):
    """The columns that a session is shown with; of one that nobody has judged all are None."""

    story: list[JsonObject] | None
    story_line: str | None
    severity: str | None
    severity_reason: str | None
    playbook: str | None


NOT_JUDGED: SessionTold = {
    "story": None, "story_line": None, "severity": None, "severity_reason": None, "playbook": None,
}  # fmt: skip


class ListedPlaybook(TypedDict):
    """Sessions that do the same, as one; story and reason are those of the newest."""

    playbook: str
    severity: str
    session_count: int
    attacker_count: int
    first_seen: datetime
    last_seen: datetime
    story_line: str
    severity_reason: str


class FirstTimes(TypedDict, total=False):
    """What was never seen before a session, by event time; kinds without anything are not there."""

    hashes: list[str]
    hosts: list[str]
    keys: list[str]
    credentials: list[str]
    techniques: list[str]
    playbooks: list[str]
