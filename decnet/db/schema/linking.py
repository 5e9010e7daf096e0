"""The tables of linking: what is known of addresses, who is one hand, what is one campaign, what operators said.

All are written under the lease of linking alone, but for ``link_due`` and ``link_gone``: there others say what
changed. Times are those of events in epoch seconds; what operators did carries wall-clock times.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from decnet.db.schema.columns import Stored, json_column, moment, number, real, text, text_key


class LinkDue(Stored, table=True):
    """A session whose rows changed since linking looked; ``seq`` grows with each change."""

    __tablename__ = "link_due"
    session_id: str = text_key()
    seq: int = number(1)


class LinkGone(Stored, table=True):
    """An attacker that retention took away: linking has to forget it."""

    __tablename__ = "link_gone"
    attacker_uuid: str = text_key()


class LinkAddress(Stored, table=True):
    """One address: the identity that began with it, and the one that it is part of by its links (NULL: its own).

    ``logins`` are its sample of log-ins, 64-bit hashes in hex with blanks between.
    """

    __tablename__ = "link_address"
    __table_args__ = (
        Index("ix_link_address_identity", "identity_uuid"),
        Index("ix_link_address_into", "linked_into"),
    )
    attacker_uuid: str = text_key()
    address: str = text()
    identity_uuid: str = text()
    linked_into: str | None = text(None)
    founded_at: float = real()
    logins: str = text("")


class LinkTerm(Stored, table=True):
    """One value of a family (key, host, sha256, tunnel, script, credentials, client, environment, network).

    Keys, files and scripts are assets: ``campaign_root`` is the term that stands for the assets that belong together
    with it (``link_group`` of kind ``campaign``), ``kit_root`` that of scripts which are alike.
    """

    __tablename__ = "link_term"
    __table_args__ = (
        Index("ix_link_term_campaign", "campaign_root"),
        Index("ix_link_term_kit", "kit_root"),
        Index("ix_link_term_value", "family", "value"),
    )
    term_id: str = text_key()
    family: str = text()
    value: str = text()
    campaign_root: str | None = text(None)
    kit_root: str | None = text(None)
    marks: list[str] | None = json_column()


class LinkValue(Stored, table=True):
    """That an address has a value. One that is not ``kept`` found no room in linking's memory and links nothing."""

    __tablename__ = "link_value"
    __table_args__ = (Index("ix_link_value_term", "term_id"),)
    attacker_uuid: str = text_key()
    term_id: str = text_key()
    first_at: float | None = real(None)
    kept: bool = Field(default=True)


class LinkGroup(Stored, table=True):
    """Assets that belong together: a kit, or a campaign once ``campaign_uuid`` is set (two addresses shared it).

    ``addresses`` is how many have it now; a campaign that lost all but one is none until another comes.
    """

    __tablename__ = "link_group"
    __table_args__ = (Index("ix_link_group_campaign", "campaign_uuid"),)
    kind: str = text_key()
    root: str = text_key()
    founder: str = text()
    founded_at: float = real()
    label: str = text()
    campaign_uuid: str | None = text(None)
    name: str | None = text(None)
    addresses: int = number(0)


class LinkSession(Stored, table=True):
    """A session with an asset: the first one, through which it belongs to a campaign."""

    __tablename__ = "link_session"
    __table_args__ = (Index("ix_link_session_term", "term_id"),)
    session_id: str = text_key()
    attacker_uuid: str = text()
    term_id: str = text()


class CampaignMerge(Stored, table=True):
    """A campaign that is another one now."""

    __tablename__ = "campaign_merge"
    loser_uuid: str = text_key()
    winner_uuid: str = text()


class IdentityLink(Stored, table=True):
    """Why an identity of several addresses is one: ``reasons`` [{family, value, addresses, weight}], the weightiest
    first, ``against`` [{family, weight}]; ``confidence`` is the mean total of its pairs, log10.
    """

    __tablename__ = "identity_link"
    identity_uuid: str = text_key()
    confidence: float = real()
    addresses: int = number()
    reasons: list[dict[str, Any]] | None = json_column()
    against: list[dict[str, Any]] | None = json_column()


class LinkSaid(Stored, table=True):
    """What an operator said of two addresses: the same hand, or not. ``one`` is the lesser of the two attackers."""

    __tablename__ = "link_said"
    one: str = text_key()
    other: str = text_key()
    same: bool = Field()
    reason: str = text("")
    said_by: str = text("")
    said_at: datetime | None = moment(None)


class LinkState(Stored, table=True):
    """One row: ``version`` grows with each write, so that who writes sees whether another one wrote meanwhile.

    ``relink`` counts wishes to read all stored sessions anew, ``relinked`` those that were carried out.
    """

    __tablename__ = "link_state"
    name: str = text_key()
    version: int = number(0)
    relink: int = number(0)
    relinked: int = number(0)
