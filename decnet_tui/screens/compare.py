"""Two attackers side by side: whether they are one hand and why, what both did, and what only one did."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.attribution import ListedState
from decnet.db.rows.linking import ListedIdentity
from decnet.hostile import visible
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.identities import campaign_label, identity_label, why_lines
from decnet_tui.model.words import addresses_text
from decnet_tui.screens.actors import ActorLine
from decnet_tui.screens.levels import TableLevel
from decnet_tui.screens.profiles import profile_of
from decnet_tui.screens.table import Column
from decnet_tui.widgets.strips import BOLD, PLAIN, Line

REASONS = 3


class ComparedLine(TypedDict):
    """One thing of two attackers side by side."""

    what: str
    one: str
    two: str
    same: str


class Read(NamedTuple):
    """Both profiles; the identity of both when they have one; what an operator said, and why."""

    profiles: list[list[ListedState]]
    identity: ListedIdentity | None
    word: tuple[bool, str] | None


class CompareLevel(TableLevel[ComparedLine]):
    """Two attackers side by side."""

    unit = "techniques"
    stored = True

    def __init__(self, feed: Feed, one: ActorLine, two: ActorLine) -> None:
        super().__init__(feed)
        self.pair = (one, two)
        self._linked: list[str] = []
        self.crumb = f"{one['attacker_ip']} = {two['attacker_ip']}"
        self.columns = (
            Column("what", "what", 24, grow=True),
            Column("one", str(one["attacker_ip"]), 20),
            Column("two", str(two["attacker_ip"]), 20),
            Column("same", "", 7),
        )

    def row_key(self, row: ComparedLine) -> Any:
        """What is compared."""
        return row["what"]

    async def fetch(self, session: Session) -> Read:
        """Both profiles, and what links the two. Raises what the store raises."""
        repo = need_store(session)
        one, two = self.pair
        profiles = [await profile_of(repo, row["identity_uuid"]) for row in self.pair]
        shared = one["identity_uuid"] if one["identity_uuid"] == two["identity_uuid"] else None
        identity = await repo.get_identity(shared) if shared else None
        return Read(profiles, identity, await repo.word_on_link(one["attacker_uuid"], two["attacker_uuid"]))

    def load(self, data: Read) -> None:
        """Counts, techniques, then primitives that at least one has."""
        one, two = self.pair
        self._linked = self._linked_lines(data)
        rows: list[tuple[str, Any, Any]] = [
            ("sessions", one["session_count"], two["session_count"]),
            ("decoys", one["decky_count"], two["decky_count"]),
            ("techniques", one["technique_count"], two["technique_count"]),
            ("identity", _label(one), _label(two)),
            ("campaigns", _kits(one), _kits(two)),
        ]
        name = load_catalogue().name
        for technique in sorted({*one["techniques"], *two["techniques"]}):
            has = ["yes" if technique in row["techniques"] else "no" for row in self.pair]
            rows.append((f"{technique} {name(technique)}", has[0], has[1]))
        first, second = ({s["primitive"]: s["current_value"] for s in profile} for profile in data.profiles)
        rows += [(p, first.get(p), second.get(p)) for p in sorted({*first, *second})]
        self.fill([{"what": w, "one": _short(a), "two": _short(b), "same": _same(a, b)} for w, a, b in rows])

    def _linked_lines(self, data: Read) -> list[str]:
        """Whether they are one hand, by whom that is said, and why."""
        said = []
        if data.word is not None:
            same, reason = data.word
            why = f": {visible(reason, 200)}" if reason else ""
            said = [f"an operator said that they are {'the same' if same else 'not the same'}{why}"]
        if data.identity is None:
            return ["NOT LINKED: two identities" + ("" if said else ", nothing joins them"), *said]
        size = addresses_text(len(data.identity["addresses"]))
        sure = f"{data.identity['confidence']:.1f}"
        head = f"LINKED: both are {identity_label(data.identity['identity_uuid'])}  {size}  {sure}"
        return [head, *said, *why_lines(data.identity, REASONS)]

    def intro(self, width: int) -> list[Line]:
        """Whether they are linked, and why."""
        return [
            [(f" {visible(text, max(width - 2, 1))}", PLAIN if n else BOLD)]
            for n, text in enumerate(self._linked)
        ]


def _label(row: ActorLine) -> str | None:
    return identity_label(row["identity_uuid"]) if row["identity_uuid"] else None


def _kits(row: ActorLine) -> str | None:
    return " ".join(map(campaign_label, row["campaigns"])) or None


def _short(value: Any) -> str:
    return "-" if value is None else str(value)[:80]


def _same(one: Any, two: Any) -> str:
    """What is not known of one of them is never the same."""
    if one is None or two is None:
        return "unknown"
    return "same" if one == two else "differs"
