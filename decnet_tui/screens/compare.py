"""Two attackers side by side: whether they are one hand and why, what both did, and what only one did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.actorpage import ActorPage
from decnet.db.rows.attribution import ListedState
from decnet.hostile import visible
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.identities import campaign_label, identity_label, why_lines
from decnet_tui.model.places import country_text, network_text
from decnet_tui.model.words import addresses_text
from decnet_tui.screens.levels import TableLevel
from decnet_tui.screens.profiles import profile_of
from decnet_tui.screens.table import Column
from decnet_tui.widgets.strips import BOLD, PLAIN, Line

if TYPE_CHECKING:
    from decnet_tui.model.whereabouts import Whereabouts

REASONS = 3


class ComparedLine(TypedDict):
    """One thing of two attackers side by side."""

    what: str
    one: str
    two: str
    same: str


class Compared(TypedDict):
    """One of the two."""

    attacker_uuid: str
    attacker_ip: str | None


class Read(NamedTuple):
    """Both pages and profiles; what an operator said of the two, and why; where addresses are."""

    pages: list[ActorPage | None]
    profiles: list[list[ListedState]]
    word: tuple[bool, str] | None
    where: Whereabouts


class CompareLevel(TableLevel[ComparedLine]):
    """Two attackers side by side."""

    unit = "things"
    stored = True

    def __init__(self, feed: Feed, one: Compared, two: Compared) -> None:
        super().__init__(feed)
        self.pair = (one, two)
        self._linked: list[str] = []
        self.crumb = f"{one['attacker_ip']} = {two['attacker_ip']}"
        self.columns = (
            Column("what", "what", 24, grow=True),
            Column("one", str(one["attacker_ip"]), 20),
            Column("two", str(two["attacker_ip"]), 20),
            Column("same", "", 8),
        )

    def row_key(self, row: ComparedLine) -> Any:
        """What is compared."""
        return row["what"]

    async def fetch(self, session: Session) -> Read:
        """Both pages and profiles, and what was said of the two. Raises what the store raises."""
        repo = need_store(session)
        session.whereabouts.begin()
        one, two = (row["attacker_uuid"] for row in self.pair)
        pages = [await repo.actor_page(uuid, sessions=1, clear=session.keep_clear) for uuid in (one, two)]
        profiles = [
            await profile_of(repo, page["attacker"]["identity_uuid"] if page else None) for page in pages
        ]
        return Read(pages, profiles, await repo.word_on_link(one, two), session.whereabouts)

    def load(self, data: Read) -> None:
        """Places, counts and things, techniques, then primitives that at least one has."""
        one, two = data.pages
        if one is None or two is None:
            gone = next(
                row["attacker_ip"] for row, page in zip(self.pair, data.pages, strict=True) if page is None
            )
            self._linked = [f"{gone} is not stored any more"]
            self.fill([])
            return
        self._linked = self._linked_lines(one, two, data.word)
        sides = [_things(page, data.where) for page in (one, two)]
        rows: list[ComparedLine] = [
            {"what": what, "one": _short(first), "two": _short(second), "same": _same(first, second)}
            for (what, first), (_, second) in zip(sides[0], sides[1], strict=True)
        ]
        name = load_catalogue().name
        techniques = [page["attacker"]["techniques"] for page in (one, two)]
        for technique in sorted({*techniques[0], *techniques[1]}):
            has = ["yes" if technique in some else "no" for some in techniques]
            rows.append(
                {"what": f"{technique} {name(technique)}", "one": has[0], "two": has[1], "same": _same(*has)}
            )
        first, second = ({s["primitive"]: s["current_value"] for s in profile} for profile in data.profiles)
        for primitive in sorted({*first, *second}):
            values = first.get(primitive), second.get(primitive)
            rows.append(
                {
                    "what": primitive,
                    "one": _short(values[0]),
                    "two": _short(values[1]),
                    "same": _same(*values),
                }
            )
        self.fill(rows)

    def _linked_lines(self, one: ActorPage, two: ActorPage, word: tuple[bool, str] | None) -> list[str]:
        """Whether they are one hand, by whom that is said, and why."""
        said = []
        if word is not None:
            same, reason = word
            why = f": {visible(reason, 200)}" if reason else ""
            said = [f"an operator said that they are {'the same' if same else 'not the same'}{why}"]
        identity = one["identity"]
        if identity is None or one["attacker"]["identity_uuid"] != two["attacker"]["identity_uuid"]:
            return ["NOT LINKED: two identities" + ("" if said else ", nothing joins them"), *said]
        size = addresses_text(len(identity["addresses"]))
        head = f"LINKED: both are {identity_label(identity['identity_uuid'])}  {size}  {identity['confidence']:.1f}"
        return [head, *said, *why_lines(identity, REASONS)]

    def intro(self, width: int) -> list[Line]:
        """Whether they are linked, and why."""
        return [
            [(f" {visible(text, max(width - 2, 1))}", PLAIN if n else BOLD)]
            for n, text in enumerate(self._linked)
        ]


def _things(page: ActorPage, where: Whereabouts) -> list[tuple[str, Any]]:
    """What is compared of one, in the same order for both; None is not known, a set has no order."""
    row, amounts, told = page["attacker"], page["amounts"], page["told"]
    place = where.of(row["attacker_ip"])
    logins = frozenset(label for label, _, inside in amounts["logins"]["top"] if inside)
    return [
        ("country", country_text(place) or None),
        ("network", network_text(place) or None),
        ("severity", told["severity"] if told else None),
        ("sessions", row["session_count"]),
        ("decoys", row["decky_count"]),
        ("identity", identity_label(row["identity_uuid"]) if row["identity_uuid"] else None),
        ("campaigns", frozenset(campaign_label(one["campaign_uuid"]) for one in page["campaigns"]) or None),
        ("clients", frozenset(amounts["clients"]) or None),
        ("log-ins let in", logins or None),
        ("playbooks", frozenset(one["playbook"] for one in amounts["playbooks"] if one["playbook"]) or None),
        ("files", frozenset(one["sha256"][:12] for one in amounts["files"]) or None),
        ("hosts", frozenset(amounts["hosts"]) or None),
        ("techniques", len(row["techniques"])),
    ]


def _short(value: Any) -> str:
    if value is None:
        return "-"
    return " ".join(sorted(value)) if isinstance(value, frozenset) else str(value)


def _same(one: Any, two: Any) -> str:
    """What is not known of one of them is never the same; of two sets it is told how much both have."""
    if one is None or two is None:
        return "unknown"
    if isinstance(one, frozenset) and isinstance(two, frozenset) and one != two and one & two:
        return f"{len(one & two)} shared"
    return "same" if one == two else "differs"
