"""Rows of one session's page. Times are aware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypedDict

from decnet.db.rows.canary import BaitReadRow
from decnet.db.rows.intel import StoredAnswer
from decnet.db.rows.lists import ListedTag
from decnet.db.rows.recorder import EndedPayload
from decnet.db.rows.story import FirstTimes, SessionTold
from decnet.db.rows.struck import Struck


class Attempt(TypedDict):
    """One try to log in, shown as ``root/#a1b2``; in clear text only where the operator keeps and asks for it."""

    login: str
    username: str | None
    secret_kind: str | None
    success: bool | None
    at: datetime | None


class Shared(TypedDict):
    """A value of the session's source (client, key, file, script ...) and how many other addresses have it."""

    family: str
    value: str
    addresses: int


class Alike(TypedDict):
    """What else is like a session."""

    playbook_before: int
    """Sessions with its playbook that began before it."""
    playbook_sources: int
    """Other sources with its playbook, whenever."""
    files: dict[str, int]
    """Its files by their hashes → other sessions that had them."""
    shared: list[Shared]


class SessionRows(NamedTuple):
    """Everything that is stored of one session."""

    payload: EndedPayload
    tags: Sequence[ListedTag]
    told: SessionTold
    first_times: FirstTimes
    services: Sequence[StoredAnswer]
    """What services said of its files and URLs."""
    recording: bytes | None
    attempts: Sequence[Attempt]
    """Tries to log in, in order; of very many the first, and those that were let in."""
    identity: str | None
    """Whose it is, as known now, and how many addresses that identity has."""
    addresses: int
    new: bool
    """Whether its source was first seen with it; false for what belongs to the beginning of the history."""
    place: int
    """Which of its source's sessions it is, and how many these are."""
    of: int
    alike: Alike
    hosts: Sequence[str]
    """Hosts that it fetched from."""
    struck: Struck | None = None
    """How its keys came; None where no recording tells it."""
    baits: Sequence[BaitReadRow] = ()
    """Canary tokens that it read where they lie."""


class Evidence(TypedDict):
    """What of one session may be an indicator."""

    session_id: str
    attacker_ip: str | None
    started_at: datetime | None
    downloads: list[Mapping[str, object]]
    uploads: list[Mapping[str, object]]
    commands: list[str]
    hosts: list[str]
    logins: list[str]
    """Those that were let in, as :class:`Attempt` shows them."""
