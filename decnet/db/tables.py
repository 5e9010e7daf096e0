"""The tables. Rules, tags and the machinery of work are here; what attackers did is in ``evidence.py``.

No table points at the recorder's ones with a foreign key: workers run in any order.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, Table, UniqueConstraint
from sqlmodel import Field, SQLModel

from decnet.db.types import BigId, SafeFloat, SafeInt, SafeJson, SafeText, UtcTime, utcnow
from decnet.ids import tag_id


def text_key() -> Any:
    """A text primary key (or a part of one)."""
    return Field(sa_type=SafeText, primary_key=True)


def text(default: Any = ..., **more: Any) -> Any:
    """A text column; without a default it must be given."""
    return Field(default, sa_type=SafeText, **more)


def number(default: Any = ..., **more: Any) -> Any:
    """An integer column."""
    return Field(default, sa_type=SafeInt, **more)


def real(default: Any = ..., **more: Any) -> Any:
    """A float column."""
    return Field(default, sa_type=SafeFloat, **more)


def moment(default: Any = ..., **more: Any) -> Any:
    """A time column."""
    return Field(default, sa_type=UtcTime, **more)


def json_column(default: Any = None, **more: Any) -> Any:
    """A JSON column that may be NULL."""
    return Field(default, sa_type=SafeJson, nullable=True, **more)


def counter() -> Any:
    """A primary key that the database counts up and never gives out twice."""
    return Field(default=None, sa_column=Column(BigId, primary_key=True, autoincrement=True))


def table_of(model: type[SQLModel]) -> Table:
    """The Core table behind a model: bulk statements are Core statements."""
    return SQLModel.metadata.tables[str(model.__tablename__)]


class TTPTag(SQLModel, table=True):
    """One technique seen in one piece of evidence; never changes once stored, but for ``superseded_by``."""

    __tablename__ = "ttp_tag"
    __table_args__ = (
        CheckConstraint("attacker_uuid IS NOT NULL OR identity_uuid IS NOT NULL", name="ttp_tag_anchor"),
        CheckConstraint("confidence >= 0 AND confidence <= 1", name="ttp_tag_confidence"),
        Index("ix_ttp_tag_attacker", "attacker_uuid", "created_at"),
        Index("ix_ttp_tag_identity", "identity_uuid", "created_at"),
        Index("ix_ttp_tag_session", "session_id"),
        Index("ix_ttp_tag_technique", "technique_id", "created_at"),
        Index("ix_ttp_tag_rule", "rule_id", "created_at"),
        Index("ix_ttp_tag_created", "created_at"),
    )
    uuid: str = text_key()
    source_kind: str = text()
    source_id: str = text()
    attacker_uuid: str | None = text(None)
    identity_uuid: str | None = text(None)
    session_id: str | None = text(None)
    decky_id: str | None = text(None)
    tactic: str = text()
    technique_id: str = text()
    sub_technique_id: str | None = text(None)
    confidence: float = real()
    rule_id: str = text()
    rule_version: int = number()
    evidence: dict[str, Any] | None = json_column()
    attack_release: str = text("")
    mitre_url: str = text("")
    created_at: datetime = moment(nullable=False)
    superseded_by: str | None = text(None)

    def __init__(self, **data: Any) -> None:
        """Fills in ``uuid`` (derived) and ``created_at`` (now) when they are not given.

        Raises ValueError without an attacker or identity, or for a confidence outside 0..1.
        """
        if not data.get("attacker_uuid") and not data.get("identity_uuid"):
            raise ValueError("a tag needs attacker_uuid or identity_uuid")
        confidence = data.get("confidence")
        if not isinstance(confidence, (int, float)) or not 0.0 <= confidence <= 1.0:
            raise ValueError(f"confidence {confidence!r} is not within 0..1")
        data.setdefault("created_at", utcnow())
        if not data.get("uuid"):
            data["uuid"] = _derived_id(data)
        if unknown := data.keys() - type(self).model_fields.keys():
            raise TypeError(f"a tag has no {', '.join(sorted(unknown))}")
        # A table model checks nothing; setting twenty attributes one by one costs a tenth of a millisecond.
        self.__dict__.update(_TAG_DEFAULTS, **data)
        object.__setattr__(self, "__pydantic_fields_set__", set(data))
        object.__setattr__(self, "__pydantic_extra__", None)
        object.__setattr__(self, "__pydantic_private__", None)


_TAG_DEFAULTS = {
    name: None if field.is_required() else field.default for name, field in TTPTag.model_fields.items()
}


def _derived_id(data: dict[str, Any]) -> str:
    keys = ("source_kind", "source_id", "rule_id", "rule_version", "technique_id")
    missing = [key for key in keys if data.get(key) is None]
    if missing:
        raise ValueError(f"a tag needs {', '.join(missing)}")
    kind, source, rule, version, technique = (data[key] for key in keys)
    return tag_id(kind, source, rule, version, technique, data.get("sub_technique_id"))


class TTPRule(SQLModel, table=True):
    """One rule definition as its file has it; ``error`` says why a file does not load."""

    __tablename__ = "ttp_rule"
    rule_id: str = text_key()
    version: int = number()
    name: str = text()
    yaml: str = text()
    file: str = text()
    error: str | None = text(None)
    updated_at: datetime = moment(nullable=False)


class TTPRuleState(SQLModel, table=True):
    """What an operator did to a rule; a rule without a row is enabled."""

    __tablename__ = "ttp_rule_state"
    rule_id: str = text_key()
    state: str = text()
    confidence_max: float | None = real(None)
    expires_at: datetime | None = moment(None)
    reason: str | None = text(None)
    set_by: str | None = text(None)
    set_at: datetime | None = moment(None)


class RuleChangeRow(SQLModel, table=True):
    """The sequence that other engines follow; written with the change itself."""

    __tablename__ = "rule_change"
    __table_args__ = {"sqlite_autoincrement": True}
    seq: int | None = counter()
    rule_id: str = text()
    kind: str = text()
    ts: datetime = moment(nullable=False)


class Outbox(SQLModel, table=True):
    """Events to publish, written with the effect they tell of."""

    __tablename__ = "outbox"
    __table_args__ = {"sqlite_autoincrement": True}
    row_id: int | None = counter()
    topic: str = text()
    body: bytes = Field(sa_type=LargeBinary)
    headers: dict[str, str] | None = json_column()


class DeadLetter(SQLModel, table=True):
    """An event that a worker cannot digest, with the reason and its bytes."""

    __tablename__ = "dead_letter"
    __table_args__ = (
        UniqueConstraint("worker", "seq", name="uq_dead_letter_worker_seq"),
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


class FailureCount(SQLModel, table=True):
    """Failures of a worker's handler on one event, by stream sequence."""

    __tablename__ = "failure_count"
    worker: str = text_key()
    seq: int = number(primary_key=True, sa_column_kwargs={"autoincrement": False})
    count: int = number()


class Lease(SQLModel, table=True):
    """Who does a job that must run once; ``expires_at`` is epoch seconds."""

    __tablename__ = "lease"
    name: str = text_key()
    owner: str = text()
    expires_at: float = real()


class WorkerHeartbeat(SQLModel, table=True):
    """The last heartbeat of each worker."""

    __tablename__ = "worker_heartbeat"
    worker: str = text_key()
    payload: dict[str, Any] | None = json_column()
    ts: datetime = moment(nullable=False)


class SensorCheckpoint(SQLModel, table=True):
    """How far a sensor has read."""

    __tablename__ = "sensor_checkpoint"
    sensor_key: str = text_key()
    state: dict[str, Any] | None = json_column()
    updated_at: datetime = moment(nullable=False)


class SchemaMeta(SQLModel, table=True):
    """Facts about the schema itself: the version of the program that wrote it."""

    __tablename__ = "schema_meta"
    key: str = text_key()
    value: str = text()
