"""Kits and campaigns: which scripts are of one kit, and which keys, files and kits are one campaign; pure.

A campaign is a set of *assets* (keys, files, scripts), not of addresses: what one session brings together belongs
together, the same asset is the same campaign, and scripts that are alike are of one kit. An address is in the
campaigns of its assets, so one that runs two kits is in two and makes them no one. Since assets only ever come
together, the order of sessions does not matter.

Campaigns have as many addresses as they have; one address alone makes none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from decnet.attribution.linking import numbers as n
from decnet.attribution.linking.index import Index
from decnet.attribution.linking.journal import CAMPAIGN, KIT, Journal
from decnet.attribution.linking.steps import Marks, alike, alike_at_most, bands, marks_of, step_bits
from decnet.bounds import bit
from decnet.ids import campaign_id

ASSETS = (n.KEY, n.FILE, n.SCRIPT)


@dataclass(slots=True)
class Group:
    """Assets that belong together, and the addresses that were seen with any of them."""

    founder: int
    """The asset that it began with."""
    founded: float
    label: str
    """The first of its assets' texts."""
    uuid: str = ""
    """Empty until two addresses share it; permanent from then on."""
    members: set[int] = field(default_factory=set)

    @property
    def shared(self) -> bool:
        """Whether it is a campaign: one that lost all but one address is none until another comes, under its old id."""
        return bool(self.uuid) and len(self.members) > 1


@dataclass(slots=True)
class News:
    """What a session did to campaigns, by their ids."""

    formed: list[str] = field(default_factory=list)
    merged: list[tuple[str, str]] = field(default_factory=list)
    """Winner and loser."""
    assigned: list[tuple[str, int]] = field(default_factory=list)
    drift: bool = False
    """Whether a kit is another number of addresses, so that scores may be others."""


class Forest:
    """Groups that only ever grow together."""

    def __init__(self, kind: str, journal: Journal) -> None:
        self.kind = kind
        self.groups: dict[int, Group] = {}
        self._journal = journal
        self._parents: dict[int, int] = {}
        self._assets: dict[int, list[int]] = {}
        """Root → its assets, where there are several."""

    def root(self, asset: int) -> int:
        """What stands for the group of an asset."""
        parents = self._parents
        found = asset
        while (up := parents[found]) != found:
            found = up
        while (up := parents[asset]) != found:
            parents[asset], asset = found, up
        return found

    def plant(self, asset: int, at: float, text: str) -> None:
        """A group for an asset that has none."""
        if asset not in self._parents:
            self._parents[asset] = asset
            self.groups[asset] = Group(asset, at, text)
            self.touched(asset)

    def touched(self, root: int) -> None:
        """Notes that a group is another one than its row says."""
        self._journal.groups.add((self.kind, root))

    def enter(self, root: int, member: int) -> bool:
        """Takes an address into a group; whether it is new there."""
        members = self.groups[root].members
        if member in members:
            return False
        members.add(member)
        self.touched(root)
        return True

    def assets_of(self, root: int) -> list[int]:
        """The assets of a group."""
        return self._assets.get(root, [root])

    def holds(self, asset: int) -> bool:
        """Whether an asset has a group."""
        return asset in self._parents

    def join(self, one: int, other: int) -> tuple[Group, Group] | None:
        """Makes the groups of two assets one: what it is, and what went into it with the members that only that had;
        None when they are one already."""
        large, small = self.root(one), self.root(other)
        if large == small:
            return None
        if len(self.groups[large].members) < len(self.groups[small].members):
            large, small = small, large
        self._parents[small] = large
        self._assets.setdefault(large, [large]).extend(self._assets.pop(small, [small]))
        self._journal.rooted.append((self.kind, small, large))
        self.touched(large)
        kept, gone = self.groups[large], self.groups.pop(small)
        gone.members -= kept.members
        kept.members |= gone.members
        kept.label = min(kept.label, gone.label)
        return kept, gone

    def assets(self) -> Iterable[int]:
        """All assets that have a group."""
        return self._parents.keys()

    def take(self, root: int, group: Group, assets: list[int]) -> None:
        """A group as it was kept, with its assets."""
        self.groups[root] = group
        self._parents.update(dict.fromkeys(assets, root))
        if len(assets) > 1:
            self._assets[root] = assets

    def forget(self, member: int) -> None:
        """Takes an address out of all groups."""
        for root, group in self.groups.items():
            if member in group.members:
                group.members.discard(member)
                self.touched(root)


