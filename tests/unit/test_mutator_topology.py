"""Operations on a topology: tried on a copy, refused with reasons; statuses move along legal edges only."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.errors import FleetError
from decnet.mutator.fleet import Defaults
from decnet.mutator.topology import EDGES, OPS, Member, Op, Shape, check_op, route, status_of
from decnet.services import load_catalogue

CATALOGUE = load_catalogue()
WEB = Member(("http", "ftp", "ssh"), ("http", "ftp"), ("http",), {}, frozenset({"dmz"}))
SHAPE = Shape(frozenset({"dmz", "office"}), {"web-01": WEB}, frozenset({"other-01"}))


def tried(kind: str, target: str, payload: dict[str, Any] | None = None, shape: Shape = SHAPE) -> Op:
    return check_op(shape, kind, target, payload or {}, CATALOGUE, Defaults(max_deckies=2))


def test_each_operation_changes_the_copy_only() -> None:
    added = tried("add_decky", "db-01", {"pool": ["redis", "mysql"], "networks": ["office"]})
    assert added.spec is not None
    assert set(added.shape.deckies) == {"web-01", "db-01"}
    assert tried("remove_decky", "web-01").shape.deckies == {}
    changed = tried("update_decky", "web-01", {"services": ["http", "ssh"], "mutate_interval": "1h"})
    assert changed.shape.deckies["web-01"].services == ("http", "ssh")
    assert tried("add_network", "lab").shape.networks == {"dmz", "office", "lab"}
    assert tried("remove_network", "office").shape.networks == {"dmz"}
    assert tried("attach_decky", "web-01", {"network": "office"}).shape.deckies["web-01"].networks == {
        "dmz",
        "office",
    }
    assert tried("detach_decky", "web-01", {"network": "dmz"}).shape.deckies["web-01"].networks == frozenset()
    assert SHAPE.deckies["web-01"] is WEB


@pytest.mark.parametrize(
    ("kind", "target", "payload", "words"),
    [
        ("explode", "web-01", {}, "unknown operation 'explode'"),
        ("add_decky", "web-01", {"pool": ["http"]}, "a decky 'web-01' already"),
        ("add_decky", "other-01", {"pool": ["http"]}, "a decky 'other-01' already"),
        ("add_decky", "x", {"pool": ["http"], "name": "y"}, "called 'x' here"),
        ("add_decky", "x", {"pool": ["httpp"], "colour": 1}, "unknown service 'httpp'"),
        ("add_decky", "x", {"pool": ["http"], "networks": ["nowhere"]}, "unknown network 'nowhere'"),
        ("add_decky", "X y", {"pool": ["http"]}, "needs a name"),
        ("remove_decky", "nope", {}, "no decky 'nope'"),
        ("remove_decky", "web-01", {"force": True}, "Extra inputs"),
        ("update_decky", "web-01", {}, "nothing to change"),
        ("update_decky", "web-01", {"services": ["ftp"]}, "pinned 'http' is missing"),
        ("update_decky", "web-01", {"services": ["http", "http"]}, "named twice"),
        ("update_decky", "web-01", {"pinned": ["rdp"]}, "'rdp' is not in the pool"),
        ("update_decky", "web-01", {"mutate_interval": "soon"}, "no interval"),
        ("update_decky", "web-01", {"services": "http"}, "valid list"),
        ("add_network", "dmz", {}, "a network 'dmz' already"),
        ("add_network", "a.b", {}, "needs a name"),
        ("remove_network", "dmz", {}, "still attached to 'dmz': web-01"),
        ("remove_network", "nope", {}, "unknown network"),
        ("attach_decky", "web-01", {"network": "dmz"}, "already attached"),
        ("detach_decky", "web-01", {"network": "office"}, "not attached"),
        ("attach_decky", "web-01", {}, "network: Field required"),
    ],
)
def test_slips_are_refused_with_the_reason(
    kind: str, target: str, payload: dict[str, Any], words: str
) -> None:
    with pytest.raises(FleetError) as caught:
        tried(kind, target, payload)
    assert words in str(caught.value)


def test_a_fleet_that_goes_takes_no_operation_and_a_full_one_no_decky() -> None:
    with pytest.raises(FleetError, match="being taken down"):
        tried("add_network", "x", shape=Shape(wanted=False))
    full = tried("add_decky", "b", {"pool": ["ftp"]}).shape
    with pytest.raises(FleetError, match="more than 2 deckies"):
        tried("add_decky", "c", {"pool": ["ftp"]}, full)


@given(st.sampled_from([*OPS, "x"]), st.text(max_size=70), st.dictionaries(st.sampled_from(["name", "pool", "services", "pinned", "network", "ports", "mutate_interval"]), st.recursive(st.none() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3), max_leaves=5), max_size=4))  # fmt: skip
def test_no_payload_breaks_it(kind: str, target: str, payload: dict[str, Any]) -> None:
    try:
        made = tried(kind, target, dict(payload))
    except FleetError:
        return
    assert made.kind == kind


@given(st.sampled_from(sorted(EDGES)), st.sampled_from(sorted(EDGES)))
def test_a_route_uses_legal_edges_only(current: str, wanted: str) -> None:
    steps = route(current, wanted)
    for before, after in zip([current, *steps], steps, strict=False):
        assert after in EDGES[before]
    assert current == wanted or not steps or steps[-1] == wanted


@pytest.mark.parametrize(
    ("tally", "wanted", "status"),
    [
        ((3, 0, 0, 3), True, "active"), ((3, 1, 0, 2), True, "deploying"), ((3, 1, 1, 2), True, "degraded"),
        ((3, 3, 3, 0), True, "failed"), ((1, 1, 0, 1), False, "tearing_down"), ((0, 0, 0, 0), False, "torn_down"),
    ],
)  # fmt: skip
def test_status_follows_from_counts(tally: tuple[int, ...], wanted: bool, status: str) -> None:
    counts = dict(zip(("deckies", "pending", "failing", "running"), tally, strict=True))
    assert status_of(counts, wanted=wanted) == status
    assert route("degraded", "active") == ["active"]
