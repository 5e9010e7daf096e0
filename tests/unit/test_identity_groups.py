"""Which identities are one, and what they are called: the same in any order of what was told."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from decnet.db.repository.attribution.identities import groups_of

NAMES = "abcdef"
PAIRS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda p: p[0] != p[1]), max_size=8
)


def named(groups: list[tuple[set[str], str]]) -> dict[str, str]:
    return {member: canonical for members, canonical in groups for member in members}


def test_the_one_that_never_lost_gives_the_name_the_least_of_several_in_a_ring_the_least_of_all() -> None:
    for told, wanted in (
        ({("a", "b")}, "b"),
        ({("a", "b"), ("b", "c")}, "c"),
        ({("a", "b"), ("a", "c")}, "b"),
        ({("a", "b"), ("b", "c"), ("c", "a")}, "a"),
    ):
        members = {end for edge in told for end in edge}
        assert named(groups_of(members, [], dict.fromkeys(told, 1), [])) == dict.fromkeys(members, wanted), (
            told
        )
        assert named(groups_of(members, told, {}, [])) == dict.fromkeys(members, wanted), "links as well"
    assert named(groups_of("ab", [], {}, [])) == {"a": "a", "b": "b"}


def test_a_link_and_a_merge_make_one_group() -> None:
    assert named(groups_of("abc", [("b", "a")], {("c", "b"): 1}, [])) == dict.fromkeys("abc", "a")


def test_what_is_told_joins_no_two_that_an_operator_keeps_apart_not_even_over_others() -> None:
    assert named(groups_of("ab", [], {("b", "a"): 1}, [("a", "b")])) == {"a": "a", "b": "b"}
    assert named(groups_of("ab", [], {("b", "a"): 1}, [("b", "a")])) == {"a": "a", "b": "b"}
    first = {("b", "a"): 1, ("c", "b"): 2}
    for told in (first, dict(reversed(first.items()))):
        groups = named(groups_of("abc", [], told, [("a", "c")]))
        assert groups == {"a": "a", "b": "a", "c": "c"}, "what was told first"
    later = {("b", "a"): 2, ("c", "b"): 1}
    assert named(groups_of("abc", [], later, [("a", "c")])) == {"a": "a", "b": "b", "c": "b"}
    linked = named(groups_of("abc", [("b", "a")], {("c", "b"): 0}, [("a", "c")]))
    assert linked == {"a": "a", "b": "a", "c": "c"}, "a link counts before what is told"


def test_a_merge_that_joins_nothing_makes_nobody_a_loser() -> None:
    groups = named(groups_of("abc", [("c", "a")], {("a", "b"): 1}, [("a", "b")]))
    assert groups == {"a": "a", "b": "b", "c": "a"}


def test_links_are_not_asked_for_what_an_operator_said_since_linking_obeys_it_itself() -> None:
    assert named(groups_of("ab", [("b", "a")], {("b", "a"): 1}, [("a", "b")])) == {"a": "a", "b": "a"}


@given(linked=PAIRS, told=PAIRS, apart=PAIRS, dice=st.randoms(use_true_random=False))
def test_the_order_of_edges_does_not_matter(
    linked: list[tuple[str, str]],
    told: list[tuple[str, str]],
    apart: list[tuple[str, str]],
    dice: random.Random,
) -> None:
    numbered = {edge: dice.randrange(3) for edge in told}
    once = named(groups_of(NAMES, linked, numbered, apart))
    for edges in (linked, apart):
        dice.shuffle(edges)
    assert named(groups_of(reversed(NAMES), linked + linked, dict(reversed(numbered.items())), apart)) == once
    assert all(once[name] == name for name in once.values()), "a canonical identity is its own"
    assert all(once[one] == once[other] for one, other in linked)
    alone = named(groups_of(NAMES, linked, {}, []))
    for one, other in apart:
        assert once[one] != once[other] or alone[one] == alone[other], "only links put these together"
