"""Which addresses of one component are one identity: a pure function of its links, whatever order they came in.

Links are taken from the strongest down, equal ones in the order of their addresses. Two groups become one when they
are small enough together, their pairs are alike on average, and no operator said that any two of them are not the
same. What an operator said is the same is one before any link is looked at; where that contradicts a cut, the cut
stands, since a wrong join is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import fsum
from typing import NamedTuple

from decnet.attribution.linking.numbers import Thresholds

Pair = tuple[int, int]


class Component(NamedTuple):
    """Addresses that links hold together, and all that decides about them."""

    members: Sequence[int]
    links: Mapping[Pair, float]
    """Joined pairs → their totals."""
    must: Sequence[Pair]
    cannot: frozenset[Pair]
    name: Callable[[int], str]
    """The address of a member, by which ties are broken."""
    score: Callable[[int, int], float]
    """The total of any pair."""


def pair(one: int, other: int) -> Pair:
    """Two members in the one order that pairs are kept in."""
    return (one, other) if one < other else (other, one)


def clusters(component: Component, thresholds: Thresholds) -> list[list[int]]:
    """The identities of a component, each in order of addresses, and single addresses too."""
    groups = _Groups(component)
    name = component.name
    place = {one: at for at, one in enumerate(sorted(component.members, key=name))}

    def named(both: Pair) -> Pair:
        return pair(place[both[0]], place[both[1]])

    for one, other in sorted(component.must, key=named):
        groups.join(one, other)
    strongest = sorted(component.links.items(), key=lambda link: (-link[1], named(link[0])))
    for (one, other), _ in strongest:
        if groups.fits(one, other, thresholds):
            groups.join(one, other)
    return sorted((sorted(group, key=name) for group in groups.all()), key=lambda group: name(group[0]))


class _Groups:
    """Groups of members while they are made."""

    def __init__(self, component: Component) -> None:
        self._component = component
        self._of = {member: [member] for member in component.members}
        self._refused: set[tuple[int, int, int, int]] = set()
        self._totals: dict[Pair, float] = {}

    def all(self) -> Iterable[list[int]]:
        """The groups, each once."""
        return {id(group): group for group in self._of.values()}.values()

    def join(self, one: int, other: int) -> None:
        """Makes the groups of two members one, unless a cut stands between them."""
        mine, theirs = self._of[one], self._of[other]
        if mine is theirs or self._cut(mine, theirs):
            return
        mine += theirs
        for member in theirs:
            self._of[member] = mine

    def fits(self, one: int, other: int, thresholds: Thresholds) -> bool:
        """Whether the groups of two members may be one."""
        mine, theirs = self._of[one], self._of[other]
        if mine is theirs or len(mine) + len(theirs) > thresholds.members:
            return False
        asked = (id(mine), len(mine), id(theirs), len(theirs))
        if asked in self._refused:
            return False
        total = fsum(self._total(a, b) for a in mine for b in theirs)
        if round(total / (len(mine) * len(theirs)), 6) >= round(thresholds.mean * thresholds.join, 6):
            return True
        self._refused.add(asked)
        return False

    def _total(self, one: int, other: int) -> float:
        """The total of a pair, asked for once: groups grow, and their pairs come again."""
        both = pair(one, other)
        if (known := self._totals.get(both)) is None:
            known = self._totals[both] = self._component.score(one, other)
        return known

    def _cut(self, mine: Iterable[int], theirs: Iterable[int]) -> bool:
        cannot = self._component.cannot
        return bool(cannot) and any(pair(a, b) in cannot for a in mine for b in theirs)