class Kits:
    """Kits of scripts, and campaigns of kits, keys and files."""

    def __init__(self, index: Index, similar: float = n.DEFAULT.similar) -> None:
        self._index = index
        self._similar = similar
        self._journal = index.journal
        self.kits = Forest(KIT, self._journal)
        self.campaigns = Forest(CAMPAIGN, self._journal)
        self.merged_into: dict[str, str] = {}
        """Campaigns that are another one now."""
        self.marks: dict[int, Marks] = {}
        self._buckets: dict[int, int | list[int]] = {}

    def add(self, member: int, assets: Sequence[int], steps: tuple[str, ...], at: float) -> News:
        """Takes the assets of one session in; ``steps`` are those of its script, if it has one."""
        news = News()
        for asset in assets:
            fresh = not self.campaigns.holds(asset)
            self.campaigns.plant(asset, at, self._index.values[asset].text)
            if self._index.values[asset].family == n.SCRIPT:
                self._script(asset, steps, at, fresh, member, news)
        for one in assets[1:]:
            self._joined(assets[0], one, news)
        if assets:
            self._present(self.campaigns.root(assets[0]), member, news)
        return news

    def _script(
        self, asset: int, steps: tuple[str, ...], at: float, fresh: bool, member: int, news: News
    ) -> None:
        self.kits.plant(asset, at, self._index.values[asset].text)
        if fresh:
            self.marks[asset] = marks_of(steps)
            for other in self._similar_to(asset):
                self._one_kit(asset, other, news)
        root = self.kits.root(asset)
        kit = self.kits.groups[root]
        before = len(kit.members)
        self.kits.enter(root, member)
        news.drift |= n.rung_above(before) != n.rung_above(len(kit.members))

    def _one_kit(self, asset: int, other: int, news: News) -> None:
        if self.kits.join(asset, other):
            news.drift = True
        self._joined(asset, other, news)

    def _similar_to(self, asset: int) -> list[int]:
        """Scripts that are alike, one of each kit; the script stands in the bands from now on.

        A band may hold many of one kit: who is like one of them is of it, the others need not be compared.
        """
        own, similar = self.marks[asset], self._similar
        seen, found = {asset}, dict[int, int]()
        for band in bands(own):
            for other in self._bucket(band, asset):
                if other in seen:
                    continue
                seen.add(other)
                theirs, root = self.marks[other], self.kits.root(other)
                if root in found or alike_at_most(own, theirs) < similar:
                    continue
                if alike(own, theirs) >= similar:
                    found[root] = other
        return list(found.values())

    def _bucket(self, band: int, asset: int) -> list[int]:
        """The scripts of a band, of which a new one becomes one while there is room."""
        known = self._buckets.get(band)
        if known is None:
            self._buckets[band] = asset
            return []
        listed = [known] if isinstance(known, int) else known
        if len(listed) < n.BUCKET:
            self._buckets[band] = [*listed, asset]
        else:
            bit(n.CAPPED)
        return listed

    def take(self, script: int, marks: Iterable[str]) -> None:
        """A script as it was kept; what it is like is known from its group."""
        self.marks[script] = Marks.of(marks)
        for band in bands(self.marks[script]):
            self._bucket(band, script)

    def _joined(self, one: int, other: int, news: News) -> None:
        both = self.campaigns.join(one, other)
        if both is None:
            return
        kept, gone = both
        older, younger = sorted((kept, gone), key=self._age)
        if kept.uuid and gone.uuid:
            self.merged_into[younger.uuid] = self._journal.campaigns[younger.uuid] = older.uuid
            news.merged.append((older.uuid, younger.uuid))
            kept.uuid = older.uuid
        elif kept.uuid:  # a campaign has more members than a group that is none yet
            news.assigned += [(kept.uuid, one) for one in sorted(gone.members)]
        kept.founder, kept.founded = older.founder, older.founded
        self._told(kept, news)

    def _age(self, group: Group) -> tuple[float, str]:
        return group.founded, self._index.values[group.founder].text

    def _present(self, root: int, member: int, news: News) -> None:
        group = self.campaigns.groups[root]
        if not self.campaigns.enter(root, member):
            return
        if group.uuid:
            news.assigned.append((group.uuid, member))
        else:
            self._told(group, news)

    def _told(self, group: Group, news: News) -> None:
        """Gives a group its id when it is a campaign from now on."""
        if group.uuid or len(group.members) < 2:
            return
        founder = self._index.values[group.founder]
        group.uuid = campaign_id(founder.family, founder.text)
        news.formed.append(group.uuid)
        news.assigned += [(group.uuid, one) for one in sorted(group.members)]

    def kit_of(self, script: int) -> int:
        """What stands for the kit of a script."""
        return self.kits.root(script)

    def kit(self, kit: int) -> tuple[int, str]:
        """How many addresses have a kit, and its name."""
        group = self.kits.groups[kit]
        return len(group.members), group.label

    def keep_ids(self, known: Mapping[int, tuple[float, str]]) -> None:
        """Gives campaigns the ids that they had before all was learnt anew: asset → when its campaign began, and its id.

        The oldest id of a group's assets stays: for the group that it would have anyway, else for the one that has most
        of its assets. The others are part of it now.
        """
        own = {group.uuid: root for root, group in self.campaigns.groups.items() if group.uuid}
        claims: dict[str, Counter[int]] = {}
        age: dict[str, tuple[float, str]] = {}
        for asset, (began, uuid) in known.items():
            claims.setdefault(uuid, Counter())[self.campaigns.root(asset)] += 1
            age[uuid] = began, uuid
        kept: dict[int, str] = {}
        for uuid in sorted(claims, key=age.__getitem__):
            most = max(claims[uuid], key=lambda one: (claims[uuid][one], -one))
            root = own.get(uuid, most)
            if root in kept:
                self.merged_into[uuid] = self._journal.campaigns[uuid] = kept[root]
                continue
            kept[root] = uuid
            self.campaigns.groups[root].uuid = uuid
            self.campaigns.touched(root)

    def now(self, uuid: str) -> str:
        """What a campaign is today."""
        while uuid in self.merged_into:
            uuid = self.merged_into[uuid]
        return uuid

    def of_member(self, member: int) -> list[str]:
        """The campaigns of an address, in order of their ids."""
        values = self._index.values
        roots = {
            self.campaigns.root(one) for one in self._index.profiles[member].values
            if values[one].family in ASSETS and self.campaigns.holds(one)
        }  # fmt: skip
        groups = (self.campaigns.groups[root] for root in roots)
        return sorted(group.uuid for group in groups if group.shared)

    def forget(self, member: int) -> None:
        """Takes an address out of all kits and campaigns; what its sessions tied together stays so."""
        self.kits.forget(member)
        self.campaigns.forget(member)

    def _clearness(self, asset: int) -> tuple[int, int, str]:
        """Keys before files before scripts, the commonest first."""
        value = self._index.values[asset]
        return ASSETS.index(value.family), -value.count, value.text

    def name_of(self, root: int) -> str:
        """What a campaign is called: its clearest asset, or of a script the step that says most."""
        return self.name(min(self.campaigns.assets_of(root), key=self._clearness))

    def name(self, asset: int) -> str:
        """What a campaign is called after one of its assets."""
        first = self._index.values[asset]
        if first.family != n.SCRIPT:
            return f"{first.family} {first.text}"
        steps = sorted(mark for mark in self.marks[asset].all if "\n" not in mark)
        return max(steps, key=lambda step: (step_bits(step), len(step)))
