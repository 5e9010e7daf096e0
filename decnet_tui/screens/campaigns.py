"""Campaigns: kits that several addresses have; a page of each with its members, what it is known by, and its sessions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.linking import Asset, ListedCampaign, ListedIdentity
from decnet.db.rows.lists import ListedSession
from decnet.hostile import visible
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.identities import (
    ONE_KIT,
    CampaignMember,
    CampaignPage,
    addresses_cell,
    asset_line,
    campaign_label,
    campaign_named,
    identity_label,
    page_of_campaign,
)
from decnet_tui.model.keys import key
from decnet_tui.model.places import country_text, network_text
from decnet_tui.model.scope import Scope, campaign_scope
from decnet_tui.model.words import addresses_text, clock, counted, day
from decnet_tui.screens.actor import ActorLevel, session_line
from decnet_tui.screens.base import TIME_WIDTHS, View
from decnet_tui.screens.evidence import SessionsLevel
from decnet_tui.screens.fired import CampaignRulesLevel, FiredRulesLevel
from decnet_tui.screens.levels import LevelsView, TableLevel
from decnet_tui.screens.pages import PageLevel
from decnet_tui.screens.sections import Entry
from decnet_tui.screens.session import SessionLevel
from decnet_tui.screens.table import Column

if TYPE_CHECKING:
    from decnet_tui.model.whereabouts import Whereabouts

MAX_CAMPAIGNS = 500
MAX_SESSIONS = 200
"""Sessions on a page; ``i`` lists more."""
MAX_LISTED = 1000
SHORT = 40
"""Characters of an asset on the page."""
ADDRESSES, SESSIONS, ASSETS = "addresses", "sessions", "reasons"


class CampaignsLevel(TableLevel[ListedCampaign]):
    """Every campaign, those of most addresses first."""

    unit = "campaigns"
    stored = True

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.columns = (
            Column("campaign_uuid", "campaign", 10, text=lambda r: campaign_label(r["campaign_uuid"])),
            Column("addresses", "addr", 5, text=lambda r: str(len(r["attacker_uuids"])),
                   sort=lambda r: len(r["attacker_uuids"]), right=True),
            Column("identities", "ident", 5, text=lambda r: str(len(r["identities"])),
                   sort=lambda r: len(r["identities"]), right=True),
            Column("sessions", "sess", 5, right=True),
            Column("last_seen", "first..last", 12, text=_span),
            Column("payload_hosts", "fetched from", 13, text=_hosts),
            Column("techniques", "tech", 4, text=lambda r: str(len(r["techniques"])),
                   sort=lambda r: len(r["techniques"]), right=True),
            Column("name", "known by", 17, grow=True),
            Column("hashes", "file", 12, text=lambda r: (r["hashes"] or ["-"])[0][:12], wide=True),
            Column("first_seen", "first seen", TIME_WIDTHS["date"], text=lambda r: self._time(r["first_seen"]), wide=True),
        )  # fmt: skip

    def _time(self, moment: datetime | None) -> str:
        form = "date" if self.time_format == "clock" else self.time_format
        return clock(moment.timestamp(), form) if moment else "-"

    def row_key(self, row: ListedCampaign) -> Any:
        """The campaign's id."""
        return row["campaign_uuid"]

    def fields(self, row: ListedCampaign) -> Mapping[str, str]:
        """As shown; ids, addresses, hosts, files and techniques whole."""
        more = {
            "campaign_uuid": f"c-{row['campaign_uuid']}",
            "ip": " ".join(row["addresses"]),
            "id": " ".join(f"i-{one}" for one in row["identities"]),
            "payload_hosts": visible(" ".join(row["payload_hosts"])),
            "hashes": " ".join(row["hashes"]),
            "technique": " ".join(row["techniques"]),
            "name": visible(row["name"]),
        }
        named = {"host": more["payload_hosts"], "file": more["hashes"], "campaign": more["campaign_uuid"]}
        return {**super().fields(row), **more, **named}

    def names_of_filter(self) -> list[str]:
        """The columns, and what else a campaign can be found by."""
        return [*super().names_of_filter(), "ip", "id", "host", "file", "technique", "campaign"]

    async def fetch(self, session: Session) -> list[ListedCampaign]:
        """The campaigns. Raises what the store raises."""
        return await need_store(session).list_campaigns(limit=MAX_CAMPAIGNS)

    def unfilled(self) -> list[str]:
        """What makes one."""
        return [
            "No campaign yet: one begins when two addresses have the same key, file or script, or scripts that are alike.",
            f"Linking finds them within seconds of a session's end; view {key('view.workers')} shows whether the worker attribution runs.",
        ]

    def about(self) -> str:
        """What can be done, and whether there are more."""
        more = f"the {MAX_CAMPAIGNS} largest  " if len(self._all) >= MAX_CAMPAIGNS else ""
        hint = (
            ""
            if self.scope or self.filter_text
            else f"  {key('sessions')}: sessions  {key('follow')}: follow its addresses"
        )
        return f"{more}{key('open')}: page{hint}"

    def below(self) -> View | None:
        """The campaign's page."""
        row = self.current
        return None if row is None else CampaignLevel(self.feed, row["campaign_uuid"], row["name"])

    def actor(self) -> Scope | None:
        """All its addresses."""
        return None if self.current is None else campaign_scope(self.current)

    def sessions(self) -> View | None:
        """Those with one of its assets."""
        row = self.current
        return None if row is None else CampaignSessionsLevel(self.feed, row["campaign_uuid"])

    def fired(self) -> FiredRulesLevel | None:
        """The rules that fired in them."""
        row = self.current
        if row is None:
            return None
        return CampaignRulesLevel(
            self.feed, row["campaign_uuid"], f"rules in {campaign_label(row['campaign_uuid'])}"
        )

    def in_scope(self, row: ListedCampaign, scope: Scope) -> bool:
        """Whether one of its addresses is followed."""
        return scope.covers([row["attacker_uuids"]])

    def row_detail(self, row: ListedCampaign) -> list[str]:
        """What it is known by, and the rest of the row."""
        name = load_catalogue().name
        return [
            f"{campaign_label(row['campaign_uuid'])}  {row['name']}",
            f"seen {self._time(row['first_seen'])} .. {self._time(row['last_seen'])}  {counted(row['sessions'], 'session')}",
            ONE_KIT,
            "",
            "why: assets that its addresses share",
            *(f"  {asset_line(one)}" for one in row["reasons"]),
            "",
            f"{addresses_text(len(row['attacker_uuids']))}: {addresses_cell(row['addresses'], 20)}",
            f"fetched from: {addresses_cell(row['payload_hosts'], 10) or '-'}",
            *(f"  {one} {name(one)}" for one in row["techniques"]),
        ]


