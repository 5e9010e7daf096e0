"""Actors: where each attacker is, how bad it was, with whom it is one, which kits it has; a page of each below."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.linking import CampaignName
from decnet.db.rows.lists import AttackerTold, ListedAttacker, TypedWords
from decnet.events.ttp import SEVERITIES
from decnet.hostile import visible
from decnet.ids import identity_id
from decnet.turns import in_turns
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.actor_page import is_new
from decnet_tui.model.event_text import short
from decnet_tui.model.feed import Feed
from decnet_tui.model.identities import campaign_line
from decnet_tui.model.ids import names
from decnet_tui.model.keys import key
from decnet_tui.model.places import country_text, network_text, nowhere, placed
from decnet_tui.model.words import addresses_text, clock, counted
from decnet_tui.screens.actor import ActorLevel
from decnet_tui.screens.base import TIME_WIDTHS, View
from decnet_tui.screens.levels import LevelsView, TableLevel, left_out
from decnet_tui.screens.profiles import Known, known_of, profile_lines, said_lines
from decnet_tui.screens.session import SessionLevel
from decnet_tui.screens.table import Column
from decnet_tui.widgets.states import severity_style
from decnet_tui.widgets.strips import PLAIN, WARN

if TYPE_CHECKING:
    from decnet_tui.model.whereabouts import Whereabouts

MAX_ACTORS = 2000
SHORTEST = 3
"""Characters of a word from which on it is looked for in commands too."""
PAUSE_S = 0.3
"""Seconds without a key in a filter after which commands are looked through."""
FEW = 4
"""Characters of an id in a list: they name it on the command line as well, unless another begins like it."""
_RANKS = {name: rank for rank, name in enumerate(SEVERITIES)}
_SHORT = {"critical": "crit", "medium": "med"}
_AS_NUMBER = re.compile(r"(?<![^\s-])asn:as(?=\d)", re.I)


class ActorLine(ListedAttacker):
    """An attacker with what it did, where it is, and who it is."""

    technique_count: int
    severity: str | None
    did: str | None
    files: list[str]
    campaigns: list[str]
    campaigns_named: list[CampaignName]
    addresses: int
    """How many addresses its identity has."""
    names: list[str]
    """All ids that its identity goes by, as far as its addresses are listed."""
    new: bool
    country: str | None
    allocated: bool
    asn: int | None
    as_name: str | None
    lists: list[str]


class Fetched(NamedTuple):
    """What one read of the store brings."""

    rows: list[ActorLine]
    profiles: dict[str, Known]
    suspected: set[str]
    ignored: int
    stored: int
    where: Whereabouts
    asked: tuple[str, ...]
    """The words of the filter that were looked for in commands."""
    typed: TypedWords


class ActorsLevel(TableLevel[ActorLine]):
    """Every attacker, last seen first. The profile of the one under the cursor is read with the rows."""

    unit = "sources"
    stored = True

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.profiles: dict[str, Known] = {}
        self.suspected: set[str] = set()
        self.ignored = 0
        """Sources that are left out here."""
        self.older = 0
        """Attackers that are stored and were seen too long ago to be listed."""
        self.where: Whereabouts | None = None
        self._placed = -1
        self._asked: tuple[str, ...] = ()
        self._typed = TypedWords({}, None)
        self._ask_at = 0.0
        """When the words of a new filter are asked for (monotonic seconds); 0: they are known."""
        self.columns = (
            Column("attacker_ip", "source", 15),
            Column("country", "from", 9, text=lambda r: country_text(r) or "-"),
            Column("asn", "network", 8, text=lambda r: network_text(r).partition(" ")[0] or "-"),
            Column("new", "new", 3, text=lambda r: "new" if r["new"] else "-"),
            Column("severity", "sev", 4, text=_severity, style=lambda r: severity_style(r["severity"] or ""),
                   sort=lambda r: -_RANKS.get(r["severity"] or "", len(_RANKS)), right=True),
            Column("session_count", "sess", 4, right=True),
            Column("identity_uuid", "identity", 14, text=self._identity, style=self._identity_style,
                   sort=lambda r: (-r["addresses"], r["identity_uuid"] or "")),
            Column("campaign", "kit", 6, text=lambda r: _campaign(r) or "-", sort=lambda r: _campaign(r) or None),
            Column("seen", "seen", 6, text=_ago, sort=lambda r: r["last_seen"], right=True),
            Column("did", "did", 12, grow=True),
            Column("technique_count", "tech", 4, right=True, wide=True),
            Column("last_seen", "last seen", TIME_WIDTHS["date"], text=lambda r: self._time(r["last_seen"]), wide=True),
            Column("as_name", "who runs it", 16, wide=True),
            Column("techniques", "techniques", 10, wide=True),
            Column("first_seen", "first seen", TIME_WIDTHS["date"], text=lambda r: self._time(r["first_seen"]), wide=True),
            Column("decky_count", "decoys", 6, right=True, wide=True),
        )  # fmt: skip

    def _time(self, moment: datetime | None) -> str:
        form = "date" if self.time_format == "clock" else self.time_format
        return clock(moment.timestamp(), form) if moment else "-"

    def _identity(self, row: ActorLine) -> str:
        if not row["identity_uuid"]:
            return "-"
        mark = "!" if row["identity_uuid"] in self.suspected else ""
        count = row["addresses"]
        many = "" if count < 2 else f"{mark or ' '}{count} addr" if count < 100 else f"{mark or ' '}{count}"
        return f"i-{short(row['identity_uuid'], FEW)}{many or mark}"

    def _identity_style(self, row: ActorLine) -> Any:
        return WARN if row["identity_uuid"] in self.suspected else PLAIN

    def row_key(self, row: ActorLine) -> Any:
        """The attacker's id."""
        return row["attacker_uuid"]

    def fields(self, row: ActorLine) -> Mapping[str, str]:
        """As shown; ids whole: ``id:`` finds all addresses of an identity, whichever of its ids is named.

        Made for every row with each key of a filter: what needs no care is taken as it is, times as ISO text.
        """
        kits = " ".join(f"c-{one['campaign_uuid']} {one['name']}" for one in row["campaigns_named"])
        last = str(row["last_seen"])[:19]
        return {
            "attacker_ip": row["attacker_ip"] or "-",
            "country": country_text(row),
            "asn": str(row["asn"] or "-"),
            "new": "new" if row["new"] else "known",
            "severity": row["severity"] or "-",
            "session_count": str(row["session_count"]),
            "identity_uuid": " ".join([f"i-{name}" for name in row["names"]]),
            "campaign": visible(kits),
            "seen": last,
            "did": visible(row["did"] or ""),
            "technique_count": str(row["technique_count"]),
            "last_seen": last,
            "as_name": visible(row["as_name"] or ""),
            "techniques": " ".join(row["techniques"]),
            "first_seen": str(row["first_seen"])[:19],
            "decky_count": str(row["decky_count"]),
            "list": visible(" ".join(row["lists"])),
            "file": " ".join(row["files"]),
            "commands": " ".join(self._typed.by.get(row["attacker_uuid"], ())),
        }

    def names_of_filter(self) -> list[str]:
        """The columns, and what else a row can be found by."""
        return [*super().names_of_filter(), "list", "file", "commands"]

    def set_filter(self, text: str) -> None:
        """Rows that hold it, or that typed its words: these are asked for once no more is typed. Raises FilterError."""
        super().set_filter(text)
        self._ask_at = time.monotonic() + PAUSE_S if set(self._words()) - set(self._asked) else 0.0

    def _words(self) -> tuple[str, ...]:
        """The words of the filter that may stand in commands."""
        tests = (test for test in self._filter.tests if test.key in ("", "commands"))
        return tuple(dict.fromkeys(test.word for test in tests if len(test.word) >= SHORTEST))

    def parsed_text(self, text: str) -> str:
        """A network may be written with or without its AS."""
        return _AS_NUMBER.sub("asn:", text)

    async def fetch(self, session: Session) -> Fetched:
        """Attackers, the profile of the one under the cursor, identities with open alerts, ignored sources."""
        repo = need_store(session)
        session.whereabouts.begin()
        listed = await repo.list_attackers(limit=MAX_ACTORS)
        uuids = [row["attacker_uuid"] for row in listed]
        told = await repo.attackers_told(uuids)
        kits = await repo.campaigns_by_attacker(uuids)
        sizes = await repo.identity_sizes([row["identity_uuid"] for row in listed if row["identity_uuid"]])
        known = _names_by_identity(listed)
        now = time.time()

        def line(row: ListedAttacker) -> ActorLine:
            uuid, identity = row["attacker_uuid"], row["identity_uuid"] or ""
            session.whereabouts.of(row["attacker_ip"])  # here, in turns: it is remembered for the lines
            names = known.get(identity, [])
            return _line(row, told.get(uuid), kits.get(uuid, []), sizes.get(identity, 1), names, now)

        rows = await in_turns(line, listed)
        chosen = self.find(self.row_key(self.current)) if self.current else None
        chosen = chosen or (rows[0] if rows else None)
        profile = {chosen["attacker_uuid"]: await known_of(repo, chosen)} if chosen else {}
        alerts = await repo.list_alerts(state="open", limit=0)
        asked = self._words()
        return Fetched(
            rows,
            profile,
            {str(alert["identity_uuid"]) for alert in alerts},
            len(await repo.ignored_sources()),
            await repo.attacker_count() if len(rows) >= MAX_ACTORS else len(rows),
            session.whereabouts,
            asked,
            await repo.typed_by(asked) if asked else TypedWords({}, None),
        )

    def load(self, data: Fetched) -> None:
        """Rows with their places, as far as these are known yet."""
        self.profiles, self.suspected, self.ignored = data.profiles, data.suspected, data.ignored
        self.older, self.where = data.stored - len(data.rows), data.where
        self._placed, self._asked, self._typed = data.where.version, data.asked, data.typed
        self.fill([self._with_place(row) for row in data.rows])

    def _with_place(self, row: ActorLine) -> ActorLine:
        place = self.where.of(row["attacker_ip"]) if self.where is not None else nowhere()
        return {**row, **placed(place)}

    def sync(self, now: float) -> bool:
        """Places come when their files have been read, or are others now; words are asked for after a pause."""
        if self._ask_at and time.monotonic() >= self._ask_at:
            self._ask_at = self.loaded_at = 0.0  # asks for a read
        if self.where is None or self.where.version == self._placed:
            return False
        self._placed = self.where.version
        self.put([self._with_place(row) for row in self._all])
        return True

    def unfilled(self) -> list[str]:
        """Nobody yet."""
        return [
            "No attacks yet.",
            f"View {key('view.workers')} shows whether the sensors read; --sensor cowrie=PATH names a log.",
        ]

    def about(self) -> str:
        """What can be done, and what is not listed."""
        fewer = f"{self.ignored} ignored  " if self.ignored else ""
        older = f"{self.older} seen before these  " if self.older > 0 else ""
        hint = (
            ""
            if self.scope or self.filter_text
            else f"  {key('sessions')}: sessions  {key('compare')}: compare two"
        )
        lost = (
            f"! no places: {visible(self.where.problem, 60)}  " if self.where and self.where.problem else ""
        )
        return f"{lost}{fewer}{older}{self._looked()}{key('open')}: page{hint}"

    def _looked(self) -> str:
        """Whether commands are still looked through for the words of the filter, and how many of them were."""
        words = self._words()
        if set(words) - set(self._asked):
            return "looking through commands ...  "
        return (
            f"only the newest {counted(self._typed.looked_at, 'command')} searched  "
            if words and self._typed.looked_at
            else ""
        )

    def empty(self, width: int) -> list[str]:
        """As every table; and that a source which is ignored is not listed."""
        return super().empty(width) + left_out(self.ignored)

    def below(self) -> View | None:
        """The attacker's page."""
        row = self.current
        return None if row is None else ActorLevel(self.feed, row["attacker_uuid"], str(row["attacker_ip"]))

    def detail_key(self) -> object:
        """The row, and whether its profile has come."""
        row = self.current
        known = None if row is None else self.profiles.get(row["attacker_uuid"])
        if row is not None and known is None:
            self.loaded_at = 0.0  # asks for a read soon
        return super().detail_key(), known is not None and hash(repr(known))

    def row_detail(self, row: ActorLine) -> list[str]:
        """Who, from where, when, which techniques, then the profile."""
        name = load_catalogue().name
        known = self.profiles.get(row["attacker_uuid"])
        place = "  ".join(part for part in (country_text(row), network_text(row), *row["lists"]) if part)
        lines = [
            f"{row['attacker_ip']}  {place or 'place not known'}",
            f"identity {row['identity_uuid'] or '-'}  {addresses_text(row['addresses'])}",
            *(f"campaign {campaign_line(one)}" for one in row["campaigns_named"]),
            f"first seen {self._time(row['first_seen'])}  last seen {self._time(row['last_seen'])}",
            f"{counted(row['session_count'], 'session')} on {counted(row['decky_count'], 'decoy')}"
            f"  {row['severity'] or 'not judged'}: {row['did'] or '-'}",
            "",
            counted(row["technique_count"], "technique"),
            *(f"  {technique} {name(technique)}" for technique in row["techniques"]),
            "",
            *said_lines(known.said if known else ()),
            *profile_lines(known, self._time),
        ]
        if row["identity_uuid"] in self.suspected:
            lines.insert(1, f"! an open alert says: perhaps several operators (view {key('view.alerts')})")
        return lines


