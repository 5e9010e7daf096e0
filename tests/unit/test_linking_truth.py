"""Planted truth: how much of what linking says is so, and how much of what is so it says."""

from __future__ import annotations

from collections import defaultdict

import pytest

from decnet.attribution.linking import Linker
from tests.linkkit import campaigns, linked, partition
from tests.plantkit import Planted, pairs, plant

SEEDS = (11, 12, 13)
Field = tuple[Planted, Linker]


@pytest.fixture(scope="module", params=SEEDS)
def field(request: pytest.FixtureRequest) -> Field:
    planted = plant(request.param)
    return planted, linked(planted.sessions)


def of_hands(planted: Planted, among: set[str]) -> set[tuple[str, str]]:
    hands = defaultdict(set)
    for address in among:
        hands[planted.hands[address]].add(address)
    return pairs(hands.values())


def test_identities_join_hands_and_no_strangers(field: Field) -> None:
    planted, linker = field
    found = pairs(partition(linker))
    right = of_hands(planted, set(planted.hands))
    assert len(found & right) / len(found) >= 0.97
    keyed, hosted = of_hands(planted, planted.keyed), of_hands(planted, planted.hosted)
    assert len(found & keyed) / len(keyed) >= 0.95
    assert len(found & hosted) / len(hosted) >= 0.85


def test_twins_with_one_kit_and_hosts_of_their_own_stay_apart(field: Field) -> None:
    planted, linker = field
    found = pairs(partition(linker))
    across = {tuple(sorted((a, b))) for one, other in planted.twins for a in one for b in other}
    assert len(across) > 50
    assert len(found & across) / len(across) <= 0.005


def test_campaigns_join_what_runs_one_kit(field: Field) -> None:
    planted, linker = field
    found = pairs(campaigns(linker))
    kits = defaultdict(set)
    for address, run in planted.kits.items():
        for kit in run:
            kits[kit].add(address)
    right = pairs(kits.values())
    assert len(found & right) / len(found) >= 0.95
    assert len(found & right) / len(right) >= 0.75


def test_crowds_a_hub_and_noise_are_no_identities(field: Field) -> None:
    planted, linker = field
    owned = planted.keyed | planted.hosted
    assert [group for group in partition(linker) if not group <= owned] == []