def _span(row: ListedCampaign) -> str:
    first, last = row["first_seen"], row["last_seen"]
    if first is None or last is None:
        return "-"
    return f"{first:%m-%d}..{last:%m-%d}" if first.date() != last.date() else f"{first:%m-%d}"


def _hosts(row: ListedCampaign) -> str:
    return addresses_cell(row["payload_hosts"], 1) or "-"


class Read(NamedTuple):
    """What is stored of one campaign."""

    told: CampaignPage | None
    asked: str | None
    """What it was called when it was asked for, where that was another one."""
    sessions: list[ListedSession]
    where: Whereabouts


class CampaignLevel(PageLevel):
    """The page of one campaign."""

    first_section = ADDRESSES

    def __init__(self, feed: Feed, campaign: str, name: str = "") -> None:
        super().__init__(feed, f"{campaign_label(campaign)} {name}".rstrip())
        self.campaign = campaign

    async def fetch(self, session: Session) -> Read:
        """The campaign as it is now, with its newest sessions. Raises what the store raises."""
        repo = need_store(session)
        session.whereabouts.begin()
        found = await repo.campaign_named(self.campaign)
        told = await page_of_campaign(repo, found[0]) if found is not None else None
        if found is None or told is None:
            return Read(None, None, [], session.whereabouts)
        sessions = await repo.list_sessions(limit=MAX_SESSIONS, ignored=True, whose=campaign_named(found[0]))
        self.recorded = await repo.recorded(one["session_id"] for one in sessions)
        return Read(told, found[1], sessions, session.whereabouts)

    def load(self, data: Read) -> None:
        """Head and lists."""
        told = data.told
        if told is None:
            self.lose(
                "This campaign has one address now, or none: it is no campaign until another address comes."
            )
            return
        self.row = {**told, "asked": data.asked}
        self.crumb = f"{campaign_label(told['campaign_uuid'])} {told['name']}"
        self.say(
            _head(told, data.asked), [*self._members(told, data.where), *self._evidence(told, data.sessions)]
        )

    def _members(self, told: CampaignPage, where: Whereabouts) -> list[Entry]:
        def line(one: CampaignMember) -> str:
            place = where.of(one["attacker_ip"])
            said = (country_text(place), network_text(place), identity_label(one["identity_uuid"]))
            return f"{visible(one['attacker_ip'] or '-', 45):<16} {'  '.join(part for part in said if part)}"

        def page(one: CampaignMember) -> View:
            return ActorLevel(
                self.feed, one["attacker_uuid"], str(one["attacker_ip"] or one["attacker_uuid"][:8])
            )

        def named(one: CampaignMember) -> Mapping[str, Any]:
            return {**one, "key": one["attacker_uuid"]}

        def joined(one: ListedIdentity) -> View:
            return ActorLevel(self.feed, one["attacker_uuids"][0], (one["addresses"] or ["-"])[0])

        return [
            *self.listed(ASSETS, "WHY: assets that its addresses share", told["reasons"], _asset, dict),
            *self.listed(ADDRESSES, "ADDRESSES", told["members"], line, named, page),
            *self.listed("identities", "IDENTITIES of several addresses", told["joined"], _identity,
                         lambda one: {**one, "key": one["identity_uuid"]}, joined),
        ]  # fmt: skip

    def _evidence(self, told: CampaignPage, sessions: list[ListedSession]) -> list[Entry]:
        name = load_catalogue().name
        title = (
            "SESSIONS"
            if told["sessions"] <= MAX_SESSIONS
            else f"SESSIONS, {MAX_SESSIONS} newest of {told['sessions']} ({key('sessions')}: more)"
        )

        def session(one: ListedSession) -> View:
            return SessionLevel(self.feed, one["session_id"])

        return [
            *self.listed("hosts", "FETCHED FROM", told["payload_hosts"], str),
            *self.listed("files", "FILES (sha256)", told["hashes"], str),
            *self.listed("techniques", "TECHNIQUES", told["techniques"], lambda one: f"{one:<10} {name(one)}"),
            *self.listed(SESSIONS, title, sessions, lambda one: session_line(one, str(one["attacker_ip"])),
                         lambda one: {**one, "key": one["session_id"]}, session),
        ]  # fmt: skip

    def actor(self) -> Scope | None:
        """All its addresses."""
        return campaign_scope(self.row) if self.row else None

    def sessions(self) -> View | None:
        """All with one of its assets."""
        return CampaignSessionsLevel(self.feed, self.row.get("campaign_uuid") or self.campaign)

    def fired(self) -> FiredRulesLevel | None:
        """The rules that fired in them."""
        uuid = self.row.get("campaign_uuid") or self.campaign
        return CampaignRulesLevel(self.feed, uuid, f"rules in {campaign_label(uuid)}")

    def about(self) -> str:
        """What can be done."""
        return f"{key('open')}: page or session"

    def records(self) -> list[Any]:
        """The campaign, then what the lists show."""
        return [self.row, *super().records()] if self.row else []


