"""Rows of an attacker's page: what all of its sessions amount to. Times are aware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypedDict

from decnet.db.rows.linking import CampaignName, ListedIdentity, MemberSeen
from decnet.db.rows.lists import AttackerTold, ListedAttacker, ListedSession
from decnet.db.rows.notes import NoteRow
from decnet.db.rows.struck import StruckSessions


class OwnPlaybook(TypedDict):
    """Sessions of one attacker that do the same; ``playbook`` None: those that ran nothing, by severity."""

    playbook: str | None
    sessions: int
    severity: str
    line: str
    """The story of the newest of them."""
    session_id: str
    last: datetime


class OwnFile(TypedDict):
    """A file that came in: how it was called, and in how many sessions it came."""

    sha256: str
    name: str | None
    sessions: int


class OwnLogins(TypedDict):
    """Log-ins that were tried and let in; ``top`` are those that got in first, then the commonest: label, times, let in."""

    tried: int
    let_in: int
    top: Sequence[tuple[str, int, int]]


class Shared(TypedDict):
    """A value that it shares with other addresses, itself counted among them."""

    family: str
    value: str
    addresses: int


class Amounts(TypedDict):
    """What all sessions of one attacker amount to."""

    judged: int
    """Sessions that stages and playbooks are told of: the newest."""
    stages: Mapping[str, int]
    """Sessions by phase of their stories."""
    playbooks: Sequence[OwnPlaybook]
    """The worst first, then those of most sessions."""
    days: Mapping[str, int]
    """Sessions by day (UTC)."""
    clients: Mapping[str, int]
    """Sessions by what the client said it is, the commonest first."""
    logins: OwnLogins
    files: Sequence[OwnFile]
    hosts: Mapping[str, int]
    """Sessions by host that something was fetched from."""
    techniques: Mapping[str, int]
    """Tags by technique, the commonest first."""
    shared: Sequence[Shared]
    """The rarest first; by the index of linking, as is how many addresses have a client of its own."""
    client_addresses: Mapping[str, int]


class ActorPage(TypedDict):
    """All that stands on the page of an attacker."""

    attacker: ListedAttacker
    told: AttackerTold | None
    identity: ListedIdentity | None
    members: Sequence[MemberSeen]
    campaigns: Sequence[CampaignName]
    sessions: Sequence[ListedSession]
    recorded: frozenset[str]
    alerts: Sequence[str]
    """Open alerts on its identity."""
    amounts: Amounts
    struck: Sequence[StruckSessions]
    """How the keys of its newest recorded sessions came."""
    notes: Sequence[NoteRow]
