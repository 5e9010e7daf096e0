"""Linking: takes sessions one by one, keeps who belongs together, and says what each session changed; pure, in memory.

**The partition is a function of the evidence.** What is known (values and their earliest times, counts, groups of
assets) is the same in any order of sessions. A session has the pairs scored again that it touches, and the component
of each touched address is parted anew from its links alone (:mod:`decnet.attribution.linking.clusters`); nothing of
how it was parted before goes in. What changes for everybody at once (how common a client is, how many addresses there
are) is followed by a sweep round all addresses, a few pairs a session; :meth:`Linker.settle` goes all the way. Once
settled, the same sessions in another order give the same identities. Only the ids tell who came first: the
oldest one of an identity is its id, and a part that splits off has its own again.

A component beyond ``LARGE`` is parted again only after enough sessions, or when settled, so that no session pays for
all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

from decnet.attribution.linking import numbers as n
from decnet.attribution.linking.clusters import Component, Pair, clusters, pair
from decnet.attribution.linking.features import Features
from decnet.attribution.linking.index import Delta, Index
from decnet.attribution.linking.kits import ASSETS, Kits, News
from decnet.attribution.linking.scoring import Against, Reason, Score, Scorer
from decnet.attribution.linking.steps import script_id
from decnet.bounds import bit
from decnet.ids import identity_id

FORMED, MERGED, UNMERGED = "identity.formed", "identity.merged", "identity.unmerged"
CAMPAIGN_FORMED, CAMPAIGN_MERGED = "campaign.formed", "campaign.merged"
ASSIGNED = "campaign.identity.assigned"
SWEPT = 16
"""Pairs that each session has scored again for what changes for everybody."""
LARGE = 200
"""Addresses of a component from which on it is parted again only once in a while."""
CREDIT = 32
"""Addresses of a large component that each session pays for."""


class Change(NamedTuple):
    """One thing that a session changed; ids are those of identities and campaigns.

    ``about`` and ``other`` are: of ``identity.formed`` the identity and its address; of ``merged`` winner and loser;
    of ``unmerged`` who is one of its own again and what it was part of; of ``campaign.formed`` the campaign;
    of ``assigned`` the campaign and the identity's own address.
    """

    kind: str
    about: str
    other: str = ""
    reasons: tuple[Reason, ...] = ()
    against: tuple[Against, ...] = ()


def values_of(features: Features) -> list[tuple[str, str]]:
    """Family and value of all that a session brings, its script too."""
    if not features.steps:
        return list(features.values)
    return [*features.values, (n.SCRIPT, script_id(features.steps))]


class Linker:
    """Identities and campaigns of all sessions that were added."""

    def __init__(self, thresholds: n.Thresholds = n.DEFAULT) -> None:
        self.thresholds = thresholds
        self.index = Index(thresholds.hub)
        self.journal = self.index.journal
        self.kits = Kits(self.index, thresholds.similar)
        self.scorer = Scorer(self.index, self.kits, thresholds)
        self.scores: dict[int, dict[int, tuple[float, bool]]] = {}
        """Pairs that share a hard value: their total, and whether they are joined."""
        self.winners: dict[int, int] = {}
        """Address → the address whose identity it is part of; left out where it is its own."""
        self.musts: dict[Pair, str] = {}
        self.cannots: dict[Pair, str] = {}
        """What operators said is (not) the same, with their reasons."""
        self._groups: dict[int, list[int]] = {}
        """Address that names an identity of several → all of them."""
        self._late: set[int] = set()
        self._credit = 0
        self._cursor, self._round = 0, 0

    # --- sessions

    def add(self, features: Features, swept: int = SWEPT) -> list[Change]:
        """Takes a session in; what it changed, in order. ``swept`` pairs are followed beside it."""
        return self.add_all([features]) + self.sweep(swept)

    def add_all(self, sessions: Iterable[Features]) -> list[Change]:
        """Takes sessions in and judges once what all of them changed: addresses of one crowd would each judge it anew."""
        changes, told, pairs = list[Change](), list[Change](), set[Pair]()
        moved, members = set[int](), set[int]()
        for features in sessions:
            delta, news = self._learned(features)
            if delta.drift or news.drift:
                self._round = len(self.index.profiles)
            elif delta.new_address and self._round:
                self._round += 1  # it stands between the cursor and the end of the round
            if self._late:
                self._credit += CREDIT
            changes += self._begun(delta, features)
            told += self._told(news)
            hub = self.thresholds.hub + 1  # beyond it was at everybody's before
            moved.update(one for one in delta.moved if self.index.values[one].count <= hub)
            members |= {delta.member} if delta.changed else set()
        for member in members:
            others = self.index.partners(member) | set(self.scores.get(member, ()))
            pairs |= {pair(member, other) for other in others}
        pairs |= self._moved_pairs(moved)
        touched = {one for both in sorted(pairs) for one in self._pair(*both)}
        return changes + self._regrouped(touched) + told

    def learn(self, features: Features) -> None:
        """Takes a session in and judges nothing: :meth:`take` and :meth:`settle` do that for all that were learnt."""
        self._learned(features)

    def asset_of(self, features: Features) -> tuple[str, str] | None:
        """The first asset of a session that was taken in, through which it belongs to a campaign."""
        return next(
            (one for one in values_of(features) if one[0] in ASSETS and self.index.known(*one) is not None),
            None,
        )

    def _within(self, features: Features) -> Features:
        """What there is room for: a new script beyond the bound is left out."""
        if not features.steps or len(self.kits.marks) < n.SCRIPTS:
            return features
        if self.index.known(n.SCRIPT, script_id(features.steps)) is not None:
            return features
        bit(n.CAPPED)
        return features._replace(steps=())

    def _learned(self, features: Features) -> tuple[Delta, News]:
        features = self._within(features)
        numbers = [self.index.value_id(family, text) for family, text in values_of(features)]
        delta = self.index.add(features, numbers)
        assets = [one for one in numbers if self.index.values[one].family in ASSETS]
        return delta, self.kits.add(delta.member, assets, features.steps, features.at)

    def _begun(self, delta: Delta, features: Features) -> list[Change]:
        if not delta.new_address:
            return []
        return [Change(FORMED, self.uuid(delta.member), features.address)]

    def _moved_pairs(self, numbers: Iterable[int]) -> set[Pair]:
        """The pairs of all who have values whose weight is another one; of one that is at everybody's now the known ones."""
        pairs: set[Pair] = set()
        for number in numbers:
            value = self.index.values[number]
            holders = value.holders or {}
            if value.count <= self.thresholds.hub:
                pairs |= set(combinations(sorted(holders), 2))
            else:
                pairs |= {
                    pair(one, other)
                    for one in holders
                    for other in self.scores.get(one, ())
                    if other in holders
                }
        return pairs

    def _again(self, member: int) -> set[int]:
        """Scores the pairs again of which an address is the first: those of them that changed, and who names a group.

        A group is parted anew through who names it, since pairs without a score that is kept count in it too.
        """
        touched = {member} if member in self._groups else set[int]()
        for other in [other for other in self.scores.get(member, ()) if other > member]:
            touched |= self._pair(member, other)
        return touched

    def _pair(self, one: int, other: int) -> set[int]:
        """Scores a pair and keeps it; both of them when something is another than before."""
        score = self.scorer.score(one, other)
        found = (score.total, score.joined) if score.hard else None
        if self.scores.get(one, {}).get(other) == found:
            return set()
        for a, b in ((one, other), (other, one)):
            if found is not None:
                self.scores.setdefault(a, {})[b] = found
                continue
            del self.scores[a][b]
            if not self.scores[a]:
                del self.scores[a]
        self.journal.judged |= {one, other}
        return {one, other}

    # --- what follows slowly

    def sweep(self, pairs: int) -> list[Change]:
        """Goes on with the round that a change for everybody began, by so many pairs or one address at least."""
        touched: set[int] = set()
        while self._round and pairs > 0:
            self._cursor = (self._cursor + 1) % len(self.index.profiles)
            self._round -= 1
            pairs -= 1 + len(self.scores.get(self._cursor, ()))
            touched |= self._again(self._cursor)
        return self._regrouped(touched)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to be followed."""
        return not self._round and not self._late

    def settle(self) -> list[Change]:
        """Follows everything that sessions changed to its end."""
        touched = self._late
        while self._round:
            self._cursor = (self._cursor + 1) % len(self.index.profiles)
            self._round -= 1
            touched |= self._again(self._cursor)
        self._late = set()
        return self._regrouped(touched, whole=True)

    def follow(self, pairs: int) -> list[Change]:
        """Goes on with what is to be followed by so many pairs; with the last of them all is settled."""
        changes = self.sweep(pairs)
        return changes if self._round else changes + self.settle()

    def take(self, winners: Mapping[int, int]) -> None:
        """Takes over who is part of whose identity, and scores every pair; nothing is told of what was known before.

        What is not as the evidence has it now (other thresholds, a sweep that was under way) is told later.
        """
        groups: dict[int, list[int]] = {}
        for member, winner in winners.items():
            groups.setdefault(winner, []).append(member)
        for winner, group in groups.items():
            if len(group) > 1:
                self._kept([group], dict.fromkeys(group, winner))
        for member in range(len(self.index.profiles)):
            for other in self.index.partners(member):
                if other > member:
                    self._pair(member, other)
        self._round = len(self.index.profiles)
        self._late = {member for group in self._groups.values() for member in group}
        self._late |= {
            one for one, known in self.scores.items() if any(joined for _, joined in known.values())
        }
        self._credit = -len(self._late)

    # --- who belongs together

    def _regrouped(self, touched: Iterable[int], whole: bool = False) -> list[Change]:
        """Parts the components of addresses anew."""
        found: list[list[int]] = []
        seen: set[int] = set()
        for member in sorted(touched):
            if member in seen:
                continue
            members = self._component(member, None if whole else LARGE)
            if members is None:
                self._late.add(member)
                continue
            seen |= members
            found += self._parted(members)
        changes = self._assigned(found)
        if self._late and self._credit >= 0 and not whole:
            late, self._late = self._late, set()
            size = len(self._component(min(late), None) or ())
            self._credit = -size
            changes += self._regrouped(late, whole=True)
        return changes

    def _component(self, member: int, limit: int | None) -> set[int] | None:
        """All that links and operators hold together with an address; None when they are more than the limit."""
        seen, waiting = {member}, [member]
        while waiting:
            for other in self._tied(waiting.pop()):
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
            if limit is not None and len(seen) > limit:
                return None
        return seen

    def _tied(self, member: int) -> Iterator[int]:
        for other, (_, joined) in self.scores.get(member, {}).items():
            if joined:
                yield other
        for one, other in self.musts:
            if member in (one, other):
                yield other if member == one else one

    def _parted(self, members: set[int]) -> list[list[int]]:
        if len(members) == 1:
            return [list(members)]
        links = {
            (one, other): total
            for one in members for other, (total, joined) in self.scores.get(one, {}).items()
            if joined and one < other
        }  # fmt: skip
        must = [p for p in self.musts if p[0] in members]
        cannot = frozenset(p for p in self.cannots if p[0] in members and p[1] in members)
        return clusters(
            Component(sorted(members), links, must, cannot, self.address, self.total), self.thresholds
        )

    def total(self, one: int, other: int) -> float:
        """The total of any pair."""
        known = self.scores.get(one, {}).get(other)
        return known[0] if known is not None else self.scorer.score(one, other).total

    # --- ids

    def _assigned(self, found: Iterable[list[int]]) -> list[Change]:
        """Gives groups their ids; what that changes, splits first."""
        before = dict[int, int]()
        after = dict[int, int]()
        groups = [
            group for group in found if len(group) > 1 or group[0] in self.winners or group[0] in self._groups
        ]
        for group in groups:
            before.update((member, self._now(member)) for member in group)
            alive = [member for member in group if member not in self.winners]
            winner = min(alive or group, key=self._age)
            after.update((member, winner) for member in group)
        self._kept(groups, after)
        for one, winner in before.items():
            if winner != after[one]:
                self.journal.before.setdefault(one, winner)
                self.journal.members.add(one)
        return self._moved(before)

    def moved(self) -> list[Change]:
        """Who is of another identity than when the journal was last cleared: what others are told in the end."""
        gone = self.journal.gone
        return self._moved({one: winner for one, winner in self.journal.before.items() if one not in gone})

    def _moved(self, before: Mapping[int, int]) -> list[Change]:
        """What became of addresses whose identity had been named by others; splits first."""
        now = {one: self._now(one) for one in before}
        moved = sorted((one for one in before if before[one] != now[one]), key=self._age)
        follows = {
            one for one in moved if one not in (before[one], now[one]) and now[one] == self._now(before[one])
        }
        changes = [
            self._split(one, before[one]) for one in moved if before[one] != one and one not in follows
        ]
        changes += [self._merge(one, now[one]) for one in moved if now[one] != one and one not in follows]
        return changes

    def _now(self, member: int) -> int:
        return self.winners.get(member, member)

    def _kept(self, groups: Iterable[list[int]], after: dict[int, int]) -> None:
        for member, winner in after.items():
            self._groups.pop(member, None)
            self.winners.pop(member, None)
            if winner != member:
                self.winners[member] = winner
        for group in groups:
            if len(group) > 1:
                winner = after[group[0]]
                # Who names it is the oldest one, but for an older one that was part of another before.
                self._groups[winner] = [winner, *sorted({*group} - {winner}, key=self._age)]

    def _age(self, member: int) -> tuple[float, str]:
        profile = self.index.profiles[member]
        return profile.founded, profile.address

    def _split(self, member: int, winner: int) -> Change:
        score = self.scorer.score(member, winner)
        return Change(UNMERGED, self.uuid(member), self.uuid(winner), score.reasons, score.against)

    def _merge(self, member: int, winner: int) -> Change:
        """A merge with the reasons of the strongest link that the loser has in the group."""
        group = self._groups[winner]
        best = max((other for other in group if other != member), key=lambda other: self.total(member, other))
        score = self.scorer.score(member, best)
        return Change(MERGED, self.uuid(winner), self.uuid(member), score.reasons, score.against)

    def _told(self, news: News) -> list[Change]:
        told = [Change(CAMPAIGN_FORMED, uuid) for uuid in news.formed]
        told += [Change(CAMPAIGN_MERGED, winner, loser) for winner, loser in news.merged]
        told += [Change(ASSIGNED, self.kits.now(uuid), self.address(one)) for uuid, one in news.assigned]
        return told

    # --- operators

    def same(self, one: str, other: str, reason: str) -> list[Change]:
        """An operator says that two addresses are one hand; takes the place of a cut between them.

        Raises KeyError for an address that is not known, ValueError for one and the same.
        """
        return self._said(one, other, reason, self.musts, self.cannots)

    def not_same(self, one: str, other: str, reason: str) -> list[Change]:
        """An operator says that two addresses are not one hand; takes the place of a link between them."""
        return self._said(one, other, reason, self.cannots, self.musts)

    def unsaid(self, one: str, other: str) -> list[Change]:
        """Takes back what an operator said of two addresses."""
        known = pair(self.index.members[one], self.index.members[other])
        self.musts.pop(known, None)
        self.cannots.pop(known, None)
        return self._regrouped(known, whole=True)

    def _said(
        self, one: str, other: str, reason: str, put: dict[Pair, str], gone: dict[Pair, str]
    ) -> list[Change]:
        if one == other:
            raise ValueError(f"{one} is itself")
        known = pair(self.index.members[one], self.index.members[other])
        put[known] = reason
        gone.pop(known, None)
        return self._regrouped(known, whole=True)

    def forget(self, address: str) -> list[Change]:
        """Takes an address out with all that is known of it, as a purge does. Raises KeyError when it is not known."""
        member = self.index.members[address]
        others = set(self.scores.get(member, ())) | set(self._groups.get(self._now(member), ()))
        for said in (self.musts, self.cannots):
            for known in [known for known in said if member in known]:
                others |= set(known)
                del said[known]
        delta = self.index.forget(member)
        self.kits.forget(member)
        self._round = len(self.index.profiles)
        for other in set(self.scores.get(member, ())):
            self._pair(member, other)
        touched = {one for both in self._moved_pairs(delta.moved) for one in self._pair(*both)}
        changes = self._regrouped(others | {member} | touched, whole=True)
        profile = self.index.profiles[member]
        profile.address = profile.attacker_uuid = ""
        return changes

    def heard(self, said: Mapping[Pair, tuple[bool, str]]) -> list[Change]:
        """Takes over all that operators say now: pair of members → same or not, and why."""
        touched: set[int] = set()
        for known, (same, why) in said.items():
            put, gone = (self.musts, self.cannots) if same else (self.cannots, self.musts)
            if put.get(known) != why or known in gone:
                put[known] = why
                gone.pop(known, None)
                touched |= {*known}
        for spoken in (self.musts, self.cannots):
            for known in spoken.keys() - said.keys():
                del spoken[known]
                touched |= {*known}
        self.journal.judged |= touched
        return self._regrouped(touched, whole=True)

    # --- look-ups

    def address(self, member: int) -> str:
        """The address of a member."""
        return self.index.profiles[member].address

    def uuid(self, member: int) -> str:
        """The identity that began with a member, whatever it is part of now."""
        return identity_id(self.index.profiles[member].attacker_uuid or self.journal.gone.get(member, ""))

    def identity(self, address: str) -> list[str]:
        """The addresses of the identity that an address is part of, the one that names it first."""
        member = self.index.members[address]
        return [self.address(one) for one in self.group(member)]

    def group(self, member: int) -> list[int]:
        """All of the identity that a member is part of, the one that names it first."""
        winner = self._now(member)
        return self._groups.get(winner, [winner])

    def identities(self) -> list[list[str]]:
        """All identities of several addresses, each with the one that names it first."""
        return [[self.address(one) for one in group] for group in self._groups.values()]

    def explain(self, one: str, other: str) -> Score:
        """Why two addresses are or are not of one hand."""
        return self.scorer.score(self.index.members[one], self.index.members[other])

    def campaigns(self) -> dict[str, list[str]]:
        """Campaign → its addresses."""
        groups = self.kits.campaigns.groups.values()
        return {g.uuid: sorted(map(self.address, g.members)) for g in groups if g.shared}

    def campaigns_of(self, address: str) -> list[str]:
        """The campaigns of an address, in order of their ids; KeyError for one that is not known."""
        return self.kits.of_member(self.index.members[address])
