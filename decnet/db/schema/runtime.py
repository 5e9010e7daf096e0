"""The tables of the machinery: outbox, dead letters, failures, leases, heartbeats, checkpoints, and what is due."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, LargeBinary, UniqueConstraint
from sqlmodel import Field

from decnet.db.schema.columns import Stored, counter, json_column, moment, number, real, text, text_key


class Outbox(Stored, table=True):
    """Events to publish, written with the effect they tell of."""

    __tablename__ = "outbox"
    __table_args__ = {"sqlite_autoincrement": True}
    row_id: int | None = counter()
    topic: str = text()
    body: bytes = Field(sa_type=LargeBinary)
    headers: dict[str, str] | None = json_column()


class PublishOutbox(Stored, table=True):
    """Messages to other systems until these have taken them: one row a target, however often it is stored."""

    __tablename__ = "publish_outbox"
    __table_args__ = (
        UniqueConstraint("target", "ident", name="uq_publish_outbox_ident"),
        {"sqlite_autoincrement": True},
    )
    row_id: int | None = counter()
    target: str = text()
    ident: str = text()
    topic: str = text()
    ts: float = real()
    body: str = text()
    stored_at: float = real()
    """Epoch seconds."""


class DeadLetter(Stored, table=True):
    """An event that a worker cannot digest, or one element of it (then with path and value), and its bytes."""

    __tablename__ = "dead_letter"
    __table_args__ = (
        UniqueConstraint("letter_key", name="uq_dead_letter_key"),
        Index("ix_dead_letter_ts", "ts"),
        {"sqlite_autoincrement": True},
    )
    id: int | None = counter()
    worker: str = text()
    topic: str = text()
    reason: str = text()
    seq: int = number()
    body: bytes = Field(sa_type=LargeBinary)
    ts: datetime = moment(nullable=False)
    letter_key: str = text()
    path: str | None = text(None)
    value: str | None = text(None)


class FailureCount(Stored, table=True):
    """Failures of a worker's handler on one event, by stream sequence."""

    __tablename__ = "failure_count"
    worker: str = text_key()
    seq: int = number(primary_key=True, sa_column_kwargs={"autoincrement": False})
    count: int = number()


class Lease(Stored, table=True):
    """Who does a job that must run once; ``expires_at`` is epoch seconds."""

    __tablename__ = "lease"
    name: str = text_key()
    owner: str = text()
    expires_at: float = real()


class WorkerHeartbeat(Stored, table=True):
    """The last heartbeat of each worker."""

    __tablename__ = "worker_heartbeat"
    worker: str = text_key()
    payload: dict[str, Any] | None = json_column()
    ts: datetime = moment(nullable=False)


class HourCount(Stored, table=True):
    """What there was in one hour (whole hours since the epoch), or what a counter stood at then."""

    __tablename__ = "hour_count"
    name: str = text_key()
    hour: int = number(primary_key=True, sa_column_kwargs={"autoincrement": False})
    count: int = number()


class SensorCheckpoint(Stored, table=True):
    """How far a sensor has read."""

    __tablename__ = "sensor_checkpoint"
    sensor_key: str = text_key()
    state: dict[str, Any] | None = json_column()
    updated_at: datetime = moment(nullable=False)


class SensorName(Stored, table=True):
    """The token that a sensor's or a decky's name has in ids and topics; ``name`` is as its log wrote it."""

    __tablename__ = "sensor_name"
    __table_args__ = (UniqueConstraint("token", name="uq_sensor_name_token"),)
    name: str = text_key()
    token: str = text()
    ts: datetime = moment(nullable=False)


class SchemaMeta(Stored, table=True):
    """Facts about the schema itself: the version of the program that wrote it."""

    __tablename__ = "schema_meta"
    key: str = text_key()
    value: str = text()


class ProducerDue(Stored, table=True):
    """An attacker whose rows changed since a producer last looked; ``since`` and ``until`` are event time.

    ``seq`` grows with each change, so that a producer takes back only the mark it has seen.
    """

    __tablename__ = "producer_due"
    consumer: str = text_key()
    attacker_uuid: str = text_key()
    seq: int = number()
    since: float = real()
    until: float = real()


class Announcement(Stored, table=True):
    """Something that is told once; the row is written with the news."""

    __tablename__ = "announcement"
    key: str = text_key()
    ts: float = real()
