"""How much two addresses look like one hand: a sum of log10 likelihood ratios with its reasons, and what speaks against.

A pair has two totals. *Now* weighs each value by how many addresses have it today; *then* by how many had it when the
later of the two was first seen with it, which is what they were joined on. A pair is joined when *then* reaches the
threshold and *now* has not fallen half a unit below it: a hysteresis that the order of sessions has no part in,
since it rests on the times of events.

Counts enter by rungs, so a score changes only when a rung is passed. Groups of more than two are left to clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import fsum, log2, log10
from typing import NamedTuple

from decnet.attribution.linking import numbers as n
from decnet.attribution.linking.index import Index, Value
from decnet.attribution.linking.kits import Kits
from decnet.attribution.linking.public import share_of

PAYLOAD = "payload"
"""Hosts and files, which count as one family."""


class Reason(NamedTuple):
    """One value that two addresses share."""

    family: str
    value: str
    addresses: int
    """How many addresses have it."""
    weight: float
    """log10 likelihood ratio."""
    then: float
    """The same when the later of the two was first seen with it."""


class Against(NamedTuple):
    """One family in which two addresses have values, and none in common."""

    family: str
    weight: float
    """log10, negative."""


class Score(NamedTuple):
    """How much two addresses look like one hand."""

    total: float
    then: float
    joined: bool
    hard: bool
    """Whether they share anything that only its owner profits from."""
    reasons: tuple[Reason, ...] = ()
    against: tuple[Against, ...] = ()


class Scorer:
    """Scores pairs of addresses by what is known of them now."""

    def __init__(self, index: Index, kits: Kits, thresholds: n.Thresholds = n.DEFAULT) -> None:
        self._index = index
        self._kits = kits
        self.thresholds = thresholds

    def score(self, one: int, other: int) -> Score:
        """The score of a pair; the same whichever is named first."""
        values = self._index.values
        profiles = self._index.profiles
        mine, theirs = profiles[one].values, profiles[other].values
        both = profiles[one].families & profiles[other].families
        shared = set(mine).intersection(theirs)
        reasons = [*self._shared(one, other, shared), *self._logins(one, other)]
        if n.SCRIPT in both and all(reason.family != n.SCRIPT for reason in reasons):
            reasons += self._kit(mine, theirs)
        reasons.sort(key=lambda reason: (reason.family, reason.value))
        agreed = {values[number].family for number in shared}
        against = tuple(self._against(both, agreed, reasons))
        cost = fsum(one.weight for one in against)
        now = self._families((reason.family, reason.weight) for reason in reasons)
        same = all(reason.then == reason.weight for reason in reasons)
        then = now if same else self._families((reason.family, reason.then) for reason in reasons)
        apart = n.HOST in both and n.HOST not in agreed
        total, formed = round(fsum(now.values()) + cost, 6), round(fsum(then.values()) + cost, 6)
        hard = any(reason.family in n.HARD for reason in reasons)
        fits = formed >= self.thresholds.join and total >= self.thresholds.hold
        return Score(
            total, formed, hard and fits and self._holds(then, reasons, apart), hard, tuple(reasons), against
        )

    def _shared(self, one: int, other: int, shared: Iterable[int]) -> Iterator[Reason]:
        """Shared values; of a family in which they hang together only the one that says most."""
        best: dict[str, Reason] = {}
        for number in shared:
            value = self._index.values[number]
            if value.holders is not None and value.count > self.thresholds.hub:
                continue
            reason = self._reason(value, one, other)
            if value.family == n.TUNNEL:
                yield reason
            elif (known := best.get(value.family)) is None or _rank(reason) > _rank(known):
                best[value.family] = reason
        yield from best.values()

    def _reason(self, value: Value, one: int, other: int) -> Reason:
        now = self._weight(value.family, value.count, value.text)
        then = now
        if value.holders is not None:
            earlier = value.held_by(max(value.holders[one], value.holders[other]))
            then = now if earlier == value.count else self._weight(value.family, earlier, value.text)
        return Reason(value.family, value.text, value.count, now, then)

    def _weight(self, family: str, count: int, text: str = "") -> float:
        """What it weighs that two share a value which so many have."""
        greeting = text.partition(" ")[0] if family == n.CLIENT else ""
        size = n.rung_below(self._index.addresses[family])
        return _weight(self.thresholds.families[family], n.rung_above(count), size, greeting)

    def _kit(self, mine: Iterable[int], theirs: Iterable[int]) -> Iterator[Reason]:
        """Scripts that are not the same but of one kit."""
        values = self._index.values
        kits = [
            {self._kits.kit_of(v) for v in held if values[v].family == n.SCRIPT} for held in (mine, theirs)
        ]
        both = [self._kits.kit(kit) for kit in kits[0] & kits[1]]
        if both:
            size, name = min(both)
            weight = self._weight(n.SCRIPT, size)
            yield Reason(n.CAMPAIGN, name, size, weight, weight)

    def _logins(self, one: int, other: int) -> Iterator[Reason]:
        """How much two samples of log-ins have in common, each weighed by how rare it is; nothing for a shared list."""
        mine, theirs = set(self._index.profiles[one].logins), set(self._index.profiles[other].logins)
        both = mine & theirs
        told = fsum(map(self._bits, both)) if both else 0.0
        if not told:
            return
        part = told / fsum(map(self._bits, mine | theirs))
        weight = next((weight for least, weight in n.OVERLAPS if part >= least), 0.0)
        if weight:
            most = max(self._index.tried[one] for one in both)
            yield Reason(n.CREDENTIALS, f"{len(both)} log-ins", most, weight, weight)

    def _bits(self, login: int) -> float:
        return _login_bits(n.rung_above(self._index.tried[login]), n.rung_below(self._index.logged_in))

    def _against(
        self, both: frozenset[str], shared: set[str], reasons: Iterable[Reason]
    ) -> Iterator[Against]:
        agreed = shared | {n.SCRIPT for reason in reasons if reason.family == n.CAMPAIGN}
        for family in sorted(both - agreed):
            if cost := self.thresholds.families[family].against:
                yield Against(family, -cost)

    def _families(self, weights: Iterable[tuple[str, float]]) -> dict[str, float]:
        """What each family weighs, within its cap; hosts and files together within theirs."""
        found: dict[str, float] = {}
        for named, weight in weights:
            family = n.SCRIPT if named == n.CAMPAIGN else named
            before = found.get(family, 0.0)
            sum_or_best = before + weight if family == n.TUNNEL else max(before, weight)
            found[family] = min(sum_or_best, self.thresholds.families[family].cap)
        if n.HOST in found and n.FILE in found:
            found[n.FILE] = min(found[n.FILE], max(n.TOGETHER - found[n.HOST], 0.0))
        return found

    def _holds(self, weights: dict[str, float], reasons: Iterable[Reason], apart: bool) -> bool:
        """Whether a hard family weighs enough, and another one beside it.

        ``apart``: both have payload hosts and none in common; then a file that both brought is the kit's, not the
        owner's.
        """
        th = self.thresholds
        payload = weights.get(n.HOST, 0.0) + (0.0 if apart else weights.get(n.FILE, 0.0))
        near = weights.get(n.CLIENT, 0.0) >= th.rare_client or n.NETWORK in weights
        strong = {
            n.KEY: weights.get(n.KEY, 0.0),
            PAYLOAD: payload,
            n.TUNNEL: weights.get(n.TUNNEL, 0.0) if near else 0.0,
        }
        grouped = {family: weight for family, weight in weights.items() if family not in (n.HOST, n.FILE)}
        grouped[PAYLOAD] = weights.get(n.HOST, 0.0) + weights.get(n.FILE, 0.0)
        return any(
            weight >= th.hard and any(w >= th.second for f, w in grouped.items() if f != family)
            for family, weight in strong.items()
        )


def _rank(reason: Reason) -> tuple[float, float, str]:
    return reason.then, reason.weight, reason.value


@lru_cache(maxsize=65_536)
def _weight(family: n.Family, count: int, size: int, greeting: str) -> float:
    """log10 of how much likelier one hand is than strangers to share a value at ``count`` of ``size`` addresses."""
    pi0 = share_of(greeting, family.pi0) if greeting else family.pi0
    p = (max(count - 2, 0) * family.stranger + n.PRIOR * pi0) / (size + n.PRIOR)
    return round(min(max(log10(family.m / p), 0.0), family.cap), 6)


@lru_cache(maxsize=65_536)
def _login_bits(count: int, size: int) -> float:
    """What a log-in says that so many of so many addresses tried: nothing when it is common."""
    if count <= 1:
        return n.MAX_LOGIN_BITS
    share = count / max(size, 1)
    return 0.0 if share >= n.COMMON_LOGIN else min(log2(n.COMMON_LOGIN / share), n.MAX_LOGIN_BITS)
