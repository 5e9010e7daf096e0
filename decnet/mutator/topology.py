"""What a topology is and how it may change: typed operations on a copy, statuses and their legal edges; pure.

An operation is checked when it is enqueued and again on the state of that moment before anything is
written, so that an operator's slip never degrades a running fleet. Rows are left to
:mod:`decnet.mutator.queue`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from decnet.errors import FleetError
from decnet.mutator.fleet import DeckySpec, Defaults, check_decky
from decnet.mutator.schedule import legal, parse_interval
from decnet.services import NAME, Catalogue

Status = Literal["pending", "deploying", "active", "degraded", "failed", "tearing_down", "torn_down"]
EDGES: dict[str, frozenset[str]] = {
    "pending": frozenset({"deploying", "tearing_down"}),
    "deploying": frozenset({"active", "degraded", "failed", "tearing_down"}),
    "active": frozenset({"deploying", "degraded", "tearing_down"}),
    "degraded": frozenset({"active", "deploying", "failed", "tearing_down"}),
    "failed": frozenset({"deploying", "tearing_down"}),
    "tearing_down": frozenset({"torn_down", "deploying"}),
    "torn_down": frozenset({"pending", "deploying"}),
}
"""Status to the statuses that may follow it."""


def route(current: str, wanted: str) -> list[str]:
    """The statuses to pass through, ``wanted`` last; empty when it is reached or there is no way."""
    paths: list[list[str]] = [[current]]
    seen = {current}
    while paths and current != wanted:
        path = paths.pop(0)
        if path[-1] == wanted:
            return path[1:]
        for step in sorted(EDGES.get(path[-1], frozenset()) - seen):
            seen.add(step)
            paths.append([*path, step])
    return []


def status_of(tally: Mapping[str, Any], *, wanted: bool) -> str:
    """The status that counts of deckies amount to; see ``topology_tally``."""
    if not wanted:
        return "tearing_down" if tally["deckies"] else "torn_down"
    if tally["failing"]:
        return "failed" if not tally["running"] else "degraded"
    return "deploying" if tally["pending"] else "active"


@dataclass(frozen=True, slots=True)
class Member:
    """A decky as operations see it."""

    pool: tuple[str, ...]
    services: tuple[str, ...]
    pinned: tuple[str, ...]
    ports: Mapping[str, int]
    networks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Shape:
    """A copy of a topology that operations are tried on; ``elsewhere`` are names that other ones have."""

    networks: frozenset[str] = frozenset()
    deckies: Mapping[str, Member] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()
    wanted: bool = True
    substrate: str = ""
    """What runs a new decky that names nothing else; empty for the settings' own."""


class _Payload(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class UpdateDecky(_Payload):
    """``update_decky``: only what is given changes."""

    services: list[str] | None = None
    mutate_interval: str | None = None
    pinned: list[str] | None = None


class Attachment(_Payload):
    """``attach_decky`` and ``detach_decky``."""

    network: str


class _Nothing(_Payload):
    pass


@dataclass(frozen=True, slots=True)
class Op:
    """One checked operation: the shape after it and, for a new decky, its spec."""

    kind: str
    target: str
    payload: dict[str, Any]
    shape: Shape
    spec: DeckySpec | None = None


def check_op(
    shape: Shape, kind: str, target: str, payload: dict[str, Any], catalogue: Catalogue, defaults: Defaults
) -> Op:
    """Tries an operation on a shape. Raises FleetError that says everything that is wrong with it.

    ``target`` is the decky's or the network's name. Payloads: ``add_decky`` takes what a decky in a
    fleet file takes, ``update_decky`` services, mutate_interval, pinned, ``attach_decky`` and
    ``detach_decky`` a network, the others nothing.
    """
    check = _CHECKS.get(kind)
    if check is None:
        raise FleetError(f"unknown operation '{kind[:40]}'; known: {', '.join(_CHECKS)}")
    if not shape.wanted:
        raise FleetError("the fleet is being taken down")
    if not isinstance(payload, dict):
        raise FleetError(f"{kind}: the payload must be a mapping")
    return check(shape, target, payload, catalogue, defaults)


def _parsed(model: type[_Payload], payload: dict[str, Any]) -> Any:
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'payload'}: {e['msg']}" for e in error.errors()]
        raise FleetError("\n".join(faults)) from error


def _member(shape: Shape, name: str) -> Member:
    if name not in shape.deckies:
        raise FleetError(f"no decky '{name[:70]}' in this fleet")
    return shape.deckies[name]


def _with(shape: Shape, name: str, member: Member | None) -> Shape:
    deckies = {k: v for k, v in shape.deckies.items() if k != name}
    return replace(shape, deckies={**deckies, **({name: member} if member else {})})


