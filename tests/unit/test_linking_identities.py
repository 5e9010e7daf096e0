"""What joins two addresses and what does not, at the limits; and how ids live through merges, splits and operators."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest

from decnet.attribution.linking import Change, Features, Linker, Thresholds, restored, state_of
from decnet.attribution.linking.linker import LARGE
from decnet.bounds import BITES
from decnet.ids import attacker_id, identity_id
from tests.linkkit import linked, partition, session

RARE = "SSH-2.0-own_1"
KIT = ("uname -a", "cat /proc/cpuinfo", "wget @ -O", "chmod own", "rm -rf", "crontab -l")
OTHER = ("systemctl stop", "tar xzf -C", "nohup own", "pkill -#", "cat /etc/passwd", "wget @ -q")
A, B, C, D = (f"203.0.{n}.7" for n in range(1, 5))


def uuid(address: str) -> str:
    return identity_id(attacker_id(address))


def lives(changes: list[Change]) -> list[tuple[str, str, str]]:
    return [(c.kind, c.about, c.other) for c in changes if c.kind in ("identity.merged", "identity.unmerged")]


def crowd(count: int, **values: str) -> list[Features]:
    return [session(f"198.51.{n // 200}.{n % 200}", float(n), **values) for n in range(count)]


# --- what joins


def test_a_key_and_a_client_join_and_say_why() -> None:
    linker = linked([session(A, key="k", client=RARE), session(B, 1.0, key="k", client=RARE)])
    found = linker.explain(A, B)
    assert partition(linker) == {frozenset({A, B})}
    assert [(r.family, r.value, r.addresses, r.weight) for r in found.reasons] == [
        ("client", RARE, 2, 1.5), ("key", "k", 2, 3.5),
    ]  # fmt: skip
    assert (found.total, found.against) == (5.0, ())


def test_a_key_alone_joins_nothing_it_wants_a_second_family() -> None:
    assert partition(linked([session(A, key="k"), session(B, key="k")])) == frozenset()


@pytest.mark.parametrize(
    "values",
    [
        {"client": RARE, "credentials": "list-1", "network": "203.0.1.0/24", "environment": "LANG=xx"},
        {"client": RARE, "network": "203.0.1.0/24", "logins": [1, 2, 3], "environment": "LANG=xx"},
        {"client": RARE, "steps": KIT, "environment": "LANG=xx", "credentials": "list-1"},
    ],
)
def test_soft_evidence_alone_joins_nothing_however_much_there_is(values: dict[str, object]) -> None:
    linker = linked([session(A, **values), session(B, **values)])  # type: ignore[arg-type]
    assert linker.explain(A, B).total >= 3.5
    assert partition(linker) == frozenset()


def test_keys_that_differ_speak_against_a_shared_host() -> None:
    same = {"host": "h.test", "client": RARE}
    one, other = session(A, key="k1", **same), session(B, key="k2", **same)
    linker = linked([one, other])
    assert [(a.family, a.weight) for a in linker.explain(A, B).against] == [("key", -1.5)]
    assert partition(linker) == frozenset()
    assert partition(linked([session(A, **same), session(B, **same)])) == {frozenset({A, B})}


def test_scripts_and_clients_that_differ_speak_against() -> None:
    linker = linked(
        [
            session(A, steps=KIT, host="h.test", client=RARE),
            session(B, steps=OTHER, host="h.test", client="x"),
        ]
    )
    assert [(a.family, a.weight) for a in linker.explain(A, B).against] == [
        ("client", -0.3),
        ("script", -0.5),
    ]


def test_a_file_that_owners_of_other_hosts_have_too_is_the_kits() -> None:
    kit = {"sha256": "f" * 64, "client": RARE, "steps": KIT, "network": "203.0.1.0/24"}
    assert partition(linked([session(A, **kit), session(B, **kit)])) == {frozenset({A, B})}
    assert (
        partition(linked([session(A, host="a.test", **kit), session(B, host="b.test", **kit)])) == frozenset()
    )


def test_tunnels_join_only_beside_a_rare_client_or_in_one_network() -> None:
    tunnels = {
        "tunnel": ["198.51.100.1:25", "198.51.100.2:25"],
        "environment": "LANG=xx",
        "credentials": "list-1",
    }
    assert partition(linked([session(A, **tunnels), session(B, **tunnels)])) == frozenset()
    common = {**tunnels, "client": "SSH-2.0-Go"}
    assert partition(linked([session(A, **common), session(B, **common)])) == frozenset()
    for near in ({"client": RARE}, {"network": "203.0.1.0/24"}):
        assert partition(linked([session(A, **tunnels, **near), session(B, **tunnels, **near)])) == {
            frozenset({A, B})
        }


@pytest.mark.parametrize(("count", "together"), [(50, 50), (51, 0)])
def test_a_value_at_more_than_fifty_addresses_names_a_campaign_and_no_identity(
    count: int, together: int
) -> None:
    linker = linked([*crowd(count, key="k", client=RARE), *crowd_elsewhere(1200)])
    assert sum(map(len, linker.identities())) == together
    assert [len(group) for group in linker.campaigns().values()] == [count]


def crowd_elsewhere(count: int) -> list[Features]:
    """So many others with keys and clients of their own, so that the key weighs what it does at a busy sensor."""
    return [session(f"192.0.{n // 200}.{n % 200}", key=f"other{n}", client=f"c{n}") for n in range(count)]


def owners(at: float) -> list[Features]:
    same = {"host": "h.test", "client": "SSH-2.0-Go", "environment": "LANG=xx"}
    return [session(A, at, **same), session(B, at + 1.0, **same)]


def others(count: int) -> list[Features]:
    return [session(f"192.0.2.{n}", 10.0 + n, host="h.test") for n in range(count)]


def test_a_link_that_was_made_when_its_host_was_rare_holds_half_a_unit_below() -> None:
    linker = linked([*owners(1.0), *others(8)])
    found = linker.explain(A, B)
    assert found.then >= 3.5 > found.total >= 3.0
    assert partition(linker) == {frozenset({A, B})}
    assert partition(linked([*others(8), *owners(1.0)])) == {frozenset({A, B})}


def test_no_link_is_made_half_a_unit_below_and_an_old_one_breaks_there() -> None:
    late = linked([*others(8), *owners(100.0)])
    assert 3.5 > late.explain(A, B).then == late.explain(A, B).total >= 3.0
    assert partition(late) == frozenset()
    many = linked([*owners(1.0), *others(30)])
    assert many.explain(A, B).then >= 3.5
    assert many.explain(A, B).total < 3.0
    assert partition(many) == frozenset()


@pytest.mark.parametrize(("members", "largest"), [(3, 3), (4, 4)])
def test_an_identity_has_at_most_so_many_members(members: int, largest: int) -> None:
    linker = linked(crowd(10, key="k", client=RARE), thresholds=Thresholds(members=members))
    assert max(map(len, linker.identities())) == largest


def test_two_groups_that_one_address_ties_together_stay_two() -> None:
    def of(who: str, address: str, at: float) -> Features:
        steps = KIT if who == "a" else OTHER
        return session(address, at, steps=steps, host=f"{who}.test", client=f"SSH-2.0-{who}")

    made = [
        of(who, f"203.0.{n}.{at}", at)
        for at, (who, n) in enumerate([("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5), ("b", 6)])
    ]
    made += [of("a", D, 9.0), of("b", D, 10.0)]
    linker = linked(made)
    assert linker.identity("203.0.1.0") != linker.identity("203.0.4.3")
    assert sorted(map(len, partition(linker))) in ([3, 3], [3, 4])


# --- ids


def test_the_older_id_wins_and_the_loser_comes_back_when_it_is_split_off() -> None:
    linker = Linker()
    assert [(c.kind, c.about, c.other) for c in linker.add(session(A, 1.0, key="k", client=RARE))] == [
        ("identity.formed", uuid(A), A)
    ]
    merged = linker.add(session(B, 2.0, key="k", client=RARE))
    assert lives(merged) == [("identity.merged", uuid(A), uuid(B))]
    (told,) = [c for c in merged if c.kind == "identity.merged"]
    assert {(r.family, r.value) for r in told.reasons} == {("key", "k"), ("client", RARE)}
    assert linker.identity(B) == [A, B]
    assert lives(linker.not_same(A, B, "two people")) == [("identity.unmerged", uuid(B), uuid(A))]
    assert linker.identity(B) == [B]


def test_a_late_older_session_does_not_rename_an_identity() -> None:
    linker = Linker()
    for one in (session(A, 5.0, key="k", client=RARE), session(B, 6.0, key="k", client=RARE)):
        linker.add(one)
    assert lives(linker.add(session(B, 1.0, key="k"))) == []
    assert linker.identity(A)[0] == A


def test_what_followed_a_loser_is_not_told_again() -> None:
    linker = Linker()
    for at, address in ((5.0, B), (6.0, C)):
        linker.add(session(address, at, key="k", client=RARE))
    assert lives(linker.add(session(A, 1.0, key="k", client=RARE))) == [("identity.merged", uuid(A), uuid(B))]
    assert linker.identity(C) == [A, B, C]


def test_a_value_that_is_at_too_many_joins_nobody_from_that_session_on() -> None:
    linker = Linker(Thresholds(hub=20))
    for one in crowd_elsewhere(300):
        linker.add(one)
    for one in crowd(20, key="k", client=RARE):
        linker.add(one)
    assert [len(group) for group in linker.identities()] == [20]
    last = linker.add(session(A, 99.0, key="k"))
    assert [kind for kind, _, _ in lives(last)] == ["identity.unmerged"] * 19
    assert linker.identities() == []


# --- campaigns


def test_one_address_is_no_campaign_and_two_are_one_told_with_its_addresses() -> None:
    linker = Linker()
    first = [linker.add(session(A, at, steps=KIT, sha256="f" * 64)) for at in (1.0, 2.0)]
    assert [c.kind for changes in first for c in changes] == ["identity.formed"]
    assert linker.campaigns() == {}
    formed, *assigned = linker.add(session(B, 3.0, steps=KIT))[1:]
    assert (formed.kind, linker.campaigns()) == ("campaign.formed", {formed.about: [A, B]})
    assert [(c.kind, c.about, c.other) for c in assigned] == [
        ("campaign.identity.assigned", formed.about, A), ("campaign.identity.assigned", formed.about, B),
    ]  # fmt: skip
    again = linker.add(session(C, 4.0, sha256="f" * 64))
    assert [(c.kind, c.about, c.other) for c in again[1:]] == [
        ("campaign.identity.assigned", formed.about, C)
    ]
    assert linker.add(session(C, 5.0, sha256="f" * 64)) == []


def test_campaigns_that_one_session_ties_together_keep_the_older_id() -> None:
    linker = Linker()
    for at, (address, key) in enumerate([(A, "k1"), (B, "k1"), (C, "k2"), (D, "k2")]):
        linker.add(session(address, float(at), key=key))
    older, younger = (next(u for u, found in linker.campaigns().items() if one in found) for one in (A, C))
    told = linker.add(session(D, 9.0, key=["k1", "k2"]))
    assert ("campaign.merged", older, younger) in [(c.kind, c.about, c.other) for c in told]
    assert linker.campaigns() == {older: sorted([A, B, C, D])}
    assert linker.kits.now(younger) == older


def test_a_script_that_is_like_those_of_two_kits_makes_them_one_campaign() -> None:
    steps = [f"cat /proc/{n}" for n in range(12)]
    linker = Linker()
    for at, (address, some) in enumerate([(A, steps[:8]), (B, steps[:8]), (C, steps[4:]), (D, steps[4:])]):
        linker.add(session(address, float(at), steps=some))
    assert sorted(linker.campaigns().values()) == [sorted([A, B]), sorted([C, D])]
    linker.add(session("203.0.9.7", 9.0, steps=steps[2:10]))
    assert list(linker.campaigns().values()) == [sorted([A, B, C, D, "203.0.9.7"])]


def test_campaigns_have_as_many_addresses_as_they_have() -> None:
    linker = linked(crowd(300, key="k"))
    assert [len(found) for found in linker.campaigns().values()] == [300]
    assert linker.identities() == []


# --- operators


def test_what_operators_say_is_above_every_score_and_can_be_taken_back() -> None:
    linker = linked([session(A, 1.0, client=RARE), session(B, 2.0, client="other")])
    assert lives(linker.same(A, B, "seen on one screen")) == [("identity.merged", uuid(A), uuid(B))]
    linker.add(session(C, 3.0, key="k"))
    linker.settle()
    assert partition(restored(state_of(linker))) == {frozenset({A, B})}
    assert lives(linker.unsaid(A, B)) == [("identity.unmerged", uuid(B), uuid(A))]
    assert linker.identity(A) == [A]


def test_a_cut_stands_against_links_of_others_too() -> None:
    made = [session(address, float(n), key="k", client=RARE) for n, address in enumerate((A, B, C))]
    linker = linked(made)
    linker.not_same(A, B, "no")
    assert linker.identity(A) != linker.identity(B)
    linker.same(A, C, "yes")
    linker.same(C, B, "yes, but")
    assert linker.identity(A) != linker.identity(B)
    assert len(linker.identity(C)) == 2


def test_who_is_not_known_or_oneself_is_said_to_be_so() -> None:
    linker = linked([session(A)])
    with pytest.raises(KeyError):
        linker.same(A, B, "?")
    with pytest.raises(ValueError, match="itself"):
        linker.not_same(A, A, "?")


# --- purges


def test_a_forgotten_address_leaves_nothing_and_its_identity_goes_on_under_the_next_id() -> None:
    made = [session(one, float(n), key="k", client=RARE, logins=[7]) for n, one in enumerate((A, B, C))]
    linker = linked([*made, session(D, 9.0, host="h.test")])
    linker.same(A, D, "said")
    told = lives(linker.forget(A))
    assert ("identity.unmerged", uuid(B), uuid(A)) in told
    assert ("identity.merged", uuid(B), uuid(C)) in told
    assert ("identity.unmerged", uuid(D), uuid(A)) in told
    linker.settle()
    assert partition(linker) == {frozenset({B, C})}
    assert linker.identity(C) == [B, C]
    assert linker.explain(B, C) == linked(made[1:]).explain(B, C)
    state = state_of(linker)
    assert A not in str(state)
    assert partition(restored(state)) == {frozenset({B, C})}
    assert linker.campaigns() == restored(state).campaigns()
    with pytest.raises(KeyError):
        linker.identity(A)


def test_a_forgotten_address_that_comes_again_is_a_new_one_with_its_old_id() -> None:
    linker = linked([session(A, 1.0, key="k", client=RARE), session(B, 2.0, key="k", client=RARE)])
    (name,) = linker.campaigns()
    linker.forget(B)
    assert (partition(linker), linker.campaigns()) == (frozenset(), {})
    told = linker.add(session(B, 3.0, key="k", client=RARE))
    assert lives(told) == [("identity.merged", uuid(A), uuid(B))]
    assert linker.campaigns() == {name: [A, B]}


# --- bounds


def test_a_large_component_is_put_off_and_right_when_settled() -> None:
    def chain(count: int) -> list[Features]:
        found = []
        for n in range(count):
            hosts, keys = [f"h{n}.test", f"h{n + 1}.test"], [f"k{n}", f"k{n + 1}"]
            found.append(session(f"203.{n // 200}.{n % 200}.1", float(n), host=hosts, key=keys))
        return found

    made, linker = chain(LARGE + 40), Linker()
    for one in made:
        linker.add(one)
    assert not linker.settled
    linker.settle()
    assert linker.settled
    assert max(map(len, linker.identities())) <= 50
    assert partition(linker) == partition(linked(Random(3).sample(made, len(made))))


def test_a_flood_of_values_leaves_the_same_ones_in_every_order() -> None:
    made = [session(A, float(n), key=f"k{n}", logins=[n]) for n in range(200)]
    one, other = linked(made), linked(made[::-1])
    kept = [
        sorted(made_of.index.values[v].text for v in made_of.index.profiles[0].values)
        for made_of in (one, other)
    ]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 64
    assert [list(made_of.index.profiles[0].logins) for made_of in (one, other)] == [list(range(16))] * 2
    assert sum(value.count for value in one.index.values) == 64


def test_a_kit_of_more_scripts_than_a_band_holds_is_one_kit_in_any_order_and_the_bound_is_counted() -> None:
    steps = [f"cat /proc/{n}" for n in range(30)]
    made = [
        session(f"203.{n}.1.7", float(n), steps=[*steps[: n % 30], f"ls /proc/x{n}", *steps[n % 30 + 1 :]])
        for n in range(60)
    ]
    before = BITES["linking_capped"]
    for order in (made, made[::-1], Random(4).sample(made, len(made))):
        assert [len(found) for found in linked(order).campaigns().values()] == [60]
    assert BITES["linking_capped"] > before


def test_thresholds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="contradict"):
        Thresholds(join=3.0, hold=3.5)


def test_all_who_share_a_value_are_scored_again_when_it_is_less_rare() -> None:
    """At once, and not when the next round comes to them."""
    linker = Linker()
    for number in range(20):
        linker.add_all([session(f"198.51.100.{number}", float(number), key="k")])
    kept = {(one, other): linker.scores[one][other][0] for one, other in combinations(range(20), 2)}
    assert kept == {both: linker.scorer.score(*both).total for both in kept}
    assert len(set(kept.values())) == 1
