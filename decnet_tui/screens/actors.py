"""Actors: attackers with what they did; their profile in the detail; sessions, commands, recordings below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.attribution import ListedState
from decnet.db.rows.lists import ListedAttacker, ListedTag, TagBehind
from decnet.events.intel import Answer
from decnet.hostile import visible
from decnet_tui.changes import need_store
from decnet_tui.feed import Feed
from decnet_tui.reputation import told_by
from decnet_tui.screens.base import TIME_WIDTHS, View
from decnet_tui.screens.evidence import CommandsLevel, SessionsLevel, TagsLevel
from decnet_tui.screens.levels import LevelsView, TableLevel, left_out
from decnet_tui.screens.table import Column
from decnet_tui.session import Session
from decnet_tui.times import clock
from decnet_tui.widgets.strips import PLAIN, WARN

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet_tui.app import DecnetApp

MAX_ACTORS = 2000
MAX_PRIMITIVES = 200


class ActorLine(ListedAttacker):
    """An attacker with the number of its techniques."""

    technique_count: int


class FiredLine(TypedDict):
    """A rule that fired: for which technique, how often, and on what for example."""

    rule_id: str
    technique: str
    name: str
    count: int
    example: object


class ComparedLine(TypedDict):
    """One thing of two attackers side by side."""

    what: str
    one: str
    two: str
    same: str


class Known(NamedTuple):
    """What is read of one attacker beside its row: the profile of its identity, what providers say of the address."""

    states: list[ListedState]
    said: list[Answer]


Fetched = tuple[list[ListedAttacker], dict[str, Known], set[str], int]


class ActorsLevel(TableLevel[ActorLine]):
    """Every attacker, last seen first. The profile of the one under the cursor is read with the rows."""

    unit = "attackers"
    stored = True

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.profiles: dict[str, Known] = {}
        self.suspected: set[str] = set()
        self.ignored = 0
        """Sources that are left out here."""
        self.columns = (
            Column("attacker_ip", "attacker", 15),
            Column("last_seen", "last seen", TIME_WIDTHS["date"], text=lambda r: self._time(r["last_seen"])),
            Column("session_count", "sess", 4, right=True),
            Column("decky_count", "deck", 4, right=True),
            Column("technique_count", "tech", 4, right=True),
            Column("techniques", "techniques", 10, grow=True),
            Column("identity_uuid", "identity", 9, text=self._identity, style=self._identity_style),
            Column("first_seen", "first seen", TIME_WIDTHS["date"], text=lambda r: self._time(r["first_seen"]), wide=True),
        )  # fmt: skip

    def _time(self, moment: datetime | None) -> str:
        form = "date" if self.time_format == "clock" else self.time_format
        return clock(moment.timestamp(), form) if moment else "-"

    def _identity(self, row: ActorLine) -> str:
        return str(row["identity_uuid"] or "-")[:8] + ("!" if row["identity_uuid"] in self.suspected else "")

    def _identity_style(self, row: ActorLine) -> Any:
        return WARN if row["identity_uuid"] in self.suspected else PLAIN

    def row_key(self, row: ActorLine) -> Any:
        """The attacker's id."""
        return row["attacker_uuid"]

    async def fetch(self, session: Session) -> Fetched:
        """Attackers, the profile of the one under the cursor, identities with open alerts, ignored sources."""
        repo = need_store(session)
        rows = await repo.list_attackers(limit=MAX_ACTORS)
        chosen = self.current or (rows[0] if rows else None)
        profile = {chosen["attacker_uuid"]: await _known(repo, chosen)} if chosen else {}
        alerts = await repo.list_alerts(state="open", limit=0)
        ignored = len(await repo.ignored_sources())
        return rows, profile, {str(alert["identity_uuid"]) for alert in alerts}, ignored

    def load(self, data: Fetched) -> None:
        """Rows with the number of techniques."""
        rows, profile, self.suspected, self.ignored = data
        self.profiles = profile
        self.fill([{**row, "technique_count": len(row["techniques"])} for row in rows])

    def unfilled(self) -> list[str]:
        """Nobody yet."""
        return [
            "No attacker has been seen yet.",
            "View 6 shows whether the sensors read; --sensor cowrie=PATH names a log.",
        ]

    def about(self) -> str:
        """What can be done."""
        fewer = f"{self.ignored} ignored  " if self.ignored else ""
        return f"{fewer}Enter: sessions  o: rules  =: compare two"

    def empty(self, width: int) -> list[str]:
        """As every table; and that a source which is ignored is not listed."""
        return super().empty(width) + left_out(self.ignored)

    def below(self) -> View | None:
        """The sessions."""
        row = self.current
        return (
            None if row is None else SessionsLevel(self.feed, row["attacker_uuid"], str(row["attacker_ip"]))
        )

    def detail_key(self) -> object:
        """The row, and whether its profile has come."""
        row = self.current
        known = None if row is None else self.profiles.get(row["attacker_uuid"])
        if row is not None and known is None:
            self.loaded_at = 0.0  # asks for a read soon
        return super().detail_key(), known is not None and hash(repr(known))

    def row_detail(self, row: ActorLine) -> list[str]:
        """Who, when, which techniques, then the profile."""
        name = load_catalogue().name
        lines = [
            f"{row['attacker_ip']}  identity {row['identity_uuid'] or '-'}",
            f"first seen {self._time(row['first_seen'])}  last seen {self._time(row['last_seen'])}",
            f"{row['session_count']} sessions on {row['decky_count']} deckies",
            "",
            f"{row['technique_count']} techniques",
            *(f"  {technique} {name(technique)}" for technique in row["techniques"]),
            "",
            *self._said_lines(row),
            *self._profile_lines(row),
        ]
        if row["identity_uuid"] in self.suspected:
            lines.insert(1, "! an open alert says: perhaps several operators (view 2)")
        return lines

    def _said_lines(self, row: ActorLine) -> list[str]:
        """What providers say of the address, each with the time of its answer; control characters written out."""
        known = self.profiles.get(row["attacker_uuid"])
        if known is None or not known.said:
            return []
        lines = [
            f"  {visible(one.provider, 60)}: {told_by(one)}  {clock(one.ts, 'date')}" for one in known.said
        ]
        return ["what others say of the address (provider: answer, when)", *lines, ""]

    def _profile_lines(self, row: ActorLine) -> list[str]:
        known = self.profiles.get(row["attacker_uuid"])
        if known is None:
            return ["profile: reading ..."]
        states = known.states
        if not states:
            return ["no profile yet: it needs sessions with commands or a recording"]
        lines = ["profile (primitive: value  state, confidence, observations, since)"]
        for state in sorted(states, key=lambda s: s["primitive"]):
            sure = f"{state['state']} {state['confidence']:.2f}  n={state['observation_count']}"
            lines.append(
                f"  {state['primitive']}: {str(state['current_value'])[:60]}  {sure}  {self._time(state['last_change_ts'])}"
            )
        return lines