def _add_decky(
    shape: Shape, target: str, payload: dict[str, Any], catalogue: Catalogue, defaults: Defaults
) -> Op:
    if payload.setdefault("name", target) != target:
        raise FleetError(
            f"the decky is called '{target[:70]}' here and '{payload['name']!s:.70}' in the payload"
        )
    if shape.substrate:
        defaults = replace(defaults, substrate=shape.substrate)
    spec = check_decky(payload, catalogue, defaults)
    if target in shape.deckies or target in shape.elsewhere:
        raise FleetError(f"there is a decky '{target}' already")
    if len(shape.deckies) >= defaults.max_deckies:
        raise FleetError(f"more than {defaults.max_deckies} deckies")
    for network in spec.networks:
        if network not in shape.networks:
            raise FleetError(f"unknown network '{network}'")
    member = Member(spec.pool, spec.services, spec.pinned, spec.ports, frozenset(spec.networks))
    return Op("add_decky", target, payload, _with(shape, target, member), spec)


def _remove_decky(shape: Shape, target: str, payload: dict[str, Any], _c: Catalogue, _d: Defaults) -> Op:
    _parsed(_Nothing, payload)
    _member(shape, target)
    return Op("remove_decky", target, payload, _with(shape, target, None))


def _update_decky(
    shape: Shape, target: str, payload: dict[str, Any], catalogue: Catalogue, _d: Defaults
) -> Op:
    wish: UpdateDecky = _parsed(UpdateDecky, payload)
    member = _member(shape, target)
    if wish.services is None and wish.mutate_interval is None and wish.pinned is None:
        raise FleetError("nothing to change: give services, mutate_interval or pinned")
    if wish.mutate_interval is not None and wish.mutate_interval != "inherit":
        parse_interval(wish.mutate_interval)
    pinned = member.pinned if wish.pinned is None else tuple(wish.pinned)
    services = member.services if wish.services is None else tuple(wish.services)
    graph = catalogue.conflicts(member.pool, member.ports)
    for names in (pinned, services):
        if len(set(names)) != len(names):
            raise FleetError("a service is named twice")
    if pinned and (why := legal(pinned, member.pool, (), graph)):
        raise FleetError(f"pinned: {why}")
    if (wish.services is not None or wish.pinned is not None) and services:
        why = legal(services, member.pool, pinned, graph)
        if why:
            raise FleetError(f"services: {why}")
    member = replace(member, pinned=pinned, services=services)
    return Op("update_decky", target, payload, _with(shape, target, member))


def _add_network(shape: Shape, target: str, payload: dict[str, Any], _c: Catalogue, _d: Defaults) -> Op:
    _parsed(_Nothing, payload)
    if not NAME.match(target):
        raise FleetError(f"a network needs a name of a-z, 0-9 and '-', at most 63, not '{target[:70]}'")
    if target in shape.networks:
        raise FleetError(f"there is a network '{target}' already")
    return Op("add_network", target, payload, replace(shape, networks=shape.networks | {target}))


def _remove_network(shape: Shape, target: str, payload: dict[str, Any], _c: Catalogue, _d: Defaults) -> Op:
    _parsed(_Nothing, payload)
    if target not in shape.networks:
        raise FleetError(f"unknown network '{target[:70]}'")
    users = sorted(name for name, member in shape.deckies.items() if target in member.networks)
    if users:
        raise FleetError(f"still attached to '{target}': {', '.join(users)}")
    return Op("remove_network", target, payload, replace(shape, networks=shape.networks - {target}))


def _attachment(attach: bool) -> Callable[..., Op]:
    def check(shape: Shape, target: str, payload: dict[str, Any], _c: Catalogue, _d: Defaults) -> Op:
        network = _parsed(Attachment, payload).network
        member = _member(shape, target)
        if network not in shape.networks:
            raise FleetError(f"unknown network '{network[:70]}'")
        if (network in member.networks) == attach:
            raise FleetError(f"'{target}' is {'already' if attach else 'not'} attached to '{network}'")
        networks = member.networks | {network} if attach else member.networks - {network}
        kind = "attach_decky" if attach else "detach_decky"
        return Op(kind, target, payload, _with(shape, target, replace(member, networks=networks)))

    return check


_CHECKS: dict[str, Callable[[Shape, str, dict[str, Any], Catalogue, Defaults], Op]] = {
    "add_decky": _add_decky,
    "remove_decky": _remove_decky,
    "update_decky": _update_decky,
    "add_network": _add_network,
    "remove_network": _remove_network,
    "attach_decky": _attachment(True),
    "detach_decky": _attachment(False),
}
OPS: Sequence[str] = tuple(_CHECKS)
"""Operations on a topology."""


def shape_of(
    topology: Mapping[str, Any], deckies: Sequence[Mapping[str, Any]], elsewhere: Sequence[str]
) -> Shape:
    """The shape of stored rows; deckies on their way out do not count as members, but keep their names."""
    members = {
        row["name"]: Member(
            tuple(row["pool"] or ()),
            tuple(row["desired"] or ()),
            tuple(row["pinned"] or ()),
            row["ports"] or {},
            frozenset(row["networks"] or ()),
        )
        for row in deckies
        if row["wanted"]
    }
    leaving = [row["name"] for row in deckies if not row["wanted"]]
    return Shape(
        frozenset(topology["networks"] or ()),
        members,
        frozenset([*elsewhere, *leaving]),
        bool(topology["wanted"]),
        str(topology.get("substrate") or ""),
    )
