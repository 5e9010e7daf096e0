"""Who has what: values with the addresses that have them, and what each address is known by; pure, in memory.

All that is kept is a set, a count or the earliest time, so it does not depend on the order of sessions. What an
address may keep is bounded, the same in every order: the values with the lowest hashes stay. What a shared value
weighs is left to scoring.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from decnet.attribution.linking import numbers as n
from decnet.attribution.linking.features import Features
from decnet.attribution.linking.journal import Journal
from decnet.bounds import bit

NOTHING: array[int] = array("Q")


class Value:
    """One value of a family and who has it."""

    __slots__ = ("count", "family", "holders", "text")

    def __init__(self, family: str, text: str) -> None:
        self.family = family
        self.text = text
        self.count = 0
        self.holders: dict[int, float] | None = {} if family in n.HARD else None
        """Address → when it was first seen with the value; of soft families only the count is kept."""

    def held_by(self, moment: float) -> int:
        """How many addresses had the value by then."""
        return sum(1 for at in (self.holders or {}).values() if at <= moment)


class Profile:
    """What one address is known by."""

    __slots__ = ("address", "attacker_uuid", "families", "founded", "logins", "values")

    def __init__(self, address: str, attacker_uuid: str, founded: float) -> None:
        self.address = address
        self.attacker_uuid = attacker_uuid
        self.founded = founded
        """When its first session that came to us began: what its identity is as old as, for ever."""
        self.values: tuple[int, ...] = ()
        self.families: frozenset[str] = frozenset()
        """Of its values."""
        self.logins: array[int] = NOTHING


@dataclass(slots=True)
class Delta:
    """What one session changed."""

    member: int
    new_address: bool = False
    changed: bool = False
    """Whether the address has something that it had not, or no longer has."""
    moved: list[int] = field(default_factory=list)
    """Hard values whose weight may be another one for all that have them."""
    drift: bool = False
    """Whether a count passed a rung that may weigh for anybody."""


class Index:
    """Values, and profiles of addresses; numbers of both are those of this process only."""

    def __init__(self, hub: int = n.DEFAULT.hub) -> None:
        self.values: list[Value] = []
        self.profiles: list[Profile] = []
        self.members: dict[str, int] = {}
        self.addresses: Counter[str] = Counter()
        """Family → addresses that have any value of it."""
        self.tried: Counter[int] = Counter()
        """Log-in → addresses that keep it."""
        self.journal = Journal()
        self._hub = hub
        self._families: dict[frozenset[str], frozenset[str]] = {}
        """Each set of families once, however many addresses have it."""
        self._ids: dict[str, dict[str, int]] = {}

    def value_id(self, family: str, text: str) -> int:
        """The number of a value, a new one for a new value."""
        known = self._ids.setdefault(family, {})
        if (found := known.get(text)) is None:
            found = known[text] = len(self.values)
            self.values.append(Value(family, text))
            self.journal.terms.add(found)
        return found

    def known(self, family: str, text: str) -> int | None:
        """The number of a value; None for one that nobody had."""
        return self._ids.get(family, {}).get(text)

    def member_of(self, address: str, attacker_uuid: str, founded: float) -> tuple[int, bool]:
        """The number of an address, and whether it is new."""
        if (found := self.members.get(address)) is not None:
            return found, False
        self.profiles.append(Profile(address, attacker_uuid, founded))
        self.members[address] = len(self.profiles) - 1
        self.journal.members.add(len(self.profiles) - 1)
        return self.members[address], True

    def add(self, features: Features, values: Iterable[int]) -> Delta:
        """Takes in that an address has values since a time at least, and its log-ins."""
        member, fresh = self.member_of(features.address, features.attacker_uuid, features.at)
        delta = Delta(member, fresh)
        for number in values:
            self.has(member, number, features.at, delta)
        self.log_in(member, features.logins, delta)
        return delta

    def has(self, member: int, number: int, at: float, delta: Delta) -> None:
        """Takes in that an address has a value."""
        value, profile = self.values[number], self.profiles[member]
        if number in profile.values:
            if value.holders is not None and at < value.holders[member]:
                value.holders[member] = at
                self.journal.held.add((member, number))
                delta.moved.append(number)
            return
        self.journal.held.add((member, number))
        if not self._room(member, number, delta):
            return
        late = value.holders is not None and any(at < other for other in value.holders.values())
        if value.family not in profile.families:
            self._counted(value.family, 1, delta)
            profile.families = self._families.setdefault(found := profile.families | {value.family}, found)
        profile.values = (*profile.values, number)
        delta.changed = True
        if value.holders is not None:
            value.holders[member] = at
        self._bumped(number, 1, late, delta)

    def _bumped(self, number: int, by: int, late: bool, delta: Delta) -> None:
        """Counts an address more or less; whether that is felt by the others."""
        value = self.values[number]
        before, value.count = value.count, value.count + by
        passed = n.rung_above(before) != n.rung_above(value.count)
        if value.holders is None:
            delta.drift |= passed
        elif passed or late or (before > self._hub) != (value.count > self._hub):
            delta.moved.append(number)

    def _counted(self, family: str, by: int, delta: Delta) -> None:
        before = self.addresses[family]
        self.addresses[family] += by
        delta.drift |= n.rung_below(before) != n.rung_below(before + by)

    def _room(self, member: int, number: int, delta: Delta) -> bool:
        """Whether a value finds room; of too many the one with the highest hash goes, known or new."""
        profile, family = self.profiles[member], self.values[number].family
        same = [one for one in profile.values if self.values[one].family == family]
        if len(same) < n.ADDRESS_VALUES:
            return True
        bit(n.CAPPED)
        last = max((number, *same), key=lambda one: _place(self.values[one].text))
        if last == number:
            return False
        profile.values = tuple(one for one in profile.values if one != last)
        self.journal.held.add((member, last))
        if (holders := self.values[last].holders) is not None:
            del holders[member]
        delta.changed = True
        self._bumped(last, -1, False, delta)
        return True

    def log_in(self, member: int, logins: Sequence[int], delta: Delta) -> None:
        """Takes in what an address tried to log in with."""
        if not logins:
            return
        profile = self.profiles[member]
        kept = array("Q", sorted({*profile.logins, *logins})[: n.ADDRESS_LOGINS])
        if kept == profile.logins:
            return
        if not profile.logins:
            self._counted(n.CREDENTIALS + "?", 1, delta)
        for one in set(profile.logins).symmetric_difference(kept):
            before = self.tried[one]
            self.tried[one] += 1 if one in kept else -1
            delta.drift |= n.rung_above(before) != n.rung_above(self.tried[one])
        profile.logins, delta.changed = kept, True
        self.journal.members.add(member)

    def forget(self, member: int) -> Delta:
        """Takes everything out that is known of an address; its number stays, and names nobody any more."""
        profile, delta = self.profiles[member], Delta(member, changed=True)
        self.journal.gone[member] = profile.attacker_uuid
        for number in profile.values:
            if (holders := self.values[number].holders) is not None:
                del holders[member]
            self._bumped(number, -1, True, delta)
        for family in profile.families:
            self._counted(family, -1, delta)
        self.tried.subtract(profile.logins)
        if profile.logins:
            self._counted(n.CREDENTIALS + "?", -1, delta)
        profile.values, profile.families, profile.logins = (), frozenset(), NOTHING
        del self.members[profile.address]
        return delta

    @property
    def logged_in(self) -> int:
        """Addresses that tried to log in."""
        return self.addresses[n.CREDENTIALS + "?"]

    def partners(self, member: int) -> set[int]:
        """The addresses that share a hard value with one that is not at everybody's."""
        found: set[int] = set()
        for number in self.profiles[member].values:
            found |= self.holders(number)
        found.discard(member)
        return found

    def holders(self, number: int) -> set[int]:
        """Who has a hard value; nobody for one that only names a campaign, or a soft one."""
        value = self.values[number]
        return set() if value.holders is None or value.count > self._hub else set(value.holders)


def _place(text: str) -> tuple[bytes, str]:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), text
