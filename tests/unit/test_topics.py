"""Topic builders, durability, and the in-process wildcard twin."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from decnet.bus import topics
from decnet.bus.base import matches

SEGMENT_BUILDERS: list[Callable[[str], str]] = [
    lambda s: topics.topology_mutation(s, "applied"),
    lambda s: topics.topology_mutation("t1", s),
    topics.topology_status,
    lambda s: topics.decky(s, "state"),
    lambda s: topics.decky("web", s),
    topics.system_health,
    topics.system_control,
    topics.system_deadletter,
    lambda s: topics.canary(s, "placed"),
    lambda s: topics.canary("tok", s),
    topics.ttp_rule_fired,
    topics.ttp_rule_reloaded,
    topics.ttp_rule_state,
]
LEAF_BUILDERS: list[Callable[[str], str]] = [
    topics.system,
    topics.attacker,
    topics.attacker_observation,
    topics.identity,
    topics.credential,
    topics.email_topic,
    topics.attribution,
    topics.ttp,
]


@pytest.mark.parametrize("build", SEGMENT_BUILDERS)
@pytest.mark.parametrize("bad", ["", "a.b", "*", ">", "a b", "a\n", "x" * 300])
def test_bad_segments_are_refused(build: Callable[[str], str], bad: str) -> None:
    with pytest.raises(ValueError):
        build(bad)


@pytest.mark.parametrize("build", LEAF_BUILDERS)
def test_leaves_may_hold_dots_but_not_be_empty(build: Callable[[str], str]) -> None:
    assert build("a.b").endswith(".a.b")
    with pytest.raises(ValueError):
        build("")


@pytest.mark.parametrize(
    ("topic", "durable"),
    [
        ("attacker.session.ended", True),
        ("attacker.observation.shell.pace", True),
        ("attacker", False),
        ("ttp.tagged", True),
        ("ttp.rule.fired.T1059", True),
        ("ttp.rule.suppressed", False),
        ("decky.web.traffic", False),
        ("decky.web.mutation", True),
        ("topology.t.mutation.applied", True),
        ("system.deadletter.ttp", True),
        ("system.ttp.health", False),
    ],
)
def test_durable_topics(topic: str, durable: bool) -> None:
    assert topics.is_durable(topic) is durable
    assert any(matches(pattern, topic) for pattern in topics.DURABLE_PATTERNS) is durable


def test_durable_patterns_are_disjoint() -> None:
    samples = [p.replace("*", "x").replace(">", "y") for p in topics.DURABLE_PATTERNS]
    for one, other in itertools.permutations(zip(topics.DURABLE_PATTERNS, samples, strict=True), 2):
        assert not matches(one[0], other[1])


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("topology.>", "topology", False),
        ("topology.>", "topology.a", True),
        ("a.*", "a.b.c", False),
        ("a.*.c", "a.b.c", True),
        (">", "a", True),
        ("a.b", "a.b", True),
        ("*", "", False),
    ],
)
def test_matches(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected
