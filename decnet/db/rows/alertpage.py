"""Rows of an alert's page: the alert, the sessions on its sides with what was measured of them, and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypedDict

from decnet.db.rows import JsonObject
from decnet.db.rows.attribution import Alert
from decnet.db.rows.notes import NoteRow


class SideSession(TypedDict):
    """One session behind an alert. Times are aware, ``duration_s`` is seconds."""

    session_id: str
    attacker_uuid: str | None
    attacker_ip: str | None
    decky_id: str | None
    service: str | None
    protocol: str | None
    started_at: datetime | None
    ended_at: datetime | None
    duration_s: float | None
    command_count: int | None
    client: JsonObject | None
    auth: JsonObject | None
    recorded: bool
    """Whether its terminal can be watched."""
    logins: Sequence[str]
    """What got in: ``root/#a1b2``, or clear text where that is asked for and was kept."""
    lines: Sequence[str]
    """Its first commands, each cut."""
    features: Mapping[str, JsonObject | None]
    """By family of evidence; a family that was not measured has None."""


class AlertPage(TypedDict):
    """All that stands on the page of an alert; sessions by their start, those that are stored still."""

    alert: Alert
    addresses: Mapping[str, str]
    """Address by attacker."""
    sessions: Sequence[SideSession]
    notes: Sequence[NoteRow]
