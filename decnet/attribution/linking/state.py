"""What linking knows as plain rows, and linking made again from them: what tables hold, and a crash leaves.

Everything that does not follow from something else is in the rows: evidence, groups of assets, ids, what operators
said. Scores and bands are worked out again. Rows name addresses and values by derived ids, so numbers of this process
(members, values) never get out; where they are kept is left to others.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypedDict

from decnet.attribution.linking import numbers as n
from decnet.attribution.linking.clusters import pair
from decnet.attribution.linking.index import Delta
from decnet.attribution.linking.journal import CAMPAIGN, KIT
from decnet.attribution.linking.kits import ASSETS, Forest, Group
from decnet.attribution.linking.linker import Linker
from decnet.attribution.linking.told import told_of


class AddressRow(TypedDict):
    """One address: the identity that began with it, the one that it is part of (None: its own), log-ins in hex."""

    attacker_uuid: str
    address: str
    identity_uuid: str
    linked_into: str | None
    founded_at: float
    logins: str


class TermRow(TypedDict):
    """One value; of an asset the groups that it is in, and the marks of a script."""

    term_id: str
    family: str
    value: str
    campaign_root: str | None
    kit_root: str | None
    marks: list[str] | None


class ValueRow(TypedDict):
    """That an address has a value; ``first_at`` (epoch seconds) of hard families that are kept."""

    attacker_uuid: str
    term_id: str
    first_at: float | None
    kept: bool


class GroupRow(TypedDict):
    """One kit or campaign; ``campaign_uuid`` once two addresses shared it."""

    kind: str
    root: str
    founder: str
    founded_at: float
    label: str
    campaign_uuid: str | None
    name: str | None
    addresses: int


class IdentityRow(TypedDict):
    """Why an identity of several addresses is one."""

    identity_uuid: str
    confidence: float
    addresses: int
    reasons: list[dict[str, Any]]
    against: list[dict[str, Any]]


class SaidRow(TypedDict):
    """What an operator said of two attackers."""

    one: str
    other: str
    same: bool
    reason: str


class Rooted(NamedTuple):
    """All assets of one root have another one now."""

    kind: str
    before: str
    now: str


class State(TypedDict):
    """All that linking knows."""

    addresses: list[AddressRow]
    terms: list[TermRow]
    values: list[ValueRow]
    groups: list[GroupRow]
    campaigns: dict[str, str]
    said: list[SaidRow]


@dataclass(slots=True)
class Changes:
    """Rows that are new or others, and what is gone. ``rooted`` comes first, in order; then all else."""

    addresses: list[AddressRow] = field(default_factory=list)
    terms: list[TermRow] = field(default_factory=list)
    values: list[ValueRow] = field(default_factory=list)
    groups: list[GroupRow] = field(default_factory=list)
    identities: list[IdentityRow] = field(default_factory=list)
    campaigns: dict[str, str] = field(default_factory=dict)
    rooted: list[Rooted] = field(default_factory=list)
    values_gone: list[tuple[str, str]] = field(default_factory=list)
    """Attacker and term."""
    groups_gone: list[tuple[str, str]] = field(default_factory=list)
    """Kind and root."""
    identities_gone: list[str] = field(default_factory=list)
    """Identities that are none of several addresses."""
    attackers_gone: list[str] = field(default_factory=list)


def term_id(family: str, value: str) -> str:
    """The id of a value: 80 bits of a hash, in hex."""
    text = f"{family}\0{value}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=10).hexdigest()


def changes_of(linker: Linker) -> Changes:
    """What its journal says that is not written yet; the journal stays as it is."""
    journal, rows = linker.journal, _Rows(linker)
    out = Changes(campaigns=dict(journal.campaigns), attackers_gone=sorted(journal.gone.values()))
    out.rooted = [Rooted(kind, rows.term(old), rows.term(new)) for kind, old, new in journal.rooted]
    out.addresses = [rows.address(one) for one in sorted(journal.members - journal.gone.keys())]
    out.terms = [rows.asset(one) for one in sorted(journal.terms)]
    for member, number in sorted(journal.held):
        if member in journal.gone:
            continue
        row = rows.value(member, number)
        if row is None:
            out.values_gone.append((linker.index.profiles[member].attacker_uuid, rows.term(number)))
        else:
            out.values.append(row)
    lost = {(kind, old) for kind, old, _ in journal.rooted}
    out.groups_gone = [(kind, rows.term(old)) for kind, old in sorted(lost)]
    out.groups = [rows.group(kind, root) for kind, root in sorted((journal.groups | _renamed(linker)) - lost)]
    _tell(linker, out)
    return out


def _renamed(linker: Linker) -> set[tuple[str, int]]:
    """Campaigns that may be called otherwise now: an asset of theirs is at another number of addresses."""
    campaigns = linker.kits.campaigns
    assets = {number for _, number in linker.journal.held if campaigns.holds(number)}
    return {(CAMPAIGN, campaigns.root(number)) for number in assets}


def _tell(linker: Linker, out: Changes) -> None:
    """Identities whose reasons may be others now."""
    journal = linker.journal
    asked = journal.judged | journal.before.keys() | set(journal.before.values())
    named = {linker.group(one)[0] for one in asked} | set(journal.before.values()) | journal.gone.keys()
    for one in sorted(named):
        group = linker.group(one) if one not in journal.gone else [one]
        if group[0] == one and len(group) > 1:
            out.identities.append(_identity_row(linker, one))
        else:
            out.identities_gone.append(linker.uuid(one))


def _identity_row(linker: Linker, member: int) -> IdentityRow:
    told = told_of(linker, member)
    reasons = [
        {"family": r.family, "value": r.value, "addresses": r.addresses, "weight": round(r.weight, 2)}
        for r in told.reasons
    ]
    return {
        "identity_uuid": told.identity_uuid,
        "confidence": told.confidence,
        "addresses": len(told.addresses),
        "reasons": reasons,
        "against": [{"family": a.family, "weight": round(a.weight, 2)} for a in told.against],
    }


class _Rows:
    """Rows of a linker as it is now."""

    def __init__(self, linker: Linker) -> None:
        self._linker = linker
        self._terms: dict[int, str] = {}

    def term(self, number: int) -> str:
        """The id of a value."""
        if (found := self._terms.get(number)) is None:
            value = self._linker.index.values[number]
            found = self._terms[number] = term_id(value.family, value.text)
        return found

    def address(self, member: int) -> AddressRow:
        """An address."""
        known = self._linker.index.profiles[member]
        own, winner = self._linker.uuid(member), self._linker.group(member)[0]
        return {
            "attacker_uuid": known.attacker_uuid,
            "address": known.address,
            "identity_uuid": own,
            "linked_into": None if winner == member else self._linker.uuid(winner),
            "founded_at": known.founded,
            "logins": " ".join(f"{one:016x}" for one in known.logins),
        }

    def asset(self, number: int) -> TermRow:
        """A value."""
        value, kits = self._linker.index.values[number], self._linker.kits
        held = kits.campaigns.holds(number)
        return {
            "term_id": self.term(number),
            "family": value.family,
            "value": value.text,
            "campaign_root": self.term(kits.campaigns.root(number)) if held else None,
            "kit_root": self.term(kits.kits.root(number)) if kits.kits.holds(number) else None,
            "marks": sorted(kits.marks[number].all) if number in kits.marks else None,
        }

    def value(self, member: int, number: int) -> ValueRow | None:
        """That an address has a value; None when it has it no more, and no group of assets needs it."""
        profile, value = self._linker.index.profiles[member], self._linker.index.values[number]
        kept = number in profile.values
        if not kept and value.family not in ASSETS:
            return None
        first = value.holders[member] if kept and value.holders is not None else None
        return {
            "attacker_uuid": profile.attacker_uuid,
            "term_id": self.term(number),
            "first_at": first,
            "kept": kept,
        }

    def group(self, kind: str, root: int) -> GroupRow:
        """A kit or campaign."""
        kits = self._linker.kits
        group = (kits.campaigns if kind == CAMPAIGN else kits.kits).groups[root]
        return {
            "kind": kind,
            "root": self.term(root),
            "founder": self.term(group.founder),
            "founded_at": group.founded,
            "label": group.label,
            "campaign_uuid": group.uuid or None,
            "name": kits.name_of(root) if group.uuid else None,
            "addresses": len(group.members),
        }


def state_of(linker: Linker) -> State:
    """All that a linker knows."""
    rows, index = _Rows(linker), linker.index
    alive = [one for one, profile in enumerate(index.profiles) if profile.address]
    said = [(p, True, why) for p, why in linker.musts.items()]
    said += [(p, False, why) for p, why in linker.cannots.items()]
    return {
        "addresses": [rows.address(one) for one in alive],
        "terms": [rows.asset(one) for one in range(len(index.values))],
        "values": list(_values(linker, rows, alive)),
        "groups": [
            rows.group(forest.kind, root)
            for forest in (linker.kits.campaigns, linker.kits.kits)
            for root in forest.groups
        ],
        "campaigns": dict(linker.kits.merged_into),
        "said": [
            {"one": one, "other": other, "same": same, "reason": why}
            for (a, b), same, why in said
            for one, other in [sorted(index.profiles[x].attacker_uuid for x in (a, b))]
        ],
    }


def identities_of(linker: Linker) -> Iterator[IdentityRow]:
    """Why each identity of several addresses is one."""
    for member, profile in enumerate(linker.index.profiles):
        group = linker.group(member) if profile.address else []
        if len(group) > 1 and group[0] == member:
            yield _identity_row(linker, member)


def _values(linker: Linker, rows: _Rows, members: Iterable[int]) -> Iterator[ValueRow]:
    """The values of addresses, and an asset of each group that an address is in without having one of its assets."""
    profiles, forests = linker.index.profiles, (linker.kits.campaigns, linker.kits.kits)
    put_out = [(root, one) for forest in forests for root, g in forest.groups.items() for one in g.members]
    roots: dict[int, set[int]] = defaultdict(set)
    for root, member in put_out:
        roots[member].add(root)
    for member in members:
        held = profiles[member].values
        known = {forest.root(one) for forest in forests for one in held if forest.holds(one)}
        for number in (*held, *sorted(roots[member] - known)):
            if (row := rows.value(member, number)) is not None:
                yield row


def restored(state: State, thresholds: n.Thresholds = n.DEFAULT) -> Linker:
    """A linker that knows what the rows of a state say; see :class:`Restoring`."""
    out = Restoring(thresholds)
    out.addresses(state["addresses"])
    out.terms(state["terms"])
    out.values(state["values"])
    out.groups(state["groups"])
    return out.finish(state["campaigns"], state["said"])


class Restoring:
    """A linker that is made again from rows; what it says is the same, and it goes on from there.

    The rows may come in pages, but each kind after the one before it, in the order of the methods. Raises KeyError for
    rows that name what other rows do not have.
    """

    def __init__(self, thresholds: n.Thresholds = n.DEFAULT) -> None:
        self._linker = Linker(thresholds)
        self._members: dict[str, int] = {}
        self._into: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._assets: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._holders: dict[int, set[int]] = defaultdict(set)

    def addresses(self, rows: Iterable[AddressRow]) -> None:
        """Who there is."""
        index = self._linker.index
        for row in rows:
            member, _ = index.member_of(row["address"], row["attacker_uuid"], row["founded_at"])
            index.log_in(member, [int(one, 16) for one in row["logins"].split()], Delta(member))
            own, known = row["attacker_uuid"], index.profiles[member].attacker_uuid
            self._members[known if known == own else own] = member  # one text for both
            if row["linked_into"] is not None:
                self._into[member] = row["linked_into"]
        self._linker.journal.clear()  # with each page: of all rows it would be half as large as what is kept

    def terms(self, rows: Iterable[TermRow]) -> None:
        """What values there are, and to which groups assets belong."""
        for row in rows:
            number = self._linker.index.value_id(row["family"], row["value"])
            self._numbers[row["term_id"]] = number
            if row["campaign_root"] is not None:
                self._assets[CAMPAIGN, row["campaign_root"]].append(number)
            if row["kit_root"] is not None:
                self._assets[KIT, row["kit_root"]].append(number)
                self._linker.kits.take(number, row["marks"] or ())
        self._linker.journal.clear()

    def values(self, rows: Iterable[ValueRow]) -> None:
        """Who has what."""
        index = self._linker.index
        for row in rows:
            member, number = self._members[row["attacker_uuid"]], self._numbers[row["term_id"]]
            if index.values[number].family in ASSETS:
                self._holders[number].add(member)
            if row["kept"]:
                index.has(member, number, row["first_at"] or 0.0, Delta(member))
        self._linker.journal.clear()

    def groups(self, rows: Iterable[GroupRow]) -> None:
        """Kits and campaigns."""
        kits = self._linker.kits
        for row in rows:
            forest: Forest = kits.campaigns if row["kind"] == CAMPAIGN else kits.kits
            own = self._assets[row["kind"], row["root"]]
            members = set().union(*(self._holders.get(one, ()) for one in own))
            founder, uuid = self._numbers[row["founder"]], row["campaign_uuid"] or ""
            group = Group(founder, row["founded_at"], row["label"], uuid, members)
            forest.take(self._numbers[row["root"]], group, own)

    def finish(self, campaigns: Mapping[str, str], said: Iterable[SaidRow]) -> Linker:
        """The linker. Every pair is scored again."""
        linker = self._linker
        linker.kits.merged_into.update(campaigns)
        for row in said:  # may be of an address that never had a session
            put, one, other = linker.musts if row["same"] else linker.cannots, row["one"], row["other"]
            if one in self._members and other in self._members:
                put[pair(self._members[one], self._members[other])] = row["reason"]
        linker.take(self._winners())
        linker.journal.clear()  # what was scored just now is what the rows were written from
        return linker

    def _winners(self) -> dict[int, int]:
        """Who is part of whose identity, those too who name one themselves."""
        into = set(self._into.values())
        own = ((self._linker.uuid(member), member) for member in self._members.values()) if into else ()
        named = {name: member for name, member in own if name in into}
        return {member: named[winner] for member, winner in self._into.items()} | {
            member: member for member in named.values()
        }
