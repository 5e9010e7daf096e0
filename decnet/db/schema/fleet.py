"""The tables of the fleet: topologies, deckies, and the one queue of everything that changes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from decnet.db.schema.columns import Stored, counter, json_column, moment, number, real, text, text_key


class Topology(Stored, table=True):
    """One fleet. ``mutate_interval`` is the text its deckies inherit; ``wanted`` false means: being torn down."""

    __tablename__ = "topology"
    topology_id: str = text_key()
    status: str = text()
    reason: str = text("")
    substrate: str = text()
    mutate_interval: str = text()
    networks: list[str] | None = json_column()
    wanted: bool = Field(default=True)
    updated_at: datetime = moment(nullable=False)


class Decky(Stored, table=True):
    """One decky: what it should run (``desired``) beside what it really runs (``observed``).

    ``pending`` says that the two differ or that the decky has to be applied anew. ``cause`` is whose wish the
    desired state is. ``lease_*`` is who works on it now, ``site_*`` which engine its processes belong to; both
    ends are epoch seconds.
    """

    __tablename__ = "decky"
    __table_args__ = (
        Index("ix_decky_topology", "topology_id"),
        Index("ix_decky_due", "next_due"),
        Index("ix_decky_pending", "pending", "retry_at"),
    )
    name: str = text_key()
    topology_id: str = text()
    archetype: str | None = text(None)
    pool: list[str] | None = json_column()
    desired: list[str] | None = json_column()
    observed: list[str] | None = json_column()
    pinned: list[str] | None = json_column()
    networks: list[str] | None = json_column()
    ports: dict[str, int] | None = json_column()
    spec: dict[str, Any] | None = json_column()
    cause: dict[str, Any] | None = json_column()
    mutate_interval: str = text("")
    substrate: str = text()
    address: str = text()
    wanted: bool = Field(default=True)
    pending: bool = Field(default=True)
    state: str = text()
    reason: str = text("")
    since: datetime = moment(nullable=False)
    failures: int = number(0)
    retry_at: datetime | None = moment(None)
    next_due: datetime | None = moment(None)
    last_mutated: datetime | None = moment(None)
    site: str | None = text(None)
    site_until: float | None = real(None)
    lease_owner: str | None = text(None)
    lease_until: float | None = real(None)


class Mutation(Stored, table=True):
    """One change: a rotation of a decky, or an operation on a topology; the queue and its history."""

    __tablename__ = "mutation"
    __table_args__ = (
        UniqueConstraint("mutation_id", name="uq_mutation_id"),
        Index("ix_mutation_state", "state", "seq"),
        Index("ix_mutation_target", "target", "seq"),
        Index("ix_mutation_topology", "topology_id", "seq"),
        {"sqlite_autoincrement": True},
    )
    seq: int | None = counter()
    mutation_id: str = text()
    kind: str = text()
    topology_id: str | None = text(None)
    target: str = text()
    payload: dict[str, Any] | None = json_column()
    state: str = text()
    trigger: str = text("operator")
    requested_by: str = text("")
    reason: str = text("")
    outcome: dict[str, Any] | None = json_column()
    lease_owner: str | None = text(None)
    lease_until: float | None = real(None)
    created_at: datetime = moment(nullable=False)
    started_at: datetime | None = moment(None)
    finished_at: datetime | None = moment(None)


class OwnDecoy(Stored, table=True):
    """A service of a decky that one of our own decoys plays (``plays``), in the engine of ``site``.

    The mutator asks for it; the worker ``decoys`` opens its port and says so (``opened``), or why not (``trouble``).
    """

    __tablename__ = "own_decoy"
    decky: str = text_key()
    service: str = text_key()
    plays: str = text()
    transport: str = text()
    address: str = text()
    port: int = number()
    site: str = text()
    opened: bool = Field(default=False)
    trouble: str = text("")
