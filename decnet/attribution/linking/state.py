"""What linking knows as plain rows, and linking made again from them: what a table holds, and a crash leaves.

Everything that does not follow from something else is in the rows: evidence, groups of assets, ids, what operators
said. Scores and bands are worked out again. Where the rows are kept is left to others; numbers of this process
(members, values) never get out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypedDict

from decnet.attribution.linking import numbers as n
from decnet.attribution.linking.clusters import pair
from decnet.attribution.linking.index import Delta, Index
from decnet.attribution.linking.kits import Forest, Group
from decnet.attribution.linking.linker import Linker


class AddressRow(TypedDict):
    """One address: whose identity it is part of (an address, mostly its own), and its sample of log-ins."""

    address: str
    attacker_uuid: str
    founded_at: float
    identity_of: str
    logins: list[int]


class ValueRow(TypedDict):
    """That an address has a value; ``first_at`` (epoch seconds) of hard families only."""

    address: str
    family: str
    value: str
    first_at: float | None


class AssetRow(TypedDict):
    """One asset, the groups that it is in (by their number in ``groups``), and the marks of a script."""

    family: str
    value: str
    campaign: int
    kit: int | None
    marks: list[str]


class GroupRow(TypedDict):
    """One kit or campaign: the asset that it began with, its addresses; an id when it is a campaign of several."""

    founder_family: str
    founder_value: str
    founded_at: float
    label: str
    campaign_uuid: str
    addresses: list[str]


class SaidRow(TypedDict):
    """What an operator said of two addresses."""

    one: str
    other: str
    same: bool
    reason: str


class State(TypedDict):
    """All that linking knows."""

    addresses: list[AddressRow]
    values: list[ValueRow]
    assets: list[AssetRow]
    groups: list[GroupRow]
    merged_campaigns: dict[str, str]
    said: list[SaidRow]


def state_of(linker: Linker) -> State:
    """What a linker knows."""
    groups: list[GroupRow] = []
    numbers = [_groups_of(forest, linker, groups) for forest in (linker.kits.campaigns, linker.kits.kits)]
    said = [(p, True, why) for p, why in linker.musts.items()] + [
        (p, False, why) for p, why in linker.cannots.items()
    ]
    return {
        "addresses": [
            {
                "address": known.address,
                "attacker_uuid": known.attacker_uuid,
                "founded_at": known.founded,
                "identity_of": linker.address(linker.winners.get(member, member)),
                "logins": list(known.logins),
            }
            for member, known in enumerate(linker.index.profiles)
            if known.address
        ],
        "values": list(_values(linker.index)),
        "assets": list(_assets(linker, *numbers)),
        "groups": groups,
        "merged_campaigns": dict(linker.kits.merged_into),
        "said": [
            {"one": linker.address(p[0]), "other": linker.address(p[1]), "same": same, "reason": why}
            for p, same, why in said
        ],
    }


def _groups_of(forest: Forest, linker: Linker, rows: list[GroupRow]) -> dict[int, int]:
    """Adds a forest's groups to the rows; root → number of its row."""
    numbers = {}
    for root, group in forest.groups.items():
        founder = linker.index.values[group.founder]
        numbers[root] = len(rows)
        rows.append(
            {
                "founder_family": founder.family,
                "founder_value": founder.text,
                "founded_at": group.founded,
                "label": group.label,
                "campaign_uuid": group.uuid,
                "addresses": [linker.address(member) for member in sorted(group.members)],
            }
        )
    return numbers


def _values(index: Index) -> Iterable[ValueRow]:
    for member, profile in enumerate(index.profiles):
        for number in profile.values:
            value = index.values[number]
            first = None if value.holders is None else value.holders[member]
            yield {"address": profile.address, "family": value.family, "value": value.text, "first_at": first}


def _assets(linker: Linker, campaigns: Mapping[int, int], kits: Mapping[int, int]) -> Iterable[AssetRow]:
    known = linker.kits
    for asset in known.campaigns.assets():
        value = linker.index.values[asset]
        yield {
            "family": value.family,
            "value": value.text,
            "campaign": campaigns[known.campaigns.root(asset)],
            "kit": kits[known.kits.root(asset)] if known.kits.holds(asset) else None,
            "marks": sorted(known.marks.get(asset, ())),
        }


def restored(state: State, thresholds: n.Thresholds = n.DEFAULT) -> Linker:
    """A linker that knows what the rows say; what it says is the same, and it goes on from there.

    Every pair is scored again. Raises KeyError for rows that name what other rows do not have.
    """
    linker = Linker(thresholds)
    index = linker.index
    for row in state["addresses"]:
        member, _ = index.member_of(row["address"], row["attacker_uuid"], row["founded_at"])
        index.log_in(member, row["logins"], Delta(member))
    for held in state["values"]:
        member = index.members[held["address"]]
        index.has(
            member, index.value_id(held["family"], held["value"]), held["first_at"] or 0.0, Delta(member)
        )
    _take_groups(linker, state)
    linker.kits.merged_into.update(state["merged_campaigns"])
    for told in state["said"]:
        put = linker.musts if told["same"] else linker.cannots
        put[pair(index.members[told["one"]], index.members[told["other"]])] = told["reason"]
    linker.take(
        {index.members[row["address"]]: index.members[row["identity_of"]] for row in state["addresses"]}
    )
    return linker


def _take_groups(linker: Linker, state: State) -> None:
    assets: dict[int, list[int]] = {}
    for row in state["assets"]:
        asset = linker.index.value_id(row["family"], row["value"])
        assets.setdefault(row["campaign"], []).append(asset)
        if row["kit"] is not None:
            assets.setdefault(row["kit"], []).append(asset)
            linker.kits.take(asset, row["marks"])
    campaigns = {row["campaign"] for row in state["assets"]}
    for number, kept in enumerate(state["groups"]):
        founder = linker.index.value_id(kept["founder_family"], kept["founder_value"])
        members = {linker.index.members[address] for address in kept["addresses"]}
        group = Group(founder, kept["founded_at"], kept["label"], kept["campaign_uuid"], members)
        forest = linker.kits.campaigns if number in campaigns else linker.kits.kits
        forest.take(group, assets[number])
