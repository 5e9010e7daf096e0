"""Rows of linking: what is known of addresses, values and groups. Times are epoch seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypedDict

from decnet.db.rows.recorder import EndedPayload


class DueSession(NamedTuple):
    """A session whose rows changed; ``seq`` tells this change from a later one."""

    session_id: str
    seq: int


class StoredLogin(TypedDict):
    """One attempt to log in."""

    username: str | None
    secret_hmac: str | None
    secret_kind: str | None


class LinkableSession(NamedTuple):
    """One stored session with its commands as they were typed and its attempts to log in, each in order."""

    payload: EndedPayload
    """Without the commands."""
    lines: list[str]
    logins: list[StoredLogin]


class LinkedAddress(TypedDict):
    """A row of ``link_address``."""

    attacker_uuid: str
    address: str
    identity_uuid: str
    linked_into: str | None
    founded_at: float
    logins: str


class LinkedTerm(TypedDict):
    """A row of ``link_term``."""

    term_id: str
    family: str
    value: str
    campaign_root: str | None
    kit_root: str | None
    marks: list[str] | None


class LinkedValue(TypedDict):
    """A row of ``link_value``."""

    attacker_uuid: str
    term_id: str
    first_at: float | None
    kept: bool


class LinkedGroup(TypedDict):
    """A row of ``link_group``."""

    kind: str
    root: str
    founder: str
    founded_at: float
    label: str
    campaign_uuid: str | None
    name: str | None
    addresses: int


class SaidOfTwo(TypedDict):
    """What an operator said of two attackers, ``one`` the lesser."""

    one: str
    other: str
    same: bool
    reason: str


class LinkVersion(NamedTuple):
    """How often linking has written, and how often all was wished and done anew."""

    version: int
    relink: int
    relinked: int


LinkRow = Mapping[str, object]
"""A row that linking writes, with the columns of its table."""
