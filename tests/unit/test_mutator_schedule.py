"""Choosing and timing: pure functions, over many inputs."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.errors import FleetError
from decnet.mutator.schedule import backoff, choose, legal, next_due, parse_interval
from decnet.services import load_catalogue

CATALOGUE = load_catalogue()
NAMES = sorted(CATALOGUE.services)


def _choices(
    pool: list[str], now: list[str], pinned: list[str], graph: dict[str, frozenset[str]], most: int
) -> bool:
    """Whether there is any legal set other than ``now``, found the long way round."""
    sizes = range(max(1, len(pinned)), max(most, len(pinned)) + 1)
    sets = [set(c) for size in sizes for c in combinations(pool, size)]
    return any(set(pinned) <= s and s != set(now) and not legal(sorted(s), pool, pinned, graph) for s in sets)


@given(st.data())
def test_a_choice_is_legal_and_different(data: st.DataObject) -> None:
    pool = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=8, unique=True))
    ports = data.draw(st.dictionaries(st.sampled_from(pool), st.integers(1, 6), max_size=8))
    graph = CATALOGUE.conflicts(pool, ports)
    now = data.draw(st.lists(st.sampled_from(pool), max_size=3, unique=True))
    pinned = data.draw(st.lists(st.sampled_from(pool), max_size=2, unique=True))
    if pinned and legal(pinned, pool, (), graph):
        pinned = []
    try:
        picked = choose(pool, now, pinned, graph, Random(data.draw(st.integers())))
    except FleetError:
        assert not _choices(pool, now, pinned, graph, 3)
        return
    assert not legal(picked, pool, pinned, graph)
    assert set(picked) != set(now)
    assert 1 <= len(picked) <= 3


def test_a_rotation_keeps_nothing_but_the_pinned_where_it_can() -> None:
    pool = ["http", "ftp", "ssh", "telnet"]
    graph = CATALOGUE.conflicts(pool, {})
    for seed in range(50):
        assert "ftp" not in choose(pool, ["http", "ftp"], ["http"], graph, Random(seed))


def test_ports_of_others_are_left_alone() -> None:
    pool = ["http", "ftp", "ssh"]
    graph = CATALOGUE.conflicts(pool, {})
    for seed in range(20):
        assert choose(pool, ["ftp"], [], graph, Random(seed), blocked={"ssh"}) == ["http"]


def test_nothing_else_to_choose_says_what_there_is() -> None:
    with pytest.raises(FleetError, match=r"pool ssh; pinned none; running ssh"):
        choose(["ssh"], ["ssh"], [], {}, Random(1))


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("10s", 10), ("1h30m", 5400), ("1.5h", 5400), ("30M", 1800), ("never", None)])  # fmt: skip
def test_intervals(text: str, seconds: float | None) -> None:
    assert parse_interval(text) == seconds


@pytest.mark.parametrize("text", ["", "0m", "9s", "30", "m", "30 m", "-1h", "400d", "٣m", "999999999w", "1h\n2m"])  # fmt: skip
def test_bad_intervals(text: str) -> None:
    with pytest.raises(FleetError, match="no interval"):
        parse_interval(text)


@given(st.integers(0, 5000), st.integers())
def test_backoff_stays_within_its_bounds(failures: int, seed: int) -> None:
    assert 27.0 <= backoff(failures, 30.0, 3600.0, Random(seed)) <= 3960.0


@given(st.floats(0, 0.5), st.integers())
def test_jitter_moves_a_rotation_by_its_share_at_most(jitter: float, seed: int) -> None:
    due = next_due(1000.0, 100.0, jitter, Random(seed))
    assert due is not None
    assert abs(due - 1100.0) <= 100.0 * jitter + 1e-9
    assert next_due(1000.0, None, jitter, Random(seed)) is None


def test_every_pool_leaves_a_choice_on_the_embedded_substrate() -> None:
    for name, pool in CATALOGUE.archetypes.items():
        for substrate in ("opencanary", "compose", "dry_run"):
            assert len(CATALOGUE.playable(pool, substrate)) >= 3, (name, substrate)


def test_no_module_of_opencanary_listens_where_it_was_not_told() -> None:
    assert "tcpbanner" not in {service.module for service in CATALOGUE.services.values()}
