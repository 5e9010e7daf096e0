"""What linking says has changed, written batch by batch, is what it knows: no row is missing, none is left over."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from decnet.attribution.linking import Changes, Linker, State, changes_of, restored, state_of
from tests.linkkit import campaigns, partition, session
from tests.unit.test_linking_order import TIGHT, World, often, sessions_of, worlds

A, B, C = "203.0.113.5", "198.51.100.7", "192.0.2.9"


class Tables:
    """The rows, as a database would have them."""

    def __init__(self) -> None:
        self.addresses: dict[str, Any] = {}
        self.terms: dict[str, Any] = {}
        self.values: dict[tuple[str, str], Any] = {}
        self.groups: dict[tuple[str, str], Any] = {}
        self.identities: dict[str, Any] = {}
        self.campaigns: dict[str, str] = {}

    def write(self, linker: Linker) -> None:
        """Takes over what the journal of a linker says."""
        changes: Changes = changes_of(linker)
        for kind, before, now in changes.rooted:
            column = f"{kind}_root"
            for row in self.terms.values():
                row[column] = now if row[column] == before else row[column]
        for attacker in changes.attackers_gone:
            self.addresses.pop(attacker, None)
            self.values = {key: row for key, row in self.values.items() if key[0] != attacker}
        self.addresses |= {row["attacker_uuid"]: dict(row) for row in changes.addresses}
        self.terms |= {row["term_id"]: dict(row) for row in changes.terms}
        self.values |= {(row["attacker_uuid"], row["term_id"]): row for row in changes.values}
        self.groups |= {(row["kind"], row["root"]): row for row in changes.groups}
        self.identities |= {row["identity_uuid"]: row for row in changes.identities}
        self.campaigns |= changes.campaigns
        for key in changes.values_gone:
            self.values.pop(key, None)
        for key in changes.groups_gone:
            self.groups.pop(key, None)
        for identity in changes.identities_gone:
            self.identities.pop(identity, None)
        linker.journal.clear()

    def state(self) -> State:
        """What linking is made again from."""
        return {
            "addresses": list(self.addresses.values()),
            "terms": list(self.terms.values()),
            "values": list(self.values.values()),
            "groups": list(self.groups.values()),
            "campaigns": self.campaigns,
            "said": [],
        }


def said(state: State) -> dict[str, list[str]]:
    """The rows without their order; those of values that are put out stand for a group each."""
    kept = [row for row in state["values"] if row["kept"]]
    named: dict[str, Any] = {**state, "values": kept, "campaigns": state["campaigns"].items()}
    return {name: sorted(map(str, named[name])) for name in named if name != "said"}


@often
@given(worlds, st.integers(1, 20), st.booleans(), st.integers(0, 3))
def test_rows_written_batch_by_batch_are_what_linking_knows(
    world: World, batch: int, tight: bool, gone: int
) -> None:
    linker, tables = Linker(TIGHT) if tight else Linker(), Tables()
    made = sessions_of(world)
    rnd = Random(world.seed)
    for start in range(0, len(made), batch):
        for one in made[start : start + batch]:
            linker.add(one)
        tables.write(linker)
        if gone and rnd.random() < 0.2:
            linker.forget(rnd.choice([*linker.index.members]))
            tables.write(linker)
    linker.settle()
    tables.write(linker)
    assert said(tables.state()) == said(state_of(linker))
    again = restored(tables.state(), linker.thresholds)
    assert partition(again) == partition(linker)
    assert campaigns(again) == campaigns(linker)
    assert {row["identity_uuid"]: row["addresses"] for row in tables.identities.values()} == {
        linker.uuid(linker.index.members[group[0]]): len(group) for group in linker.identities()
    }


@often
@given(worlds, st.integers(1, 20))
def test_what_others_are_told_of_batches_is_who_belongs_together(world: World, batch: int) -> None:
    linker, part_of, made = Linker(TIGHT), dict[str, str](), sessions_of(world)
    for start in range(0, len(made) + 1, batch):
        for one in made[start : start + batch]:
            linker.add(one)
        if start + batch > len(made):
            linker.settle()
        for change in linker.moved():
            if change.kind == "identity.unmerged":
                assert part_of[change.about] == change.other, "told of who was not part of it"
                del part_of[change.about]
            else:
                assert change.other not in part_of, "told of who is part of another one"
                part_of[change.other] = change.about
                part_of |= {who: change.about for who, winner in part_of.items() if winner == change.other}
        linker.journal.clear()
        now = {linker.uuid(one): linker.uuid(winner) for one, winner in linker.winners.items()}
        assert part_of == now


def test_a_group_that_becomes_part_of_another_takes_its_assets_along() -> None:
    linker, tables = Linker(), Tables()
    for one in (session(A, 1, key="k"), session(B, 2, key="k"), session(C, 3, sha256="f")):
        linker.add(one)
    tables.write(linker)
    assert len(tables.groups) == 2
    linker.add(session(C, 4, key="k", sha256="f"))
    tables.write(linker)
    (row,) = tables.groups.values()
    assert {term["campaign_root"] for term in tables.terms.values()} == {row["root"]}
    assert (row["addresses"], row["name"], row["kind"]) == (3, "key k", "campaign")
    assert row["campaign_uuid"] in linker.campaigns()


def test_nothing_that_is_written_is_written_again() -> None:
    linker, tables = Linker(), Tables()
    for one in (session(A, 1, key="k", host="h"), session(B, 2, key="k", host="h")):
        linker.add(one)
    tables.write(linker)
    assert linker.journal.empty
    linker.add(session(A, 5, key="k", host="h"))
    assert linker.journal.empty, "a session that says nothing new costs no row"
    assert changes_of(linker) == Changes()


def test_an_address_that_is_taken_out_leaves_no_rows_and_whom_it_named_goes_on_alone() -> None:
    linker, tables = Linker(), Tables()
    for one in (session(A, 1, key="k", host="h"), session(B, 2, key="k", host="h")):
        linker.add(one)
    tables.write(linker)
    (identity,) = tables.identities
    linker.forget(A)
    (change,) = linker.moved()
    assert (change.kind, change.about, change.other) == (
        "identity.unmerged",
        linker.uuid(linker.index.members[B]),
        identity,
    )
    tables.write(linker)
    assert tables.identities == {}
    assert [row["address"] for row in tables.addresses.values()] == [B]
    assert {row["addresses"] for row in tables.groups.values()} == {1}
