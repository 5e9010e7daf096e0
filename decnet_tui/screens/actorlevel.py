"""The page of one attacker: where it is, with whom it is one and why, its other addresses, its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from decnet.db.rows.linking import CampaignName, ListedIdentity, MemberSeen
from decnet.db.rows.lists import AttackerTold, ListedAttacker, ListedSession, Often
from decnet.hostile import visible
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.actor_page import ActorPage, client_text, linked_lines, seen_line, where_line
from decnet_tui.model.attackers import ptr_of
from decnet_tui.model.feed import Feed
from decnet_tui.model.identities import campaign_label, identity_label
from decnet_tui.model.keys import key
from decnet_tui.model.places import country_text, network_text, placed
from decnet_tui.model.scope import Scope, scope_of
from decnet_tui.model.words import addresses_text, counted, day, lasted
from decnet_tui.screens.base import View
from decnet_tui.screens.pages import PageLevel
from decnet_tui.screens.session import CommandsLevel

if TYPE_CHECKING:
    from decnet_tui.model.whereabouts import Whereabouts

MAX_SESSIONS = 200
"""Sessions on the page; ``i`` lists all."""
REASONS = 3
"""Reasons above the lists: a terminal has 24 lines."""
OTHERS, SESSIONS = "addresses", "sessions"


class Read(NamedTuple):
    """What is stored of one attacker."""

    row: ListedAttacker | None
    told: AttackerTold | None
    clients: list[Often]
    identity: ListedIdentity | None
    members: list[MemberSeen]
    campaigns: list[CampaignName]
    sessions: list[ListedSession]
    suspected: bool
    where: Whereabouts


class ActorLevel(PageLevel):
    """The page; ``attacker`` is an address or the attacker's id."""

    first_section = SESSIONS

    def __init__(self, feed: Feed, attacker: str, label: str) -> None:
        super().__init__(feed, label)
        self.attacker, self.label = attacker, label
        self.addresses: list[str] = []
        """All addresses of its identity, its own among them."""

    async def fetch(self, session: Session) -> Read:
        """The attacker, its identity, campaigns and newest sessions. Raises what the store raises."""
        repo = need_store(session)
        session.whereabouts.begin()
        rows = await repo.list_attackers(attacker=self.attacker, limit=1, ignored=True)
        if not rows:
            return Read(None, None, [], None, [], [], [], False, session.whereabouts)
        row = rows[0]
        uuid, identity = row["attacker_uuid"], row["identity_uuid"]
        alerts = await repo.list_alerts(state="open", attacker=uuid, limit=1, ignored=True)
        sessions = await repo.list_sessions(attacker=uuid, limit=MAX_SESSIONS, ignored=True)
        self.recorded = await repo.recorded(one["session_id"] for one in sessions)
        return Read(
            row,
            (await repo.attackers_told([uuid], ignored=True)).get(uuid),
            await repo.clients_of(uuid),
            await repo.get_identity(identity) if identity else None,
            await repo.members_seen(identity) if identity else [],
            (await repo.campaigns_by_attacker([uuid])).get(uuid, []),
            sessions,
            bool(alerts),
            session.whereabouts,
        )

    def load(self, data: Read) -> None:
        """Head and lists; the crumb names the identity when it has several addresses."""
        if data.row is None:
            self.lose(f"No source {visible(self.label, 60)} is stored.")
            return
        told = _told(data, data.row)
        self.row, self.attacker = dict(told), told["attacker_uuid"]
        members = [one for one in data.members if one["attacker_uuid"] != data.row["attacker_uuid"]]
        self.addresses = [one["attacker_ip"] for one in data.members if one["attacker_ip"]]
        ip = str(data.row["attacker_ip"] or self.label)
        self.crumb = f"{ip} {_whose(data)}".rstrip()
        count = data.row["session_count"]
        title = (
            "SESSIONS"
            if count <= MAX_SESSIONS
            else f"SESSIONS, {MAX_SESSIONS} newest of {count} ({key('sessions')}: all)"
        )
        where = data.where
        self.say(
            _head(data, told),
            [
                *self.listed(OTHERS, f"OTHER ADDRESSES of {_whose(data)}", members, lambda one: _member(one, where),
                             _named, lambda one: _page(self.feed, one)),
                *self.listed(SESSIONS, title, data.sessions, session_line, _keyed,
                             lambda one: CommandsLevel(self.feed, one["session_id"])),
            ],
        )  # fmt: skip

    def actor(self) -> Scope | None:
        """The attacker."""
        return scope_of(self.row) if self.row else scope_of({"attacker_ip": self.attacker})

    def other(self) -> str:
        """The other address of its identity that the cursor is on, by its attacker; empty when it is on none."""
        entry = self.current
        return str(entry.key) if entry is not None and entry.section == OTHERS else ""

    def records(self) -> list[Any]:
        """The attacker, then what the lists show."""
        return [self.row, *super().records()] if self.row else []

    def about(self) -> str:
        """What can be done."""
        return f"{key('open')}: commands"


