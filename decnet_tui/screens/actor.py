"""The page of one attacker: where it is, what it amounts to, with whom it is one and why, its playbooks, its sessions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from decnet.db.rows.actorpage import ActorPage as Stored
from decnet.db.rows.actorpage import OwnPlaybook
from decnet.db.rows.linking import MemberSeen
from decnet.db.rows.lists import ListedSession
from decnet.hostile import visible
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.actor_page import (
    PLAYBOOK_HEAD,
    ActorPage,
    amount_lines,
    like_line,
    linked_lines,
    playbook_line,
    seen_line,
    where_line,
)
from decnet_tui.model.attackers import ptr_of
from decnet_tui.model.feed import Feed
from decnet_tui.model.identities import campaign_label, identity_label
from decnet_tui.model.keys import key
from decnet_tui.model.notes import note_line
from decnet_tui.model.places import country_text, network_text, placed
from decnet_tui.model.scope import Scope, scope_of
from decnet_tui.model.words import addresses_text, counted, day, lasted
from decnet_tui.screens.base import View
from decnet_tui.screens.evidence import MAX_ROWS, SessionsLevel
from decnet_tui.screens.pages import PageLevel
from decnet_tui.screens.sections import Entry, heading
from decnet_tui.screens.session import SessionLevel
from decnet_tui.widgets.strips import FAINT, PLAIN, Line

if TYPE_CHECKING:
    from decnet_tui.model.whereabouts import Whereabouts

MAX_SESSIONS = 200
"""Sessions on the page; ``i`` lists all."""
REASONS = 3
"""Reasons above the lists: a terminal has 24 lines."""
JUDGED = 2_000
"""Sessions whose stories the page is told of at most, as the repository has it."""
MAX_NOTES = 5
MAX_BOOKS = 7
"""Playbooks on the page, the worst: a terminal has 24 lines."""
OTHERS, SESSIONS, PLAYBOOKS, AMOUNTS = "addresses", "sessions", "playbooks", "amounts"


class Read(NamedTuple):
    """What is stored of one attacker, and where addresses are."""

    page: Stored | None
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
        """The attacker with all that its page tells. Raises what the store raises."""
        session.whereabouts.begin()
        page = await need_store(session).actor_page(
            self.attacker, sessions=MAX_SESSIONS, clear=session.keep_clear
        )
        return Read(page, session.whereabouts)

    def load(self, data: Read) -> None:
        """Head and lists; the crumb names the identity when it has several addresses."""
        page = data.page
        if page is None:
            self.lose(f"No source {visible(self.label, 60)} is stored.")
            return
        row = page["attacker"]
        told = _told(page, data.where)
        self.row, self.attacker, self.recorded = dict(told), row["attacker_uuid"], page["recorded"]
        self.addresses = [one["attacker_ip"] for one in page["members"] if one["attacker_ip"]]
        self.label = str(row["attacker_ip"] or self.label)
        self.crumb = f"{self.label} {_whose(page)}".rstrip()
        self.first_section = PLAYBOOKS if page["amounts"]["playbooks"] else SESSIONS
        self.say(_head(page, told, data.where), [*_amounts(page), *self._lists(page, data.where)])

    def _lists(self, page: Stored, where: Whereabouts) -> list[Entry]:
        """Playbooks, with whom it is one and why, other addresses, sessions."""
        row = page["attacker"]
        members = [one for one in page["members"] if one["attacker_uuid"] != row["attacker_uuid"]]
        count = row["session_count"]
        title = (
            "SESSIONS"
            if count <= MAX_SESSIONS
            else f"SESSIONS, {MAX_SESSIONS} newest of {count} ({key('sessions')}: all)"
        )
        return [
            *self._books(page), *_linked(page),
            *self.listed(OTHERS, f"OTHER ADDRESSES of {_whose(page)}", members, lambda one: _member(one, where), _named,
                         lambda one: _page(self.feed, one)),
            *self.listed(SESSIONS, title, page["sessions"], session_line, _keyed,
                         lambda one: SessionLevel(self.feed, one["session_id"])),
        ]  # fmt: skip

    def _books(self, page: Stored) -> list[Entry]:
        """The worst playbooks; how many there are beside these, which all its sessions are among."""
        uuid, books = page["attacker"]["attacker_uuid"], page["amounts"]["playbooks"]
        count, judged = page["attacker"]["session_count"], page["amounts"]["judged"]
        newest = (
            f", {judged} newest of {counted(count, 'session')}" if judged < count and judged >= JUDGED else ""
        )
        title = f"PLAYBOOKS (same commands grouped{newest})"
        rows = self.listed(PLAYBOOKS, title, books[:MAX_BOOKS], playbook_line, _book,
                           lambda one: PlaybookLevel(self.feed, uuid, one))  # fmt: skip
        if not rows:
            return []
        rest = sum(one["sessions"] for one in books[MAX_BOOKS:])
        more = (
            f"  and {len(books) - MAX_BOOKS} more with {counted(rest, 'session')}  ({key('sessions')}: all)"
        )
        last = [heading(PLAYBOOKS, "", [(more, FAINT)])] if rest else []
        return [rows[0], heading(PLAYBOOKS, "", [(PLAYBOOK_HEAD, FAINT)]), *rows[1:], *last]

    def actor(self) -> Scope | None:
        """The attacker."""
        return scope_of(self.row) if self.row else scope_of({"attacker_ip": self.attacker})

    def other(self) -> str:
        """The other address of its identity that the cursor is on, by its attacker; empty when it is on none."""
        entry = self.current
        return str(entry.key) if entry is not None and entry.section == OTHERS else ""

    def record_of_other(self) -> dict[str, Any]:
        """The same address as a row; empty when the cursor is on none."""
        entry = self.current
        return dict(entry.data) if entry is not None and entry.section == OTHERS else {}

    def records(self) -> list[Any]:
        """The attacker, then what the lists show."""
        return [self.row, *super().records()] if self.row else []

    def about(self) -> str:
        """What can be done."""
        return f"{key('open')}: opens the line"


def _told(page: Stored, where: Whereabouts) -> ActorPage:
    row, told = page["attacker"], page["told"]
    return {
        **row,
        **placed(where.of(row["attacker_ip"])),
        "ptr": ptr_of(told["answers"] if told else ()),
        "severity": told["severity"] if told else None,
        "did": told["did"] if told else None,
        "files": told["files"] if told else [],
        "identity": page["identity"],
        "campaigns_named": list(page["campaigns"]),
        "amounts": page["amounts"],
        "struck": list(page["struck"]),
        "notes": list(page["notes"]),
    }


def _head(page: Stored, row: ActorPage, where: Whereabouts) -> list[str]:
    """The first lines: place, when and how bad, doubts; what follows scrolls."""
    lines = [where_line(row, where.told(row["attacker_ip"])), seen_line(row, time.time())]
    if page["alerts"]:
        lines.append(f"! an open alert says: perhaps several operators (view {key('view.alerts')})")
    return lines


def _amounts(page: Stored) -> list[Entry]:
    """What it amounts to: lines that the cursor passes over."""
    told = amount_lines(page["told"]["did"] if page["told"] else None, page["amounts"], page["struck"])
    matrix = f" ({key('view.coverage')} matrix):"
    return [
        heading(
            AMOUNTS,
            "",
            [(f" {word:<8} ", FAINT), (text.replace(":", matrix, 1) if word == "technq" else text, PLAIN)],
        )
        for word, text in told
    ]


def _linked(page: Stored) -> list[Entry]:
    """With whom it is one and why, what it shares, and notes."""
    linked = list(
        linked_lines({"identity": page["identity"], "campaigns_named": list(page["campaigns"][:1])}, REASONS)
    )
    if len(page["campaigns"]) > 1:
        linked[-1] += f"  and {counted(len(page['campaigns']) - 1, 'campaign')} more"
    lines: list[Line] = [[(f" {text}", PLAIN)] for text in linked]
    if like := like_line(page["amounts"]["shared"], page["identity"], page["campaigns"]):
        lines.append([(f" {'like':<8} ", FAINT), (like, PLAIN)])
    lines += [[(f" {'note':<8} ", FAINT), (note_line(one), PLAIN)] for one in page["notes"][-MAX_NOTES:]]
    return [heading(AMOUNTS, "", line) for line in lines]


def _whose(page: Stored) -> str:
    row = page["identity"]
    if row is None or row["state"] == "own":
        return " ".join(campaign_label(one["campaign_uuid"]) for one in page["campaigns"][:1])
    return f"{identity_label(row['identity_uuid'])} {addresses_text(len(row['addresses']))}"


def _book(one: OwnPlaybook) -> dict[str, Any]:
    return {**one, "key": one["playbook"] or f"none {one['severity']}"}


class PlaybookLevel(SessionsLevel):
    """The sessions of one attacker that do the same, newest first."""

    def __init__(self, feed: Feed, attacker: str, book: OwnPlaybook) -> None:
        super().__init__(feed, attacker, f"{book['playbook'] or 'no script'} {book['severity']}")
        self.book = book

    async def fetch(self, session: Session) -> list[ListedSession]:
        """The sessions. Raises what the store raises."""
        from decnet.db.repository.lists.evidence import Judged  # here: the first screen does not wait for it

        severities = () if self.book["playbook"] else (self.book["severity"],)
        asked = Judged(severities, self.book["playbook"])
        repo = need_store(session)
        rows = await repo.list_sessions(attacker=self.attacker, limit=MAX_ROWS, ignored=True, judged=asked)
        rows = rows if self.book["playbook"] else [row for row in rows if row["playbook"] is None]
        self.recorded = await repo.recorded(row["session_id"] for row in rows)
        return rows


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
