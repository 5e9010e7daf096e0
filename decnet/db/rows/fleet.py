"""Rows of the fleet: topologies, deckies, and the queue of their changes. Times are aware, ends of leases epoch seconds."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from decnet.db.rows import JsonObject


class TopologyRow(TypedDict):
    """One fleet; ``wanted`` false means: it is being torn down."""

    topology_id: str
    status: str
    reason: str
    substrate: str
    mutate_interval: str
    networks: list[str] | None
    wanted: bool
    updated_at: datetime


class TopologyTally(TypedDict):
    """Counts over the deckies of a topology, and the reason of one that fails."""

    deckies: int
    pending: int
    failing: int
    running: int
    reason: str | None


class Cause(TypedDict, total=False):
    """Whose wish a desired state is; ``leaves`` names substrates that the decky has to be taken from."""

    trigger: str
    actor: str
    leaves: list[str]
    payload: JsonObject


class DeckyRow(TypedDict):
    """One decky; see :class:`decnet.db.schema.fleet.Decky`."""

    name: str
    topology_id: str
    archetype: str | None
    pool: list[str] | None
    desired: list[str] | None
    observed: list[str] | None
    pinned: list[str] | None
    networks: list[str] | None
    ports: dict[str, int] | None
    spec: JsonObject | None
    cause: Cause | None
    mutate_interval: str
    substrate: str
    address: str
    wanted: bool
    pending: bool
    state: str
    reason: str
    since: datetime
    failures: int
    retry_at: datetime | None
    next_due: datetime | None
    last_mutated: datetime | None
    site: str | None
    site_until: float | None
    lease_owner: str | None
    lease_until: float | None


class DeckyAtAddress(TypedDict):
    """Where a decky listens, and what it does there."""

    address: str
    ports: dict[str, int] | None
    desired: list[str] | None
    observed: list[str] | None


class OwnDecoyRow(TypedDict):
    """A service of a decky that one of our own decoys plays at a site: where, whether its port is open, and why not."""

    decky: str
    service: str
    plays: str
    transport: str
    address: str
    port: int
    site: str
    opened: bool
    trouble: str


class Rotated(TypedDict, total=False):
    """What a change of a decky came from and to: names of services; empty for an operation on a topology.

    ``retry_s`` is in how many seconds one that failed is tried again.
    """

    old: list[str]
    new: list[str]
    retry_s: float


class BegunMutation(TypedDict):
    """A change that is under way, stored or about to be."""

    mutation_id: str
    kind: str
    topology_id: str | None
    target: str
    payload: JsonObject | None
    state: str
    trigger: str
    requested_by: str
    lease_owner: str | None
    lease_until: float | None
    started_at: datetime | None


class MutationRow(TypedDict):
    """One change of a decky or a topology: the queue and its history."""

    seq: int
    mutation_id: str
    kind: str
    topology_id: str | None
    target: str
    payload: JsonObject | None
    state: str
    trigger: str
    requested_by: str
    reason: str
    outcome: Rotated | None
    lease_owner: str | None
    lease_until: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
