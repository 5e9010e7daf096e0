"""Statuses and operations of a fleet at their limits: which status may follow which, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from decnet.errors import FleetError
from decnet.mutator.fleet import Defaults
from decnet.mutator.topology import EDGES, OPS, Member, Op, Shape, check_op, route, shape_of, status_of
from decnet.services import load_catalogue

CATALOGUE = load_catalogue()
WEB = Member(("http", "ftp", "ssh"), ("http", "ftp"), ("http",), {}, frozenset({"dmz"}))
SHAPE = Shape(frozenset({"dmz", "office"}), {"web-01": WEB}, frozenset({"other-01"}))


def tried(kind: str, target: str, payload: Any = None, shape: Shape = SHAPE, most: int = 2) -> Op:
    return check_op(
        shape, kind, target, {} if payload is None else payload, CATALOGUE, Defaults(max_deckies=most)
    )


def refused(*args: Any, **more: Any) -> str:
    with pytest.raises(FleetError) as caught:
        tried(*args, **more)
    return str(caught.value)


def test_the_legal_steps_are_these_and_no_others() -> None:
    assert {status: sorted(after) for status, after in EDGES.items()} == {
        "pending": ["deploying", "tearing_down"],
        "deploying": ["active", "degraded", "failed", "tearing_down"],
        "active": ["degraded", "deploying", "tearing_down"],
        "degraded": ["active", "deploying", "failed", "tearing_down"],
        "failed": ["deploying", "tearing_down"],
        "tearing_down": ["deploying", "torn_down"],
        "torn_down": ["deploying", "pending"],
    }


@pytest.mark.parametrize(
    ("current", "wanted", "steps"),
    [
        ("active", "active", []), ("pending", "active", ["deploying", "active"]), ("active", "failed", ["degraded", "failed"]),
        ("failed", "active", ["deploying", "active"]), ("active", "torn_down", ["tearing_down", "torn_down"]),
        ("torn_down", "degraded", ["deploying", "degraded"]), ("degraded", "active", ["active"]), ("unheard-of", "active", []),
        ("active", "unheard-of", []), ("active", "pending", ["tearing_down", "torn_down", "pending"]),
    ],
)  # fmt: skip
def test_the_shortest_legal_way(current: str, wanted: str, steps: list[str]) -> None:
    assert route(current, wanted) == steps


@pytest.mark.parametrize(
    ("deckies", "pending", "failing", "running", "wanted", "status"),
    [
        (0, 0, 0, 0, True, "active"), (2, 0, 0, 2, True, "active"), (2, 1, 0, 1, True, "deploying"), (2, 0, 1, 1, True, "degraded"),
        (2, 2, 1, 0, True, "failed"), (2, 2, 1, 1, True, "degraded"), (1, 1, 1, 1, False, "tearing_down"), (0, 0, 0, 0, False, "torn_down"),
    ],
)  # fmt: skip
def test_a_status_from_its_counts(
    deckies: int, pending: int, failing: int, running: int, wanted: bool, status: str
) -> None:
    tally = {"deckies": deckies, "pending": pending, "failing": failing, "running": running}
    assert status_of(tally, wanted=wanted) == status


def test_the_operations_are_these() -> None:
    assert set(OPS) == {
        "add_decky", "remove_decky", "update_decky", "add_network", "remove_network", "attach_decky", "detach_decky",
    }  # fmt: skip
    assert "unknown operation 'rotate'" in refused("rotate", "web-01")
    assert f"'{'k' * 40}';" in refused("k" * 90, "web-01"), "what is refused is shown short"


def test_a_fleet_takes_as_many_deckies_as_allowed_and_not_one_more() -> None:
    second = tried("add_decky", "b", {"pool": ["ftp"]}).shape
    assert len(second.deckies) == 2
    assert refused("add_decky", "c", {"pool": ["ftp"]}, second) == "more than 2 deckies"
    assert tried("add_decky", "c", {"pool": ["ftp"]}, second, most=3).shape.deckies.keys() >= {"c"}


@pytest.mark.parametrize("kind", sorted(OPS))
def test_every_payload_is_a_mapping_of_known_keys_only(kind: str) -> None:
    assert "payload must be a mapping" in refused(kind, "web-01", ["network"])
    said = refused(
        kind, "web-01", {"nonsense": 1, "pool": ["ftp"]} if kind == "add_decky" else {"nonsense": 1}
    )
    assert "nonsense" in said
    assert (
        refused(kind, "web-01", shape=Shape(deckies={"web-01": WEB}, wanted=False))
        == "the fleet is being taken down"
    )


@pytest.mark.parametrize(
    ("kind", "payload", "words"),
    [
        ("update_decky", {"services": ["http", 5]}, "services.1: Input should be a valid string"),
        ("update_decky", {"mutate_interval": 30}, "mutate_interval: Input should be a valid string"),
        ("update_decky", {"mutate_interval": "9s"}, "no interval"),
        ("update_decky", {"pinned": ["ssh"]}, "services: pinned 'ssh' is missing"),
        ("update_decky", {"pinned": ["http", "http"]}, "named twice"),
        ("update_decky", {"services": ["http", "rdp"]}, "services: 'rdp' is not in the pool"),
        ("attach_decky", {"network": 5}, "network: Input should be a valid string"),
        ("attach_decky", {"network": "nowhere"}, "unknown network 'nowhere'"),
        ("detach_decky", {"network": "nowhere"}, "unknown network 'nowhere'"),
    ],
)
def test_a_slip_in_a_payload_is_told(kind: str, payload: dict[str, Any], words: str) -> None:
    assert words in refused(kind, "web-01", payload)


@pytest.mark.parametrize("kind", ["remove_decky", "update_decky", "attach_decky", "detach_decky"])
def test_a_decky_of_another_fleet_or_none_takes_no_operation(kind: str) -> None:
    payload = {"update_decky": {"mutate_interval": "1h"}, "remove_decky": {}}.get(kind, {"network": "dmz"})
    for name in ("other-01", "nobody"):
        assert refused(kind, name, payload) == f"no decky '{name}' in this fleet"


def test_services_that_fight_for_a_port_are_refused_on_a_deckys_own_ports() -> None:
    fighting = Member(("http", "ftp", "ssh"), ("http",), (), {"ftp": 80}, frozenset())
    shape = Shape(deckies={"a": fighting})
    assert "'http' and 'ftp' want the same port" in refused(
        "update_decky", "a", {"services": ["http", "ftp"]}, shape
    )
    assert "pinned: 'http' and 'ftp' want" in refused("update_decky", "a", {"pinned": ["http", "ftp"]}, shape)
    assert tried("update_decky", "a", {"services": ["http", "ssh"]}, shape).shape.deckies["a"].services == (
        "http",
        "ssh",
    )


def test_only_what_is_given_changes() -> None:
    changed = tried("update_decky", "web-01", {"mutate_interval": "inherit"}).shape.deckies["web-01"]
    assert changed == WEB
    changed = tried("update_decky", "web-01", {"pinned": []}).shape.deckies["web-01"]
    assert (changed.pinned, changed.services) == ((), ("http", "ftp"))


@pytest.mark.parametrize(
    "name", ["", "-a", "A", "a.b", "a/b", "a b", "a" * 64, "a\n", "../a", "*", ">", "a_b"]
)
def test_a_name_is_one_token_of_a_topic_and_never_an_option(name: str) -> None:
    assert "needs a name" in refused("add_network", name)
    assert "needs a name" in refused("add_decky", name, {"pool": ["ftp"]}) or not name


def test_the_longest_name_is_taken() -> None:
    assert tried("add_network", "a" * 63).shape.networks > {"a" * 63}
    assert tried("add_decky", "9" * 63, {"pool": ["ftp"]}).spec is not None


def test_a_network_goes_only_when_nobody_is_attached() -> None:
    assert refused("remove_network", "dmz") == "still attached to 'dmz': web-01"
    free = tried("detach_decky", "web-01", {"network": "dmz"}).shape
    assert tried("remove_network", "dmz", shape=free).shape.networks == {"office"}
    assert refused("add_network", "dmz") == "there is a network 'dmz' already"


def test_a_new_decky_keeps_to_its_name_and_the_networks_there_are() -> None:
    assert tried("add_decky", "b", {"pool": ["ftp"], "name": "b", "networks": ["dmz"]}).shape.deckies[
        "b"
    ].networks == {"dmz"}
    assert "called 'b' here and 'c'" in refused("add_decky", "b", {"pool": ["ftp"], "name": "c"})
    for name in ("web-01", "other-01"):
        assert refused("add_decky", name, {"pool": ["ftp"]}) == f"there is a decky '{name}' already"


def decky(name: str, **more: Any) -> dict[str, Any]:
    plain = {
        "name": name,
        "pool": ["ftp"],
        "desired": ["ftp"],
        "pinned": None,
        "ports": None,
        "networks": None,
    }
    return {**plain, "wanted": True, **more}


def test_one_that_leaves_is_no_member_but_its_name_is_not_free() -> None:
    shape = shape_of(
        {"networks": None, "wanted": True},
        [decky("a", ports={"ftp": 2121}), decky("b", wanted=False)],
        ["elsewhere"],
    )
    assert shape.deckies == {"a": Member(("ftp",), ("ftp",), (), {"ftp": 2121}, frozenset())}
    assert shape.elsewhere == {"elsewhere", "b"}
    assert not shape_of({"networks": ["x"], "wanted": False}, [], []).wanted


def test_a_new_decky_runs_on_what_its_fleet_runs_on_unless_it_says_otherwise() -> None:
    dry = shape_of({"networks": [], "wanted": True, "substrate": "dry_run"}, [], [])
    for shape, said, wanted in (
        (dry, {}, "dry_run"), (dry, {"substrate": "compose"}, "compose"), (SHAPE, {}, "opencanary"),
    ):  # fmt: skip
        spec = tried("add_decky", "db-01", {"pool": ["redis", "mysql"], **said}, shape=shape).spec
        assert spec is not None
        assert spec.substrate == wanted
