"""Campaigns: formed, merged, taken apart again, and whose they are."""

from __future__ import annotations

from typing import ClassVar

from decnet.events.fields import Named
from decnet.events.record import Record


class CampaignFormed(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``campaign.formed``: several addresses use one kit, key or file."""

    ALWAYS: ClassVar = ("identity_uuids", "reasons")

    campaign_uuid: Named
    name: str = ""
    """Its clearest asset, or the step of its script that says most."""
    identity_uuids: list[str] = []
    reasons: list[str] = []
    seq: int | None = None


class CampaignMerged(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``campaign.merged``: something ties two campaigns together; they are one now."""

    ALWAYS: ClassVar = ("reasons",)

    winner_uuid: Named
    loser_uuid: Named
    reasons: list[str] = []
    seq: int | None = None


class CampaignUnmerged(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``campaign.unmerged``: a campaign is one of its own again."""

    ALWAYS: ClassVar = ("reasons",)

    resurrected: Named
    former_winner: Named
    reasons: list[str] = []
    seq: int | None = None


class CampaignAssigned(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``campaign.identity.assigned``: an identity was seen with an asset of a campaign."""

    ALWAYS: ClassVar = ("reasons",)

    campaign_uuid: Named
    identity_uuid: Named
    reasons: list[str] = []
    seq: int | None = None
