"""Rows of who belongs together: identities of one or several addresses, campaigns, what operators said. Times are aware."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict


class Reason(TypedDict):
    """A value that addresses share."""

    family: str
    value: str
    addresses: int
    """How many addresses have it now: what many have says little."""
    weight: float
    """log10 of how much likelier one hand is than strangers."""


class Against(TypedDict):
    """A family in which addresses have values and none in common; ``weight`` is log10, negative."""

    family: str
    weight: float


class ListedIdentity(TypedDict):
    """One identity with its addresses, and the identity that it was merged into."""

    identity_uuid: str
    addresses: list[str]
    """The one that it began with first, then by age; ``attacker_uuids`` in the same order."""
    attacker_uuids: list[str]
    confidence: float
    """Mean of the totals of its pairs, log10; 0 for a single address."""
    reasons: list[Reason]
    """The weightiest first."""
    against: list[Against]
    merged_into: str | None
    state: str
    """own (one address), joined (several), merged (part of another one now)."""


class Asset(TypedDict):
    """A key, a file or a script that a campaign is known by, and how many addresses have it."""

    family: str
    value: str
    addresses: int
    steps: list[str]
    """What a script does, without what changes from one to the next; in no order, and empty for others."""


class ListedCampaign(TypedDict):
    """One campaign: a kit, perhaps of many hands."""

    campaign_uuid: str
    name: str
    addresses: list[str]
    attacker_uuids: list[str]
    identities: list[str]
    sessions: int
    """Those that had one of its assets."""
    first_seen: datetime | None
    last_seen: datetime | None
    payload_hosts: list[str]
    """Of these sessions, as are hashes and techniques; the commonest first, techniques in their order."""
    hashes: list[str]
    techniques: list[str]
    reasons: list[Asset]
    """Keys, then files, then scripts, the commonest first."""


class CampaignName(TypedDict):
    """A campaign in short."""

    campaign_uuid: str
    name: str
    addresses: int


class MemberSeen(TypedDict):
    """One address of an identity."""

    attacker_uuid: str
    attacker_ip: str | None
    identity_uuid: str
    """The identity that began with it."""
    first_seen: datetime | None
    last_seen: datetime | None
    sessions: int


class NamedMember(TypedDict):
    """One part of an identity by all of its names; ``canonical`` is the identity that all parts are now."""

    identity_uuid: str
    attacker_uuid: str | None
    attacker_ip: str | None
    canonical: str


class SaidOf(TypedDict):
    """What an operator said of two attackers."""

    one: str
    other: str
    same: bool
    reason: str
    said_by: str
    said_at: datetime | None