def _names_by_identity(rows: Sequence[ListedAttacker]) -> dict[str, list[str]]:
    """Of each identity of now its own id and those of the addresses that are part of it."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["identity_uuid"]:
            found[row["identity_uuid"]].append(identity_id(row["attacker_uuid"]))
    return {identity: list(dict.fromkeys((identity, *own))) for identity, own in found.items()}


def _line(
    row: ListedAttacker,
    told: AttackerTold | None,
    kits: list[CampaignName],
    addresses: int,
    names: list[str],
    now: float,
) -> ActorLine:
    return {
        **row,
        "technique_count": len(row["techniques"]),
        "severity": told["severity"] if told else None,
        "did": told["did"] if told else None,
        "files": told["files"] if told else [],
        "campaigns": [one["campaign_uuid"] for one in kits],
        "campaigns_named": kits,
        "addresses": addresses,
        "names": names,
        "new": is_new(row["first_seen"], now),
        "country": None,
        "allocated": False,
        "asn": None,
        "as_name": None,
        "lists": [],
    }


def _severity(row: ActorLine) -> str:
    return _SHORT.get(row["severity"] or "", row["severity"] or "-")


def _campaign(row: ActorLine) -> str:
    """The largest of its campaigns; that there are more is said."""
    kits = row["campaigns"]
    return f"c-{short(kits[0], FEW)}" if kits else ""


def _ago(row: ActorLine) -> str:
    return clock(row["last_seen"].timestamp(), "age") if row["last_seen"] else "-"


class ActorsView(LevelsView):
    """The view; ``go_to`` takes an attacker's id, an identity's, or a session's."""

    name = "actors"
    title = "Actors"
    key = "3"
    says = "Actors: where they are, what they did, who they are"
    roots = ("attacker", "ttp", "attribution", "identity", "campaign")

    def __init__(self, feed: Feed) -> None:
        self.actors = ActorsLevel(feed)
        super().__init__(feed, self.actors)

    def go_to(self, key: Any) -> bool:
        """The row of an attacker or an identity, the page of an address that is not listed; else a session's id."""
        self.home()
        wanted = str(key).removeprefix("i-")
        rows = self.actors.rows
        found = next(
            (r for r in rows if names(wanted, r["attacker_uuid"], r["attacker_ip"], *r["names"])), None
        )
        if found is not None:
            return self.actors.go_to(found["attacker_uuid"])
        text = str(key)
        address = "." in text or ":" in text
        self.levels.append(ActorLevel(self.feed, text, text) if address else SessionLevel(self.feed, text))
        return True

    def pair(self) -> tuple[ActorLine, ActorLine] | None:
        """The two marked actors, or the marked one and the one under the cursor."""
        marked = [row for row in self.actors.rows if self.actors.row_key(row) in self.actors.marked]
        if len(marked) == 1 and self.actors.current is not None and self.actors.current is not marked[0]:
            marked.append(self.actors.current)
        return (marked[0], marked[1]) if len(marked) == 2 else None
