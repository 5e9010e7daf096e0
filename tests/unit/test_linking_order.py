"""The partition does not depend on the order of sessions, on a restart in the middle, or on what was said and unsaid."""

from __future__ import annotations

import json
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decnet.attribution.linking import Features, Linker, State, Thresholds, restored, state_of
from tests.linkkit import campaigns, linked, partition, session

KIT = ("uname -a", "cat /proc/cpuinfo", "wget @ -O", "chmod own", "rm -rf", "crontab -l")
OTHER = ("systemctl stop", "tar xzf -C", "nohup own", "pkill -#", "cat /etc/passwd", "wget @ -q")
SCRIPTS = (KIT, KIT[:5], KIT[1:], OTHER, KIT[:3] + OTHER[:3])
HANDS = 6
TIGHT = Thresholds(hub=4, members=3)
"""So that values become common and identities full with a few addresses."""


class World(NamedTuple):
    """How sessions are made: who owns what, and how often somebody takes what is another's."""

    seed: int
    sessions: int
    stray: float


def sessions_of(world: World) -> list[Features]:
    """Sessions of a few hands with a few addresses each; times are those of no order."""
    rnd = Random(world.seed)
    made = []
    for _ in range(world.sessions):
        hand = rnd.randrange(HANDS)
        address = f"203.0.{hand % 3}.{hand * 20 + rnd.randrange(5)}"

        def own(names: str, most: int, chance: float, hand: int = hand) -> list[str]:
            who = rnd.randrange(HANDS) if rnd.random() < world.stray else hand
            return [f"{names}{who}.{rnd.randrange(2)}" for _ in range(most) if rnd.random() < chance]

        made.append(
            session(
                address,
                float(rnd.randrange(1000)),
                rnd.choice(SCRIPTS) if rnd.random() < 0.5 else (),
                rnd.sample(range(12), rnd.randrange(4)),
                key=own("k", 1, 0.3),
                host=own("h", 2, 0.4),
                sha256=own("f", 1, 0.3),
                tunnel=own("t", 3, 0.2),
                client=[f"SSH-2.0-{rnd.choice('xyz')}", "SSH-2.0-Go"][rnd.random() < 0.3],
                network=f"203.0.{hand % 3}.0/24",
            )
        )
    return made


worlds = st.builds(World, st.integers(0, 10**6), st.integers(2, 60), st.sampled_from([0.0, 0.1, 0.4]))
often = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("thresholds", [Thresholds(), TIGHT], ids=["default", "tight"])
@often
@given(worlds, st.integers(0, 10**6))
def test_the_partition_is_the_same_in_any_order_of_sessions(
    thresholds: Thresholds, world: World, seed: int
) -> None:
    made = sessions_of(world)
    shuffled = Random(seed).sample(made, len(made))
    one, other = linked(made, thresholds=thresholds), linked(shuffled, thresholds=thresholds)
    assert partition(one) == partition(other)
    assert campaigns(one) == campaigns(other)


def rows(state: State) -> dict[str, list[str]]:
    """The rows of a state but for their order."""
    names = ("addresses", "terms", "values", "groups", "said")
    return {name: sorted(map(str, state[name])) for name in names}  # type: ignore[literal-required]


@often
@given(worlds, st.integers(0, 60))
def test_a_restart_in_the_middle_changes_nothing(world: World, at: int) -> None:
    made = sessions_of(world)
    whole, first = linked(made), Linker()
    for one in made[:at]:
        first.add(one)
    second = restored(json.loads(json.dumps(state_of(first))))
    assert partition(second) == partition(first)
    assert second.campaigns() == first.campaigns()
    assert [second.identity(one) for one in second.index.members] == [
        first.identity(one) for one in first.index.members
    ]
    for one in made[at:]:
        second.add(one)
    second.settle()
    assert partition(second) == partition(whole)
    assert second.campaigns() == whole.campaigns()
    assert rows(state_of(restored(state_of(second)))) == rows(state_of(second))


def test_the_worlds_of_these_tests_have_identities_of_many_kinds() -> None:
    found = [partition(linked(sessions_of(World(seed, 60, 0.1)))) for seed in range(20)]
    assert {len(each) for each in found} >= {4, 5, 6}
    assert {len(group) for each in found for group in each} >= {2, 3, 4, 5}