async def _known(repo: BaseRepository, row: ListedAttacker) -> Known:
    states = await _profile(repo, str(row["identity_uuid"])) if row["identity_uuid"] else []
    return Known(states, await repo.intel_answers(row["attacker_uuid"]))


async def _profile(repo: BaseRepository, identity: str) -> list[ListedState]:
    return await repo.list_attribution(identity=identity, limit=MAX_PRIMITIVES)


class FiredLevel(TableLevel[FiredLine]):
    """The rules that fired on one attacker."""

    unit = "rules"
    stored = True

    def __init__(self, feed: Feed, attacker: str, label: str) -> None:
        super().__init__(feed)
        self.attacker, self.crumb = attacker, f"rules on {label}"
        self.columns = (
            Column("rule_id", "rule", 7),
            Column("technique", "technique", 10),
            Column("name", "name", 20, grow=True),
            Column("count", "tags", 5, right=True),
            Column("example", "example", 30, wide=True),
        )

    def row_key(self, row: FiredLine) -> Any:
        """Rule and technique."""
        return row["rule_id"], row["technique"]

    async def fetch(self, session: Session) -> Sequence[ListedTag | TagBehind]:
        """The attacker's tags. Raises what the store raises."""
        return await need_store(session).list_tags(attacker=self.attacker, limit=0, ignored=True)

    def load(self, data: Sequence[ListedTag | TagBehind]) -> None:
        """Counted by rule."""
        key = [(tag["rule_id"], tag["sub_technique_id"] or tag["technique_id"]) for tag in data]
        counts, name = Counter(key), load_catalogue().name
        example = {k: (tag["evidence"] or {}).get("matched") for k, tag in zip(key, data, strict=True)}
        self.fill(
            [
                {
                    "rule_id": rule,
                    "technique": tech,
                    "name": name(tech),
                    "count": count,
                    "example": example[rule, tech],
                }
                for (rule, tech), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            ]
        )

    def row_detail(self, row: FiredLine) -> list[str]:
        """What it matched, and the way to the rule itself."""
        return [
            f"{row['rule_id']}  {row['technique']} {row['name']}  {row['count']} tags",
            f"for example: {row['example'] or '-'}",
            "Enter goes to the rule itself, and D there turns it off",
        ]

    def about(self) -> str:
        """Where the row leads."""
        return "Enter: the rule itself"

    def tags(self) -> Sequence[FiredLine]:
        """The row names the rule."""
        return [] if self.current is None else [self.current]

    def open(self, app: DecnetApp) -> bool:
        """The rule itself."""
        return self.current is not None and app.open_in("rules", self.current["rule_id"])

    def unfilled(self) -> list[str]:
        """No rule fired."""
        return ["No rule has fired here."]