def _head(told: CampaignPage, asked: str | None) -> list[str]:
    first, last = (day(at) for at in (told["first_seen"], told["last_seen"]))
    before = f"  {campaign_label(asked)} is part of it now" if asked else ""
    return [
        f"CAMPAIGN {campaign_label(told['campaign_uuid'])}  {told['name']}{before}",
        f"seen {first} .. {last}  {counted(told['sessions'], 'session')} of "
        f"{addresses_text(len(told['members']))}, {counted(len(told['identities']), 'identity', 'identities')}",
        ONE_KIT,
    ]


def _asset(one: Asset) -> str:
    """An asset in a line of 80; hashes whole stand among the files."""
    return asset_line({**one, "value": one["value"][:SHORT]})


def _identity(one: ListedIdentity) -> str:
    return (
        f"{identity_label(one['identity_uuid'])}  {one['confidence']:.1f}  {addresses_cell(one['addresses'])}"
    )


class CampaignSessionsLevel(SessionsLevel):
    """The sessions with one of a campaign's assets, newest first, each with its address."""

    def __init__(self, feed: Feed, campaign: str) -> None:
        super().__init__(feed, "", f"sessions of {campaign_label(campaign)}")
        self.campaign = campaign
        address: Column[ListedSession] = Column("attacker_ip", "source", 15)
        self.columns = tuple(address if c.id == "service" else c for c in self.columns)

    async def fetch(self, session: Session) -> list[ListedSession]:
        """The sessions. Raises what the store raises."""
        repo = need_store(session)
        rows = await repo.list_sessions(limit=MAX_LISTED, ignored=True, whose=campaign_named(self.campaign))
        self.recorded = await repo.recorded(row["session_id"] for row in rows)
        return rows

    def unfilled(self) -> list[str]:
        """They may have been purged."""
        return ["No session of this campaign is stored any more."]


class CampaignsView(LevelsView):
    """The view; ``go_to`` takes a campaign's id or the beginning of one."""

    name = "campaigns"
    title = "Campaigns"
    short_title = "Camp"
    key = "9"
    says = "Campaigns: kits that several addresses have"
    roots = ("campaign", "identity")

    def __init__(self, feed: Feed) -> None:
        self.campaigns = CampaignsLevel(feed)
        super().__init__(feed, self.campaigns)

    def go_to(self, key: Any) -> bool:
        """The row of a campaign; the page of one that is not listed here."""
        self.home()
        wanted = str(key).removeprefix("c-")
        found = next((r for r in self.campaigns.rows if r["campaign_uuid"].startswith(wanted)), None)
        if found is not None:
            return self.campaigns.go_to(found["campaign_uuid"])
        self.levels.append(CampaignLevel(self.feed, wanted))
        return True
