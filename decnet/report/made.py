"""What a report says: from rows as the repository gives them to a document. Pure.

It begins with the few sentences that a person reads who reads nothing else, and every claim can be followed to a session
and the command in it, which `decnet-tui session ID` shows whole.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from decnet.attack.catalogue import TACTIC_ORDER, load_catalogue
from decnet.db.rows.linking import ListedCampaign, ListedIdentity
from decnet.db.rows.lists import ListedSession, ListedTag, Top
from decnet.events.ttp import SEVERITIES
from decnet.report.document import Bars, Block, Document, Heading, Paragraph, Table
from decnet.report.plots import columns_of

SESSIONS_SHOWN: Final = 50
TECHNIQUES_SHOWN: Final = 200
LINKED_SHOWN: Final = 50
BARS_SHOWN: Final = 15
ADDRESSES_SHOWN: Final = 500
EXAMPLES: Final = 3
"""Commands that a technique is shown with."""
_ID = 8
_TOPS: Final = (
    ("users", "User names"), ("passwords", "Log-ins (the secret by its keyed hash unless kept in the clear)"),
    ("clients", "Clients"), ("urls", "URLs that files were fetched from"), ("hosts", "Hosts of these"), ("hashes", "Files (SHA-256)"),
    ("keys", "Keys"),
)  # fmt: skip


class Facts(NamedTuple):
    """Everything that a report is made of; sessions and tags of its subject alone."""

    title: str
    about: str
    sessions: Sequence[ListedSession]
    tags: Sequence[ListedTag]
    tops: Mapping[str, Top]
    """By kind, as of ``stats``."""
    countries: Mapping[str, str]
    """By address; of those that are known."""
    campaigns: Sequence[ListedCampaign] = ()
    identities: Sequence[ListedIdentity] = ()


def report_of(facts: Facts, now: datetime) -> Document:
    """The report of some facts; ``now`` is when it is made (aware)."""
    blocks = [
        *_when(facts),
        *_sessions(facts),
        *_techniques(facts),
        *_origins(facts),
        *_often(facts),
        *_linked(facts),
        *_addresses(facts),
        *_method(facts),
    ]
    return Document(facts.title, facts.about, now, list(_lead(facts)), blocks)


def _lead(facts: Facts) -> Iterator[str]:
    sessions = facts.sessions
    if not sessions and not facts.tags:
        yield "Nothing of this was seen."
        return
    times = [
        moment for one in sessions for moment in (one["started_at"], one["ended_at"]) if moment is not None
    ]
    times += [tag["seen_at"] for tag in facts.tags]
    span = (
        f"From {min(times):%Y-%m-%d %H:%M}Z to {max(times):%Y-%m-%d %H:%M}Z"
        if times
        else "At an unknown time"
    )
    addresses = {one["attacker_ip"] for one in sessions if one["attacker_ip"]}
    deckies = {one["decky_id"] for one in sessions if one["decky_id"]}
    techniques = {_technique(tag) for tag in facts.tags}
    yield (
        f"{span}: {_many(len(sessions), 'session')} from {_many(len(addresses), 'address', 'addresses')} on "
        f"{_many(len(deckies), 'decoy')}, with {_many(len(techniques), 'technique')} of MITRE ATT&CK."
    )
    counts = Counter(one["severity"] for one in sessions)
    said = [f"{counts[name]} {name}" for name in SEVERITIES if counts[name]]
    if said:
        yield f"Sessions by severity: {', '.join(said)}."
    worst = next(iter(_by_severity(sessions)), None)
    if worst is not None and worst["severity"] is not None and worst["severity_reason"]:
        yield f"The worst of them: {worst['severity_reason']} ({worst['attacker_ip'] or 'unknown address'})."


def _when(facts: Facts) -> Iterator[Block]:
    started = [one["started_at"] for one in facts.sessions if one["started_at"] is not None]
    yield Heading("When")
    yield columns_of("Sessions over time", started, "sessions")
    counts = Counter(one["severity"] or "not judged" for one in facts.sessions)
    yield Bars(
        "Sessions by severity",
        [(name, counts[name]) for name in (*SEVERITIES, "not judged") if counts[name]],
        "sessions",
    )


def _by_severity(sessions: Iterable[ListedSession]) -> list[ListedSession]:
    """The worst first; of one severity the newest."""

    def key(one: ListedSession) -> tuple[int, float]:
        rank = SEVERITIES.index(one["severity"]) if one["severity"] in SEVERITIES else len(SEVERITIES)
        return rank, -(one["started_at"].timestamp() if one["started_at"] else 0.0)

    return sorted(sessions, key=key)


def _sessions(facts: Facts) -> Iterator[Block]:
    ranked = _by_severity(facts.sessions)
    rows = [
        (
            f"{one['started_at']:%Y-%m-%d %H:%M:%S}" if one["started_at"] else "-",
            one["severity"] or "-",
            one["attacker_ip"] or "-",
            facts.countries.get(one["attacker_ip"] or "", "-"),
            one["session_id"][:_ID],
            one["severity_reason"] or "",
            one["story_line"] or "",
        )
        for one in ranked[:SESSIONS_SHOWN]
    ]
    yield Heading("Sessions, the worst first")
    yield Table(
        ("time", "severity", "address", "country", "session", "why", "what it did"),
        rows,
        frozenset({4}),
        more=len(ranked) - len(rows),
    )


def _techniques(facts: Facts) -> Iterator[Block]:
    """Each technique with commands that it was seen in: what a reader follows to the session."""
    catalogue = load_catalogue()
    by_kind: dict[tuple[str, str], list[ListedTag]] = defaultdict(list)
    for tag in facts.tags:
        by_kind[tag["tactic"], _technique(tag)].append(tag)
    order = TACTIC_ORDER
    kinds = sorted(
        by_kind, key=lambda kind: (order.index(kind[0]) if kind[0] in order else len(order), kind[1])
    )
    rows = []
    for tactic, technique in kinds[:TECHNIQUES_SHOWN]:
        tags = by_kind[tactic, technique]
        name = catalogue.tactics[tactic][1] if tactic in catalogue.tactics else tactic
        shown = _examples(tags)
        rows.append(
            (name, technique, catalogue.name(technique) or "", str(len(tags)), "  |  ".join(matched for _, matched in shown),
             " ".join(session for session, _ in shown))
        )  # fmt: skip
    yield Heading("Techniques, by tactic")
    yield Table(
        ("tactic", "technique", "name", "tags", "seen in", "sessions"),
        rows,
        frozenset({4, 5}),
        more=len(kinds) - len(rows),
    )


def _examples(tags: Sequence[ListedTag]) -> list[tuple[str, str]]:
    """Sessions, and what of each matched: the surest first, nothing twice."""
    ranked = sorted(tags, key=lambda tag: (-tag["confidence"], tag["seen_at"], tag["uuid"]))
    found: dict[str, str] = {}
    for tag in ranked:
        matched = (tag["evidence"] or {}).get("matched")
        found.setdefault(str(matched or tag["rule_id"]), (tag["session_id"] or "-")[:_ID])
        if len(found) == EXAMPLES:
            break
    return [(session, matched) for matched, session in found.items()]


def _technique(tag: ListedTag) -> str:
    return tag["sub_technique_id"] or tag["technique_id"]


def _origins(facts: Facts) -> Iterator[Block]:
    yield Heading("Where from")
    for name, title in (("countries", "Countries"), ("networks", "Networks")):
        if name in facts.tops:
            yield _bars(title, facts.tops[name], "addresses")


def _often(facts: Facts) -> Iterator[Block]:
    yield Heading("What was used most")
    for name, title in _TOPS:
        if name in facts.tops:
            top = facts.tops[name]
            rows = [(one["value"], str(one["attackers"]), str(one["times"])) for one in top["top"]]
            yield Table((title, "addresses", "times"), rows, frozenset({0}), more=top["of"] - len(rows))


def _bars(title: str, top: Top, unit: str) -> Bars:
    return Bars(title, [(one["value"], one["attackers"]) for one in top["top"][:BARS_SHOWN]], unit)


def _linked(facts: Facts) -> Iterator[Block]:
    if facts.campaigns:
        yield Heading("Campaigns")
        yield Paragraph(
            "A campaign is one kit, perhaps of many hands: sharing it makes nobody the same person."
        )
        rows = [
            (one["name"] or "-", one["campaign_uuid"][:_ID], str(len(one["addresses"])), str(one["sessions"]),
             "; ".join(f"{asset['family']} {asset['value']}" for asset in one["reasons"][:EXAMPLES]))
            for one in facts.campaigns[:LINKED_SHOWN]
        ]  # fmt: skip
        yield Table(
            ("campaign", "id", "addresses", "sessions", "known by"),
            rows,
            frozenset({1, 4}),
            len(facts.campaigns) - len(rows),
        )
    if facts.identities:
        yield Heading("Several addresses, one hand")
        yield Paragraph(
            "One operator with two toolkits is two identities here, and two who share a key look like one."
        )
        hands = [
            (one["identity_uuid"][:_ID], " ".join(one["addresses"]), f"1 : 10^{one['confidence']:.1f}",
             "; ".join(f"{why['family']} {why['value']}" for why in one["reasons"][:EXAMPLES]))
            for one in facts.identities[:LINKED_SHOWN]
        ]  # fmt: skip
        yield Table(
            ("identity", "addresses", "odds", "because of"),
            hands,
            frozenset({0, 1, 3}),
            len(facts.identities) - len(hands),
        )


def _addresses(facts: Facts) -> Iterator[Block]:
    seen: dict[str, list[ListedSession]] = defaultdict(list)
    for one in facts.sessions:
        if one["attacker_ip"]:
            seen[one["attacker_ip"]].append(one)
    ranked = sorted(seen, key=lambda address: (-len(seen[address]), address))
    rows = []
    for address in ranked[:ADDRESSES_SHOWN]:
        times = [one["started_at"] for one in seen[address] if one["started_at"] is not None]
        span = (f"{min(times):%Y-%m-%d %H:%M}", f"{max(times):%Y-%m-%d %H:%M}") if times else ("-", "-")
        rows.append((address, facts.countries.get(address, "-"), str(len(seen[address])), *span))
    yield Heading("Addresses")
    yield Table(
        ("address", "country", "sessions", "first", "last"), rows, frozenset({0}), len(ranked) - len(rows)
    )


def _method(facts: Facts) -> Iterator[Block]:
    releases = sorted({tag["attack_release"] for tag in facts.tags})
    rules = {tag["rule_id"] for tag in facts.tags}
    yield Heading("How this was found")
    yield Paragraph(
        "Decoys that nobody has a reason to visit wrote down what visitors did. "
        f"{_many(len(rules), 'rule')} matched it; techniques are those of MITRE ATT&CK {', '.join(releases) or 'Enterprise'}. "
        "A rule can be wrong; `decnet-tui session ID` shows a session whole. An address is where a connection came from, "
        "which need not be where a person sits."
    )


def _many(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or f'{one}s'}"