class TagRulesLevel(FiredLevel):
    """The rules behind some tags that are known already: those of one command."""

    def __init__(self, feed: Feed, tags: Sequence[ListedTag | TagBehind]) -> None:
        super().__init__(feed, "", "this command")
        self._given = tags

    async def fetch(self, session: Session) -> Sequence[ListedTag | TagBehind]:
        """Nothing new."""
        return self._given


class TechniqueRulesLevel(FiredLevel):
    """The rules behind the newest tags of one technique."""

    def __init__(self, feed: Feed, behind: TagsLevel) -> None:
        super().__init__(feed, "", behind.technique)
        self._behind = behind

    async def fetch(self, session: Session) -> Sequence[ListedTag | TagBehind]:
        """Its tags. Raises what the store raises."""
        return await self._behind.fetch(session)


class CompareLevel(TableLevel[ComparedLine]):
    """Two attackers side by side: what both did, and what only one did."""

    unit = "techniques"
    stored = True

    def __init__(self, feed: Feed, one: ActorLine, two: ActorLine) -> None:
        super().__init__(feed)
        self.pair = (one, two)
        self.crumb = f"{one['attacker_ip']} = {two['attacker_ip']}"
        self.columns = (
            Column("what", "what", 24, grow=True),
            Column("one", str(one["attacker_ip"]), 20),
            Column("two", str(two["attacker_ip"]), 20),
            Column("same", "", 6),
        )

    def row_key(self, row: ComparedLine) -> Any:
        """What is compared."""
        return row["what"]

    async def fetch(self, session: Session) -> list[list[ListedState]]:
        """Both profiles. Raises what the store raises."""
        repo = need_store(session)
        return [await _profile(repo, str(row["identity_uuid"])) for row in self.pair]

    def load(self, data: list[list[ListedState]]) -> None:
        """Counts, techniques, then primitives that at least one has."""
        one, two = self.pair
        rows: list[tuple[str, Any, Any]] = [
            ("sessions", one["session_count"], two["session_count"]),
            ("deckies", one["decky_count"], two["decky_count"]),
            ("techniques", one["technique_count"], two["technique_count"]),
        ]
        name = load_catalogue().name
        for technique in sorted({*one["techniques"], *two["techniques"]}):
            has = ["yes" if technique in row["techniques"] else "no" for row in self.pair]
            rows.append((f"{technique} {name(technique)}", has[0], has[1]))
        first, second = ({s["primitive"]: s["current_value"] for s in profile} for profile in data)
        rows += [(p, first.get(p), second.get(p)) for p in sorted({*first, *second})]
        self.fill(
            [
                {"what": w, "one": _short(a), "two": _short(b), "same": "same" if a == b else "-"}
                for w, a, b in rows
            ]
        )


def _short(value: Any) -> str:
    return "-" if value is None else str(value)[:80]


class ActorsView(LevelsView):
    """The view; ``go_to`` takes an attacker's id, an identity's, or a session's."""

    name = "actors"
    title = "Actors"
    key = "3"
    says = "Attackers: sessions, commands, recordings, profiles"
    roots = ("attacker", "ttp", "attribution", "identity")

    def __init__(self, feed: Feed) -> None:
        self.actors = ActorsLevel(feed)
        super().__init__(feed, self.actors)

    def go_to(self, key: Any) -> bool:
        """The row of an attacker or an identity; anything else is a session's id."""
        self.home()
        rows = self.actors.rows
        found = next(
            (r for r in rows if key in (r["attacker_uuid"], r["identity_uuid"], r["attacker_ip"])), None
        )
        if found is not None:
            return self.actors.go_to(found["attacker_uuid"])
        self.levels.append(CommandsLevel(self.feed, str(key)))
        return True

    def pair(self) -> tuple[ActorLine, ActorLine] | None:
        """The two marked actors, or the marked one and the one under the cursor."""
        marked = [row for row in self.actors.rows if self.actors.row_key(row) in self.actors.marked]
        if len(marked) == 1 and self.actors.current is not None and self.actors.current is not marked[0]:
            marked.append(self.actors.current)
        return (marked[0], marked[1]) if len(marked) == 2 else None