def _told(data: Read, row: ListedAttacker) -> ActorPage:
    told = data.told
    return {
        **row,
        **placed(data.where.of(row["attacker_ip"])),
        "ptr": ptr_of(told["answers"] if told else ()),
        "severity": told["severity"] if told else None,
        "did": told["did"] if told else None,
        "files": told["files"] if told else [],
        "clients": data.clients,
        "identity": data.identity,
        "campaigns_named": data.campaigns,
    }


def _head(data: Read, row: ActorPage) -> list[str]:
    """The first lines: place, when and how bad, doubts, identity with reasons, campaigns; at most eight."""
    lines = [where_line(row, data.where.told(row["attacker_ip"])), seen_line(row)]
    lines += (
        [f"! an open alert says: perhaps several operators (view {key('view.alerts')})"]
        if data.suspected
        else []
    )
    linked = list(linked_lines({"identity": row["identity"], "campaigns_named": data.campaigns[:1]}, REASONS))
    if len(data.campaigns) > 1:
        linked[-1] += f"  and {counted(len(data.campaigns) - 1, 'campaign')} more"
    return [*lines, *([client_text(row)] if row["clients"] else []), *linked]


def _whose(data: Read) -> str:
    row = data.identity
    if row is None or row["state"] == "own":
        return " ".join(campaign_label(one["campaign_uuid"]) for one in data.campaigns[:1])
    return f"{identity_label(row['identity_uuid'])} {addresses_text(len(row['addresses']))}"


def _member(one: MemberSeen, where: Whereabouts) -> str:
    place = where.of(one["attacker_ip"])
    first, last = (day(at) for at in (one["first_seen"], one["last_seen"]))
    said = "  ".join(part for part in (country_text(place), network_text(place)) if part)
    return f"{visible(one['attacker_ip'] or '-', 45):<16} {first} .. {last}  {counted(one['sessions'], 'session')}  {said}".rstrip()


def _named(one: MemberSeen) -> dict[str, Any]:
    return {**one, "key": one["attacker_uuid"]}


def _page(feed: Feed, one: MemberSeen) -> View:
    return ActorLevel(feed, one["attacker_uuid"], str(one["attacker_ip"] or one["attacker_uuid"][:8]))


def _keyed(one: ListedSession) -> dict[str, Any]:
    return {**one, "key": one["session_id"]}


def session_line(one: ListedSession, who: str = "") -> str:
    """A session in one line: when, how bad, where, how long, and what it amounts to."""
    at = f"{one['started_at']:%m-%d %H:%M:%S}" if one["started_at"] else "-"
    took, commands = lasted(one["ended_at"], one["duration_s"]), f"{one['command_count']} cmd"
    parts = (at, f"{one['severity'] or '-':<8}", *([f"{who:<15}"] if who else []), f"{one['decky_id'] or '-':<8}",
             f"{took:>5}", f"{commands:>6}", one["story_line"] or "")  # fmt: skip
    return " ".join(parts).rstrip()
