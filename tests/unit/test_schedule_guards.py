"""The schedule at its limits: intervals, jitter, back-off, how many services and which, to the number."""

from __future__ import annotations

from itertools import combinations
from random import Random
from typing import Any

import pytest

from decnet.errors import FleetError
from decnet.mutator import schedule
from decnet.mutator.schedule import backoff, choose, legal, next_due, parse_interval

DAY = 86_400


class Fixed(Random):
    """Draws always ``share`` of the way from the least to the greatest, and always the last choice."""

    def __init__(self, share: float) -> None:
        super().__init__(1)
        self.share = share
        self.asked: list[tuple[float, float]] = []
        self.offered: list[list[Any]] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append((a, b))
        return a + (b - a) * self.share

    def choice(self, seq: Any) -> Any:
        self.offered.append(list(seq))
        return seq[-1]


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("11s", 11), ("1m", 60), ("1h", 3600), ("1d", DAY), ("1w", 7 * DAY), ("366d", 366 * DAY), ("8784h", 366 * DAY), ("31622400s", 366 * DAY)])  # fmt: skip
def test_the_least_and_the_greatest_interval_are_taken(text: str, seconds: float) -> None:
    assert parse_interval(text) == seconds


@pytest.mark.parametrize("text", ["9s", "0s", "367d", "8785h", "31622401s", "53w", "inherit"])
def test_an_interval_beyond_them_is_refused(text: str) -> None:
    with pytest.raises(FleetError, match="from 10s to 366d, or never"):
        parse_interval(text)


def test_a_refused_interval_is_shown_short() -> None:
    with pytest.raises(FleetError) as caught:
        parse_interval("x" * 500)
    assert "'" + "x" * 40 + "'" in str(caught.value)


@pytest.mark.parametrize(("share", "due"), [(0.0, 1090.0), (0.5, 1100.0), (1.0, 1110.0)])
def test_a_rotation_is_due_after_the_interval_earlier_or_later_by_the_jitter(
    share: float, due: float
) -> None:
    rng = Fixed(share)
    assert next_due(1000.0, 100.0, 0.1, rng) == pytest.approx(due)
    assert rng.asked == [(-0.1, 0.1)]
    assert next_due(1000.0, 100.0, 0.0, rng) == 1100.0
    assert next_due(1000.0, None, 0.1, rng) is None


def test_the_back_off_doubles_from_the_first_pause_to_the_longest_and_stays_there() -> None:
    waits = [backoff(failures, 30.0, 3600.0, Fixed(0.5)) for failures in range(12)]
    assert waits == pytest.approx([30, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600])
    assert backoff(10**6, 30.0, 3600.0, Fixed(0.5)) == pytest.approx(3600.0), "and never overflows"
    rng = Fixed(0.0)
    assert backoff(2, 30.0, 3600.0, rng) == pytest.approx(54.0)
    assert rng.asked == [(0.9, 1.1)], "a tenth of jitter, so that deckies that failed together part"
    assert backoff(1, 50.0, 20.0, Fixed(0.5)) == pytest.approx(20.0)


GRAPH = {"http": frozenset({"wordpress"}), "wordpress": frozenset({"http"})}
POOL = ("http", "wordpress", "ftp", "ssh", "redis")


@pytest.mark.parametrize(
    ("services", "pinned", "why"),
    [
        ((), (), "at least one service"),
        (("http",), (), ""),
        (("http", "rdp"), (), "'rdp' is not in the pool (http, wordpress, ftp, ssh, redis)"),
        (("http", "wordpress"), (), "'http' and 'wordpress' want the same port"),
        (("ftp",), ("ssh", "redis"), "pinned 'ssh' is missing"),
        (("ftp", "ssh"), ("ssh",), ""),
    ],
)
def test_why_a_set_must_not_run(services: tuple[str, ...], pinned: tuple[str, ...], why: str) -> None:
    said = legal(services, POOL, pinned, GRAPH)
    assert (said == why) if not why else (why in said)


def offered(now: list[str], pinned: list[str] | None = None, **more: Any) -> set[frozenset[str]]:
    """The sets among which chance decides."""
    rng = Fixed(0.5)
    choose(POOL, now, pinned or [], GRAPH, rng, **more)
    return {frozenset({*(pinned or []), *extra}) for extra in rng.offered[0]}


def sets(names: str, least: int, most: int) -> set[frozenset[str]]:
    every = {frozenset(s) for size in range(least, most + 1) for s in combinations(names.split(), size)}
    return {s for s in every if not {"http", "wordpress"} <= s}


def test_a_choice_has_one_service_at_least_and_as_many_as_allowed_at_most() -> None:
    assert offered([], max_services=1) == sets("http wordpress ftp ssh redis", 1, 1)
    assert offered([], max_services=2) == sets("http wordpress ftp ssh redis", 1, 2)
    assert offered([]) == sets("http wordpress ftp ssh redis", 1, 3), "three unless told otherwise"
    assert {len(s) for s in offered([], max_services=16)} == {1, 2, 3, 4}


def test_pinned_ones_count_and_are_all_there_even_where_they_are_more() -> None:
    assert offered(["ssh", "ftp"], ["ssh"], max_services=2) == {
        frozenset({"ssh"}),
        frozenset({"ssh", "http"}),
        frozenset({"ssh", "wordpress"}),
        frozenset({"ssh", "redis"}),
    }
    assert offered([], ["ssh", "ftp"], max_services=1) == {frozenset({"ssh", "ftp"})}


def test_the_same_set_is_not_chosen_again_and_as_little_as_possible_stays() -> None:
    assert offered(["ftp", "ssh", "redis"], max_services=2) == {frozenset({"http"}), frozenset({"wordpress"})}
    small = ("ftp", "ssh")
    rng = Fixed(0.5)
    assert choose(small, ["ssh", "ftp"], [], {}, rng) == ["ssh"]
    assert {frozenset(s) for s in rng.offered[0]} == {frozenset({"ftp"}), frozenset({"ssh"})}, (
        "where something has to stay, one does"
    )


def test_a_blocked_port_is_left_alone_unless_it_is_pinned() -> None:
    assert offered([], max_services=1, blocked={"http", "ftp", "redis"}) == sets("wordpress ssh", 1, 1)
    assert offered([], ["ftp"], max_services=1, blocked={"ftp"}) == {frozenset({"ftp"})}


def test_nothing_else_to_choose_tells_of_the_ports_of_others() -> None:
    with pytest.raises(FleetError) as caught:
        choose(("ftp", "ssh"), ["ssh"], [], {}, Random(1), blocked={"ftp"})
    assert str(caught.value) == (
        "nothing else to choose: pool ftp, ssh; pinned none; running ssh; ports taken by others: ftp"
    )
    with pytest.raises(FleetError, match=r"pool empty; pinned none; running nothing$"):
        choose((), [], [], {}, Random(1))


def test_the_services_come_in_the_order_of_the_pool() -> None:
    assert choose(POOL, [], ["redis", "http"], GRAPH, Fixed(0.5), max_services=3) == ["http", "ssh", "redis"]


def test_the_number_of_sets_looked_at_is_bounded() -> None:
    wide = [f"s{i}" for i in range(60)]
    assert len(list(schedule._sets(wide, 16))) == 20_000
    assert len(list(schedule._sets(wide[:3], 2))) == 7
    assert list(schedule._sets(wide[:2], 9)) == [(), ("s0",), ("s1",), ("s0", "s1")]
